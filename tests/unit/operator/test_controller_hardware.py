"""Machines that change while they run: CPUs and memory come and go, another machine has the name."""

from dataclasses import replace

from podnuma.allocator import cpuset
from podnuma.api.hardware import Hardware, render_hardware
from podnuma.api.node_topology import registration
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey

from tests.unit.operator.rig import Rig, machine, namespace, node, pod, profile
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
async def test_a_reserved_cpu_that_is_switched_off_keeps_no_pod_out():
    """kubernetes/kubernetes#124066: pods were refused, and evicted, until the profile named other CPUs."""
    rig = Rig()
    await rig.furnished()
    whole = machine()
    reserved = rig.condition(Kind.TOPOLOGY, "n1", "SettingsValid")
    assert reserved["message"] == "the settings of NodeProfile main apply"
    await changed(rig, replace(whole.without(cpuset.parse("8")), offline=cpuset.parse("8")))
    told = rig.condition(Kind.TOPOLOGY, "n1", "SettingsValid")
    assert (told["status"], told["message"]) == (
        "True",
        "the settings of NodeProfile main apply; of the reserved CPUs 8 are offline",
    )
    await rig.create(pod("a"))
    assert rig.cpus("a") == "1-2,9-10"
    await changed(rig, whole)
    assert rig.condition(Kind.TOPOLOGY, "n1", "SettingsValid")["message"] == reserved["message"]
    assert rig.cpus("a") == "1-2,9-10"


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
    rig.cluster.put(Kind.PROFILE, profile(reservedSystemCPUs="0,15", onRejection="Share"))
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
    refused = rig.allocation("b")
    assert refused is not None
    assert refused["spec"]["decision"]["reason"] == "InvalidSettings"
    assert "drop 15" in refused["spec"]["decision"]["message"]
    assert len(rig.told("InvalidSettings")) == 2, "one of the pod, one of the NodeTopology"
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


@virtual
async def test_pods_of_a_node_whose_settings_were_never_valid_are_refused_with_the_reason_of_now():
    rig = Rig()
    await rig.furnished(reservedSystemCPUs="0,77", onRejection="Share")
    await rig.create(pod("a"))
    await rig.create(without_cpus("small"))
    first = rig.allocation("a")["spec"]["decision"]  # type: ignore[index]
    assert (first["admitted"], first["reason"]) == (False, "InvalidSettings")
    assert "drop 77" in first["message"]
    assert rig.told("Undecided") == []
    rig.cluster.put(Kind.PROFILE, profile(reservedSystemCPUs="0,99", onRejection="Share"))
    await rig.quiet()
    assert "drop 99" in rig.allocation("a")["spec"]["decision"]["message"]  # type: ignore[index]
    await rig.crash()
    await rig.start()
    await rig.quiet()
    assert "drop 99" in rig.allocation("a")["spec"]["decision"]["message"]  # type: ignore[index]
    rig.cluster.put(Kind.PROFILE, profile(onRejection="Share"))
    await rig.quiet()
    assert rig.cpus("a") == "1-2,9-10"
    rig.assert_sound()


async def without_a_profile(rig):
    """Have a node that its agent registered, and an operator that found no profile for it."""
    rig.cluster.put(Kind.NAMESPACE, namespace())
    rig.cluster.put(Kind.NODE, node())
    rig.cluster.put(
        Kind.TOPOLOGY, {**registration("n1"), "status": {"hardware": render_hardware(Hardware(machine()))}}
    )
    await rig.start()
    await rig.quiet(2.0)


@virtual
async def test_a_first_profile_that_does_not_fit_refuses_new_pods_and_evicts_none_that_ran_before():
    rig = Rig()
    await without_a_profile(rig)
    await rig.create(pod("before"))
    await rig.quiet(2.0)
    rig.cluster.put(Kind.PROFILE, profile(reservedSystemCPUs="0,77"))
    await rig.quiet(2.0)
    valid = rig.condition(Kind.TOPOLOGY, "n1", "SettingsValid")
    assert (valid["status"], valid["reason"]) == ("False", "InvalidSettings")
    assert "NodeProfile main" in valid["message"]
    assert "previous settings" not in valid["message"]
    await rig.create(pod("after"))
    await rig.quiet(2.0)
    for text in rig.told("InvalidSettings"):
        assert "NodeProfile main cannot be used" in text
    evicted = [one["involvedObject"]["name"] for one in rig.cluster.events if one["reason"] == "Evicted"]
    assert evicted == ["after"]
    await rig.delete("after")
    await rig.crash()
    await rig.start()
    await rig.quiet(2.0)
    assert len(rig.told("Evicted")) == 1
    rig.cluster.put(Kind.PROFILE, profile())
    await rig.quiet(2.0)
    assert rig.condition(Kind.TOPOLOGY, "n1", "SettingsValid")["status"] == "True"
    assert rig.cpus("before") == "1-2,9-10"
    rig.assert_sound()


@virtual
async def test_settings_that_were_withdrawn_are_not_the_previous_ones_of_a_profile_that_does_not_fit():
    rig = Rig()
    await rig.furnished()
    rig.cluster.remove(Kind.PROFILE, ObjectKey("", "main"))
    await rig.quiet()
    rig.cluster.put(Kind.PROFILE, profile("other", reservedSystemCPUs="0,77", onRejection="Share"))
    await rig.create(pod("a"))
    refused = rig.allocation("a")["spec"]["decision"]  # type: ignore[index]
    assert (refused["admitted"], refused["reason"]) == (False, "InvalidSettings")
    assert "NodeProfile other" in refused["message"]
    rig.cluster.put(Kind.PROFILE, profile("other", onRejection="Share"))
    await rig.quiet()
    assert rig.cpus("a") == "1-2,9-10"


def without_cpus(name):
    """A pod that gets nothing of its own with memoryManagerPolicy None."""
    found = pod(name)
    half = {"cpu": "500m", "memory": "1Gi"}
    found["spec"]["resources"] = {"requests": half, "limits": half}
    found["spec"]["containers"] = [{"name": "main", "resources": {}}]
    return found


@virtual
async def test_a_pod_that_asks_for_nothing_is_not_refused_for_settings():
    rig = Rig()
    await rig.furnished(reservedSystemCPUs="0,77", memoryManagerPolicy="None", reservedMemory=[])
    await rig.create(without_cpus("small"))
    await rig.create(pod("a"))
    assert rig.allocation("small") is None
    assert rig.allocation("a") is not None
    assert len(rig.told("Evicted")) == 1, "onRejection is Evict, and the pod is newer than the profile"


@virtual
async def test_pods_wait_where_something_is_only_missing():
    rig = Rig()
    rig.cluster.put(Kind.NAMESPACE, namespace())
    rig.cluster.put(Kind.PROFILE, profile())
    rig.cluster.put(Kind.NODE, node())
    await rig.start()
    await rig.create(pod("a"))
    assert rig.allocation("a") is None
    assert len(rig.told("Undecided")) == 1
