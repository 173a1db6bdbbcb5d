"""What can go wrong between a plugin and the runtime.

    NriError
      ProtocolError       the peer sent what the wire format does not allow; the session is over
      DisconnectedError   the session is over for any other reason
      NotConnectedError   a call needs a synchronized session and there is none
      CallError           the runtime answered a call of ours with an error
      UnsafeUpdatesError  this runtime can deadlock on the call; use CRI instead

Each is also the nearest built-in exception, so that a caller need not import this module.
"""


class NriError(Exception):
    """Base of everything that this package raises on purpose."""


class ProtocolError(NriError, ValueError):
    """The peer broke the wire format. The text says which rule and with which value."""


class DisconnectedError(NriError, ConnectionError):
    """The session ended. The text says why."""


class NotConnectedError(NriError, ConnectionError):
    """The runtime is not there, or has not synchronized this plugin yet."""


class CallError(NriError, RuntimeError):
    """The runtime refused a call: `code` is the gRPC status code, the text its message."""

    def __init__(self, method: str, code: int, text: str) -> None:
        super().__init__(f"{method}: the runtime answered with code {code}: {text}")
        self.code = code


class UnsafeUpdatesError(NriError, RuntimeError):
    """Unsolicited updates can deadlock this runtime with a hook that runs at the same time."""
