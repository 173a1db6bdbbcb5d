"""Bubbles and whole admissions; specification, sections 5.6, 6 and 11.5, 11.7, 11.8."""

from dataclasses import replace

import pytest
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.decision import Admitted, Reason
from podnuma.allocator.manager_settings import IsolatedCpuPolicy
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.topology import NumaNode
from podnuma.allocator.topology_hint import TopologyHint

from tests.unit.allocator.shapes import (
    GI,
    INIT,
    MI,
    SIDECAR,
    admitted,
    from_cores,
    g,
    machine,
    memory,
    pod,
    refused,
    s,
    sets,
    settings,
)

G1, G2, G3 = g(1, "1Gi"), g(2, "2Gi"), g(3, "3Gi")

BUBBLES = [
    # pod CPUs, containers, bubble, sets, default set afterwards (no hint: policy best-effort, one node)
    (2, (G1,), "2,8", "2", "0-1,3-7,9-11"),
    (1, (s(),), "6", "6", "0-5,7-11"),
    (3, (G1, G1, s()), "2,6,8", "6 / 2 / 8", "0-1,3-5,7,9-11"),
    (2, (g(1, kind=INIT), g(1, kind=INIT), G1, G1), "2,8", "2 / 2 / 2 / 8", "0-1,3-7,9-11"),
    (
        3,
        (s(INIT), g(1, kind=SIDECAR), s(INIT), G1, s()),
        "2,6,8",
        "2,6,8 / 6 / 2,8 / 2 / 8",
        "0-1,3-5,7,9-11",
    ),
    (3, (s(INIT), s(SIDECAR), s(INIT), G1, s()), "2,6,8", "2,6,8 / 2,8 / 2,6,8 / 6 / 2,8", "0-1,3-5,7,9-11"),
    (
        4,
        (s(SIDECAR), g(2, kind=INIT), G1, s()),
        "2,4,8,10",
        "4,8,10 / 2,8 / 2 / 4,8,10",
        "0-1,3,5-7,9,11",
    ),
    (
        4,
        (g(2, kind=INIT), g(3, kind=INIT), g(1, kind=SIDECAR), g(2), s()),
        "2,4,8,10",
        "2,8 / 2,4,8 / 2 / 4,10 / 8",
        "0-1,3,5-7,9,11",
    ),
]


@pytest.mark.parametrize(("budget", "containers", "bubble", "expected", "left"), BUBBLES)
def test_a_bubble_is_cut_in_spec_order(budget, containers, bubble, expected, left):
    node = NodeAllocator.empty(settings("single-numa-node", memory="None"), machine("DS12"))
    decision = admitted(node, pod((budget, "8Gi"), *containers))
    assert decision.grant.cpus == cpuset.parse(bubble)
    assert sets(decision) == expected
    assert cpuset.render(node.default_set) == left
    assert decision.grant.pod_level


def test_a_pod_shares_no_isolated_cpu():
    exclusive = replace(settings(memory="None"), isolated_cpu_policy=IsolatedCpuPolicy.EXCLUSIVE)
    node = NodeAllocator.empty(exclusive, replace(machine("DS12"), isolated=cpuset.parse("2,8,10")))
    assert sets(admitted(node, pod((4, "8Gi"), s(INIT), G3, s()))) == "4,6 / 2,4,8 / 6"
    # On node 0 two CPUs can be shared, on node 1 all.
    assert sets(admitted(node, pod((3, "8Gi"), s(), uid="u2"))) == "1,3,7"
    assert refused(node, pod((7, "8Gi"), s(), uid="u3")).reason is Reason.TOPOLOGY_AFFINITY


OPTIONS = [
    ("0-1", "full-pcpus-only", 4, (G2, G2), "2,8 / 4,10"),
    ("0,6", "full-pcpus-only", 4, (G1, G1, s()), "2 / 8 / 4,10"),
    ("0,6", "distribute-cpus-across-cores", 4, (G2, s()), "2,4 / 8,10"),
]


@pytest.mark.parametrize(("reserved", "options", "budget", "containers", "expected"), OPTIONS)
def test_options_of_the_node_hold_inside_the_bubble(reserved, options, budget, containers, expected):
    node = NodeAllocator.empty(settings(reserved=reserved, options=options), machine("DS12"))
    assert sets(admitted(node, pod((budget, "8Gi"), *containers))) == expected


