"""Decode untrusted JSON objects: bounded values, each with its path, all errors at once.

A *reader* is a function from one JSON value to a typed value that raises ``ValueError`` with a
sentence for people. ``Fields`` walks an object with readers and notes what they refuse, together
with the path; it hands back the given default so that reading goes on and one pass finds every
problem. ``FieldErrors.check`` then raises a single ``InvalidObjectError``.

Always true: whatever the input is (missing, of another type, deep, huge, not even JSON), nothing
but ``InvalidObjectError`` leaves this module, and an error text is bounded.
"""

import contextlib
import enum
import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias, TypeVar

T = TypeVar("T")
E = TypeVar("E", bound=enum.Enum)
Read: TypeAlias = Callable[[Any], T]

MAX_ERRORS: Final = 20
"""Errors that are listed for one object; further ones are only counted."""

MAX_SHOWN: Final = 80
"""Characters of a bad value, key or text that an error shows."""

MAX_INTEGER: Final = 2**63 - 1
"""API servers keep integers in 64 bits."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One thing wrong with an object: where, what stands there (bounded JSON), and what to do."""

    path: str
    value: str
    message: str

    def __str__(self) -> str:
        return f"{self.path} {self.value}: {self.message}" if self.value else f"{self.path}: {self.message}"


class InvalidObjectError(ValueError):
    """An object is invalid. ``subject`` names it ("NodeProfile db-pool"), ``errors`` say why."""

    def __init__(self, subject: str, errors: Iterable[FieldError]) -> None:
        self.subject = subject
        self.errors = tuple(errors)
        super().__init__(f"{subject}, " + "; ".join(str(problem) for problem in self.errors))

    def __reduce__(self) -> tuple[type["InvalidObjectError"], tuple[str, tuple[FieldError, ...]]]:
        return type(self), (self.subject, self.errors)


@dataclass(slots=True)
class FieldErrors:
    """The errors found so far in one object; at most ``MAX_ERRORS`` are kept."""

    found: list[FieldError] = field(default_factory=list)
    left_out: int = 0

    @property
    def count(self) -> int:
        """The number of all errors."""
        return len(self.found) + self.left_out

    def add(self, path: str, value: Any, message: str) -> None:
        """Add an error; ``value`` may be anything, only a bounded text of it is kept.

        A path may have keys in it that somebody else chose.
        """
        if len(self.found) < MAX_ERRORS:
            self.found.append(FieldError(cut(path, 400), shown(value), cut(message, 400)))
        else:
            self.left_out += 1

    def check(self, subject: str) -> None:
        """Raise ``InvalidObjectError`` if there are any."""
        if not self.found:
            return
        errors = list(self.found)
        if self.left_out:
            errors.append(FieldError("(more)", "", f"{self.left_out} further problems"))
        raise InvalidObjectError(subject, errors)


# JSON's objects are dictionaries; whether one is any other mapping is slow to find out.
_OBJECT: Final = (dict, Mapping)


class _Absent:
    """The value of a field that is not there."""


ABSENT: Final = _Absent()


def cut(text: str, length: int = MAX_SHOWN) -> str:
    """``text`` with at most ``length`` characters, printable ones only."""
    text = text if len(text) <= length else text[: length - 3] + "..."
    return printable(text)


def printable(text: str, kept: str = "") -> str:
    """``text`` with "?" for what is not printable: a terminal might obey it. ``kept`` stays as it is."""
    return "".join(char if char.isprintable() or char in kept else "?" for char in text)


def shown(value: Any) -> str:
    """Return a bounded text for a bad value: JSON for scalars, a description for the rest."""
    match value:
        case _Absent():
            return ""
        case bool() | None:
            return json.dumps(value)
        case int():
            # Python refuses to print integers of more than 4,300 digits.
            return str(value) if abs(value) <= MAX_INTEGER else "(a number beyond 64 bits)"
        case float():
            return repr(value)
        case str():
            return '"' + cut(value).replace('"', "'") + '"'
        case Mapping():
            return "(an object)"
        case list() | tuple():
            return "(a list)"
        case _:
            return f"(a {cut(type(value).__name__)})"


# Readers of single values. Each returns a function, so that bounds stand where a field is read.


def text(longest: int, *, shortest: int = 0) -> Read[str]:
    """Read a string of ``shortest`` to ``longest`` characters."""

    def read(value: Any) -> str:
        if not isinstance(value, str):
            raise ValueError("must be a string")  # noqa: TRY004 - readers speak in ValueError
        if len(value) > longest:
            raise ValueError(f"has {len(value)} characters; at most {longest} are allowed")
        if len(value) < shortest:
            raise ValueError("must not be empty" if shortest == 1 else f"needs {shortest} characters or more")
        return value

    return read


def integer(low: int = 0, high: int = MAX_INTEGER) -> Read[int]:
    """Read a whole number from ``low`` to ``high``."""

    def read(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ValueError("must be a whole number")  # noqa: TRY004 - readers speak in ValueError
        if isinstance(value, float) and (not math.isfinite(value) or value != int(value)):
            raise ValueError("must be a whole number")
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}")
        return int(value)

    return read


def boolean(value: Any) -> bool:
    """Read ``true`` or ``false``."""
    if not isinstance(value, bool):
        raise ValueError("must be true or false")  # noqa: TRY004 - readers speak in ValueError
    return value


