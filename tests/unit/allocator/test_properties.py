"""What holds on every machine, under all settings, for every sequence of pods."""

import time

from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.check import check
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import Admitted, PodGrant, Rejected
from podnuma.allocator.manager_settings import (
    CPU_OPTION_NAMES,
    CpuManagerPolicy,
    ManagerSettings,
    MemoryManagerPolicy,
    ReservedMemory,
    TopologyManagerPolicy,
    TopologyManagerScope,
)
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.request import ContainerKind, ContainerRequest, PodRequest
from podnuma.allocator.topology import Cpu, NumaNode, Topology

from tests.unit.allocator.shapes import GI, amounts, g, pod, s, settings, unhurried


@st.composite
def machines(draw):
    """Any ids, memory-only nodes, nodes without memory, uneven cores and sockets, caches or none."""
    node_ids = draw(st.lists(st.integers(0, 63), min_size=1, max_size=4, unique=True).map(sorted))
    ids = iter(draw(st.lists(st.integers(0, 4095), min_size=24, max_size=24, unique=True)))
    cpus = []
    for place, node in enumerate(node_ids):
        for core in range(draw(st.integers(0 if place else 1, 3))):
            cache = draw(st.none() | st.integers(0, 1))
            threads = draw(st.integers(1, 2))
            cpus += [
                Cpu(
                    next(ids),
                    10 * place + core,
                    place // 2,
                    node,
                    None if cache is None else 2 * place + cache,
                )
                for _ in range(threads)
            ]
    nodes = [
        NumaNode(
            node,
            draw(st.sampled_from([0, 4 * GI, 8 * GI])),
            {"hugepages-1Gi": draw(st.sampled_from([0, GI]))} if draw(st.booleans()) else {},
            tuple(10 if other == node else 20 for other in node_ids),
        )
        for node in node_ids
    ]
    fast = draw(st.sets(st.sampled_from([cpu.core for cpu in cpus])))
    kinds = {
        "performance": cpuset.of(cpu.id for cpu in cpus if cpu.core in fast),
        "efficient": cpuset.of(cpu.id for cpu in cpus if cpu.core not in fast),
    }
    return Topology.build(
        cpus,
        [node if node.memory else NumaNode(node.id, 0, {}, node.distances) for node in nodes],
        kinds=kinds if draw(st.booleans()) else {},
    )


