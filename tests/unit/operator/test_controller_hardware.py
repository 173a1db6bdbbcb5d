"""Machines that change while they run: CPUs and memory come and go, another machine has the name."""

from dataclasses import replace

from podnuma.allocator import cpuset
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey

from tests.unit.operator.rig import Rig, machine, pod, profile
from tests.unit.operator.virtual import virtual


def shared_pool(rig):
    found = rig.topology()
    assert found is not None
    return found["status"]["allocation"]["sharedPool"]


async def changed(rig, hardware):
    rig.report_hardware("n1", hardware)
    await rig.quiet()


@virtual
async def test_cpus_that_come_are_given_to_new_pods_and_running_ones_stay():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a"))
    await rig.create(pod("large", 10, "8Gi"))
    assert rig.cpus("a") == "1-2,9-10"
    assert rig.cpus("large") in {None, "-"}
    before = rig.allocation("a")
    await changed(rig, machine(cores=16))
    after = rig.allocation("a")
    assert before is not None
    assert after is not None
    assert after["spec"] == before["spec"]
    await rig.create(pod("new", 10, "8Gi"))
    assert rig.cpus("new") not in {None, "-"}
    rig.assert_sound()


@virtual
async def test_cpus_that_go_are_named_until_they_come_back_and_nobody_else_gets_what_is_left_of_them():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a"))
    await rig.create(pod("b"))
    assert (rig.cpus("a"), rig.cpus("b")) == ("1-2,9-10", "4-5,12-13")
    whole = machine()
    await changed(rig, whole.without(cpuset.parse("4-5,12")))
    told = rig.condition(Kind.TOPOLOGY, "n1", "PodsUpToDate")
    assert told["status"] == "False"
    assert "default/b holds CPUs 4-5,12, which are offline" in told["message"]
    await rig.create(pod("c", 2))
    assert rig.cpus("c") == "3,11"
    assert shared_pool(rig) == "0,6-8,14-15"
    rig.assert_sound()
    await changed(rig, whole)
    assert rig.condition(Kind.TOPOLOGY, "n1", "PodsUpToDate")["status"] == "True"
    assert (rig.cpus("a"), rig.cpus("b"), rig.cpus("c")) == ("1-2,9-10", "4-5,12-13", "3,11")


@virtual
async def test_memory_that_goes_takes_nothing_from_pods_and_memory_that_comes_lets_pods_in():
    rig = Rig()
    await rig.furnished()
    rig.cluster.put(Kind.PROFILE, profile(onRejection="Share"))
    await rig.create(pod("a", 4, "28Gi"))
    await changed(rig, machine(memory=16))
    found = rig.topology()
    assert found is not None
    numa = found["status"]["allocation"]["numaNodes"]
    assert numa[0]["overcommittedMemory"] == {"memory": "13Gi"}
    assert rig.cpus("a") == "1-2,9-10"
    await rig.create(pod("b", 4, "28Gi"))
    refused = rig.allocation("b")
    assert refused is not None
    assert not refused["spec"]["decision"]["admitted"]
    assert "memory" in refused["spec"]["decision"]["explanation"]
    await changed(rig, machine(memory=32))
    assert rig.cpus("b") == "4-5,12-13"


@virtual
async def test_a_node_that_comes_back_as_another_machine_says_what_does_not_fit_and_works_when_it_does():
    rig = Rig()
    await rig.furnished()
    rig.cluster.put(Kind.PROFILE, profile(reservedSystemCPUs="0,15"))
    await rig.quiet()
    await rig.create(pod("a"))
    held = rig.cpus("a")
    await changed(rig, machine(cores=4, nodes=1))
    settings = rig.condition(Kind.TOPOLOGY, "n1", "SettingsValid")
    assert settings["status"] == "False"
    assert "reservedSystemCPUs" in settings["message"]
    assert "drop 15" in settings["message"]
    ready = rig.condition(Kind.TOPOLOGY, "n1", "Ready")
    assert (ready["status"], ready["reason"]) == ("False", "InvalidSettings")
    await rig.create(pod("b", 2))
    assert rig.allocation("b") is None
    assert rig.cpus("a") == held
    memory = [{"numaNode": 0, "limits": {"memory": "1Gi"}}]
    rig.cluster.put(Kind.PROFILE, profile(reservedSystemCPUs="0,4", reservedMemory=memory))
    await rig.quiet()
    assert rig.condition(Kind.TOPOLOGY, "n1", "SettingsValid")["status"] == "True"
    assert rig.cpus("b") not in {None, "-"}
    assert rig.cpus("a") == held
    rig.assert_sound()
    rig.cluster.remove(Kind.POD, ObjectKey("default", "a"))
    await rig.quiet()
    assert rig.condition(Kind.TOPOLOGY, "n1", "PodsUpToDate")["status"] == "True"


@virtual
async def test_nothing_is_given_exclusively_while_siblings_are_unknown_and_running_pods_stay():
    """Topology files of most CPUs are missing; coreos/fedora-coreos-tracker#1828."""
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a"))
    await changed(rig, replace(machine(), unknown_siblings=cpuset.parse("1-15")))
    told = rig.condition(Kind.TOPOLOGY, "n1", "SettingsValid")
    assert told["status"] == "False"
    assert "sibling threads of 15 online CPUs (1-15) are unknown" in told["message"]
    await rig.create(pod("b"))
    assert rig.allocation("b") is None
    assert rig.cpus("a") == "1-2,9-10"
    await changed(rig, machine())
    assert (rig.cpus("a"), rig.cpus("b")) == ("1-2,9-10", "4-5,12-13")