def mapping(most: int) -> Read[Mapping[str, Any]]:
    """Read an object of at most ``most`` fields, as it is."""

    def read(value: Any) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            raise ValueError("must be an object")  # noqa: TRY004 - readers speak in ValueError
        if len(value) > most:
            raise ValueError(f"has {len(value)} entries; at most {most} are allowed")
        return value

    return read


def choice(values: type[E]) -> Read[E]:
    """One of the values of an enum of strings."""

    def read(value: Any) -> E:
        if isinstance(value, str):
            with contextlib.suppress(ValueError):
                return values(value)
        raise ValueError("must be one of " + ", ".join(str(member.value) for member in values))

    return read


def parsed(parse: Callable[[str], T], longest: int) -> Read[T]:
    """Read a bounded string that ``parse`` understands; ``parse`` raises ``ValueError`` if not."""
    read_text = text(longest)

    def read(value: Any) -> T:
        return parse(read_text(value))

    return read


@dataclass(frozen=True, slots=True)
class Fields:
    """An object at a path. Absent and ``null`` are the same, as for the API server."""

    content: Mapping[Any, Any]
    path: str
    errors: FieldErrors

    @classmethod
    def of(cls, value: Any, path: str, errors: FieldErrors) -> "Fields":
        """``value`` as an object; anything else is a problem and reads as an empty object."""
        if isinstance(value, _OBJECT):
            return cls(value, path, errors)
        if value is not None and not isinstance(value, _Absent):
            errors.add(path, value, "must be an object")
        return cls({}, path, errors)

    def at(self, name: str) -> str:
        """Return the path of a field."""
        return f"{self.path}.{name}" if self.path else name

    def raw(self, name: str) -> Any:
        value = self.content.get(name)
        return ABSENT if value is None else value

    def has(self, name: str) -> bool:
        return self.content.get(name) is not None

    def optional(self, name: str, read: Read[T], default: T) -> T:
        """Return the value of a field, ``default`` when it is absent or refused (which is noted)."""
        value = self.raw(name)
        if isinstance(value, _Absent):
            return default
        return self._read(name, value, read, default)

    def maybe(self, name: str, read: Read[T]) -> T | None:
        """Return the value of a field, ``None`` when it is absent or refused (which is noted)."""
        value = self.raw(name)
        if isinstance(value, _Absent):
            return None
        try:
            return read(value)
        except ValueError as refused:
            self.errors.add(self.at(name), value, str(refused))
            return None

    def required(self, name: str, read: Read[T], placeholder: T) -> T:
        """Return the value of a field, ``placeholder`` when it is absent or refused (both are noted)."""
        value = self.raw(name)
        if isinstance(value, _Absent):
            self.errors.add(self.at(name), ABSENT, "is required")
            return placeholder
        return self._read(name, value, read, placeholder)

    def _read(self, name: str, value: Any, read: Read[T], default: T) -> T:
        try:
            return read(value)
        except ValueError as refused:
            self.errors.add(self.at(name), value, str(refused))
            return default

    def fields(self, name: str) -> "Fields":
        """Return the object in a field; an empty one when it is absent."""
        return Fields.of(self.raw(name), self.at(name), self.errors)

    def tolerant(self, name: str, errors: FieldErrors) -> "Fields":
        """Return the object in a field whose errors are noted in ``errors``: they do not void this object."""
        return Fields.of(self.raw(name), self.at(name), errors)

    def part(self, name: str, read: Callable[["Fields"], T | None]) -> T | None:
        """Return what ``read`` makes of a field; None when it is absent or anything in it is refused."""
        if not self.has(name):
            return None
        return self.fields(name).whole(read)

    def whole(self, read: Callable[["Fields"], T | None]) -> T | None:
        """Return what ``read`` makes of this object; None when anything in it is refused (which is noted)."""
        before = self.errors.count
        value = read(self)
        return value if self.errors.count == before else None

    def items(self, name: str, most: int) -> Iterator["Fields"]:
        """Return the objects of a list field; a list longer than ``most`` is a problem and is not read."""
        for index, item in enumerate(self._list(name, most)):
            yield Fields.of(item, f"{self.at(name)}[{index}]", self.errors)

    def values(self, name: str, read: Read[T], most: int) -> tuple[T, ...]:
        """Return the single values of a list field; refused ones are noted and left out."""
        result: list[T] = []
        for index, item in enumerate(self._list(name, most)):
            try:
                result.append(read(item))
            except ValueError as refused:
                self.errors.add(f"{self.at(name)}[{index}]", item, str(refused))
        return tuple(result)

    def _list(self, name: str, most: int) -> list[Any]:
        value = self.raw(name)
        if isinstance(value, _Absent):
            return []
        if not isinstance(value, list):
            self.errors.add(self.at(name), value, "must be a list")
            return []
        if len(value) > most:
            self.errors.add(self.at(name), value, f"has {len(value)} entries; at most {most} are allowed")
            return []
        return value

    def mapping(self, name: str, read: Read[T], most: int) -> dict[str, T]:
        """Return the entries of a map field; refused ones are noted and left out."""
        entries = self.fields(name)
        if len(entries.content) > most:
            message = f"has {len(entries.content)} entries; at most {most} are allowed"
            self.errors.add(self.at(name), entries.content, message)
            return {}
        result: dict[str, T] = {}
        for key, value in entries.content.items():
            if not isinstance(key, str):
                self.errors.add(f"{entries.path}[{shown(key)}]", ABSENT, "keys must be strings")
                continue
            try:
                result[key] = read(value)
            except ValueError as refused:
                self.errors.add(f"{entries.path}[{cut(key)}]", value, str(refused))
        return result
