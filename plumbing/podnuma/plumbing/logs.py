"""Log lines for people (text) or for collectors (JSON), on standard error.

One line per record, whatever the message holds: input from a cluster is hostile, and a
line break inside a pod's annotation must not forge a log line.
"""

from __future__ import annotations

import enum
import json
import logging
import sys
from datetime import UTC, datetime

_LONGEST = 4_000  # characters of one message; a hostile object cannot fill a disk with one line


class LogFormat(enum.Enum):
    """How a line looks."""

    TEXT = "text"
    JSON = "json"


class _OneLine(logging.Formatter):
    def message_of(self, record: logging.LogRecord) -> str:
        message = record.getMessage()
        if record.exc_info:
            message = f"{message} {self.formatException(record.exc_info)}"
        if len(message) > _LONGEST:
            message = message[:_LONGEST] + "..."
        return message

    def when(self, record: logging.LogRecord) -> str:
        return datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")


class _Text(_OneLine):
    def format(self, record: logging.LogRecord) -> str:
        message = self.message_of(record).replace("\r", "\\r").replace("\n", "\\n")
        return f"{self.when(record)} {record.levelname:<7} {record.name}: {message}"


class _Json(_OneLine):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(
            {
                "time": self.when(record),
                "level": record.levelname.lower(),
                "logger": record.name,
                "message": self.message_of(record),
            },
            ensure_ascii=False,
        )


def formatter(form: LogFormat) -> logging.Formatter:
    """Return the formatter for a form."""
    match form:
        case LogFormat.TEXT:
            return _Text()
        case LogFormat.JSON:
            return _Json()


def start_logging(level: int, form: LogFormat = LogFormat.TEXT) -> None:
    """Send everything to standard error in the given form; to be called once, by a process's entry point."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
