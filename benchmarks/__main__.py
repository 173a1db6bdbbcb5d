"""`make bench`: podnuma's allocator next to the kubelet's own code, in one run on one machine.

Per configuration: admissions per second of both, and their ratio, with the kubelet's checkpoint time
and without it. Not a test: the figures only mean something next to each other.
"""

import argparse
import subprocess
import sys

from rich.console import Console
from rich.table import Table

from benchmarks import admissions, shapes
from tests.conformance import kubelet


def main(arguments: list[str] | None = None) -> int:
    """Measure and print; 2 when the oracle cannot be built."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=5.0, help="of admissions, per side and configuration"
    )
    parser.add_argument("--without-memory", action="store_true", help="leave out the ten thousand nodes")
    chosen = parser.parse_args(arguments)
    try:
        kubelet.binary()
    except kubelet.NoOracleError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    table = Table(
        title="admissions per second of processor time; scope pod; kubelet v1.37.2, checkpoints in memory"
    )
    for heading in (
        "configuration",
        "pods",
        "kubelet",
        "no checkpoint",
        "podnuma",
        "ratio",
        "ratio, no checkpoint",
    ):
        table.add_column(heading, justify="left" if heading == "configuration" else "right")
    for scenario in shapes.scenarios():
        theirs = admissions.of_kubelet(scenario, chosen.seconds)
        ours = admissions.podnuma(scenario, chosen.seconds)
        table.add_row(
            scenario["name"],
            f"{ours.pods}" if ours.pods == theirs.pods else f"{ours.pods} / {theirs.pods}",
            f"{theirs.per_second:,.0f}",
            f"{theirs.without_checkpoint:,.0f}",
            f"{ours.per_second:,.0f}",
            f"{ours.per_second / theirs.per_second:.1f}",
            f"{ours.per_second / theirs.without_checkpoint:.1f}",
        )
    Console(width=max(120, Console().width)).print(table)
    if not chosen.without_memory:
        subprocess.run([sys.executable, "-m", "benchmarks.memory"], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
