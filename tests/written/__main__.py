"""`make written COUNT=n SEED=m`: all that operator, agent and command line write in n states is read back.

Prints the number of each state in which something is refused, and exits 1. `COUNT=1 SEED=NUMBER` repeats one.
How far it is goes to standard error, at each twentieth of the way.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from tests.written.check import check
from tests.written.commands import check_commands
from tests.written.states import written

if TYPE_CHECKING:
    from collections.abc import Callable

_CHUNK = 250
_SHOWN = 20
_STEPS = 20


def refused(first: int, count: int) -> tuple[int, list[str]]:
    """Return how many objects were read back in the states from `first`, and what was refused."""
    read, found = 0, []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(first, first + count):
            objects = list(written(number))
            read += len(objects)
            problems = [_problem(check, one) for one in objects]
            problems.append(_problem(check_commands, number, objects, Path(folder)))
            found += [f"state {number}: {problem}" for problem in problems if problem]
    return read, found


def _problem(tried: Callable[..., None], *given: object) -> str:
    try:
        tried(*given)
    except AssertionError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001 - nothing that was written may end in a fault
        return repr(error)
    return ""


def main(arguments: list[str] | None = None) -> int:
    """Read back what is written in all states."""
    parser = argparse.ArgumentParser(prog="make written", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="number of the first state")
    parser.add_argument("--count", type=int, default=100_000)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    chosen = parser.parse_args(arguments)
    firsts = range(chosen.seed, chosen.seed + chosen.count, _CHUNK)
    counts = [min(_CHUNK, chosen.seed + chosen.count - first) for first in firsts]
    objects, states = 0, 0
    problems: list[str] = []
    with concurrent.futures.ProcessPoolExecutor(chosen.jobs) as pool:
        for count, (read, found) in zip(counts, pool.map(refused, firsts, counts), strict=True):
            before = states * _STEPS // chosen.count
            objects, states, problems = objects + read, states + count, problems + found
            if states * _STEPS // chosen.count > before:
                sys.stderr.write(f"{states:,} of {chosen.count:,} states, {len(problems)} refused\n")
    for problem in problems[:_SHOWN]:
        sys.stdout.write(f"{problem}\n")
    sys.stdout.write(f"{chosen.count:,} states, {objects:,} objects, {len(problems)} refused\n")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
