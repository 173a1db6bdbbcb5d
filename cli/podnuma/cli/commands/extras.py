"""What only a part of podnuma needs: its libraries are an extra of the package, which the image has.

`pip install podnuma` is the command alone. The operator and the agent say so when they are started from it.
"""

from types import TracebackType
from typing import Final

from podnuma.cli.exits import Exit, Failure

EXTRAS: Final = ("operator", "agent")


class needs_extra:  # noqa: N801 - used like a function, in a with statement around imports
    """Tells of a library that is not there which extra has it."""

    def __init__(self, extra: str) -> None:
        self._extra = extra

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, ModuleNotFoundError) and not str(error.name).startswith("podnuma"):
            raise Failure(
                Exit.USAGE,
                f"podnuma {self._extra} needs {error.name}, which is not installed with the command alone; "
                f"install podnuma[{self._extra}], or use podnuma's image",
            ) from error
