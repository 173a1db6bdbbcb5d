"""What is fed with changed inputs, and what must hold whatever they are.

A target takes one input and returns; that it refuses the input, with the error of its own that it
promises, is no finding. Anything else that it raises is one, and so is an answer that does not
survive being written and read again.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from podnuma.allocator import Admitted, cpuset, nodeset, quantities
from podnuma.allocator.explain.brief import LONGEST, brief
from podnuma.allocator.explain.explanation import explain
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.hardware import Hardware
from podnuma.api.node_profile import read_node_profile
from podnuma.api.node_topology import (
    read_node_topology,
    render_agent_status,
    render_node_topology,
    render_operator_status,
)
from podnuma.api.pod import read_pod_facts
from podnuma.api.pod_allocation import Decision, read_pod_allocation, render_pod_allocation
from podnuma.api.quantity import read_quantity
from podnuma.operator.cache import decode
from podnuma.operator.cache.kinds import Kind

from tests.unit.api.objects import DATABASE, TRAINING
from tests.unit.api.test_node_topology import AGENT, AGENT_READY, ALLOCATION, READY
from tests.unit.operator.rig import machine, node, pod, profile

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
LONGEST_ERROR = 12_000


@dataclass(frozen=True, slots=True)
class Target:
    """`act` is fed with changed copies of `seeds`: JSON values or texts."""

    name: str
    act: Callable[[Any], None]
    seeds: Sequence[Any]


def cpu_list(text: Any) -> None:
    for module in (cpuset, nodeset):
        with suppress(ValueError):
            found = module.parse(str(text))
            assert module.parse(module.render(found)) == found


def quantity(value: Any) -> None:
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with suppress(ValueError):
            found = quantities.parse(value)
            _ = found.milli, found.units, found.integral, found.representable
    with suppress(InvalidObjectError, ValueError):
        read_quantity(value)


def annotation(text: Any) -> None:
    value = pod(annotations={"podnuma.dev/resources": text})
    del value["spec"]["resources"]
    value["status"]["qosClass"] = "Burstable"
    pods(value)


def pods(value: Any) -> None:
    """Read a pod as the operator does, decide it, store the decision and read it again."""
    with suppress(InvalidObjectError):
        read_pod_facts(value)
    record = decode.decode_pod(value) if isinstance(value, dict) else None
    if record is None:
        return
    if record.request is None:
        assert record.problem
        assert len(record.problem) < LONGEST_ERROR
        return
    allocator = _node()
    answer = allocator.decide(record.request)
    assert len(brief(allocator, record.request, explain(allocator, record.request))) <= LONGEST
    if not isinstance(answer, Admitted):
        return
    with allocator_restored(allocator, record.request.uid):
        allocator.hold(answer)
    decision = Decision.of(answer)
    stored = json.loads(json.dumps(render_pod_allocation(answer.grant, "n1", decision)))
    with suppress(InvalidObjectError):  # names and UIDs that no API server would have stored
        assert read_pod_allocation(stored).grant == answer.grant


def objects(kind: Kind, read: Callable[[Any], object]) -> Callable[[Any], None]:
    def act(value: Any) -> None:
        text = ""
        try:
            read(value)
        except InvalidObjectError as refused:
            text = str(refused)
        assert len(text) < LONGEST_ERROR
        assert text.isprintable()
        if isinstance(value, dict):
            decode.DECODERS[kind](value)

    return act


class allocator_restored:  # noqa: N801 - a context manager, used as a word
    """Release a pod afterwards, so that every input meets the same node."""

    def __init__(self, allocator: NodeAllocator, uid: str) -> None:
        self._allocator = allocator
        self._uid = uid

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._allocator.release(self._uid)
        assert not self._allocator.grants


@cache
def _node() -> NodeAllocator:
    return NodeAllocator.empty(read_node_profile(profile()).node.managers, machine())


def _example(name: str) -> Any:
    return yaml.safe_load((EXAMPLES / f"{name}.yaml").read_text())


def _bound(value: Any) -> Any:
    status = {"phase": "Pending", "qosClass": "Guaranteed"}
    return {**value, "spec": {**value["spec"], "nodeName": "n1"}, "status": status}


def _topology() -> Any:
    status = render_operator_status(ALLOCATION, 3, [READY])
    status |= render_agent_status(Hardware(machine(cores=4)), AGENT, [AGENT_READY])
    settings = read_node_profile(profile()).node
    return json.loads(json.dumps({**render_node_topology("n1", settings, None), "status": status}))


_BUDGET = json.dumps({"requests": {"cpu": "4", "memory": "4Gi"}, "limits": {"cpu": "4", "memory": "4Gi"}})
_PODS = [
    _bound(_example("pods/database")),
    _bound(_example("pods/ml-training")),
    pod(uid="u", annotations={"podnuma.dev/resources": _BUDGET}),
]
_ADMITTED = Decision(admitted=True)

TARGETS = (
    Target("cpu-list", cpu_list, ("0-3,8", "", "0", "1-2,9-10,64-127", "65535")),
    Target("quantity", quantity, ("1", "100m", "1.5", "16Gi", "1e3", "128974848", "0.5Mi", 3, 2.5)),
    Target("annotation", annotation, (_BUDGET, "{}", '{"limits": {"cpu": 3}}')),
    Target("pod", pods, _PODS),
    Target(
        "profile",
        objects(Kind.PROFILE, read_node_profile),
        [_example("profiles/databases"), _example("profiles/training"), profile()],
    ),
    Target("topology", objects(Kind.TOPOLOGY, read_node_topology), [_topology()]),
    Target(
        "allocation",
        objects(Kind.ALLOCATION, read_pod_allocation),
        [
            json.loads(json.dumps(render_pod_allocation(each, "n1", _ADMITTED)))
            for each in (DATABASE, TRAINING)
        ],
    ),
    Target("node", objects(Kind.NODE, lambda _: None), [node(), node(zone="a")]),
)
