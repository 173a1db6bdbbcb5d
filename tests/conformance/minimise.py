"""Make a scenario small while it still shows what it was found for.

`smallest` drops steps, then containers, then settings, then parts of the machine's description,
as long as `shows` stays true, and starts over until nothing more can go. It knows nothing of
what is being looked for. The number of trials is bounded, so a slow `shows` cannot run for ever.
"""

import copy
from collections.abc import Callable, Iterator
from typing import Any

Scenario = dict[str, Any]

_MOST_TRIALS = 400


def smallest(scenario: Scenario, shows: Callable[[Scenario], bool]) -> Scenario:
    """Return a scenario that still `shows` it and of which no single part can be left out."""
    trials = 0
    shrunk = True
    while shrunk:
        shrunk = False
        for candidate in _smaller(scenario):
            trials += 1
            if trials > _MOST_TRIALS:
                return scenario
            if shows(candidate):
                scenario, shrunk = candidate, True
                break
    return scenario


def without_step(scenario: Scenario, index: int) -> Scenario:
    """Leave out one step, and with an addPod every other step about that pod."""
    gone = scenario["steps"][index]
    uid = _added(gone) if gone["op"] == "addPod" else None
    steps = [
        step
        for place, step in enumerate(scenario["steps"])
        if place != index and (uid is None or (step.get("uid") != uid and _added(step) != uid))
    ]
    return {**scenario, "steps": steps}


def _added(step: Scenario) -> str | None:
    meta = (step.get("pod") or {}).get("metadata") or {}
    uid = meta.get("uid") or meta.get("name")
    return str(uid) if uid else None


def _smaller(scenario: Scenario) -> Iterator[Scenario]:
    steps = scenario["steps"]
    # Whole halves first: most steps of a generated scenario have nothing to do with the finding.
    for size in (len(steps) // 2, len(steps) // 4):
        if size > 1:
            for start in range(0, len(steps), size):
                yield {**scenario, "steps": steps[:start] + steps[start + size :]}
    for index in reversed(range(len(steps))):
        yield without_step(scenario, index)
        yield {**scenario, "steps": steps[:index] + steps[index + 1 :]}
    yield from _fewer_containers(scenario)
    yield from _fewer_settings(scenario)
    if "machine" not in scenario:  # what cAdvisor reads is as it is
        yield from _plainer_machine(scenario)


def _fewer_containers(scenario: Scenario) -> Iterator[Scenario]:
    for index, step in enumerate(scenario["steps"]):
        spec = (step.get("pod") or {}).get("spec") or {}
        for group in ("initContainers", "containers"):
            for place in range(len(spec.get(group) or ())):
                if group == "containers" and len(spec[group]) == 1:
                    continue
                out = copy.deepcopy(scenario)
                del out["steps"][index]["pod"]["spec"][group][place]
                yield out


def _fewer_settings(scenario: Scenario) -> Iterator[Scenario]:
    for field, value in scenario["kubelet"].items():
        rest = {key: kept for key, kept in scenario["kubelet"].items() if key != field}
        yield {**scenario, "kubelet": rest}
        if isinstance(value, dict):
            for option in value:
                fewer = {key: kept for key, kept in value.items() if key != option}
                yield {**scenario, "kubelet": {**rest, field: fewer}}


def _plainer_machine(scenario: Scenario) -> Iterator[Scenario]:
    nodes = scenario["topology"]["numaNodes"]
    for field in ("distances", "hugepages"):
        if any(field in node for node in nodes):
            plain = [{key: value for key, value in node.items() if key != field} for node in nodes]
            yield {**scenario, "topology": {**scenario["topology"], "numaNodes": plain}}
    if "uncorePerNuma" in scenario["topology"]:
        fewer = {key: value for key, value in scenario["topology"].items() if key != "uncorePerNuma"}
        yield {**scenario, "topology": fewer}
