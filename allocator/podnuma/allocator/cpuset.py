"""A set of CPUs is an integer: bit i stands for CPU i.

`&`, `|`, `& ~` and `bit_count()` are the set algebra, at the price of one machine
operation per 30 CPUs, for any CPU id. The text form is the kernel's list format.

    render(parse("3,0-1"))  ->  "0-1,3"

Always true: the empty set is 0 and renders as the empty text; a run of two CPUs is
written as a range; `parse(render(x)) == x`. In the kubelet: k8s.io/utils/cpuset.
"""

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import NewType

CpuSet = NewType("CpuSet", int)

EMPTY = CpuSet(0)

# A list such as "0-4000000000" in an object must not cost gigabytes. No kernel
# is built for more than 8192 CPUs; ids can be sparse.
MAX_ID = 65_535


def of(cpus: Iterable[int]) -> CpuSet:
    """Return the set of the given CPU ids. Raises ValueError for an id outside 0..MAX_ID."""
    mask = 0
    for cpu in cpus:
        if not 0 <= cpu <= MAX_ID:
            raise ValueError(f"CPU id {cpu} is outside 0-{MAX_ID}")
        mask |= 1 << cpu
    return CpuSet(mask)


def ids(cpus: int) -> Iterator[int]:
    """Yield the members, ascending."""
    while cpus:
        low = cpus & -cpus
        yield low.bit_length() - 1
        cpus ^= low


def runs(cpus: int) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of every run of adjacent members, ascending."""
    while cpus:
        first = (cpus & -cpus).bit_length() - 1
        rest = cpus >> first
        length = (~rest & (rest + 1)).bit_length() - 1
        yield first, first + length - 1
        cpus = (rest >> length) << (first + length)


@lru_cache(128)
def render(cpus: int) -> str:
    """Write the set in kernel list format, ascending, for example "0-3,8"; "" for the empty set.

    One object names the same few sets several times: those of the pod, of its container and of the summary.
    """
    return ",".join([str(first) if first == last else f"{first}-{last}" for first, last in runs(cpus)])


def parse(text: str) -> CpuSet:
    """Read kernel list format. Any order, duplicates merge, "" is empty.

    Raises ValueError, with the offending part, for blanks, signs, reversed ranges, ids above MAX_ID.
    """
    if text == "":
        return EMPTY
    mask = 0
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low = _number(first, part)
        high = _number(last, part) if dash else low
        if high < low:
            raise ValueError(f"{part!r} runs backwards; write {last}-{first}")
        mask |= ((1 << (high - low + 1)) - 1) << low
    return CpuSet(mask)


def lowest(cpus: int, count: int) -> CpuSet:
    """Return the `count` members with the lowest ids (all of them if there are fewer)."""
    taken = 0
    for _ in range(count):
        low = cpus & -cpus
        if not low:
            break
        taken |= low
        cpus ^= low
    return CpuSet(taken)


def _number(digits: str, part: str) -> int:
    # isdecimal() alone would let other scripts' digits pass.
    if not (digits.isascii() and digits.isdecimal()):
        raise ValueError(f"{part[:40]!r} is not an id or a range of ids such as 0-3")
    if len(digits) > 9 or int(digits) > MAX_ID:  # noqa: PLR2004 - bounded before int()
        raise ValueError(f"{part[:40]!r} names an id above {MAX_ID}")
    return int(digits)
