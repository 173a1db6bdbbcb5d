"""Record the kubelet's answers, to compare without Go.

    python -m tests.conformance.record [trees|newer|devices]

Recorded are, a few hundred lines of `{"scenario": ..., "kubelet": ...}` in each file,

* `written-NN.jsonl.xz`: the scenario files of the oracle (the announcement's pods, KEP-5526, life of
  pods, bug reports) and what `worked.py` writes (the specification's examples, real machines, odd ones);
* `generated-NN.jsonl.xz`: drawn ones, over every policy and option;
* `newer-NN.jsonl.xz`: what v1.38.0-beta.0 answers to drawn scenarios, where that is something else than
  the reference says; alone with `newer`;
* `devices-NN.jsonl.xz`: drawn ones whose pods ask for devices; alone with `devices`;
* `trees-NN.jsonl.xz`: drawn ones on machines that each side reads from a tree (see `trees`), without what the
  tree tells; alone with `trees`;
* `v1.36.json`: where kubelet v1.36.3 answers otherwise, by kind.

A scenario that a *mark* ends (see `deviations`) is recorded once more without that step, until
none ends it. Left out of the answers is what is never compared: other counters, and where in a package
the kubelet code failed.
"""

import json
import lzma
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from podnuma.cli.commands import replay

from tests.conformance import (
    compare,
    deviations,
    discovery,
    examine,
    kubelet,
    minimise,
    releases,
    trees,
    worked,
)

RECORDED = Path(__file__).parent / "recorded"
RELEASES = RECORDED / "v1.36.json"

_SEEDS = {5526: 2600, 1363: 1100, 1372: 1000}
PER_FILE = 320
_EXAMPLES = 5
_NEWER_SEED, _NEWER_COUNT = 1380, 6000
_DEVICES_SEED, _DEVICES_COUNT = 5517, 2100
_TREES_SEED, _TREES_COUNT, _LIVES_OF_REAL_MACHINES = 526, 400, 2

Json = dict[str, Any]


def main(arguments: list[str]) -> int:
    """Ask all releases and write the recording, or that of one group."""
    RECORDED.mkdir(exist_ok=True)
    drawn: dict[str, Callable[[], Iterable[tuple[Json, Json]]]] = {
        "trees": _answered_on_trees,
        "devices": _answered_with_devices,
        "newer": _answered_otherwise,
    }
    for group in arguments or drawn:
        _replace(group, list(drawn[group]()))
    if not arguments:
        _record_reference()
    return 0


def _record_reference() -> None:
    groups = {
        "written": list(_answered([*_hand_written(), *worked.everything()])),
        "generated": list(_answered(_generated())),
    }
    for name, pairs in groups.items():
        _replace(name, pairs)
    everything = [pair for pairs in groups.values() for pair in pairs]
    RELEASES.write_text(json.dumps(_other_release(everything), indent=1) + "\n")
    size = sum(path.stat().st_size for path in RECORDED.iterdir())
    sys.stdout.write(f"recorded {len(everything)} scenarios in {size / 2**20:.1f} MiB\n")


def _replace(group: str, pairs: list[tuple[Json, Json]]) -> None:
    for old in recorded_files(group):
        old.unlink()
    _write(group, pairs)


def _write(name: str, pairs: list[tuple[Json, Json]]) -> None:
    for number, start in enumerate(range(0, len(pairs), PER_FILE)):
        content = "".join(
            json.dumps({"scenario": scenario, "kubelet": _lean(answer)}, separators=(",", ":")) + "\n"
            for scenario, answer in pairs[start : start + PER_FILE]
        )
        packed = lzma.compress(content.encode(), preset=9 | lzma.PRESET_EXTREME)
        (RECORDED / f"{name}-{number:02}.jsonl.xz").write_bytes(packed)


def recorded_files(group: str = "*") -> list[Path]:
    """Return the recorded files: "written", "generated", "newer", "devices", "trees", or all."""
    return sorted(RECORDED.glob(f"{group}-*.jsonl.xz"))


