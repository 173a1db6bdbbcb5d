"""Log lines for people (text) or for collectors (JSON), on standard error.

One line per record, whatever the message holds: input from a cluster is hostile, and a
line break inside a pod's annotation must not forge a log line.

A log never holds up the program: while nobody reads the lines, as while containerd is stopped, which reads
those of containers (containerd/containerd#11511), they are dropped, and counted.
"""

from __future__ import annotations

import contextlib
import enum
import json
import logging
import select
import sys
from datetime import UTC, datetime
from typing import TextIO

_MOMENT = 50  # milliseconds
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


class _NeverWaiting(logging.StreamHandler[TextIO]):
    """Drops records that a full pipe does not take, and says how many when it takes some again."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        self._dropped = 0
        self._poll: select.poll | None = None
        with contextlib.suppress(OSError, ValueError):  # not a file of the system: it takes everything
            number = stream.fileno()
            self._poll = select.poll()
            self._poll.register(number, select.POLLOUT)

    def emit(self, record: logging.LogRecord) -> None:
        # Once, for a reader that is only slow.
        if self._poll is not None and not self._poll.poll(0 if self._dropped else _MOMENT):
            self._dropped += 1
            return
        if self._dropped:
            dropped, self._dropped = self._dropped, 0
            text = f"dropped {dropped} lines before this one: nobody read them"
            super().emit(logging.LogRecord(__name__, logging.WARNING, "", 0, text, None, None))
        super().emit(record)


def formatter(form: LogFormat) -> logging.Formatter:
    """Return the formatter for a form."""
    match form:
        case LogFormat.TEXT:
            return _Text()
        case LogFormat.JSON:
            return _Json()


def start_logging(level: int, form: LogFormat = LogFormat.TEXT) -> None:
    """Send everything to standard error in the given form; to be called once, by a process's entry point."""
    handler = _NeverWaiting(sys.stderr)
    handler.setFormatter(formatter(form))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
