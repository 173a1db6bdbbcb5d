"""Exact amounts of CPU, memory and huge pages, from the text Kubernetes writes them in.

An amount is a whole number of billionths (`nano`); text with more digits rounds up, as the
API server does. Nothing here is a float.

*Representable* tells whether the kubelet can read the amount as a plain 64-bit integer. It
depends on the text, not only on the value: "1.5Gi" and "100Ti" are kept by its parser as
decimals of any length, "1536Mi" is not. Decisions depend on it.

Always true: two quantities are equal when their values are, whatever their texts. Amounts
are never negative. In the kubelet: `resource.Quantity` of
apimachinery, `AsInt64`.
"""

import re
from dataclasses import dataclass, field
from functools import lru_cache

NANO = 10**9
_LARGEST = (2**63 - 1) * NANO

_SHAPE = re.compile(
    r"([+-])?([0-9]*)(?:\.([0-9]*))?(Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]{1,4})?", re.ASCII
)
_BINARY = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL = {"": 0, "n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}

# Digits the kubelet's parser can hold in an int64 next to the suffix.
_DECIMAL_DIGITS = 18
_BINARY_DIGITS = 14

# Longer texts than any amount needs; refusing them bounds the work on hostile input.
_LONGEST = 64
_ROUND = 1000


@dataclass(frozen=True, slots=True)
class Quantity:
    """An exact, non-negative amount. `nano` is in billionths of a CPU or of a byte."""

    nano: int
    representable: bool = field(default=True, compare=False)
    milli: int = field(init=False, compare=False, repr=False)
    units: int = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "milli", -(-self.nano // 10**6))
        object.__setattr__(self, "units", -(-self.nano // NANO))

    @property
    def integral(self) -> bool:
        """Say whether this is a whole number of CPUs (to the millicore, rounded up)."""
        return self.units * 1000 == self.milli

    @property
    def bytes(self) -> int:
        """The amount in bytes, a fraction rounded up."""
        return self.units


def of(units: int) -> Quantity:
    """Return a whole number of CPUs or bytes."""
    return Quantity(units * NANO)


def parse(value: str | float) -> Quantity:
    """Read a quantity: "1500m", "4", "16Gi", "129e6", or a JSON number.

    As for the API server a plus sign changes nothing, and no digits are zero ("Gi", which templates
    write without a value). Raises ValueError with the text for anything else: amounts below zero,
    blanks, unknown suffixes, mixed forms such as "1e3Mi".
    """
    if isinstance(value, bool):
        raise ValueError(f"{value} is not a quantity")  # noqa: TRY004 - one error type for the caller
    return _parse_text(value if isinstance(value, str) else repr(value))


@lru_cache(4096)
def _parse_text(text: str) -> Quantity:
    """Return one object for all that ask for as much: the same few amounts come with every pod."""
    match = _SHAPE.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or not text:
        raise ValueError(f"{text[:_LONGEST]!r} is not a quantity such as 4, 1500m or 16Gi")
    whole, fraction, suffix = match[2].lstrip("0"), match[3] or "", match[4] or ""
    digits = int((whole + fraction) or "0")
    if match[1] == "-" and digits:
        raise ValueError(f"{text!r} is below zero and is not a quantity such as 4, 1500m or 16Gi")
    if suffix in _BINARY:
        return _binary(digits, len(whole) or 1, len(fraction), _BINARY[suffix])
    exponent = int(suffix[1:]) if len(suffix) > 1 else _DECIMAL.get(suffix, 0)
    return _decimal(digits, (len(whole) or 1) + len(fraction), len(fraction), exponent)


def _binary(digits: int, whole: int, fraction: int, shift: int) -> Quantity:
    nano = min(_LARGEST, -(-((digits << shift) * NANO) // 10**fraction))
    fits = fraction == 0 and whole <= _BINARY_DIGITS - shift * 3 // 10
    return Quantity(nano, representable=fits)


def _decimal(digits: int, length: int, fraction: int, exponent: int) -> Quantity:
    scale = exponent - fraction
    if scale >= 0:
        # An exponent of hundreds is far above the largest amount; do not compute it.
        exact = _LARGEST + 1 if digits and scale > _DECIMAL_DIGITS + 1 else digits * 10**scale * NANO
    else:
        exact = -(-digits * NANO // 10**-scale) if -scale < 10 * _LONGEST else min(digits, 1)
    nano = min(_LARGEST, exact)
    fits = length <= _DECIMAL_DIGITS and scale >= 0 and exact <= _LARGEST
    return Quantity(nano, representable=fits)


@lru_cache(1024)
def format_bytes(size: int) -> str:
    """Write bytes with the largest binary suffix that divides them: "16Gi", "1536Mi", "1000"."""
    for suffix, shift in reversed(_BINARY.items()):
        if size and size % (1 << shift) == 0:
            return f"{size >> shift}{suffix}"
    return str(size)


def format_rounded(size: int) -> str:
    """Write bytes with three digits, for people: "16Gi", "31.9Gi"."""
    value = float(size)
    for unit in ("", "Ki", "Mi", "Gi"):
        if value < _ROUND:
            return f"{value:.3g}{unit}"
        value /= 1024
    return f"{value:.3g}Ti"


def format_cpu(milli: int) -> str:
    """Write millicores as Kubernetes does: "4" for 4000, "1500m" for 1500."""
    return str(milli // 1000) if milli % 1000 == 0 else f"{milli}m"
