"""Pod-level budgets that went wrong elsewhere. Each test names the public report."""

import pytest
from podnuma.allocator import Admitted
from podnuma.allocator.quantities import parse

from tests.conformance.said import decide, granted, node, said
from tests.conformance.world import (
    GI,
    RESTART,
    add,
    amounts,
    both,
    budget,
    d16,
    g,
    pod,
    pod_file,
    scenario,
    settings,
    shared,
    sidecar,
)


def one_pod(wanted, **chosen):
    return said(scenario("case", d16(), settings(**chosen), add(wanted))).last


@pytest.mark.parametrize("policy", ["restricted", "single-numa-node"])
def test_a_restart_keeps_a_budget_that_is_cut_into_parts(policy):
    """kubernetes/kubernetes#141069."""
    wanted = pod("p", budget(4, "8Gi"), [g(2, "3Gi"), shared()])
    answer = said(scenario("parts", d16(), settings(policy=policy), add(wanted), RESTART))
    before, after = answer
    assert before.bubble_memory == {"memory": (8 * GI, (0,))}
    assert before.memory("c0") == {"memory": (3 * GI, (0,))}
    assert before.memory("c1") == {"memory": (5 * GI, (0,))}
    assert after.report["readmissions"] == [{"uid": "p", "admitted": True}]
    assert after.report["state"] == before.report["state"]


@pytest.mark.parametrize(
    ("policy", "reason"),
    [
        ("single-numa-node", "TopologyAffinityError"),
        ("restricted", "TopologyAffinityError"),
        ("best-effort", "EmptyPodSharedPoolError"),
    ],
)
def test_an_empty_pool_with_somebody_in_it_is_refused_wherever_a_bubble_is_made(policy, reason):
    """kubernetes/kubernetes#134768."""
    step = one_pod(pod_file("09"), policy=policy)
    assert (step.admitted, step.reason) == (False, reason)


@pytest.mark.parametrize(("policy", "scope"), [("none", "pod"), ("single-numa-node", "container")])
def test_without_a_bubble_the_rest_runs_in_the_node_default_set(policy, scope):
    step = one_pod(pod_file("09"), policy=policy, scope=scope)
    assert (step.cpus("matcher"), step.cpus("feed")) == ("1-2,9-10", "3,11")
    assert step.cpus("logger") == step.default == "0,4-8,12-15"


def test_an_empty_pool_is_fine_when_nobody_needs_it():
    step = one_pod(pod("p", budget(5, "3Gi"), [g(3), g(1), g(1)]))
    assert [step.cpus(name) for name in ("c0", "c1", "c2")] == ["1,3,9", "2", "10"]


def test_a_shared_init_container_has_what_the_sidecars_before_it_leave():
    step = one_pod(pod("p", budget(4, "4Gi"), [g(1)], [sidecar(g(3)), shared()]))
    assert (step.cpus("i0"), step.cpus("i1"), step.cpus("c0")) == ("1-2,9", "10", "10")


def test_a_sidecar_with_everything_starves_the_rest():
    step = one_pod(pod("p", budget(4, "4Gi"), [shared()], [sidecar(g(4)), shared()]))
    assert not step.admitted


def test_a_sidecar_keeps_its_cpus_for_life():
    """kubernetes/kubernetes#119442, #119447, #120715."""
    step = one_pod(pod("p", None, [g(4)], [g(4), sidecar(g(2))]))
    assert (step.cpus("i0"), step.cpus("i1"), step.cpus("c0")) == ("1-2,9-10", "1,9", "2-3,10-11")
    assert step.default == "0,4-8,12-15"


def test_a_budget_without_limits_is_decided_as_it_is_stored():
    """kubernetes/kubernetes#136120: a v1.36 API server stores no pod-level limits."""
    level = {"requests": amounts(4, "8Gi")}
    step = one_pod(pod("p", level, [g(2, "2Gi")]))
    assert (step.qos, step.bubble, step.cpus("c0")) == ("Burstable", None, "0-15")


def test_zero_counts_as_unset():
    """kubernetes/website#54306."""
    step = one_pod(pod_file("25", 1))
    assert (step.qos, step.bubble) == ("Burstable", None)
    step = one_pod(pod("p", budget(4, "4Gi"), [g(0), shared()]))
    assert step.assignment("c0")[0] == "pod_shared"


def test_odd_quantities_are_read_exactly():
    """kubernetes/kubernetes#99296."""
    step = one_pod(pod_file("25", 0))
    assert (step.qos, step.bubble) == ("Guaranteed", "1-2,9-10")
    assert step.bubble_memory == {"memory": (129_000_000, (0,))}
    assert parse("1.5").bytes == 2
    assert parse("0.5Gi").bytes == 536_870_912
    assert parse("4000m").units == 4


@pytest.mark.parametrize("text", ["1e3Mi", "-4", " 4", "", "4 ", "0x4", "1,5"])
def test_what_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="quantity"):
        parse(text)


def test_a_fraction_of_a_byte_does_not_stop_a_pod():
    step = one_pod(pod_file("25", 2))
    assert (step.admitted, step.bubble) == (True, "1,9")


def test_the_budget_is_read_from_spec_never_from_status():
    """kubernetes/kubernetes#141814: status.resources lost a key in a resize."""
    wanted = pod("p", budget(4, "8Gi"), [shared()])
    wanted["status"] = {"resources": {"requests": {"memory": "8Gi"}, "limits": {"memory": "8Gi"}}}
    assert one_pod(wanted).bubble == "1-2,9-10"


def test_overhead_widens_the_pod_cgroup_and_buys_no_cpus():
    """kata-containers/kata-containers#5503, #6129."""
    on = node(scenario("overhead", d16(), settings()))
    grant = granted(on, pod_file("17")).grant
    assert grant.exclusive_cpus.bit_count() == 4
    assert grant.pod_quota == 425_000


def test_a_pool_is_the_bubble_without_exclusive_slices():
    """kubernetes/kubernetes#100211 and others: lists that mix shared and exclusive."""
    step = one_pod(pod_file("01"))
    assert (step.bubble, step.cpus("postgres")) == ("1-3,9-11", "1-2,9-10")
    assert [
        step.exclusive(name) for name in ("restore-from-backup", "wal-shipper", "postgres", "metrics")
    ] == [
        False,
        False,
        True,
        False,
    ]
    assert step.cpus("wal-shipper") == step.cpus("metrics") == "3,11"
    step = one_pod(pod_file("02"))
    assert step.bubble == "1-2,9-10"
    assert not any(step.exclusive(name) for name in ("cache", "exporter", "log-tail"))


def test_a_container_with_fractional_cpus_shares_cpus_and_has_memory_of_its_own():
    wanted = pod("p", budget(4, "8Gi"), [g(2, "4Gi"), {"resources": both(amounts("1500m", "3Gi"))}, shared()])
    decision = decide(node(scenario("case", d16(), settings())), wanted)
    assert isinstance(decision, Admitted)
    own, half, rest = decision.grant.containers
    assert (half.cpu_assignment.value, half.memory_assignment.value) == ("pod_shared", "pod_exclusive")
    assert [sum(block.size for block in one.memory) for one in (own, half, rest)] == [4 * GI, 3 * GI, GI]
