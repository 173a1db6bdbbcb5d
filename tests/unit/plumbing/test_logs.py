import json
import logging
import os
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.plumbing.logs import LogFormat, formatter, start_logging


def record(message):
    return logging.LogRecord("podnuma", logging.WARNING, __file__, 1, "%s", (message,), None)


@given(st.text())
def test_no_message_breaks_out_of_its_line(text):
    for form in LogFormat:
        line = formatter(form).format(record(text))
        assert "\n" not in line
        assert "\r" not in line


def test_a_json_line_carries_time_level_logger_and_message():
    line = json.loads(formatter(LogFormat.JSON).format(record("pod ns/a refused")))
    assert (line["level"], line["logger"], line["message"]) == ("warning", "podnuma", "pod ns/a refused")
    assert line["time"].endswith("+00:00")


def test_a_message_of_a_megabyte_is_cut():
    assert len(formatter(LogFormat.TEXT).format(record("x" * 1_000_000))) < 4_200


@pytest.fixture
def root_logger():
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield root
    root.handlers[:] = before[0]
    root.setLevel(before[1])


@pytest.mark.timeout(60)
def test_a_log_that_nobody_reads_holds_up_nobody(root_logger, monkeypatch):
    """While containerd is stopped, nobody reads what containers write; containerd/containerd#11511."""
    read, write = os.pipe()
    with os.fdopen(read, "rb", buffering=0) as reader, os.fdopen(write, "w") as writer:
        monkeypatch.setattr(sys, "stderr", writer)
        start_logging(logging.INFO)
        for number in range(10_000):
            root_logger.info("line %d", number)
        seen = reader.read(1_000_000).decode().splitlines()
        assert seen[0].endswith(": line 0")
        assert len(seen) > 100
        root_logger.info("afterwards")
        told, last = reader.read(1_000_000).decode().splitlines()
        assert told.endswith(f"dropped {10_000 - len(seen)} lines before this one: nobody read them")
        assert last.endswith(": afterwards")
