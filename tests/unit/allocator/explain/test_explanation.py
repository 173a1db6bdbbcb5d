"""Explanations: what was free, wished, merged, and what would fit."""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import nodeset
from podnuma.allocator.decision import Admitted, Rejected
from podnuma.allocator.explain.explanation import explain
from podnuma.allocator.explain.free import FreeRow
from podnuma.allocator.explain.remarks import AdmissionPath, MergeSide
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.request import Qos
from podnuma.allocator.topology_hint import TopologyHint

from tests.unit.allocator.shapes import GI, admitted, cpus, g, machine, pod, s, settings, unhurried
from tests.unit.allocator.test_properties import histories, play, pods, state


def node(policy="restricted", scope="pod", **told):
    return NodeAllocator.empty(settings(policy, scope, **told), machine("DS12"))


def hint(text, preferred):
    return TopologyHint(nodeset.parse(text), preferred)


def test_a_refusal_shows_both_wishes_and_the_numbers_that_would_fit():
    found = explain(node(), pod((2, "12Gi"), s()))
    assert isinstance(found.decision, Rejected)
    assert (found.qos, found.path) == (Qos.GUARANTEED, AdmissionPath.BUBBLE)
    assert found.free == (
        FreeRow(0, "cpu", 5, 5, nodeset.of([0])),
        FreeRow(0, "memory", 8 * GI, 8 * GI, nodeset.of([0])),
        FreeRow(1, "cpu", 6, 6, nodeset.of([1])),
        FreeRow(1, "memory", 8 * GI, 8 * GI, nodeset.of([1])),
    )
    (step,) = found.steps
    assert step.subject == "pod"
    assert step.merged is None
    assert step.sides == (
        MergeSide("cpu", "2 cpu", "11 cpu", 1, (hint("0", True), hint("1", True), hint("0-1", False))),
        MergeSide("memory", "12Gi memory", "16Gi memory", 2, (hint("0-1", True),)),
    )
    assert found.remarks == (
        "pod: CPUs need one NUMA node, memory needs 2 NUMA nodes: no set of nodes is best for both",
    )
    assert found.smallest is not None
    assert [(change.resource, change.now, change.needed) for change in found.suggestions] == [
        ("memory", "12Gi", "8Gi"),
        ("cpu", "2", "7"),
    ]


def test_an_admission_shows_what_was_chosen_and_needs_no_change():
    found = explain(node(), pod((4, "4Gi"), g(2, "2Gi"), s()))
    assert isinstance(found.decision, Admitted)
    assert found.decision.grant.exclusive_cpus == cpus("2,4,8,10")
    assert found.steps[0].merged == hint("0", True)
    assert (found.smallest, found.suggestions, found.together, found.remarks) == (None, (), (), ())


def test_a_held_pod_is_explained_as_if_it_came_now():
    here = node()
    wanted = pod((4, "4Gi"), g(2, "2Gi"), s())
    grant = admitted(here, wanted).grant
    found = explain(here, wanted)
    assert isinstance(found.decision, Admitted)
    assert found.decision.grant == grant
    assert [row.free for row in found.free if row.resource == "cpu"] == [5, 6]
    assert list(here.grants) == ["u1"]


def test_the_group_in_the_way_and_its_owner_are_named():
    here = node()
    here.adopt(admitted(node("best-effort"), pod((2, "12Gi"), s(), uid="big")).grant)
    found = explain(here, pod((1, "1Gi"), s()))
    assert found.remarks == (
        "pod: 1Gi memory fit on NUMA nodes 0-1, when empty one NUMA node is enough: restricted refuses",
        "NUMA nodes 0-1 are one memory group while lab/big run: they serve only all together",
    )
    assert found.smallest is None


def test_containers_are_explained_one_by_one_until_the_refusal():
    found = explain(node("single-numa-node", "container"), pod((14, "4Gi"), g(6, "2Gi"), g(6, "1Gi"), s()))
    assert [(step.subject, step.merged) for step in found.steps] == [("c0", hint("1", True)), ("c1", None)]
    assert found.remarks == (
        "only pod scope has pod shared pools; in the node shared pool: c2",
        "c1 wants 6 cpu; the whole node has 5 cpu free",
    )
    assert [(change.where, change.resource, change.needed) for change in found.suggestions] == [
        ("c0", "cpu", "5"),
        ("c1", "cpu", "5"),
    ]


