"""One line for people: the cause, then what fits."""

from dataclasses import replace

import pytest
from hypothesis import given
from podnuma.allocator.explain.brief import LONGEST, brief
from podnuma.allocator.explain.explanation import explain
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.request import ContainerRequest

from tests.unit.allocator.shapes import GI, admitted, amounts, g, machine, pod, s, settings, unhurried
from tests.unit.allocator.test_properties import histories, play, pods


def node(policy="single-numa-node", scope="pod", **told):
    return NodeAllocator.empty(settings(policy, scope, **told), machine("DS12"))


def said(on, wanted):
    return brief(on, wanted, explain(on, wanted))


def test_an_admitted_pod_needs_no_words():
    assert said(node(), pod((4, "4Gi"), g(2, "2Gi"), s())) == ""


def test_too_many_cpus_for_a_numa_node_and_what_fits():
    assert said(node(), pod((9, "4Gi"), g(2, "1Gi"), s())) == (
        "needs 9 CPUs on one NUMA node; the largest has 6 free. Fits with: pod cpu 6"
    )


def test_a_budget_that_its_container_uses_up_shrinks_with_it():
    assert said(node(), pod((9, "4Gi"), g(9, "4Gi", name="main"))) == (
        "needs 9 CPUs on one NUMA node; the largest has 6 free. Fits with: pod cpu 6 and main cpu 6"
    )


def test_too_many_cpus_for_the_node():
    assert said(node("best-effort"), pod((64, "4Gi"), g(2, "1Gi"), s())) == (
        "needs 64 CPUs; the node has 11 free. Fits with: pod cpu 11"
    )


def test_all_that_is_short_is_named_with_what_fits_together():
    assert said(node("best-effort"), pod((64, "64Gi"), g(2, "1Gi"), s())) == (
        "needs 64 CPUs and 64Gi memory; the node has 11 CPUs and 16Gi memory free. "
        "Fits with: pod cpu 11 and pod memory 16Gi"
    )
    assert said(node(), pod((9, "12Gi"), g(2, "1Gi"), s())) == (
        "needs 9 CPUs and 12Gi memory on one NUMA node; the largest has 6 CPUs and 8Gi memory free. "
        "Fits with: pod cpu 6 and pod memory 8Gi"
    )


def test_too_much_memory_is_in_units_for_people():
    found = said(node(), pod((2, "12Gi"), g(1, "1Gi"), s()))
    assert found == "needs 12Gi memory on one NUMA node; the largest has 8Gi free. Fits with: pod memory 8Gi"


def test_a_container_is_named_in_container_scope():
    found = said(node(scope="container"), pod(None, g(9, "1Gi", name="main")))
    assert found.startswith(
        "container main needs 9 CPUs on one NUMA node; the largest has 6 free. Fits with: "
    )
    assert "main cpu 6" in found


def test_slices_that_leave_nothing_for_the_pool_are_the_cause_not_the_affinity():
    found = said(node(), pod((2, "4Gi"), g(2, "2Gi"), s(name="side")))
    assert found.startswith(
        "containers with CPUs of their own take all 2 CPUs of the budget; none is left for side. "
    )
    assert "Fits with: pod cpu 3 or c0 cpu 1" in found


def test_the_pod_that_blocks_memory_over_two_nodes_is_named_with_what_fits():
    """M12: a grant on node 0 alone, then a pod that needs both nodes."""
    on = node("restricted")
    admitted(on, pod((1, "2Gi"), g(1, "2Gi"), uid="first"))
    found = said(on, pod((4, "12Gi"), g(1, "1Gi"), s(), uid="second"))
    assert found.startswith("pod wants 12Gi memory; no usable set of NUMA nodes has it free, ")
    assert "NUMA node 0 serves " in found
    assert "/first alone" in found
    assert "Fits with: pod memory " in found


def test_the_container_that_makes_a_pod_burstable_is_named_with_the_way_out():
    """M11: an injected sidecar without resources, and no budget."""
    found = explain(node(), pod(None, g(4, "4Gi", name="postgres"), s(name="plugin-barman-cloud")))
    (remark,) = found.remarks
    assert remark == (
        "plugin-barman-cloud without requests equal to limits for CPU and memory makes the pod Burstable, "
        "so postgres gets no CPUs of its own; a pod-level budget (spec.resources) makes it Guaranteed"
    )


def test_what_a_budget_lacks_is_said_where_somebody_means_it_to_be_exclusive():
    """kubernetes/kubernetes#136120: what the API server fills in makes some of them Burstable."""
    wanted = pod((4, "4Gi"), g(2, "2Gi"), s())
    (remark,) = explain(node(), replace(wanted, pod_requests=amounts("2", "4Gi"))).remarks
    assert remark == (
        "its pod-level resources have a CPU request of 2 below a limit of 4, which makes the pod Burstable: "
        "no container gets CPUs or memory of its own; requests equal to limits, for CPU and memory, make it "
        "Guaranteed"
    )
    only_cpus = amounts("4", None)
    (remark,) = explain(node(), replace(wanted, pod_requests=only_cpus, pod_limits=only_cpus)).remarks
    assert "have no memory limit, which" in remark
    meant = pod((4, "4Gi"), s())
    (remark,) = explain(node(), replace(meant, pod_requests=amounts("1", "1Gi"))).remarks
    assert remark.startswith("QoS class Burstable: only Guaranteed pods hold anything")


def test_several_containers_get_none():
    (remark,) = explain(node(), pod(None, g(2, name="a"), g(1, name="b"), s(name="c"))).remarks
    assert "so a, b get no CPUs of their own; " in remark


def test_a_pod_that_asks_for_nothing_of_its_own_is_only_burstable():
    sizes = amounts("500m", "1Gi", {})
    found = explain(node(), pod(None, ContainerRequest("c", requests=sizes), s()))
    assert found.remarks[0].startswith("QoS class Burstable: only Guaranteed pods hold anything")


@pytest.mark.parametrize("size", [9 * GI, 2**55])
def test_amounts_have_a_unit_and_three_digits(size):
    wanted = pod((1, str(size)), g(1, str(size)))
    assert said(node(), wanted).startswith(f"needs {'9Gi' if size < 2**50 else '3.28e+04Ti'} memory")


@unhurried(60)
@given(histories(), pods("new"))
def test_it_is_never_longer_than_an_event_should_be(history, wanted):
    on, steps = history
    play(on, steps)
    found = explain(on, wanted)
    assert len(brief(on, wanted, found)) <= LONGEST
