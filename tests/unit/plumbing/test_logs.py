import json
import logging

from hypothesis import given
from hypothesis import strategies as st
from podnuma.plumbing.logs import LogFormat, formatter


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
