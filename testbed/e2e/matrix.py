"""Run the end-to-end suite in cells of the matrix, one after the other, and say in a table how each went.

python -m testbed.e2e.matrix all
python -m testbed.e2e.matrix crun runc-cgroupfs-1.37 --times 2
python -m testbed.e2e.matrix crun -k resizes

The default cell runs the whole suite; the others run what depends on the cell: the table beside the
kubelet, starts, who may run where, restarts, drift, cleanup. A choice of yours (-m, -k) takes its place.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed import build
from testbed.vm import rootfs
from testbed.vm.cell import Cell, Containerd, parse_matrix

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

SUITE = ("tests/e2e", "-q", "--no-header", "--tb=short", "--capture=sys")
EACH_CELL = ("-m", "each_cell")
PLUGINS = ("-p", "no:cacheprovider", "-p", "no:xdist")
_HEAD = ("cell", "kubelet", "containerd", "OCI runtime", "run on", "minutes", "result")


@dataclass(frozen=True, slots=True)
class Run:
    """How a cell went: the last line of pytest, its exit status, when and for how long."""

    cell: Cell
    began: dt.datetime
    seconds: float
    status: int
    words: str

    def row(self) -> tuple[str, ...]:
        result = f"{'ok' if self.status == 0 else 'FAILED'}: {self.words}"
        return (
            f"`{self.cell}`",
            *versions(self.cell),
            f"{self.began:%Y-%m-%d}",
            f"{self.seconds / 60:.0f}",
            result,
        )


def versions(cell: Cell) -> tuple[str, str, str]:
    """Return the versions of kubelet, containerd and OCI runtime in a cell."""
    base = rootfs.ensure()
    kubelet = build.version_of(build.RELEASES[cell.kubernetes], "k8s.io/kubernetes")
    containerd = build.version_of("containerd", "github.com/containerd/containerd/v2")
    if cell.containerd is Containerd.DEBIAN:
        containerd = f"Debian {base.version_of('containerd')}"
    return kubelet, containerd, f"Debian {cell.runtime.value} {base.version_of(cell.runtime.value)}"


def chosen(cell: Cell, options: Sequence[str]) -> tuple[str, ...]:
    """Return pytest's options for a cell: those given, and which scenarios unless they choose some."""
    if cell == Cell() or any(option.startswith(("-m", "-k")) for option in options):
        return tuple(options)
    return (*EACH_CELL, *options)


def run(cell: Cell, options: Sequence[str]) -> Run:
    """Run the suite in one cell and show its log."""
    began, clock = dt.datetime.now(dt.UTC), time.monotonic()
    words = ""
    argv = [sys.executable, "-m", "pytest", *SUITE, *PLUGINS, *chosen(cell, options)]
    env = {**os.environ, "PODNUMA_E2E_CELL": str(cell)}
    with subprocess.Popen(
        argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as suite:
        for line in suite.stdout or ():
            print(line, end="", flush=True)
            words = line.strip() or words
    return Run(cell, began, time.monotonic() - clock, suite.returncode, words)


def table(runs: Iterable[Run]) -> Iterator[str]:
    """Yield the lines of a Markdown table."""
    rows = [_HEAD, tuple("---" for _ in _HEAD), *(each.row() for each in runs)]
    for row in rows:
        yield f"| {' | '.join(row)} |"


def main() -> int:
    """Run the end-to-end suite in cells of the matrix; further options go to pytest."""
    parser = argparse.ArgumentParser(prog="python -m testbed.e2e.matrix", description=main.__doc__)
    parser.add_argument("cells", nargs="+", help="all, or names as crun, runc-cgroupfs, crun-systemd-1.37")
    parser.add_argument("--times", type=int, default=1, help="how often each cell is run (default: once)")
    named, options = parser.parse_known_args()
    try:
        cells = parse_matrix(" ".join(named.cells))
    except ValueError as error:
        parser.error(str(error))
    runs: list[Run] = []
    for cell in cells:
        for _ in range(named.times):
            print(f"== {cell}: {', '.join(versions(cell))}", flush=True)
            runs.append(run(cell, options))
    print(*table(runs), sep="\n")
    return int(any(each.status for each in runs))


if __name__ == "__main__":
    sys.exit(main())
