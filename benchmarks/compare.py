"""The hot paths of two builds beside each other, in one run on one machine: `make bench-compare BASE=COMMIT`.

    make bench-compare BASE=v0.1.0                      the rows that take seconds
    make bench-compare BASE=HEAD~20 ROWS="pass order"   some
    make bench-compare BASE=v0.1.0 ROWS=all ROUNDS=2    every row: an hour or more

Every round measures each command once in the commit's build and once in that of now; which comes first
changes from round to round. Shown are the median of the rounds, the smallest and the largest value, and how
many times better it is now. Not a test: the exit status is 0 when every figure of now was measured.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import datetime as dt
import json
import os
import platform
import signal
import statistics
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from rich.console import Console
from rich.table import Table

from benchmarks import builds, rows
from benchmarks.builds import CannotMeasureError, Driver

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

ROOT = Path(__file__).parents[1]
ROUNDS = 5


class Runner(Protocol):
    """What measures a command in one build: raises CannotMeasureError."""

    def __call__(self, command: str, driver: Driver) -> Mapping[str, float]:
        """Return the figures of a command."""
        ...


def measure(
    commands: Sequence[rows.Command],
    runners: Mapping[str, Runner],
    rounds: int,
    tell: Callable[[str], object],
) -> dict[str, rows.Side]:
    """Measure every command in every build alternately, and return what each build gave."""
    sides = {name: rows.Side() for name in runners}
    for turn in range(rounds):
        order = list(runners) if turn % 2 == 0 else list(runners)[::-1]
        for command in commands:
            for name in order if turn < command.rounds else ():
                side = sides[name]
                if command.name in side.reasons:
                    continue
                tell(f"round {turn + 1} of {min(rounds, command.rounds)}: {command.name}, {name}")
                try:
                    found, driver = _measured(runners[name], command, side.drivers.get(command.name))
                except CannotMeasureError as error:
                    side.reasons[command.name] = str(error)
                    tell(f"  {name} cannot measure {command.name}: {error}")
                else:
                    side.take(command, found, driver.value)
    return sides


def _measured(runner: Runner, command: rows.Command, known: str | None) -> tuple[Mapping[str, float], Driver]:
    """Measure by the benchmarks of today, or by those of the build where they do not fit it."""
    if known is not None:
        driver = Driver(known)
        return runner(command.name, driver), driver
    try:
        return runner(command.name, Driver.TODAY), Driver.TODAY
    except CannotMeasureError as error:
        if not builds.lacks(error):
            raise
        try:
            return runner(command.name, Driver.OWN), Driver.OWN
        except CannotMeasureError:
            raise error from None


@dataclasses.dataclass(frozen=True, slots=True)
class Machine:
    """What a reader needs to judge a run."""

    at: str
    cpus: int
    model: str
    memory_gib: float
    python: str
    load: tuple[float, float, float]

    @classmethod
    def now(cls) -> Machine:
        """Look at this machine."""
        cpuinfo = _lines("/proc/cpuinfo")
        memory = next(
            (line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), "0"
        )
        return cls(
            at=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
            cpus=len(os.sched_getaffinity(0)),
            model=next((line.partition(":")[2].strip() for line in cpuinfo if "model name" in line), "?"),
            memory_gib=int(memory) / 2**20,
            python=platform.python_version(),
            load=os.getloadavg(),
        )

    def __str__(self) -> str:
        load = ", ".join(f"{value:.1f}" for value in self.load)
        return (
            f"{self.at}: {self.cpus} CPUs ({self.model}), {self.memory_gib:.0f} GiB, Python {self.python}; "
            f"load {load}"
        )


def _lines(path: str) -> list[str]:
    with contextlib.suppress(OSError):
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    return []


def shown(values: Sequence[float], unit: str, reason: str) -> str:
    """Return median and range of a side, or why it has none."""
    if not values:
        return f"not measured: {reason}"
    middle = statistics.median(values)
    digits = 0 if middle >= 100 else 1 if middle >= 10 else 2  # noqa: PLR2004 - three figures
    text = f"{middle:,.{digits}f} {unit}"
    return text if len(values) == 1 else f"{text} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def target(row: rows.Row) -> str:
    """Return what a row is to be."""
    if row.target_ratio is not None:
        return f"{row.target_ratio:g} x the base"
    if row.target is None:
        return ""
    sign = "≥" if row.better is rows.Better.HIGHER else "≤"
    return f"{sign} {row.target:g} {row.unit}"


def table(lines: Sequence[rows.Line], base: str, drivers: Mapping[str, str]) -> Table:
    """Put it on paper; `drivers`: command -> whose benchmarks measured the base."""
    found = Table(title=f"base: {base}; ratio: how many times better it is now")
    for heading in ("row", "", "base", "now", "ratio", "target", "reached", "base measured by"):
        found.add_column(heading, justify="right" if heading == "ratio" else "left")
    for line in lines:
        row = line.row
        found.add_row(
            row.name,
            row.title,
            shown(line.base, row.unit, line.base_reason),
            shown(line.now, row.unit, line.now_reason),
            "" if line.ratio is None else f"{line.ratio:.2f}",
            target(row),
            {True: "yes", False: "no", None: ""}[line.met],
            f"{drivers[row.command.name]} benchmarks" if row.command.name in drivers else "",
        )
    return found


def as_json(lines: Sequence[rows.Line], **about: Any) -> str:
    """Return everything, every round's value included."""
    found = [
        {
            "row": line.row.name,
            "title": line.row.title,
            "unit": line.row.unit,
            "better": line.row.better.value,
            "base": list(line.base),
            "now": list(line.now),
            "baseNotMeasured": line.base_reason,
            "nowNotMeasured": line.now_reason,
            "ratio": line.ratio,
            "target": target(line.row),
            "reached": line.met,
        }
        for line in lines
    ]
    return json.dumps({**about, "rows": found}, indent=2, ensure_ascii=False)


