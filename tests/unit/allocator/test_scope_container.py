"""Containers served from the node one by one; specification, sections 3.5, 4.6, 5.5 to 5.7 and 11.4."""

import pytest
from podnuma.allocator import cpuset
from podnuma.allocator.attempt import AdmissionAttempt
from podnuma.allocator.cpu.pick import near
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import Reason
from podnuma.allocator.eligibility import exclusive_requests
from podnuma.allocator.memory.memory_map import NumaMemoryMap
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.nodeset import parse as nodes_of
from podnuma.allocator.refusal import Refusal
from podnuma.allocator.rules import Rules
from podnuma.allocator.scope_container import place_containers

from tests.unit.allocator.shapes import (
    INIT,
    SIDECAR,
    admitted,
    cpus,
    g,
    machine,
    memory,
    pod,
    refused,
    s,
    sets,
    settings,
)

CACHED = "full-pcpus-only prefer-align-cpus-by-uncorecache"
SERVED = [
    # machine, reserved, default set, options, containers' CPUs, result
    ("SS8", "0", "0-7", "", [1], "4"),
    ("SS8", "0", "0-1,4-5", "", [2], "1,5"),
    ("DS12", "0", "0-1,3-11", "", [6], "1,3,5,7,9,11"),
    ("DS12", "0", "0,2-4,6-11", "", [6], "2-4,8-10"),
    ("DS12", "0", "0-1,3-11", "", [8], "1,3-5,7,9-11"),
    ("DN8", "0", "0-1,3-7", "", [4], "4-7"),
    ("DN8", "0", "0-1,3,6-7", "", [4], "1,3,6-7"),
    ("DS12", "", "0-11", "", [2], "0,6"),
    ("DS12", "0,6", "0-11", "full-pcpus-only", [10], "1-5,7-11"),
    ("SS8", "", "0-7", "", [(INIT, 2), (INIT, 4), 6], "0,4 / 0-1,4-5 / 0-2,4-6"),
    ("SS8", "", "0-7", "", [(INIT, 2), (INIT, 4), 2, 2], "0,4 / 0-1,4-5 / 0,4 / 1,5"),
    ("SS8", "", "0-7", "", [(SIDECAR, 4), 2], "0-1,4-5 / 2,6"),
    ("U384", "0-1,96-97,192-193,288-289", "caches 0,12", CACHED, [16], "8-15,200-207"),
    ("U384", "0-1,96-97,192-193,288-289", "caches 0,12", CACHED, [12, 2], "8-13,200-205 / 14,206"),
    ("U128", "0-1,64-65", "0-127", CACHED, [8], "4-7,68-71"),
    ("U128", "0-1,64-65", "caches 1", CACHED, [12], "2-3,8-11,66-67,72-75"),
    ("U128", "0-1,64-65", "0-127", "prefer-align-cpus-by-uncorecache", [3], "2-3,66"),
    ("U128", "0-1,64", "0-127", "prefer-align-cpus-by-uncorecache", [3], "2,65-66"),
    ("U128", "0-1,64", "0-127", "prefer-align-cpus-by-uncorecache", [11], "2,4-7,65-66,68-71"),
    ("U256", "0-1,128-129", "0-7,10-135,138-255", CACHED, [12, 12], "2-7,130-135 / 10-15,138-143"),
    ("U256", "0-1,128-129", "0-7,10-135,138-255", CACHED, [14, 14], "16-22,144-150 / 24-30,152-158"),
    ("U64", "0-1,32-33", "caches 1", CACHED, [4, 2], "2-5 / 6-7"),
    ("U64", "0-1,32-33", "caches 1", CACHED, [4, 4], "2-5 / 16-19"),
    ("U32", "0-3", "0-31", CACHED, [5], "8-12"),
    ("M240", "0-1,120-121", "0-239", CACHED, [6], "2-4,122-124"),
]
REFUSED = [
    (
        "SS8",
        "0",
        "0-7",
        "",
        8,
        (
            "Allocate failed due to not enough cpus available to satisfy request: requested=8, available=7, "
            "which is unexpected"
        ),
    ),
    (
        "SS8",
        "",
        "0-7",
        "full-pcpus-only",
        1,
        "SMT Alignment Error: requested 1 cpus not multiple cpus per core = 2",
    ),
    (
        "DS12",
        "1,6",
        "0,2-5,7-11",
        "full-pcpus-only",
        10,
        (
            "SMT Alignment Error: not enough free physical CPUs: available physical CPUs = 8, "
            "requested CPUs = 10, CPUs per core = 2"
        ),
    ),
]
NEAR = [
    # machine, reserved, default set, options, affinity, count, result
    ("DS12", "", "0-11", "", "0", 8, "0-2,4,6-8,10"),
    ("DS12", "", "0-11", "", "1", 8, "0-1,3,5-7,9,11"),
    ("MN80", "0", "2,11,21-22", "align-by-socket", "0,2", 2, "2,11"),
    ("MN80", "0", "2,11,21-22", "", "0,2", 2, "2,21"),
]


def default_set(name, text):
    """Read a default set; "caches 1" is everything but the CPUs of uncore cache 1."""
    if not text.startswith("caches "):
        return cpus(text)
    gone = cpuset.parse(text.removeprefix("caches "))
    taken = sum(mask for cache, mask in machine(name).uncores if gone >> cache & 1)
    return machine(name).all_cpus & ~taken


def rules(name, reserved, options, policy="none"):
    # A kubelet cannot be told to reserve nothing; the examples of the specification do.
    made = Rules(settings(policy, memory="None", reserved=reserved or "0", options=options), machine(name))
    if not reserved:
        made.reserved = made.withheld = made.withheld_cores = CpuSet(0)
    return made


