"""Where kubelet v1.36.3 answers otherwise than v1.37.2, the reference, and of which kind that is.

Only the first difference of a scenario is looked at: what follows starts from another node.
Kinds are tried in order; the specification's section 10 has the rules behind them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.conformance.compare import Difference

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of difference between the two releases."""

    name: str
    fits: Callable[[Json, Difference], bool]


def _step(scenario: Json, difference: Difference) -> Json:
    steps = scenario["steps"]
    found: Json = steps[difference.step] if 0 <= difference.step < len(steps) else {"op": "start"}
    return found


def _options(scenario: Json) -> Mapping[str, str]:
    return scenario["kubelet"].get("cpuManagerPolicyOptions") or {}


def _served_one_by_one(scenario: Json) -> bool:
    kubelet: Mapping[str, str] = scenario["kubelet"]
    return (
        kubelet.get("topologyManagerScope", "container") == "container"
        or kubelet.get("topologyManagerPolicy", "none") == "none"
    )


def _has_budget(pod: Json) -> bool:
    resources: Json = pod["spec"].get("resources") or {}
    return any(resources.get(side) for side in ("requests", "limits"))


def _guaranteed_like(container: Json) -> bool:
    resources = container.get("resources") or {}
    limits: Json = resources.get("limits") or {}
    requests: Json = {**limits, **(resources.get("requests") or {})}
    return all(name in limits and bool(requests[name] == limits[name]) for name in ("cpu", "memory"))


def _empty_memory_request(scenario: Json, difference: Difference) -> bool:
    pod = _step(scenario, difference).get("pod")
    if pod is None or not _served_one_by_one(scenario) or not _has_budget(pod):
        return False
    spec = pod["spec"]
    containers = [*(spec.get("initContainers") or ()), *spec["containers"]]
    return scenario["kubelet"].get("memoryManagerPolicy") == "Static" and not all(
        map(_guaranteed_like, containers)
    )


def _smt_at_restart(scenario: Json, difference: Difference) -> bool:
    return _step(scenario, difference)["op"] == "restart" and "full-pcpus-only" in str(scenario)


def _defaulted_limits(scenario: Json, difference: Difference) -> bool:
    pod = _step(scenario, difference).get("pod")
    return pod is not None and scenario.get("apiDefaults", True) and _has_budget(pod)


def _distributed(scenario: Json, _: Difference) -> bool:
    return "distribute-cpus-across-numa" in _options(scenario)


def _distributed_by_socket(scenario: Json, difference: Difference) -> bool:
    return _distributed(scenario, difference) and "align-by-socket" in _options(scenario)


KINDS: tuple[Kind, ...] = (
    Kind(
        "container without a memory request in a pod with a budget, served one by one", _empty_memory_request
    ),
    Kind("full-pcpus-only at a restart", _smt_at_restart),
    Kind("distribute-cpus-across-numa with align-by-socket", _distributed_by_socket),
    Kind("distribute-cpus-across-numa, even share", _distributed),
    Kind("pod-level defaults of the API server", _defaulted_limits),
)


def kind_of(scenario: Json, difference: Difference) -> str | None:
    """Return the name of the kind, None if there is none."""
    return next((kind.name for kind in KINDS if kind.fits(scenario, difference)), None)