def test_a_bubble_of_half_cores_is_refused_whole_cores_only():
    node = NodeAllocator.empty(settings(reserved="0,6", options="full-pcpus-only"), machine("DS12"))
    decision = refused(node, pod((3, "4Gi"), G1, s()))
    assert decision.reason is Reason.SMT_ALIGNMENT
    assert decision.message == "SMT Alignment Error: requested 3 cpus not multiple cpus per core = 2"


ADMITTED = [
    # policy, pod, sets, memory
    ("single-numa-node", pod((4, "4Gi"), G2, s(), s()), "2,8 / 4,10 / 4,10", "0 2048 / 0 2048 / 0 2048"),
    (
        "restricted",
        pod((4, "4Gi"), s(), s(), s()),
        "2,4,8,10 / 2,4,8,10 / 2,4,8,10",
        "0 4096 / 0 4096 / 0 4096",
    ),
    ("best-effort", pod((5, "5Gi"), G3, G1, G1), "2,6,8 / 4 / 10", "0 3072 / 0 1024 / 0 1024"),
    (
        "single-numa-node",
        pod((4, "4Gi"), G2, g("500m", "1Gi"), s()),
        "2,8 / 4,10 / 4,10",
        "0 2048 / 0 1024 / 0 1024",
    ),
    ("single-numa-node", pod(("3500m", "4Gi"), G2, s()), "DEF / DEF", "0 2048 / 0 2048"),
    ("single-numa-node", pod((4, "4Gi"), G1), "2", "0 1024"),
    (
        "single-numa-node",
        pod((5, "6Gi"), g(3, kind=INIT), g(1, kind=SIDECAR), s(INIT), s(SIDECAR), G2, s()),
        "2,6,8 / 6 / 2,4,8,10 / 4,10 / 2,8 / 4,10",
        "0 1024 / 0 1024 / 0 5120 / 0 3072 / 0 2048 / 0 3072",
    ),
    ("restricted", pod((7, "12Gi"), g(4, "1Gi"), s()), "1,3,7,9 / 5-6,11", "0-1 1024 / 0-1 11264"),
    ("restricted", pod((8, "12Gi"), s()), "1-3,5,7-9,11", "0-1 12288"),
    ("best-effort", pod((2, "12Gi"), s()), "2,8", "0-1 12288"),
    ("best-effort", pod((6, "4Gi"), s()), "1,3,5,7,9,11", "1 4096"),
    ("single-numa-node", pod((2, "1.5Gi"), g(1, "1Gi")), "2", "-"),
]


@pytest.mark.parametrize(("policy", "wanted", "expected", "sizes"), ADMITTED)
def test_whole_admissions_of_budgets(policy, wanted, expected, sizes):
    decision = admitted(NodeAllocator.empty(settings(policy), machine("DS12")), wanted)
    assert (sets(decision), memory(decision)) == (expected, sizes)


PLR_TEXT = "Pod Scope pod with pod-level resources failed admission under pod-scope topology manager"
EMPTY_TEXT = (
    "pod rejected, sum of exclusive container cpu requests equals pod budget, "
    "leaving no cpus for shared containers"
)
REFUSED = [
    ("single-numa-node", pod((5, "5Gi"), G3, G2, s()), Reason.TOPOLOGY_AFFINITY, PLR_TEXT),
    ("restricted", pod((5, "5Gi"), G3, G2, s()), Reason.TOPOLOGY_AFFINITY, PLR_TEXT),
    ("best-effort", pod((5, "5Gi"), G3, G2, s()), Reason.EMPTY_POD_SHARED_POOL, EMPTY_TEXT),
    ("best-effort", pod((2, "2Gi"), G1, G1, s()), Reason.EMPTY_POD_SHARED_POOL, EMPTY_TEXT),
    (
        "best-effort",
        pod((2, "4Gi"), g(2, kind=SIDECAR), s(INIT), G1),
        Reason.EMPTY_POD_SHARED_POOL,
        "pod rejected, pod has shared init containers but no cpus available for them",
    ),
    ("restricted", pod((8, "4Gi"), s()), Reason.TOPOLOGY_AFFINITY, PLR_TEXT),
    ("restricted", pod((2, "12Gi"), s()), Reason.TOPOLOGY_AFFINITY, PLR_TEXT),
    (
        "best-effort",
        pod((3, "4Gi"), g(1, "4Gi"), s()),
        Reason.EMPTY_POD_SHARED_POOL,
        EMPTY_TEXT.replace("cpu ", "memory ").replace("no cpus", "no memory"),
    ),
]