def arguments(words: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        prog="make bench-compare", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("base", help="the commit to compare with")
    parser.add_argument("rows", nargs="*", help="rows; without any the quick ones; all for every one")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"measurements of each build ({ROUNDS})")
    parser.add_argument("-o", "--output", choices=("text", "json"), default="text")
    parser.add_argument("--list", action="store_true", help="list the rows instead")
    return parser.parse_args(words)


def main(words: Sequence[str] | None = None) -> int:
    """Measure and print."""
    asked = arguments(words)
    told = Console(stderr=True, highlight=False)
    paper = Console(width=None if sys.stdout.isatty() else 200)
    try:
        wanted = rows.chosen(asked.rows)
    except rows.UnknownRowError as error:
        told.print(str(error))
        return 2
    if asked.list:
        for row in wanted:
            needs = f"; needs {row.command.needs}" if row.command.needs else ""
            paper.print(f"{row.name:18} {row.title}{needs}", highlight=False)
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    before = Machine.now()
    told.print(str(before))
    try:
        with builds.both(ROOT, asked.base) as (base, now, folder):
            differing = builds.differing_packages(base.tree, now.tree)

            def runner(build: builds.Build) -> Runner:
                def run(command: str, driver: Driver) -> Mapping[str, float]:
                    return build.measure(command, driver, folder / f"{build.name}-{command}.log")

                return run

            runners = {"base": runner(base), "now": runner(now)}
            sides = measure(rows.commands(wanted), runners, asked.rounds, told.print)
    except CannotMeasureError as error:
        told.print(str(error))
        return 2
    except KeyboardInterrupt:
        told.print("interrupted; nothing is left behind")
        return 130
    after = Machine.now()
    lines = rows.lines(wanted, sides["base"], sides["now"])
    if asked.output == "json":
        machine = {"before": dataclasses.asdict(before), "after": dataclasses.asdict(after)}
        sys.stdout.write(as_json(lines, base=asked.base, machine=machine, packagesOfBase=differing) + "\n")
    else:
        paper.print(table(lines, asked.base, sides["base"].drivers))
        paper.print(f"before: {before}\nafter:  {after}", highlight=False)
        if differing:
            paper.print(f"both builds ran with the packages of now; the base asks for {', '.join(differing)}")
    return 0 if all(line.now for line in lines) else 1


if __name__ == "__main__":
    sys.exit(main())
