"""Messages of ttrpc, the RPC protocol below NRI: unary calls only.

    length u32 | stream u32 | type u8 | flags u8 | data        big endian

A call is a request and a response with the same stream number; clients use odd, increasing
numbers. Data of a request is an envelope with service, method, payload and the time the caller
will wait; of a response, a status and a payload. (containerd/ttrpc, PROTOCOL.md)

This module takes and returns bytes. It refuses what unary NRI never sends: data longer than
4 MiB, unknown types, streams of more than one message.
"""

import enum
import struct
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError
from podnuma.agent.nri.errors import CallError, ProtocolError
from podnuma.agent.nri.messages import ttrpc_pb2

DATA_MAX: Final = 4 << 20
TEXT_MAX: Final = 1024  # of an error: it ends up in a pod's status and events

_HEADER: Final = struct.Struct(">IIBB")
_NANOSECONDS: Final = 1_000_000_000


class MessageType(enum.IntEnum):
    """Type of a message. Data (3) belongs to streaming calls, which NRI has none of."""

    REQUEST = 1
    RESPONSE = 2


class StatusCode(enum.IntEnum):
    """gRPC status codes that this side sends.

    UNIMPLEMENTED makes the runtime fall back to an older form of the call, so nothing else may
    use it; RESOURCE_EXHAUSTED makes it split Synchronize again. A refusal is UNKNOWN, as from a
    Go plugin.
    """

    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    UNIMPLEMENTED = 12


@dataclass(frozen=True, slots=True)
class Message:
    """One message as it stood on the wire."""

    stream: int
    kind: MessageType
    data: bytes


@dataclass(frozen=True, slots=True)
class Request:
    """A call: `timeout` is how many seconds the caller will wait, 0 if it did not say."""

    stream: int
    service: str
    method: str
    payload: bytes
    timeout: float


class MessageReader:
    """Cuts the byte stream of one connection into messages."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """Take the next bytes, cut anywhere; raises ProtocolError on what a unary peer never sends."""
        self._buffer += data
        messages = []
        while len(self._buffer) >= _HEADER.size:
            length, stream, kind, flags = _HEADER.unpack_from(self._buffer)
            _check_header(length, stream, kind, flags)
            end = _HEADER.size + length
            if len(self._buffer) < end:
                break
            messages.append(Message(stream, MessageType(kind), bytes(self._buffer[_HEADER.size : end])))
            del self._buffer[:end]
        return messages


def _check_header(length: int, stream: int, kind: int, flags: int) -> None:
    if length > DATA_MAX:
        raise ProtocolError(
            f"a message on stream {stream} announces {length} bytes, at most {DATA_MAX} are allowed"
        )
    if kind not in (MessageType.REQUEST, MessageType.RESPONSE):
        raise ProtocolError(f"a message on stream {stream} has type {kind}; unary calls know 1 and 2")
    if stream % 2 == 0:
        raise ProtocolError(f"stream {stream} is even; streams opened by a client are odd")
    if kind == MessageType.REQUEST and flags:
        raise ProtocolError(f"a request on stream {stream} has flags {flags:#x}; unary calls have none")


def request(call: Request) -> bytes:
    """Encode a call of ours."""
    envelope = ttrpc_pb2.Request(
        service=call.service,
        method=call.method,
        payload=call.payload,
        timeout_nano=int(call.timeout * _NANOSECONDS),
    )
    return _message(call.stream, MessageType.REQUEST, envelope.SerializeToString())


def response(stream: int, payload: bytes) -> bytes:
    """Encode a successful response to a call of the peer."""
    return _message(stream, MessageType.RESPONSE, ttrpc_pb2.Response(payload=payload).SerializeToString())


def error_response(stream: int, code: StatusCode, text: str) -> bytes:
    """Encode an error response; the text is cut to a length that fits a pod's status."""
    status = ttrpc_pb2.Status(code=code, message=text[:TEXT_MAX])
    return _message(stream, MessageType.RESPONSE, ttrpc_pb2.Response(status=status).SerializeToString())


def read_request(message: Message) -> Request:
    """Decode a call of the peer; raises ProtocolError if the message is none."""
    if message.kind is not MessageType.REQUEST:
        raise ProtocolError(f"stream {message.stream}: expected a request, got a {message.kind.name.lower()}")
    try:
        envelope = ttrpc_pb2.Request.FromString(message.data)
    except DecodeError as error:
        raise ProtocolError(f"stream {message.stream}: the request envelope is not protobuf") from error
    timeout = max(envelope.timeout_nano, 0) / _NANOSECONDS
    return Request(message.stream, envelope.service, envelope.method, envelope.payload, timeout)


def read_response(message: Message, method: str) -> bytes:
    """Payload of the response to our call of `method`; raises CallError, or ProtocolError on garbage."""
    if message.kind is not MessageType.RESPONSE:
        raise ProtocolError(
            f"stream {message.stream}: expected a response, got a {message.kind.name.lower()}"
        )
    try:
        envelope = ttrpc_pb2.Response.FromString(message.data)
    except DecodeError as error:
        raise ProtocolError(f"stream {message.stream}: the response envelope is not protobuf") from error
    if envelope.status.code:
        raise CallError(method, envelope.status.code, envelope.status.message[:TEXT_MAX])
    return envelope.payload


def _message(stream: int, kind: MessageType, data: bytes) -> bytes:
    if len(data) > DATA_MAX:
        raise ValueError(f"a message of {len(data)} bytes does not fit ttrpc, at most {DATA_MAX} do")
    return _HEADER.pack(len(data), stream, kind, 0) + data
