"""Carry several logical connections over one byte stream.

    conn u32 | length u32 | payload         big endian; conn 0 is reserved

A frame has no meaning beyond its connection: the payloads of one connection, joined in order,
are that connection's byte stream. So the reader hands out whatever part of a payload has
arrived and keeps no more than an incomplete header. Data of unknown connections is for the
caller to ignore, as the Go implementation does.

Two limits, both from containerd/nri (pkg/net/multiplex/mux.go):

* A sent frame carries at most 4,096 bytes. The Go side hands a whole frame to a reader with a
  4,096 byte buffer and drops the trunk if it does not fit.
* A received frame announces at most one ttrpc message (4 MiB and its 10 byte header). More is
  garbage or an attack on our memory.
"""

import struct
from dataclasses import dataclass
from typing import Final

from podnuma.agent.nri.errors import ProtocolError

PLUGIN_CONN: Final = 1  # the runtime calls, the plugin answers
RUNTIME_CONN: Final = 2  # the plugin calls, the runtime answers

SENT_PAYLOAD_MAX: Final = 4096
RECEIVED_PAYLOAD_MAX: Final = (4 << 20) + 10

_HEADER: Final = struct.Struct(">II")


@dataclass(frozen=True, slots=True)
class Chunk:
    """Bytes that arrived on one logical connection, in order."""

    conn: int
    data: bytes


def frames(conn: int, data: bytes) -> bytes:
    """Bytes for the trunk that carry `data` on `conn`; to be written without anything in between."""
    parts = []
    for start in range(0, len(data), SENT_PAYLOAD_MAX):
        payload = data[start : start + SENT_PAYLOAD_MAX]
        parts += [_HEADER.pack(conn, len(payload)), payload]
    return b"".join(parts)


class Demux:
    """Splits what the trunk delivers into chunks per connection."""

    def __init__(self) -> None:
        self._header = b""
        self._conn = 0
        self._missing = 0  # bytes of the current payload that have not arrived

    def feed(self, data: bytes) -> list[Chunk]:
        """Take the next bytes of the trunk, cut anywhere; raises ProtocolError on a length beyond bounds."""
        chunks = []
        at = 0
        while at < len(data):
            if self._missing:
                part = data[at : at + self._missing]
                self._missing -= len(part)
                at += len(part)
                chunks.append(Chunk(self._conn, part))
            else:
                part = data[at : at + _HEADER.size - len(self._header)]
                self._header += part
                at += len(part)
                self._start_payload()
        return chunks

    def _start_payload(self) -> None:
        if len(self._header) < _HEADER.size:
            return
        self._conn, self._missing = _HEADER.unpack(self._header)
        self._header = b""
        if self._missing > RECEIVED_PAYLOAD_MAX:
            raise ProtocolError(
                f"a frame on connection {self._conn} announces {self._missing} bytes, "
                f"more than the {RECEIVED_PAYLOAD_MAX} of the largest message"
            )
