# `make help` lists the targets. Everything runs in .venv, made on first use; with another Python in another
# folder: `make test PYTHON=python3.13 VENV=.venv/3.13`.
SHELL := /bin/bash
PYTHON ?= $(firstword $(foreach version,.11 .12 .13 .14,$(shell command -v python3$(version))) python3)
# Every test process may run a control plane of its own (300 MB): more than four help little.
JOBS ?= $(shell jobs=$$(nproc); echo $$((jobs < 4 ? jobs : 4)))
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(abspath $(BIN)):$(PATH)
export PYTHONPATH := $(CURDIR)
# Tests start hundreds of processes: with this variable in the environment each would compile all that it imports.
unexport PYTHONDONTWRITEBYTECODE
# An environment keeps the Python that it was made with.
$(if $(and $(filter command line,$(origin PYTHON)),$(wildcard $(BIN)/python)),\
  $(if $(filter-out $(shell $(BIN)/python -V),$(shell $(PYTHON) -V)),\
    $(error $(VENV) has $(shell $(BIN)/python -V): name a folder for $(shell $(PYTHON) -V), such as VENV=.venv/other)))

.DEFAULT_GOAL := help
.PHONY: browser manifest-fields playground docs-pictures test-browser test-dashboard bench bench-placement bench-placement-cluster bench-scale bench-compare conformance discovery fuzz help install demo demo-stop release test test-long lint format docs-reference docs-metrics image chart manifests control-plane e2e e2e-vm e2e-smoke e2e-kind e2e-kind-vm clean written

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

# What pip does now, in one line that is rewritten; without a terminal every tenth step. Not awk: mawk reads a pipe
# in blocks, so that nothing is seen for minutes.
PROGRESS = while read -r step rest; do case "$$step" in Collecting|Installing|Building) \
  if test -t 1; then printf '\r\033[K%.70s' "$$step $$rest"; \
  elif [ $$((count++ % 10)) = 0 ]; then printf '%.70s\n' "$$step $$rest"; fi ;; esac; done; \
  if test -t 1; then printf '\r\033[K'; fi
# Bytecode is written when a module is imported first, instead of for all of them now.
PIP_INSTALL = set -o pipefail; $(BIN)/python -m pip install --progress-bar=off --no-compile --disable-pip-version-check \
  -c constraints.txt

