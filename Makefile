# `make help` lists the targets. Everything runs in .venv, made on first use.
SHELL := /bin/bash
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PYTHONPATH := $(CURDIR)

.DEFAULT_GOAL := help
.PHONY: help install lint format test clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

PROTOS := $(wildcard node-agent/podnuma/agent/*/messages/*.proto)

$(VENV)/.installed: pyproject.toml constraints.txt hatch_build.py $(PROTOS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "podnuma needs Python 3.11 or newer: set PYTHON=/path/to/python3"; exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing Python packages into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,lint]'
	@touch $@

install: $(VENV)/.installed ## make the virtual environment

lint: install ## ruff, mypy strict, import directions
	ruff check .
	ruff format --check .
	mypy
	lint-imports

format: install ## let ruff rewrite what it can
	ruff check --fix .
	ruff format .

test: install ## unit, conformance and integration tests
	pytest

clean: ## remove the virtual environment and caches of this checkout
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .testrun