@st.composite
def told(draw, topology):
    """Settings that this machine accepts."""
    options = draw(st.sets(st.sampled_from(CPU_OPTION_NAMES), max_size=3))
    reserved = draw(st.sampled_from([cpu.id for cpu in topology.cpus]))
    richest = max(topology.nodes, key=lambda node: node.memory)
    found = ManagerSettings(
        cpu_manager_policy=draw(st.sampled_from(CpuManagerPolicy)),
        cpu_manager_policy_options=dict.fromkeys(options, "true"),
        reserved_system_cpus=CpuSet(1 << reserved),
        memory_manager_policy=draw(st.sampled_from(MemoryManagerPolicy)),
        reserved_memory=(ReservedMemory(richest.id, {"memory": GI // 2}),),
        exclusive_core_kind=draw(st.sampled_from(["", *dict(topology.kinds)])),
        topology_manager_policy=draw(st.sampled_from(TopologyManagerPolicy)),
        topology_manager_scope=draw(st.sampled_from(TopologyManagerScope)),
        topology_manager_policy_options={
            "prefer-closest-numa-nodes": draw(st.sampled_from(["true", "false"])),
        },
    )
    return (
        found
        if not check(found, topology)
        else settings("none", cpu="none", memory="None", reserved_memory=[])
    )


@st.composite
def containers(draw, kind):
    """An exclusive, a fractional, a burstable or a shared container."""
    cpu = draw(st.sampled_from(["1", "1", "2", "3", "500m", None]))
    if cpu is None:
        return ContainerRequest("", kind)
    pages = draw(st.sampled_from([{}, {}, {"1Gi": "1Gi"}]))
    sizes = amounts(cpu, draw(st.sampled_from(["256Mi", "1Gi", "3Gi"])), pages)
    limits = sizes if draw(st.integers(0, 4)) else sizes | amounts("4", None)
    return ContainerRequest("", kind, sizes, limits)


@st.composite
def pods(draw, uid):
    """A pod with or without a budget; a budget need not be large enough for the containers."""
    kinds = draw(st.lists(st.sampled_from(ContainerKind), min_size=1, max_size=4))
    kinds.sort(key=lambda kind: kind is ContainerKind.APP)
    listed = [draw(containers(kind)) for kind in kinds]
    budget = draw(
        st.none()
        | st.tuples(st.sampled_from(["1", "2", "4", "6", "2500m"]), st.sampled_from(["1Gi", "4Gi", "9Gi"]))
    )
    return pod(budget, *listed, uid=uid, pages=draw(st.sampled_from([{}, {"1Gi": "1Gi"}])))


@st.composite
def histories(draw):
    """A node, and a list of pods to add (Pod) and to remove (uid)."""
    topology = draw(machines())
    node = NodeAllocator.empty(draw(told(topology)), topology)
    steps: list[PodRequest | str] = []
    for number in range(draw(st.integers(1, 6))):
        steps.append(draw(pods(f"p{number}")))
        if draw(st.booleans()):
            steps.append(f"p{draw(st.integers(0, number))}")
    return node, steps


def play(node, steps):
    """Add and remove; return the decisions."""
    decisions = []
    for step in steps:
        if isinstance(step, str):
            node.release(step)
            continue
        decision = node.decide(step)
        decisions.append((step, decision))
        if isinstance(decision, Admitted):
            node.hold(decision)
    return decisions


def state(node):
    """Everything a node knows that the next decision can depend on."""
    rows = {one.id: node.memory_rows(one.id) for one in node.topology.nodes}
    groups = {
        one.id: (node.memory_group(one.id), node.memory_assignments(one.id)) for one in node.topology.nodes
    }
    return node.default_set, rows, groups, dict(node.grants)


def summed(node):
    """The state with memory added up over each group: its split inside a group follows history."""
    default, rows, groups, grants = state(node)
    sums: dict[tuple[int, str], int] = {}
    for one, table in rows.items():
        for resource, row in table.items():
            key = (groups[one][0], resource)
            sums[key] = sums.get(key, 0) + row.free
    return default, sums, groups, grants


def check_books(node):
    taken = 0
    charged: dict[str, int] = {}
    for grant in node.grants.values():
        own = grant.exclusive_cpus
        assert own & taken == 0, "two pods hold a CPU"
        assert own & node.reserved_cpus == 0, "a reserved CPU is granted"
        assert own & ~node.topology.all_cpus == 0
        kind = node.settings.exclusive_core_kind
        assert not kind or own & ~dict(node.topology.kinds)[kind] == 0, "a CPU of another kind"
        taken |= own
        for block in grant.charged:
            charged[block.resource] = charged.get(block.resource, 0) + block.size
        check_grant(grant)
    assert node.default_set == node.rules.managed_cpus & ~taken
    assert node.shared_pool
    assert node.shared_pool & taken == 0
    reserved: dict[str, int] = {}
    for one in node.topology.nodes:
        group = node.memory_group(one.id)
        assert group >> one.id & 1
        assert all(node.memory_group(member) == group for member in nodeset.ids(group))
        for resource, row in node.memory_rows(one.id).items():
            assert row.free + row.reserved == row.allocatable
            assert 0 <= row.reserved <= row.allocatable
            reserved[resource] = reserved.get(resource, 0) + row.reserved
    assert {name: size for name, size in reserved.items() if size} == {
        name: size for name, size in charged.items() if size
    }


def check_grant(grant: PodGrant):
    lasting = 0
    for container in grant.containers:
        if container.cpus is None:
            continue
        assert container.cpus, "an empty CPU set"
        if grant.cpus is not None:
            assert container.cpus & ~grant.cpus == 0, "a container outside its bubble"
        if container.isolation.value == "container":
            assert container.cpus & lasting == 0, "two containers that run together hold a CPU"
            if container.kind is not ContainerKind.INIT:
                lasting |= container.cpus
    for container in grant.containers:
        if container.isolation.value == "pod" and container.kind is not ContainerKind.INIT:
            assert container.cpus is not None
            assert container.cpus & lasting == 0, "the pool meets a lasting slice"


@unhurried(150)
@given(histories())
def test_books_are_right_after_every_history(history):
    node, steps = history
    play(node, steps)
    check_books(node)


@unhurried(150)
@given(histories(), st.data())
def test_releasing_undoes_holding_exactly(history, data):
    node, steps = history
    play(node, steps)
    before = summed(node)
    decision = node.decide(data.draw(pods("late")))
    if isinstance(decision, Admitted):
        node.hold(decision)
        node.release("late")
    assert summed(node) == before


@unhurried(100)
@given(histories(), st.randoms(use_true_random=False))
def test_releasing_everything_in_any_order_empties_the_node(history, order):
    node, steps = history
    empty = state(NodeAllocator(node.rules))
    play(node, steps)
    uids = list(node.grants)
    order.shuffle(uids)
    for uid in uids:
        node.release(uid)
    assert state(node) == empty


@unhurried(100)
@given(histories())
def test_replaying_held_grants_gives_the_same_state(history):
    node, steps = history
    play(node, steps)
    again, problems = NodeAllocator.restore(node.settings, node.topology, node.grants.values())
    assert problems == []
    assert summed(again) == summed(node)


@unhurried(100)
@given(histories(), st.data())
def test_deciding_is_repeatable_and_leaves_no_trace(history, data):
    node, steps = history
    play(node, steps)
    before = state(node)
    wanted = data.draw(pods("late"))
    assert node.decide(wanted) == node.decide(wanted)
    assert state(node) == before


@unhurried(100)
@given(histories())
def test_hints_hold_what_they_promise(history):
    node, steps = history
    single = node.settings.topology_manager_policy is TopologyManagerPolicy.SINGLE_NUMA_NODE
    for wanted, decision in play(node, steps):
        if not isinstance(decision, Admitted) or not single:
            continue
        for container in decision.grant.containers:
            owned = container.isolation.value == "container" or decision.grant.cpus is not None
            if container.cpus is not None and owned and len(node.topology.nodes) > 1:
                assert node.topology.nodes_of(container.cpus).bit_count() == 1, wanted


@unhurried(60)
@given(
    cpu=st.integers(0, 2**63 - 1),
    memory=st.integers(0, 2**63 - 1),
    policy=st.sampled_from(["none", "best-effort", "restricted", "single-numa-node"]),
    scope=st.sampled_from(["container", "pod"]),
)
def test_absurd_requests_end_in_an_answer(cpu, memory, policy, scope):
    topology = Topology.build(
        [Cpu(cpu, cpu // 2, node // 8, node) for node in range(16) for cpu in range(8 * node, 8 * node + 8)],
        [NumaNode(node, 4 * GI, {"hugepages-1Gi": GI}) for node in range(16)],
    )
    told = settings(
        policy,
        scope,
        options="distribute-cpus-across-numa",
        topology_options={"max-allowable-numa-nodes": "16"} if policy != "none" else {},
    )
    node = NodeAllocator.empty(told, topology)
    started = time.monotonic()
    for wanted in (pod(None, g(cpu, str(memory))), pod((cpu, str(memory)), s(), pages={"1Gi": "3Gi"})):
        assert isinstance(node.decide(wanted), Admitted | Rejected)
    assert time.monotonic() - started < 20


def test_more_than_five_hundred_cpus_on_eight_nodes():
    topology = Topology.build(
        [Cpu(4 * cpu + 7, cpu // 2, cpu // 256, cpu // 128) for cpu in range(1024)],
        [NumaNode(node, 64 * GI) for node in range(8)],
    )
    node = NodeAllocator.empty(settings(reserved="7"), topology)
    for number in range(300):
        decision = node.decide(pod((4, "1Gi"), g(2, "512Mi"), s(), uid=f"p{number}"))
        if isinstance(decision, Rejected):
            break
        node.hold(decision)
        assert topology.nodes_of(decision.grant.exclusive_cpus).bit_count() == 1
    assert len(node.grants) == 255
    check_books(node)