PROTOS := $(wildcard node-agent/podnuma/agent/*/messages/*.proto)

define virtual_environment
@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "podnuma needs Python 3.11 or newer: set PYTHON=/path/to/python3"; exit 2; }
@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
@echo "installing Python packages into $(VENV), which takes a minute or two"
endef

$(VENV)/.installed: pyproject.toml constraints.txt hatch_build.py $(PROTOS)
	$(virtual_environment)
	@$(PIP_INSTALL) -e '.[test,lint]' | { $(PROGRESS); }
	@touch $@ $(VENV)/.runs

# What runs podnuma and its test bed, without what tests and checks need: half of it.
$(VENV)/.runs: pyproject.toml constraints.txt hatch_build.py $(PROTOS)
	$(virtual_environment)
	@$(PIP_INSTALL) -e '.[operator,agent]' | { $(PROGRESS); }
	@touch $@

install: $(VENV)/.installed ## make the virtual environment

demo: $(VENV)/.runs ## run the pods of the announcement on recorded machines, and place pods; KEEP=1 leaves it running
	@python -m testbed.demo $(if $(filter-out 0 no,$(KEEP)),--keep)

demo-stop: $(VENV)/.runs ## stop what `make demo KEEP=1` left running, in any clone of yours
	@python -m testbed.demo --stop

playground: $(VENV)/.runs ## an empty cluster with two recorded machines, and a shell with kubectl, helm and podnuma in it
	@python -m testbed.playground

test: install ## unit, conformance and integration tests
	@python -m testbed.build >/dev/null
	pytest --numprocesses=$(JOBS) --dist=loadfile

test-long: install ## long random runs of the operator: hundreds of kills and seeds (PODNUMA_SEED=n); takes half an hour
	@python -m testbed.build >/dev/null
	pytest tests/long --numprocesses=$(JOBS) --dist=loadfile

# What drives Chromium is no part of `install`: few need it.
browser: install
	@command -v chromedriver >/dev/null && command -v rsvg-convert >/dev/null || { echo "apt-get install chromium chromium-driver librsvg2-bin"; exit 2; }
	@$(BIN)/python -c 'import PIL, selenium' 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test,browser]'

test-browser: browser ## the web page in Chromium; needs Debian's packages chromium, chromium-driver and librsvg2-bin
	pytest tests/browser -q -p no:xdist

test-dashboard: install ## dashboard and alerts over a live run in Prometheus, alerts in promtool; needs Debian's package prometheus
	pytest tests/dashboard -q -p no:xdist

docs-pictures: browser ## write docs/images/ui-*.png and map.svg from a run; needs what test-browser needs
	@python -m tests.browser.pictures

lint: install ## ruff, mypy strict, import directions
	ruff check .
	ruff format --check .
	mypy
	lint-imports

format: install ## format and fix with ruff
	ruff check --fix .
	ruff format .

docs-reference: install ## write docs/reference from crds/
	@python -m testbed.crd_reference

manifest-fields: install ## write the fields that manifests may have from the OpenAPI files of Kubernetes; needs Go
	@python -m testbed.manifest_fields

docs-metrics: install ## write docs/metrics.md from the code and the alert rules
	@python -m testbed.metrics_reference

image: install ## dist/podnuma-image.tar, an OCI archive, without Docker; ARCH=amd64|arm64; needs apt
	@python -m deploy.image --newest-if-gone $(if $(ARCH),--architecture $(ARCH))

chart: install ## dist/podnuma-VERSION.tgz, the Helm chart as a package
	@mkdir -p dist && "$$(python -m testbed.build helm | cut -f2)" package deploy/chart/podnuma --destination dist

release: install ## dist/: image, list of what is in it (SPDX), chart, wheel, krew plugin, checksums; URL=where it will be found
	@python -m deploy.release --helm "$$(python -m testbed.build helm | cut -f2)" $(if $(URL),--url "$(URL)") \
	  $(foreach arch,$(ARCH),--architecture $(arch))

manifests: install ## write the chart's copies and README, and deploy/rbac and deploy/kustomize from the chart
	@python deploy/chart_files.py
	@python deploy/render.py --helm "$$(python -m testbed.build helm | cut -f2)"

control-plane: install ## run a control plane with the custom resources and kwok until Ctrl-C
	python -m testbed.control_plane --kwok

E2E := pytest tests/e2e -q --no-header --tb=short --capture=sys -p no:cacheprovider -p no:xdist

e2e-vm: install ## end-to-end tests on a virtual machine with two NUMA nodes; MATRIX=all or cells, as MATRIX="crun cgroupfs"
	@$(if $(MATRIX),python -m testbed.e2e.matrix $(MATRIX),$(E2E))

e2e-smoke: install ## the few tests of e2e-vm that tell soonest whether the agent works
	@$(E2E) -m smoke

# From the command line only: a cluster is never taken from the environment.
e2e: install ## the same tests on your cluster: make e2e KUBECONFIG=file [NODE=name] [IMAGE=busybox with probe]
	@$(if $(filter command line,$(origin KUBECONFIG)),true,echo "say which cluster: make e2e KUBECONFIG=/path/to/file"; exit 2)
	@PODNUMA_E2E_KUBECONFIG="$(KUBECONFIG)" $(if $(NODE),PODNUMA_E2E_NODE="$(NODE)") $(if $(IMAGE),PODNUMA_E2E_IMAGE="$(IMAGE)") \
	  $(E2E)

e2e-kind: install ## the chart and the same scenarios on a kind cluster; needs Docker, kind, kubectl, helm, busybox; KEEP=1
	@KEEP=$(or $(KEEP),0) deploy/kind/run.sh

e2e-kind-vm: install ## e2e-kind with the Docker of a virtual machine, and kind and its node image built here; needs root
	@python -m testbed.kind

conformance: install ## compare podnuma and the kubelet's own code on new scenarios; SEED=n COUNT=m KUBELET=1.37|1.38 DEVICES=1 TREES=1
	@python -m tests.conformance --seed $(or $(SEED),1) --count $(or $(COUNT),1000) --kubelet $(or $(KUBELET),1.37) $(if $(DEVICES),--devices) \
	  $(if $(TREES),--trees)

discovery: install ## compare discovery and cAdvisor with the kubelet's topology code on odd machines; COUNT=n FIRST=m; needs Go and root
	@python -m tests.conformance.discovery $(or $(COUNT),5000) $(FIRST)

fuzz: install ## fuzz all parsers of untrusted input; SECONDS=n SEED=m
	@python -m tests.fuzz --seconds $(or $(SECONDS),60) --seed $(or $(SEED),1)

written: install ## read back all that operator, agent and command line write in COUNT=n states from SEED=m on
	@python -m tests.written --seed $(or $(SEED),0) --count $(or $(COUNT),100000)

bench: install ## admissions per second next to the kubelet's own code; memory of 10,000 nodes
	@python -m benchmarks

bench-scale: install ## the operator with 1,000 nodes and 30,000 pods, next to the targets
	@python -m testbed.build >/dev/null
	@python -m benchmarks.scale $(SCALE)

bench-placement: install ## search for the best node, and pods placed by each order of nodes
	@python -m benchmarks.placement

bench-placement-cluster: install ## pods refused by a real control plane, with and without placement
	@python -m benchmarks.placement_cluster

bench-compare: install ## hot paths of a commit and of now beside each other; BASE=commit, ROWS="names"|all, ROUNDS=n, OUTPUT=json
	@$(if $(BASE),true,echo 'say which commit: make bench-compare BASE=commit'; exit 2)
	@$(if $(filter all,$(ROWS)),python -m testbed.build >/dev/null)
	@python -m benchmarks.compare $(BASE) $(ROWS) $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(OUTPUT),-o $(OUTPUT))

clean: ## remove the virtual environment and caches of this checkout
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .testrun
