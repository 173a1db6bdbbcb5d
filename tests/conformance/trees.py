"""Scenarios that start from a tree of sysfs: each side sees the machine with its own eyes, then decides.

podnuma's topology is what `discover` makes of the tree. The kubelet's managers get the machine as cAdvisor
reads the same tree (`machine` of a scenario). Where the two see it differently, the scenario names the
entries of `docs/deviations.md` that say so, with what each changes (`cadvisor`): a difference is explained by
exactly the entries with which podnuma decides as the kubelet does (`examine`).

A scenario names its tree, from which `completed` makes podnuma's side again: an answer that was recorded is
compared with what discovery and decisions make of that tree today, without Go.
"""

import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tests.conformance import cadvisor, discovery, kubelet

Json = dict[str, Any]

# Numbers of machines of one seed; no run is longer.
_PER_SEED = 1_000_000


def drawn(seed: int, count: int, first: int) -> list[Json]:
    """Return scenarios on odd machines; number i depends on the seed and i only."""
    numbers = range(seed * _PER_SEED + first, seed * _PER_SEED + first + count)
    return on_trees(seed, [f"generated {number}" for number in numbers], first)


def on_trees(seed: int, names: Iterable[str], first: int = 0) -> list[Json]:
    """Return a scenario for each tree, with what both sides see there. Raises NoOracleError."""
    bare = []
    for number, name in enumerate(names, first):
        with tempfile.TemporaryDirectory(dir=kubelet.scratch_root()) as folder:
            seen = _seen(name, Path(folder))
            machine = kubelet.machine_of(Path(folder))
        if "error" not in machine:  # a kubelet that does not start decides nothing
            called = {"name": f"tree-{seed}-{number}", "tree": name, "machine": machine["machine"]}
            bare.append(called | seen)
    lives = map(json.loads, kubelet.generate_on(seed, map(json.dumps, bare), first))
    return [{**life, **scenario} for life, scenario in zip(lives, bare, strict=True)]


def completed(scenario: Json) -> Json:
    """Return a recorded scenario with podnuma's side of it: what discovery makes of its tree."""
    with tempfile.TemporaryDirectory(dir=kubelet.scratch_root()) as folder:
        return {**scenario, **_seen(scenario["tree"], Path(folder))}


def lean(scenario: Json) -> Json:
    """Return a scenario without all that its tree tells."""
    return {
        name: value for name, value in scenario.items() if name not in {"topology", "machine", "cadvisor"}
    }


def _seen(name: str, root: Path) -> Json:
    """Write a tree below `root` and return what podnuma sees there, and what cAdvisor sees otherwise."""
    topology = cadvisor.described(discovery.read(name, root).topology)
    return {"topology": topology, "cadvisor": cadvisor.ways(topology, root / "sys")}
