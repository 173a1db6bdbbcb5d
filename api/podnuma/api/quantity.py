"""Quantities in JSON: a text or a plain number, and the text the API server would store."""

from typing import Any, Final

from podnuma.allocator import Quantity, quantities
from podnuma.allocator.quantities import NANO
from podnuma.allocator.request import CPU
from podnuma.api.decoding import text

LONGEST: Final = 64

_MILLI: Final = 10**6


def read_quantity(value: Any) -> Quantity:
    """Read a quantity: a text ("1500m", "16Gi") or a plain number. Raises ``ValueError``.

    Blanks around it do not count, as for the API server in JSON.
    """
    if isinstance(value, int | float) and not isinstance(value, bool):
        # Bounded before it is turned into text: an integer of a million digits is legal JSON.
        if not abs(value) < 2**63:
            raise ValueError("is beyond 64 bits")
        return quantities.parse(value)
    return quantities.parse(text(LONGEST)(value).strip())


def read_bytes(value: Any) -> int:
    """Read a quantity of bytes, a fraction rounded up. Raises ``ValueError``."""
    return read_quantity(value).bytes


def render_quantity(amount: Quantity, resource: str) -> str:
    """Render an amount of a resource, exactly: "4", "1500m" for CPU, "16Gi" for bytes."""
    if amount.nano % NANO == 0:
        return str(amount.units) if resource == CPU else quantities.format_bytes(amount.bytes)
    if amount.nano % _MILLI == 0:
        return f"{amount.nano // _MILLI}m"
    return f"{amount.nano}n"
