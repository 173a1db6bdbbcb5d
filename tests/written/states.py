"""States that an operator and an agent can get into, each from a number, and all that they write then.

A node has any hardware that a kernel can show: ids far apart, sockets of -1, caches of 64 bits, nodes
without CPUs or memory, thousands of CPUs. Pods are decided on it by the product's own steps; then settings
and hardware change under them, so that grants no longer fit, memory held is more than there is, and
settings are refused. What is written is rendered by the modules that write it.
"""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import Admitted
from podnuma.allocator.rules import Rules
from podnuma.allocator.topology import Cpu, NumaNode, Topology
from podnuma.api.conditions import Condition, Readiness, Status, merged, readiness
from podnuma.api.events import Event, EventType, Involved, render_event
from podnuma.api.hardware import Hardware
from podnuma.api.node_conditions import NodeCondition
from podnuma.api.node_profile import (
    MatchedNode,
    MatchState,
    NodeProfileStatus,
    read_node_profile,
    render_node_profile_status,
)
from podnuma.api.node_topology import (
    AgentReport,
    ProfileReference,
    render_agent_status,
    render_node_topology,
    render_operator_status,
)
from podnuma.api.pod_allocation import Decision, numa_nodes, rejected_grant, render_pod_allocation
from podnuma.api.pod_allocation_status import (
    ContainerStatus,
    ObservedCgroup,
    Phase,
    PodAllocationStatus,
    Verdict,
    render_status,
)
from podnuma.api.resource_types import NODE_PROFILE, NODE_TOPOLOGY, POD_ALLOCATION
from podnuma.operator.cache import decode
from podnuma.operator.cache.objects import CachedNode, CachedProfile, CachedTopology, ObjectKey, ObjectVersion
from podnuma.operator.node.profile_selection import select
from podnuma.operator.node.readiness import node_readiness, pods_up_to_date, readable
from podnuma.operator.node.state import NodeState
from podnuma.operator.node.status import node_allocation
from podnuma.operator.write.decision import PodDecision

from tests.unit.operator.rig import owned_by, pod, profile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from podnuma.api.node_profile import NodeProfile

Json = dict[str, Any]
NOW = dt.datetime(2026, 11, 29, tzinfo=dt.UTC)
LONG = "x" * 40_000
ODD = ("", "a", "ok", "\u202e\x00\x1b[31m", "naïve ☃ \U0001d54f \ud800 \u2028 \ufeff", LONG, "0-" + "9" * 300)
_TRIES = 5  # for a first state in which something can be decided
HUGE = 0.002  # of all machines: with thousands of CPUs
HYBRID = 0.2  # of all machines, and of all settings for them


@dataclass(frozen=True, slots=True)
class Written:
    """One object that somebody writes, as a whole; `values` are what must be read back from it."""

    writer: str
    body: Json
    values: dict[str, Any]


def written(number: int) -> Iterator[Written]:
    """Yield everything that is written in the state with this number."""
    rng = random.Random(number)
    first, second = machine(rng), machine(rng)
    before, after = settings(rng, first), settings(rng, rng.choice([first, second]))
    for _ in range(_TRIES):
        if _fits(before, first):
            break
        first = machine(rng)
        before = settings(rng, first)
    now = first if rng.random() < 0.5 else second
    state = NodeState("n1")
    decide(rng, state, before, first)
    yield from _allocations(rng, state)
    rules = Rules(after.node.managers, now) if _fits(after, now) else None
    state.use_rules(rules)
    yield _agent(rng, now)
    yield _operator(rng, state, after, now)
    yield _profile(rng, after)
    yield _event(rng)


# Hardware