def read(path: Path) -> Iterator[tuple[Json, Json]]:
    """Yield scenario and answer of every line of a recorded file."""
    with lzma.open(path, "rt") as lines:
        for line in lines:
            both = json.loads(line)
            yield both["scenario"], both["kubelet"]


def _hand_written() -> Iterator[Json]:
    for path in sorted((kubelet.SOURCES / "scenarios").glob("*.jsonl")):
        yield from map(json.loads, path.read_text().splitlines())


def _generated() -> Iterator[Json]:
    for seed, count in _SEEDS.items():
        yield from map(json.loads, kubelet.generate(seed, count))


def _answered_on_trees() -> Iterator[tuple[Json, Json]]:
    """Yield scenarios on all real machines and on odd ones, with the kubelet's answers."""
    lives = (trees.on_trees(seed, discovery.names(0)) for seed in range(_LIVES_OF_REAL_MACHINES))
    scenarios = [*chain.from_iterable(lives), *trees.drawn(_TREES_SEED, _TREES_COUNT, 0)]
    for scenario, answer in _answered(scenarios):
        yield trees.lean(scenario), answer


def _answered_with_devices() -> Iterator[tuple[Json, Json]]:
    yield from _answered(map(json.loads, kubelet.generate(_DEVICES_SEED, _DEVICES_COUNT, devices=True)))


def _answered(scenarios: Iterable[Json]) -> Iterator[tuple[Json, Json]]:
    waiting = [{**scenario, "steps": [_bare(step) for step in scenario["steps"]]} for scenario in scenarios]
    while waiting:
        again = []
        for scenario, answer in zip(waiting, examine.answers(waiting), strict=True):
            yield scenario, answer
            verdict = examine.judge(scenario, answer, replay.play)
            if verdict.mark is not None and verdict.step >= 0:
                rest = minimise.without_step(scenario, verdict.step)
                if rest["steps"]:
                    again.append({**rest, "name": f"{scenario['name']}~{verdict.step}"})
        waiting = again


def _answered_otherwise() -> Iterator[tuple[Json, Json]]:
    """Yield drawn scenarios to which v1.38 has another answer than the reference, with that answer."""
    scenarios = list(map(json.loads, kubelet.generate(_NEWER_SEED, _NEWER_COUNT)))
    wanted = [examine.for_release(scenario, kubelet.Release.V1_38) for scenario in scenarios]
    for scenario, older, newer in zip(
        wanted, examine.answers(scenarios), examine.answers(wanted), strict=True
    ):
        if compare.first_difference(older, newer) is not None:
            yield scenario, newer


def _bare(step: Json) -> Json:
    return {key: value for key, value in step.items() if not key.startswith("expect")}


def _lean(answer: Json) -> Json:
    for step in answer.get("steps") or ():
        if "panic" in step:
            step["panic"] = deviations.failed_package(step)
        counted = {
            name: value for name, value in (step.get("metrics") or {}).items() if "resource_manager_" in name
        }
        step["metrics"] = counted
    return answer


def _other_release(pairs: list[tuple[Json, Json]]) -> Json:
    found: defaultdict[str, list[str]] = defaultdict(list)
    first: dict[str, str] = {}
    others = examine.answers([scenario for scenario, _ in pairs], kubelet.Release.V1_36)
    for (scenario, reference), other in zip(pairs, others, strict=True):
        difference = compare.first_difference(reference, other)
        if difference is not None:
            kind = releases.kind_of(scenario, difference) or "unknown"
            found[kind].append(scenario["name"])
            first.setdefault(kind, f"{scenario['name']}: {difference}".replace("podnuma", "v1.36.3")[:400])
    kinds = {
        kind: {"scenarios": len(names), "examples": names[:_EXAMPLES], "first": first[kind]}
        for kind, names in sorted(found.items(), key=lambda entry: -len(entry[1]))
    }
    return {"scenarios": len(pairs), "reference": "v1.37.2", "other": "v1.36.3", "kinds": kinds}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