def test_two_pools_that_are_both_empty_need_two_changes():
    found = explain(node(), pod((5, "5Gi"), g(3, "3Gi"), g(2, "2Gi"), s()))
    assert found.suggestions == ()
    assert [(change.where, change.resource, change.needed) for change in found.together] == [
        ("pod", "cpu", "6"),
        ("pod", "memory", "5121Mi"),
    ]


def test_half_cores_are_rounded_either_way():
    found = explain(node("best-effort", reserved="0,6", options="full-pcpus-only"), pod((3, "4Gi"), s()))
    assert [(change.resource, change.needed) for change in found.suggestions] == [("cpu", "2"), ("cpu", "4")]


def test_pods_that_hold_nothing_are_told_why():
    wanted = pod((4, "4Gi"), g(2, "2Gi"))
    assert explain(node(), replace(wanted, pod_limits=None)).remarks == (
        (
            "its pod-level resources have no CPU limit and no memory limit, which makes the pod Burstable: "
            "no container gets CPUs or memory of its own; requests equal to limits, for CPU and memory, make "
            "it Guaranteed"
        ),
    )
    assert explain(node(), pod(("3500m", "4Gi"), g(2, "2Gi"), s())).remarks == (
        "a budget of 3500m CPUs is not whole: no container gets own CPUs",
    )
    assert explain(node(), pod((4, "1.5Gi"), s())).remarks == (
        "the budget's memory is not a plain number of bytes: no memory is bound",
    )
    off = NodeAllocator.empty(replace(settings(), pod_level_managers=False), machine("DS12"))
    assert explain(off, wanted).remarks == (
        "pod-level resource managers are off: pods with a budget hold nothing",
    )


def test_memory_that_nobody_has_is_no_wish_and_is_named():
    found = explain(node("single-numa-node"), pod(None, g(1, "20Gi")))
    assert found.steps[0].sides[1].hints is None
    assert found.remarks == (
        "pod wants 20Gi memory; no usable set of NUMA nodes has it free, the whole node has 16Gi memory",
    )
    assert found.smallest is not None
    assert found.smallest.needed == "8Gi"


def test_a_request_for_more_nodes_than_one_is_named():
    found = explain(node("single-numa-node"), pod((8, "12Gi"), s()))
    assert found.remarks == (
        "pod: 8 cpu need 2 NUMA nodes, single-numa-node allows one",
        "pod: 12Gi memory need 2 NUMA nodes, single-numa-node allows one",
    )


def test_many_owners_are_counted_not_listed():
    here = node("best-effort")
    for number in range(7):
        admitted(here, pod(("500m", "9Gi" if number == 0 else "512Mi"), s(), uid=f"p{number}"))
    (note,) = explain(here, pod(("500m", "1Gi"), s())).remarks[-1:]
    assert "while lab/p0, lab/p1, lab/p2, lab/p3, lab/p4 and 2 more run" in note


@unhurried(40)
@given(histories(), st.data())
def test_every_change_offered_makes_the_pod_fit_and_explaining_changes_nothing(history, data):
    here, steps = history
    play(here, steps)
    before = state(here)
    wanted = data.draw(pods("late"))
    found = explain(here, wanted)
    assert found.decision == here.decide(wanted)
    assert state(here) == before
    for change in found.suggestions:
        assert isinstance(here.decide(changed(wanted, change)), Admitted)
    if found.together:
        one, other = found.together
        assert isinstance(here.decide(changed(changed(wanted, one), other)), Admitted)


def changed(wanted, change):
    """Return the pod with one number changed, at the pod or at a container, request and limit."""
    from podnuma.allocator.quantities import parse

    new = {change.resource: parse(change.needed)}
    if change.where == "pod":
        return replace(
            wanted,
            pod_requests=dict(wanted.pod_requests or {}) | new,
            pod_limits=dict(wanted.pod_limits or {}) | new,
        )
    return replace(
        wanted,
        containers=tuple(
            replace(one, requests=dict(one.requests) | new, limits=dict(one.limits) | new)
            if one.name == change.where
            else one
            for one in wanted.containers
        ),
    )
