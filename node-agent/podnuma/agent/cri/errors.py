"""What can go wrong with a call to the runtime.

    CriError            the runtime refused; `code` is the gRPC status ("INVALID_ARGUMENT")
      UnreachableError  the socket does not answer
      LateError         no answer within the deadline; whether the call took effect is unknown

A container or pod that is not there is no error: containers end, so calls return that as a value.
"""


class CriError(Exception):
    """The runtime refused `method`."""

    def __init__(self, method: str, code: str, text: str) -> None:
        super().__init__(f"CRI {method}: {code}: {text}")
        self.method = method
        self.code = code


class UnreachableError(CriError, ConnectionError):
    """The runtime is not there, or went away during the call."""


class LateError(CriError, TimeoutError):
    """The deadline passed."""
