"""`make conformance SEED=n COUNT=m`: fresh scenarios, both sides, agreement, counter-examples.

Exits 0 when every difference is one of `docs/deviations.md`, 1 when there is any other one, 2
when the oracle cannot be built.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from podnuma.cli.commands import replay

from tests.conformance import examine, kubelet, trees
from tests.conformance.agreement import Agreement
from tests.conformance.examine import Examination, Finding

_CHUNK = 250
_SHOWN = 5


def main(arguments: list[str] | None = None) -> int:
    """Run the comparison; the exit code says what came out."""
    parser = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="scenario i depends on the seed and i only")
    parser.add_argument("--count", type=int, default=1000, help="how many scenarios")
    parser.add_argument("--first", type=int, default=0, help="index of the first one")
    parser.add_argument(
        "--file", type=Path, action="append", default=[], help="scenarios of a JSON lines file instead"
    )
    parser.add_argument(
        "--kubelet",
        choices=[release.value for release in (kubelet.REFERENCE, kubelet.Release.V1_38)],
        default=kubelet.REFERENCE.value,
        help="whose CPUs podnuma is to take",
    )
    parser.add_argument("--devices", action="store_true", help="pods ask for devices, too")
    parser.add_argument("--trees", action="store_true", help="machines are trees that each side reads itself")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--keep", type=Path, help="write every unexplained scenario to this file")
    chosen = parser.parse_args(arguments)
    try:
        kubelet.binary()
        kubelet.binary(kubelet.Release(chosen.kubelet))
    except kubelet.NoOracleError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    started = time.monotonic()
    agreement, findings = _run(chosen)
    for line in agreement.lines():
        _say(line)
    version = kubelet.Release(chosen.kubelet).version
    _say(f"kubelet {version}, seed {chosen.seed}, {time.monotonic() - started:.0f} s")
    if chosen.keep:
        chosen.keep.write_text("".join(json.dumps(finding.scenario) + "\n" for finding in findings))
    for finding in findings[:_SHOWN]:
        _say(f"\nUNEXPLAINED {finding}")
        _say(json.dumps(examine.counter_example(finding, replay.play)))
    if len(findings) > _SHOWN:
        _say(f"\n... and {len(findings) - _SHOWN} more unexplained differences")
        for finding in findings[_SHOWN : 20 * _SHOWN]:
            _say(finding)
    return 1 if findings else 0


def _say(line: object) -> None:
    sys.stdout.write(f"{line}\n")


def _run(chosen: argparse.Namespace) -> tuple[Agreement, list[Finding]]:
    agreement, findings = Agreement(), []
    with ProcessPoolExecutor(chosen.jobs) as pool:
        examined = partial(
            _examine_chunk, kubelet.Release(chosen.kubelet), devices=chosen.devices, on_trees=chosen.trees
        )
        for part in pool.map(examined, _chunks(chosen)):
            agreement.add(part.agreement)
            findings += part.findings
    return agreement, findings


Chunk = list[str] | tuple[int, int, int]


def _chunks(chosen: argparse.Namespace) -> Iterator[Chunk]:
    """Yield lines of files, or (seed, count, first): a worker draws its scenarios itself."""
    for path in chosen.file:
        lines = [line for line in path.read_text().splitlines() if line.strip()]
        for start in range(0, len(lines), _CHUNK):
            yield lines[start : start + _CHUNK]
    if not chosen.file:
        end = chosen.first + chosen.count
        for start in range(chosen.first, end, _CHUNK):
            yield chosen.seed, min(_CHUNK, end - start), start


def _examine_chunk(release: kubelet.Release, chunk: Chunk, *, devices: bool, on_trees: bool) -> Examination:
    if on_trees and not isinstance(chunk, list):
        scenarios = trees.drawn(*chunk)
    else:
        lines = chunk if isinstance(chunk, list) else kubelet.generate(*chunk, devices=devices)
        scenarios = [json.loads(line) for line in lines]
    if release is not kubelet.REFERENCE:
        scenarios = [examine.for_release(scenario, release) for scenario in scenarios]
    return examine.examine(scenarios, replay.play)


if __name__ == "__main__":
    sys.exit(main())