def serve(name, reserved, default, options, counts):
    wanted = exclusive_requests(
        pod(None, *(g(c[1], kind=c[0]) if isinstance(c, tuple) else g(c) for c in counts))
    )
    made = rules(name, reserved, options)
    attempt = AdmissionAttempt(len(counts))
    place_containers(made, default_set(name, default), NumaMemoryMap(made.layout), wanted, attempt)
    return " / ".join(cpuset.render(assignment.cpus or 0) for assignment in attempt.assignments)


@pytest.mark.parametrize(("name", "reserved", "default", "options", "counts", "expected"), SERVED)
def test_containers_get_their_own_cpus(name, reserved, default, options, counts, expected):
    assert serve(name, reserved, default, options, counts) == expected


@pytest.mark.parametrize(("name", "reserved", "default", "options", "count", "text"), REFUSED)
def test_what_the_node_cannot_give_is_refused(name, reserved, default, options, count, text):
    with pytest.raises(Refusal) as refusal:
        serve(name, reserved, default, options, [count])
    assert refusal.value.message == text


@pytest.mark.parametrize(("name", "reserved", "default", "options", "nodes", "count", "expected"), NEAR)
def test_cpus_of_the_affinity_come_first_the_rest_from_anywhere(  # noqa: PLR0917
    name, reserved, default, options, nodes, count, expected
):
    made = rules(name, reserved, options, "best-effort")
    close = near(made.topology, made.options, nodes_of(nodes))
    got = made.picker.take_aligned(cpus(default) & ~made.reserved, close, count, nodes_of(nodes).bit_count())
    assert cpuset.render(got) == expected


WHOLE = [
    # policy, scope, pod, CPU sets, memory
    ("none", "pod", pod(("4", "4Gi"), g(1)), "6", "0 1024"),
    (
        "single-numa-node",
        "container",
        pod(("5", "5Gi"), g(3, "3Gi"), g(2, "2Gi"), s()),
        "2,6,8 / 4,10 / DEF",
        "0 3072 / 0 2048 / -",
    ),
    (
        "single-numa-node",
        "container",
        pod(("4", "4Gi"), g(2, "2Gi"), s(), s()),
        "2,8 / DEF / DEF",
        "0 2048 / - / -",
    ),
    ("single-numa-node", "pod", pod(None, g(2, "2Gi"), g(2, "2Gi")), "2,8 / 4,10", "0 2048 / 0 2048"),
    (
        "single-numa-node",
        "container",
        pod(None, g(4, "2Gi"), g(4, "2Gi")),
        "2,4,8,10 / 1,3,7,9",
        "0 2048 / 1 2048",
    ),
]


@pytest.mark.parametrize(("policy", "scope", "wanted", "expected", "sizes"), WHOLE)
def test_whole_admissions_outside_bubbles(policy, scope, wanted, expected, sizes):
    decision = admitted(NodeAllocator.empty(settings(policy, scope), machine("DS12")), wanted)
    assert (sets(decision), memory(decision)) == (expected, sizes)
    assert decision.grant.cpus is None
    assert decision.grant.memory == ()
    assert not decision.grant.pod_level


def test_one_hint_for_the_whole_pod_must_fit_the_whole_pod():
    node = NodeAllocator.empty(settings("single-numa-node"), machine("DS12"))
    decision = refused(node, pod(None, g(4, "2Gi"), g(4, "2Gi")))
    assert decision.reason is Reason.TOPOLOGY_AFFINITY
    assert decision.message == "Resources cannot be allocated with Topology locality"


def test_a_budget_refused_container_by_container_has_its_own_words():
    node = NodeAllocator.empty(settings("restricted", "container"), machine("DS12"))
    assert refused(node, pod(("12", "4Gi"), g(6, "1Gi"), g(6, "1Gi"))).message == (
        "Pod Scope pod with pod-level resources failed admission with a container-level topology manager"
    )


def test_an_init_container_leaves_its_cpus_and_its_node_to_the_app():
    node = NodeAllocator.empty(settings("single-numa-node", reserved="0,32"), machine("D64", 125 * 2**30))
    wanted = [pod(None, g(1, "1Gi", INIT), g(26, "32Gi"), uid=uid) for uid in ("one", "two")]
    assert sets(admitted(node, wanted[0])) == "1 / 1-13,33-45"
    assert sets(admitted(node, wanted[1])) == "16 / 16-28,48-60"


def test_a_sidecar_keeps_its_cpus_an_init_container_does_not():
    node = NodeAllocator.empty(settings("single-numa-node", reserved="0,8"), machine("D16"))
    decision = admitted(node, pod(None, g(4, kind=INIT), g(2, kind=SIDECAR), g(4)))
    assert sets(decision) == "1-2,9-10 / 1,9 / 2-3,10-11"
    assert decision.grant.exclusive_cpus.bit_count() == 6


def test_pods_without_wishes_are_admitted_on_a_full_node():
    node = NodeAllocator.empty(settings("single-numa-node", reserved="0,8"), machine("D16", 64 * 2**30))
    for uid, count in (("a", 6), ("b", 8)):
        admitted(node, pod((count, "1Gi"), s(), uid=uid))
    for wanted in (pod(None, s()), pod(None, g(1), s()), pod(None, g("500m", "1Mi"))):
        assert sets(admitted(node, wanted)) in {"DEF", "DEF / DEF"}


def test_a_fractional_amount_of_memory_refuses_the_container():
    node = NodeAllocator.empty(settings("none"), machine("DS12"))
    assert refused(node, pod(None, g(1, "1.5Gi"))).message == (
        "Allocate failed due to [memorymanager] failed to represent quantity as int64, which is unexpected"
    )
