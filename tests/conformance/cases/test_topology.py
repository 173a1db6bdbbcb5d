"""Topology decisions that went wrong elsewhere. Each test names the public report."""

import pytest
from podnuma.allocator import check
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.cli.objects.scenarios import read_scenario, read_settings

from tests.conformance.said import granted, node, said
from tests.conformance.world import (
    RESTART,
    add,
    amounts,
    both,
    budget,
    cpus_only,
    d16,
    d64,
    facts,
    g,
    machine,
    numa_nodes,
    place,
    pod,
    remove,
    scenario,
    settings,
    shared,
)

CLOSEST = {"prefer-closest-numa-nodes": "true"}


def nodes_0_2_5():
    """Three nodes with gaps in their ids; 2 and 5 are near each other."""
    cpus = [(8 * at + core, core, at, node) for at, node in enumerate((0, 2, 5)) for core in range(8)]
    rows = {0: [10, 40, 40], 2: [40, 10, 20], 5: [40, 20, 10]}
    return place(cpus, [{"id": node, "memoryBytes": "16Gi", "distances": row} for node, row in rows.items()])


@pytest.mark.parametrize(("options", "nodes"), [(CLOSEST, [2, 5]), (None, [0, 2])])
def test_a_distance_column_is_a_place_in_the_list_not_a_node_id(options, nodes):
    """kubernetes/kubernetes#113781."""
    kubelet = cpus_only(policy="best-effort", topology=options, reserved=None, reservedCPU="1")
    step = said(scenario("gaps", nodes_0_2_5(), kubelet, add(pod("p", budget(12), [shared()])))).last
    assert step.report["pod"]["containers"][0]["affinity"]["numaNodes"] == nodes


def test_distances_of_a_machine_with_sparse_node_ids():
    """POWER with nodes 0, 1, 4, 5, 8, 9, 12, 13."""
    power = read_scenario(scenario("power", machine("power-256cpu"), {})).topology
    assert power.average_distance(1 << 4 | 1 << 5) == (10 + 20 + 20 + 10) / 4
    assert power.average_distance(1 << 1 | 1 << 4) == (10 + 40 + 40 + 10) / 4
    kubelet = cpus_only(policy="best-effort", topology=CLOSEST, reserved="0-3")
    step = said(
        scenario("power", machine("power-256cpu"), kubelet, add(pod("p", budget(48), [shared()])))
    ).last
    assert step.report["pod"]["containers"][0]["affinity"]["numaNodes"] == [0, 1]
    assert [row["id"] for row in facts("power-256cpu")["numaNodes"]] == [0, 1, 4, 5, 8, 9, 12, 13]


@pytest.mark.parametrize(("policy", "cpus"), [("restricted", None), ("best-effort", "4-5,10-11")])
def test_restricted_refuses_to_spread_what_an_empty_node_would_hold(policy, cpus):
    """kubernetes/kubernetes#84597: three nodes of six, two CPUs free on each."""
    three = place([(cpu, cpu, cpu // 6, cpu // 6) for cpu in range(18)], numa_nodes(3, "16Gi"))
    kubelet = cpus_only(policy=policy, reserved="0-3,6-9,12-15")
    step = said(scenario("spread", three, kubelet, add(pod("p", budget(4), [shared()])))).last
    assert (step.bubble if step.admitted else None) == cpus


def test_pods_without_a_wish_are_always_admitted():
    """kubernetes/kubernetes#83775: the node is full of exclusive pods."""
    full = [pod("a", budget(6), [g(6)]), pod("b", budget(8), [g(8)])]
    others = [
        pod("best-effort", None, [shared()]),
        pod("burstable", None, [shared(cpu="1", memory="1Gi")]),
        pod("fraction", None, [{"resources": both(amounts("500m", "1Gi"))}]),
    ]
    answer = said(scenario("full", d16(), settings(), *map(add, [*full, *others])))
    assert [step.admitted for step in answer] == [True] * 5
    assert [step.cpus("c0") for step in answer.steps[2:]] == ["0,8"] * 3


def replicas():
    return [pod(uid, None, [g(26, "32Gi")], [g(1, "1Gi")]) for uid in ("a", "b")]


def test_scope_pod_decides_once_for_the_greatest_need():
    """kubernetes/kubernetes#123816, #110306: an init container must not drag the app to another node."""
    kubelet = settings(reserved="0,32")
    first, second = said(scenario("replicas", d64(), kubelet, *map(add, replicas())))
    assert (first.cpus("i0"), first.cpus("c0")) == ("1", "1-13,33-45")
    assert (second.cpus("i0"), second.cpus("c0")) == ("16", "16-28,48-60")


def test_running_pods_are_adopted_not_decided_again():
    """kubernetes/kubernetes#123971, #123859: twenty restarts with both replicas running."""
    kubelet = settings(reserved="0,32")
    answer = said(scenario("restarts", d64(), kubelet, *map(add, replicas()), *[RESTART] * 20))
    states = [step.report["state"] for step in answer.steps[1:]]
    assert all(state == states[0] for state in states)
    assert all(pod["admitted"] for step in answer.steps[2:] for pod in step.report["readmissions"])


def test_restored_grants_give_the_same_node():
    kubelet = settings(reserved="0,32")
    case = scenario("restore", d64(), kubelet)
    before = node(case)
    for one in replicas():
        granted(before, one)
    after, problems = NodeAllocator.restore(before.settings, before.topology, before.grants.values())
    assert problems == []
    assert after.grants == before.grants
    assert after.default_set == before.default_set


@pytest.mark.parametrize(
    ("value", "usable"), [("true", False), ("7", False), ("8", True), ("9", True), ("08x", False)]
)
def test_the_largest_number_of_numa_nodes_is_a_number(value, usable):
    """kubernetes/website#55714, kubernetes/kubernetes#124148."""
    kubelet = cpus_only(topology={"max-allowable-numa-nodes": value})
    read = read_scenario(scenario("option", d16(), kubelet))
    problems = check(read_settings(read.kubelet), read.topology)
    assert (problems == []) == usable
    assert all(problem.field.endswith("max-allowable-numa-nodes") and problem.message for problem in problems)


def test_a_pod_that_no_longer_fits_fits_again_after_a_removal():
    steps = [add(pod(uid, budget(8), [shared()])) for uid in ("a", "b")]
    steps += [remove("a"), add(pod("c", budget(8), [shared()]))]
    answer = said(scenario("again", d16(), settings(), *steps))
    assert [step.report.get("admitted") for step in answer] == [True, False, None, True]
