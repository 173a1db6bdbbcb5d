"""Resizes from beginning to end: what holds after every history, and what is refused."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.allocator import cpuset
from podnuma.allocator.decision import Admitted, GrantedDevice
from podnuma.allocator.nodeset import NodeSet
from podnuma.allocator.resize.decide import ResizeRefused

from tests.unit.allocator.resize.helpers import budget, node, refused
from tests.unit.allocator.shapes import admitted, g, pod, unhurried
from tests.unit.allocator.test_properties import check_books, histories, play, pods, summed


def test_what_fits_no_empty_node_is_infeasible():
    where = node()
    admitted(where, budget(3, 2))
    assert not refused(where, budget(9, 8)).feasible


def test_a_grant_of_another_scope_is_left_alone():
    where = node()
    first = admitted(where, budget(3, 2)).grant
    other = node(scope="container")
    other.adopt(first)
    assert "topologyManagerScope" in refused(other, budget(4, 3)).message


def test_a_pod_that_gets_a_budget_while_it_runs_or_loses_it_is_told_so():
    """kubernetes/enhancements#5423: a resize may add pod-level resources. An annotation may come and go."""
    again = "delete the pod, so that its controller makes a new one"
    where = node()
    admitted(where, pod(None, g(2), g(1)))
    assert refused(where, pod((4, "4Gi"), g(2), g(1))) == ResizeRefused(
        "its containers hold CPUs and memory one by one, since it had no pod-level resources when it was "
        f"decided; {again}",
        feasible=False,
    )
    where = node()
    admitted(where, budget(3, 2))
    assert refused(where, pod(None, g(2), g(1))) == ResizeRefused(
        f"it holds CPUs and memory as a whole, and has no pod-level resources any more; {again}",
        feasible=False,
    )


@pytest.mark.parametrize("policy", ["single-numa-node", "none"])
def test_a_budget_that_comes_later_changes_nothing_where_containers_stand_alone(policy):
    where = node(policy, "container")
    first = admitted(where, pod(None, g(2), g(1))).grant
    answer = where.resize(pod((4, "4Gi"), g(2), g(1)))
    assert isinstance(answer, Admitted)
    assert (answer.grant.containers, answer.grant.pod_level) == (first.containers, False)


def test_the_devices_of_a_pod_stay_on_record():
    where = node()
    grant = admitted(where, budget(3, 2)).grant
    first, second = grant.containers
    gpu = GrantedDevice("gpu.example.com", "gpu-0", NodeSet(1))
    where.adopt(replace(grant, containers=(replace(first, devices=(gpu,)), second)))
    answer = where.resize(budget(4, 3))
    assert isinstance(answer, Admitted)
    assert answer.grant.devices == (gpu,)


def held_pods(where, steps):
    asked = {wanted.uid: wanted for wanted, _ in steps}
    return [asked[uid] for uid in where.grants]


@unhurried(200)
@given(histories())
def test_the_same_request_gives_the_same_grant(history):
    where, steps = history
    for wanted in held_pods(where, play(where, steps)):
        answer = where.resize(wanted)
        assert isinstance(answer, Admitted), (wanted, answer)
        assert answer.grant == where.grants[wanted.uid]


@unhurried(300)
@given(histories(), st.data())
def test_resizes_keep_the_books_and_move_nothing_that_stays(history, data):
    where, steps = history
    live = held_pods(where, play(where, steps))
    if not live:
        return
    for _ in range(3):
        old = data.draw(st.sampled_from(live))
        before, held = summed(where), where.grants.get(old.uid)
        new = with_amounts_of(old, data.draw(pods(old.uid)))
        answer = where.resize(new)
        assert summed(where) == before
        assert where.resize(new) == answer
        if isinstance(answer, Admitted):
            where.hold(answer)
            if held is not None:
                stays(held, answer.grant)
        check_books(where)


def stays(held, grant):
    for old, new in zip(held.containers, grant.containers, strict=True):
        if old.kind.value == "init" or "exclusive" not in old.cpu_assignment.value:
            continue
        if old.cpu_assignment is new.cpu_assignment and old.cpus and new.cpus:
            common = old.cpus & new.cpus
            assert common == min(old.cpus, new.cpus, key=int.bit_count)
    for old, new in zip(held.containers, grant.containers, strict=True):
        if old.memory_nodes and new.memory_nodes:
            assert old.memory_nodes == new.memory_nodes


def with_amounts_of(old, other):
    """The pod resized: the same containers with the amounts of another pod's."""
    amounts = [container for container in other.containers if container.requests] or [other.containers[0]]
    containers = tuple(
        replace(
            container,
            requests=amounts[place % len(amounts)].requests,
            limits=amounts[place % len(amounts)].limits,
        )
        for place, container in enumerate(old.containers)
    )
    if not old.pod_level or not other.pod_level:
        return replace(old, containers=containers)
    return replace(old, containers=containers, pod_requests=other.pod_requests, pod_limits=other.pod_limits)


@unhurried(200)
@given(histories(), st.data())
def test_there_and_back_gives_everybody_the_same_number(history, data):
    where, steps = history
    live = held_pods(where, play(where, steps))
    if not live:
        return
    old = data.draw(st.sampled_from(live))
    first = where.grants[old.uid]
    there = where.resize(with_amounts_of(old, data.draw(pods(old.uid))))
    if isinstance(there, ResizeRefused) or not there.grant.holds_anything:
        return
    where.hold(there)
    back = where.resize(old)
    if isinstance(back, ResizeRefused):
        return  # nothing was reserved for the way back
    where.hold(back)
    check_books(where)
    assert sizes(back.grant) == sizes(first)


def sizes(grant):
    return [
        (
            container.name,
            container.cpu_assignment,
            container.memory_assignment,
            None if container.cpus is None else container.cpus.bit_count(),
            [(block.resource, block.size) for block in container.memory],
            container.cpu_quota,
        )
        for container in grant.containers
        if container.kind.value != "init"
    ] + [None if grant.cpus is None else grant.cpus.bit_count(), grant.pod_quota]


def test_a_resize_is_held_only_while_the_node_is_as_it_was():
    where = node()
    admitted(where, budget(3, 2))
    answer = where.resize(budget(4, 3))
    admitted(where, pod((1, "1Gi"), g(1), uid="u2"))
    with pytest.raises(RuntimeError, match="decide again"):
        where.hold(answer)
    assert cpuset.render(where.grants["u1"].cpus) == "1-2,7"
