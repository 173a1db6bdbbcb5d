"""CPUs and memory of single containers."""

from podnuma.allocator import cpuset

from tests.unit.allocator.resize.helpers import node, refused, resized
from tests.unit.allocator.shapes import GI, INIT, SIDECAR, admitted, g, pod, sets


def own(answer):
    return own_of(answer.grant)


def own_of(grant):
    return [container.cpus or 0 for container in grant.containers]


def test_containers_without_a_budget_grow_and_shrink_where_they_are():
    where = node("best-effort", "container", "MN80", nodes=4)
    first = admitted(where, pod(None, g(2), g(4)))
    then = resized(where, pod(None, g(3), g(2)))
    (a, b), (c, d) = own(first), own(then)
    assert a & ~c == d & ~b == 0
    assert (c.bit_count(), d.bit_count()) == (3, 2)
    assert sets(resized(where, pod(None, g("1500m"), g(2)))).startswith("DEF / ")


def test_the_cpus_of_ended_init_containers_are_used_again():
    where = node(scope="container")
    first = admitted(where, pod(None, g(3, kind=INIT), g(1)))
    then = resized(where, pod(None, g(3, kind=INIT), g(3)))
    assert then.grant.exclusive_cpus.bit_count() == 3
    assert own(first)[1] & ~own(then)[1] == 0


def test_a_sidecar_never_grows_into_a_later_init_container():
    where = node(scope="container")
    admitted(where, pod(None, g(1, kind=SIDECAR), g(1, kind=INIT), g(1)))
    grant = resized(where, pod(None, g(2, kind=SIDECAR), g(1, kind=INIT), g(1))).grant
    sidecar, init, _ = (container.cpus for container in grant.containers)
    assert sidecar & init == 0


def test_a_sidecar_never_grows_into_what_a_later_init_container_took_over_from_an_earlier_one():
    where = node(scope="container", name="D16", reserved="0,8")
    before = [g(3, kind=INIT), g(1, kind=SIDECAR), g(2, kind=INIT), g(1)]
    assert sets(admitted(where, pod(None, *before))) == "1-2,9 / 1 / 2,10 / 9"
    before[1] = g(2, kind=SIDECAR)
    assert sets(resized(where, pod(None, *before))) == "1-2,9 / 1,3 / 2,10 / 9"


def test_an_init_container_grows_into_what_starts_only_when_it_has_ended():
    where = node(scope="container", name="SS8", reserved="0,4", nodes=1)
    admitted(where, pod(None, g(1, kind=SIDECAR), g(1, kind=INIT), g(5)))
    then = resized(where, pod(None, g(1, kind=SIDECAR), g(5, kind=INIT), g(5)))
    sidecar, init, app = own(then)
    assert init == app == then.grant.exclusive_cpus & ~sidecar


def test_a_container_that_had_no_cpus_may_have_those_of_an_ended_init_container():
    where = node(scope="container", name="SS8", reserved="0,4", memory="None", reserved_memory=[])
    admitted(where, pod(None, g(6, kind=INIT), g("500m")))
    assert sets(resized(where, pod(None, g(6, kind=INIT), g(6)))) == "1-3,5-7 / 1-3,5-7"


def test_cpus_that_became_reserved_are_not_used_again():
    where = node(scope="container", name="SS8", reserved="0,4", nodes=1)
    grant = admitted(where, pod(None, g(4, kind=INIT), g(1))).grant
    now = node(scope="container", name="SS8", reserved="0,2,4", nodes=1)
    now.adopt(grant)
    assert [cpuset.render(cpus) for cpus in own_of(grant)] == ["1-2,5-6", "1"]
    answer = now.resize(pod(None, g(4, kind=INIT), g(4)))
    assert sets(answer) == "1-2,5-6 / 1,3,5-6"


def test_memory_follows_container_by_container():
    where = node(scope="container")
    admitted(where, pod(None, g(1, "2Gi"), g(1, "1Gi")))
    grant = resized(where, pod(None, g(1, "4Gi"), g(1, "512Mi"))).grant
    assert [container.memory[0].size for container in grant.containers] == [4 * GI, GI // 2]
    answer = refused(where, pod(None, g(1, "8Gi"), g(1, "512Mi")))
    assert "memory on NUMA node 0" in answer.message


def test_a_container_without_a_budget_keeps_to_its_numa_node():
    where = node(scope="container")
    grant = admitted(where, pod(None, g(3))).grant
    assert cpuset.render(grant.exclusive_cpus) == "1-2,7"
    assert refused(where, pod(None, g(5))).message == "needs 2 more CPUs on NUMA node 0, where 1 is free"