@pytest.mark.parametrize(("policy", "wanted", "reason", "text"), REFUSED)
def test_refusals_of_budgets(policy, wanted, reason, text):
    node = NodeAllocator.empty(settings(policy), machine("DS12"))
    decision = refused(node, wanted)
    assert (decision.reason, decision.message) == (reason, text)
    assert node.default_set == machine("DS12").all_cpus


def test_a_refusal_of_memory_after_the_cpu_bubble_counts_what_was_done():
    node = NodeAllocator.empty(settings("best-effort"), machine("DS12"))
    counts = refused(node, pod((3, "4Gi"), g(1, "4Gi"), s())).counts
    assert counts.allocations == {("cpu", "pod"): 2}
    assert counts.errors == {("memory", "pod"): 1}


MEMORY = [
    # pod memory, containers, hint is given by what fits; two nodes of 1536Mi each
    (1024, (g(1, "512Mi"),), "0 512", [1024, 0]),
    (2048, (g(1, "1Gi"),), "0-1 1024", [1536, 512]),
    (2048, (s(), s()), "0-1 2048 / 0-1 2048", [1536, 512]),
    (2048, (g(1, "1Gi"), s(), s()), "0-1 1024 / 0-1 1024 / 0-1 1024", [1536, 512]),
    (2048, (g(1, "2Gi", INIT), g(1, "1Gi"), s()), "0-1 2048 / 0-1 1024 / 0-1 1024", [1536, 512]),
    (
        3072,
        (s(INIT), g(1, "1Gi", SIDECAR), s(INIT), g(1, "1Gi"), s()),
        "0-1 3072 / 0-1 1024 / 0-1 2048 / 0-1 1024 / 0-1 1024",
        [1536, 1536],
    ),
    (
        3072,
        (s(INIT), s(SIDECAR), s(INIT), g(1, "1Gi"), s()),
        "0-1 3072 / 0-1 2048 / 0-1 3072 / 0-1 1024 / 0-1 2048",
        [1536, 1536],
    ),
]