def machine(rng: random.Random) -> Topology:
    """Return any machine."""
    huge = rng.random() < HUGE
    count = rng.choice([2048, 8192]) if huge else rng.choice([1, 2, 2, 4, 8, 8, 16, 24])
    cpus = sorted(rng.sample(range(rng.choice([count, 8192])), count))
    nodes = sorted(rng.sample(range(1024), rng.choice([1, 1, 2, 2, 4])))
    listed = [*nodes, *(rng.sample([n for n in range(1024) if n not in nodes], rng.choice([0, 0, 1])))]
    threads = rng.choice([1, 2, 2, 4, 8])
    share = max(1, -(-count // len(nodes)))
    odd_socket = rng.choice([None, None, None, -1])
    cache = rng.choice([None, 0, 2**31, 2**63 - 8192])
    topology = [
        Cpu(
            cpu,
            place // threads,
            odd_socket if odd_socket is not None else place // share // 2,
            nodes[place // share],
            None if cache is None or rng.random() < 0.1 else cache + place // share,
        )
        for place, cpu in enumerate(cpus)
    ]
    distances = [tuple(10 if a == b else 21 for b in listed) for a in listed]
    sizes = [rng.choice([0, 1, 4096, 2**30, 2**35 + 1, 2**62]) for _ in listed]
    pages = rng.choice([{}, {"hugepages-2Mi": 2**21 * 7}, {"hugepages-2Mi": 0, "hugepages-1Gi": 2**62}])
    some = cpuset.of(rng.sample(cpus, rng.choice([0, 0, 0, min(2, count)])))
    unknown = cpuset.of(rng.sample(cpus, rng.choice([0, 0, 0, 0, min(3, count)])))
    found = [
        NumaNode(node, size, dict(pages), distances[place])
        for place, (node, size) in enumerate(zip(listed, sizes, strict=True))
    ]
    slow = cpuset.of(rng.sample(cpus, count // 2))
    kinds = (
        {"performance": CpuSet(cpuset.of(cpus) & ~slow), "efficient": slow} if rng.random() < HYBRID else {}
    )
    return Topology.build(topology, found, some, unknown, kinds)


# Settings


def settings(rng: random.Random, on: Topology) -> NodeProfile:
    """Return a profile made for a machine; it need not fit it."""
    cpus = [cpu.id for cpu in on.cpus]
    reserved = cpuset.render(cpuset.of(rng.sample(cpus, min(len(cpus), rng.choice([1, 1, 2])))))
    spec: Json = {
        "reservedSystemCPUs": reserved,
        "topologyManagerPolicy": rng.choice(["none", "best-effort", "restricted", "single-numa-node"]),
        "topologyManagerScope": rng.choice(["pod", "container"]),
        "cpuManagerPolicyOptions": rng.choice([{}, {}, {"strict-cpu-reservation": "true"}]),
        "memoryManagerPolicy": rng.choice(["None", "Static"]),
        "onRejection": rng.choice(["Evict", "Share"]),
        "mode": rng.choice(["Enforce", "Enforce", "Audit"]),
        "reservedMemory": [],
        "cpuManagerPolicy": rng.choice(["static", "static", "none"]),
    }
    if spec["cpuManagerPolicy"] == "none":
        spec["cpuManagerPolicyOptions"] = {}
    if spec["memoryManagerPolicy"] == "Static":
        spec["reservedMemory"] = [
            {"numaNode": node.id, "limits": {"memory": str(min(node.memory, rng.choice([1, 2**20, 2**34])))}}
            for node in on.nodes
            if node.memory
        ]
        if not spec["reservedMemory"]:
            spec["memoryManagerPolicy"] = "None"
    if on.kinds and rng.random() < HYBRID:
        spec["exclusiveCoreKind"] = rng.choice(["performance", "efficient", "capacity-512"])
    return read_node_profile(profile(rng.choice(["main", "a" * 253]), **spec))


def _fits(of: NodeProfile, on: Topology) -> bool:
    return select(_node(), [_cached(of)], _topology(of, Hardware(on))).decide_with is not None


# Pods


def decide(rng: random.Random, state: NodeState, by: NodeProfile, on: Topology) -> None:
    """Decide a few pods as the operator does."""
    if not _fits(by, on):
        return
    state.use_rules(Rules(by.node.managers, on))
    allocator = state.allocator
    assert allocator is not None
    for number in range(rng.choice([0, 1, 3, 6])):
        memory = rng.choice(["1Gi", "2Gi", "33Gi"])
        value = pod(f"p{number}", rng.choice([2, 2, 3, 5]), memory, ownerReferences=owned_by("Job", "j"))
        value["metadata"]["uid"] = f"u{number}"
        found = decode.decode_pod(value)
        assert found is not None
        assert found.request is not None
        answer = state.decide(allocator, found.request)
        explanation = rng.choice(ODD)
        said = Decision.of(answer, state.revision, explanation)
        if isinstance(answer, Admitted):
            numa = numa_nodes(answer.grant, allocator.topology)
            state.hold(PodDecision(found.key, "n1", answer.grant, said, "", numa), answer)
        else:
            key = found.key
            nothing = rejected_grant(found.uid, key.namespace, key.name, allocator.rules.scope)
            state.hold(PodDecision(key, "n1", nothing, said), None)


# What is written


def _allocations(rng: random.Random, state: NodeState) -> Iterator[Written]:
    for decision in state.decisions.values():
        status = _allocation_status(rng, decision)
        body = render_pod_allocation(
            decision.grant, decision.node, decision.decision, decision.static_uid, decision.numa
        )
        yield Written(
            "agent",
            {**body, "status": render_status(status)},
            {"grant": decision.grant, "phase": status.phase},
        )


def _allocation_status(rng: random.Random, decision: PodDecision) -> PodAllocationStatus:
    lists = ("", "0", ",".join(map(str, range(0, 8192, 2))))

    def cgroup() -> ObservedCgroup | None:
        values = rng.choice(lists), rng.choice(["", "0-1023"]), rng.choice(["", "max 100000"])
        return rng.choice([None, ObservedCgroup(*values)])

    return PodAllocationStatus(
        rng.choice([0, 1, 2**31]),
        rng.choice(list(Phase)),
        merged((), _conditions(rng), NOW),
        cgroup(),
        cgroup(),
        tuple(
            ContainerStatus(
                container.name,
                rng.choice(["", "c" * 64, LONG]),
                cgroup(),
                cgroup(),
                rng.choice(list(Verdict)),
                rng.choice([None, 0, 2**40]),
                rng.choice(ODD),
            )
            for container in decision.grant.containers
        ),
    )


def _conditions(rng: random.Random) -> Iterable[Condition]:
    return readiness(
        rng.choice(list(Readiness)), rng.choice(["Ready", "Odd"]), rng.choice(ODD), rng.choice([0, 7])
    )


def _agent(rng: random.Random, on: Topology) -> Written:
    hardware = Hardware(
        replace(on, offline=cpuset.of([8191])),
        tuple(rng.choice(ODD) for _ in range(rng.choice([0, 1, 40]))),
    )
    odd = (rng.choice(ODD), rng.choice(ODD), rng.choice(ODD), rng.choice(ODD))
    report = AgentReport(*odd, "systemd", "b" * 36, "2026-11-29T00:00:00Z")
    known = Condition(NodeCondition.HARDWARE_KNOWN, rng.choice(list(Status)), "WithDefaults", rng.choice(ODD))
    status = render_agent_status(hardware, report, merged((), [known], NOW))
    body = render_node_topology("n1", settings(rng, on).node, None)
    return Written("agent", {**body, "status": status}, {"hardware": hardware.topology})


def _operator(rng: random.Random, state: NodeState, by: NodeProfile, on: Topology) -> Written:
    allocation = node_allocation(state, state.allocator) if state.allocator is not None else None
    topology = _topology(by, rng.choice([None, Hardware(on)]))
    selection = select(_node(), [_cached(by)], topology)
    up_to_date = pods_up_to_date(state)
    if rng.random() < 0.2:
        state.failed(rng.choice(ODD), -100.0)
    conditions = (
        *node_readiness(state, selection, topology, up_to_date, 0.0),
        selection.valid,
        up_to_date,
        readable(replace(topology, model=None, problem=rng.choice(ODD)), ()),
    )
    status = render_operator_status(allocation, 3, merged((), conditions, NOW))
    reference = rng.choice([None, ProfileReference(by.name, 2**40)])
    body = render_node_topology("n1", by.node, reference)
    return Written("operator", {**body, "status": status}, {"allocation": allocation, "node": by.node})


def _profile(rng: random.Random, by: NodeProfile) -> Written:
    nodes = tuple(
        MatchedNode(f"n{number}", rng.choice(list(MatchState)), "Odd", rng.choice(ODD))
        for number in range(rng.choice([0, 1, 300]))
    )
    status = render_node_profile_status(NodeProfileStatus(1, nodes, merged((), _conditions(rng), NOW)))
    body = {
        **NODE_PROFILE.type_meta,
        "metadata": {"name": by.name},
        "spec": {"nodeSelector": {}},
        "status": status,
    }
    return Written("operator", body, {})


def _event(rng: random.Random) -> Written:
    served = rng.choice([NODE_TOPOLOGY, POD_ALLOCATION])
    namespace = "" if served is NODE_TOPOLOGY else "default"
    involved = Involved(served.api_version, served.kind, namespace, rng.choice(["n1", "a" * 253]), "u1")
    event = Event(involved, rng.choice(list(EventType)), "Odd", rng.choice(ODD), "podnuma-operator")
    return Written("operator", render_event(event, NOW), {})


def _node() -> CachedNode:
    return CachedNode(ObjectVersion("u-n1", 1), ObjectKey("", "n1"), "n1", {})


def _cached(of: NodeProfile) -> CachedProfile:
    return CachedProfile(ObjectVersion("u-p", 1), ObjectKey("", of.name), "", 1, of, None)


def _topology(of: NodeProfile, hardware: Hardware | None) -> CachedTopology:
    stored = decode.decode_topology({**render_node_topology("n1", of.node, None)})
    assert stored.model is not None
    return replace(stored, model=replace(stored.model, hardware=hardware))