@pytest.mark.parametrize(("budget", "containers", "expected", "reserved"), MEMORY)
def test_a_memory_bubble_is_charged_once_and_cut_like_the_cpus(budget, containers, expected, reserved):
    topology = from_cores(
        [((cpu,), cpu // 6, cpu // 6, None) for cpu in range(12)],
        [NumaNode(node, 1536 * MI + GI) for node in (0, 1)],
    )
    node = NodeAllocator.empty(settings("best-effort", cpu="none"), topology)
    assert memory(admitted(node, pod((3, f"{budget}Mi"), *containers))) == expected
    assert [node.memory_rows(one)["memory"].reserved // MI for one in (0, 1)] == reserved
    assert [node.memory_assignments(one) for one in (0, 1)] == [1, 1 if reserved[1] else 0]


def test_an_exclusive_memory_budget_leaves_no_pool():
    node = NodeAllocator.empty(settings("best-effort", cpu="none"), machine("DS12"))
    assert (
        refused(node, pod((3, "2Gi"), g(1, "1Gi"), g(1, "1Gi"), s())).reason is Reason.EMPTY_POD_SHARED_POOL
    )


def test_three_equal_pods_fill_one_node_then_the_other():
    node = NodeAllocator.empty(settings("single-numa-node"), machine("DS12"))
    found = [admitted(node, pod((3, "3Gi"), G2, s(), uid=uid)) for uid in ("a", "b", "c")]
    assert [sets(decision) for decision in found] == ["2,8 / 6", "1,7 / 3", "5,11 / 9"]
    assert [decision.hints["c0"] for decision in found] == [
        TopologyHint(nodeset.of([0]), preferred=True),
        TopologyHint(nodeset.of([1]), preferred=True),
        TopologyHint(nodeset.of([1]), preferred=True),
    ]
    assert cpuset.render(node.default_set) == "0,4,10"


def test_a_busy_cpu_makes_the_wide_set_second_best():
    def busy(policy):
        node = NodeAllocator.empty(settings(policy, memory="None"), machine("DS12"))
        admitted(node, pod((5, "1Gi"), s(), uid="low"))
        admitted(node, pod((1, "1Gi"), s(), uid="high"))
        node.release("low")
        return node

    # CPU 1 is taken: no node has 6 CPUs left, though one would do on an empty machine.
    assert refused(busy("restricted"), pod((6, "4Gi"), s())).reason is Reason.TOPOLOGY_AFFINITY
    decision = admitted(busy("best-effort"), pod((6, "4Gi"), s()))
    assert decision.hints["c0"] == TopologyHint(nodeset.of([0, 1]), preferred=False)
    assert sets(decision) == "2-4,8-10"


def test_a_pod_that_is_not_guaranteed_holds_nothing():
    node = NodeAllocator.empty(settings("single-numa-node"), machine("DS12"))
    wanted = pod((2, "2Gi"), G1)
    less = dict(wanted.pod_limits or {}) | {"cpu": g("3").requests["cpu"]}
    decision = admitted(node, type(wanted)("u", "lab", "u", wanted.containers, wanted.pod_requests, less))
    assert sets(decision) == "DEF"
    assert not decision.grant.holds_anything
    assert dict(node.grants) == {}


def test_containers_that_ask_for_more_than_the_budget_are_refused_and_leave_nothing():
    node = NodeAllocator.empty(settings("best-effort"), machine("DS12"))
    assert refused(node, pod((2, "4Gi"), g(3, "1Gi"))).message == (
        "Allocate failed due to not enough cpus available to satisfy request: requested=3, available=2, "
        "which is unexpected"
    )
    assert refused(node, pod((2, "2Gi"), g(1, "3Gi"))).message == (
        "Allocate failed due to [memorymanager] container c0 asks for more memory than the budget of its pod "
        "has left, which is unexpected"
    )
    assert node.default_set == machine("DS12").all_cpus


# A chip with two threads in performance cores and one in efficient cores, as Linux numbers them.
HYBRID = replace(
    from_cores([((2 * k, 2 * k + 1), 0, 0, 0) for k in range(4)] + [((8 + k,), 0, 0, 0) for k in range(8)]),
    kinds=(("performance", cpuset.parse("0-7")), ("efficient", cpuset.parse("8-15"))),
)


@pytest.mark.parametrize(
    ("kind", "options", "expected", "pool"),
    [
        ("performance", "full-pcpus-only", "2-3 / 4-5", "0-1,6-15"),
        ("efficient", "", "9-10 / 11-12", "0-8,13-15"),
    ],
)
def test_a_budget_is_of_one_kind_of_core_and_all_others_are_shared(kind, options, expected, pool):
    reserved = "0-1" if kind == "performance" else "8"
    chosen = settings("best-effort", reserved=reserved, options=options, memory="None", nodes=1)
    node = NodeAllocator.empty(replace(chosen, exclusive_core_kind=kind), HYBRID)
    decision = admitted(node, pod((4, "4Gi"), G2, s()))
    assert sets(decision) == expected
    assert node.shared_pool == cpuset.parse(pool)
    assert node.free_cpus == (cpuset.parse("6-7") if kind == "performance" else cpuset.parse("13-15"))
    assert refused(node, pod((8, "4Gi"), G2, s(), uid="u2")).message


def test_a_pod_that_holds_cpus_of_another_kind_keeps_them_until_it_ends():
    reserved = settings("best-effort", reserved="0-1", memory="None", nodes=1)
    before = NodeAllocator.empty(replace(reserved, exclusive_core_kind="efficient"), HYBRID)
    held = admitted(before, pod((4, "4Gi"), G2, s())).grant
    node, problems = NodeAllocator.restore(
        replace(reserved, exclusive_core_kind="performance"), HYBRID, [held]
    )
    assert [problem.message for problem in problems] == [
        "pod lab/u1 keeps CPUs 8-11 until it ends, which are shared now: their cores are not performance"
    ]
    assert node.shared_pool == cpuset.parse("0-7,12-15")
    node.release("u1")
    assert node.shared_pool == cpuset.parse("0-15")


def test_a_resized_pod_grows_on_cores_of_its_kind():
    chosen = settings("best-effort", reserved="0-1", memory="None", nodes=1)
    node = NodeAllocator.empty(replace(chosen, exclusive_core_kind="performance"), HYBRID)
    admitted(node, pod((4, "4Gi"), G2, s()))
    grown = node.resize(pod((6, "4Gi"), G2, s()))
    assert isinstance(grown, Admitted)
    assert grown.grant.exclusive_cpus == cpuset.parse("2-7")
    assert not isinstance(node.resize(pod((7, "4Gi"), G2, s())), Admitted)
