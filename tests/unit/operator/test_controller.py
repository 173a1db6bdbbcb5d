"""From events to durable decisions, on a cluster in memory; other topics are in test_service_*.py."""

import json

from podnuma.operator.cache.kinds import Kind

from tests.unit.operator.rig import Rig, machine, node, pod, profile
from tests.unit.operator.virtual import virtual


@virtual
async def test_a_bound_pod_gets_a_podallocation_of_its_own():
    rig = Rig()
    await rig.furnished()
    uid = await rig.create(pod())
    found = rig.allocation()
    assert found is not None
    assert found["spec"]["cpus"] == "1-2,9-10"
    assert found["spec"]["summary"] == {"cpus": "1-2,9-10", "numa": "0", "exclusive": "1-2,9", "shared": "10"}
    assert found["metadata"]["ownerReferences"][0]["uid"] == uid
    assert found["metadata"]["finalizers"] == ["podnuma.dev/cgroup"]
    assert rig.told("Allocated") == [
        "Allocated CPUs 1-2,9-10 on NUMA node 0: 1-2,9 exclusive to a container, 10 shared by the others"
    ]


@virtual
async def test_pods_that_are_not_guaranteed_are_not_even_remembered():
    rig = Rig()
    await rig.furnished()
    value = pod("web")
    value["status"]["qosClass"] = "Burstable"
    await rig.create(value)
    assert rig.allocation("web") is None
    assert len(rig.controller.cache.pods) == 0


def without_whole_cpus() -> dict[str, object]:
    value = pod("fraction")
    value["spec"]["containers"] = [{"name": "main", "resources": {}}]
    budget = {"cpu": "1500m", "memory": "1Gi"}
    value["spec"]["resources"] = {"requests": budget, "limits": budget}
    return value


@virtual
async def test_a_guaranteed_pod_that_gets_nothing_is_decided_too_for_its_agent_waits():
    rig = Rig()
    await rig.furnished(memoryManagerPolicy="None", reservedMemory=[])
    await rig.create(without_whole_cpus())
    spec = rig.allocation("fraction")["spec"]  # type: ignore[index]
    assert spec["summary"] == {"cpus": "-", "numa": "-", "exclusive": "-", "shared": "node"}
    assert spec["decision"]["admitted"]
    assert rig.told("Allocated") == []
    assert rig.topology()["status"]["allocation"]["pods"] == 0  # type: ignore[index]
    now = rig.controller.snapshot(leading=True, term=1, watch_age=0.0)
    assert (now.pods_holding, now.pods_rejected, now.pods_waiting) == (0, 0, 0)
    await rig.crash()
    await rig.start()
    await rig.quiet()
    assert rig.allocation("fraction")["spec"] == spec  # type: ignore[index]
    rig.assert_sound()


@virtual
async def test_only_pods_that_held_something_count_as_released():
    rig = Rig()
    await rig.furnished(memoryManagerPolicy="None", reservedMemory=[])
    await rig.create(without_whole_cpus())
    await rig.create(pod("whole"))
    for name, released in (("fraction", 0), ("whole", 1)):
        await rig.delete(name)
        assert rig.allocation(name) is None
        assert f"podnuma_releases_total {released}.0" in rig.metrics.exposition()[1].decode()


@virtual
async def test_where_neither_manager_is_on_nobody_waits_and_nothing_is_written():
    rig = Rig()
    await rig.furnished(cpuManagerPolicy="none", memoryManagerPolicy="None", reservedMemory=[])
    await rig.create(without_whole_cpus())
    assert rig.allocation("fraction") is None


@virtual
async def test_the_numa_nodes_of_cpus_are_told_where_memory_is_not_bound():
    rig = Rig()
    await rig.furnished(memoryManagerPolicy="None", reservedMemory=[])
    await rig.create(pod())
    assert rig.allocation()["spec"]["summary"]["numa"] == "0"  # type: ignore[index]
    await rig.crash()
    await rig.start()
    await rig.quiet()
    assert rig.allocation()["spec"]["summary"]["numa"] == "0"  # type: ignore[index]
    assert rig.told("Restored") == []


@virtual
async def test_older_pods_are_decided_first():
    rig = Rig()
    rig.cluster.put(Kind.NAMESPACE, {"metadata": {"name": "default"}})
    rig.cluster.put(Kind.PROFILE, profile())
    rig.cluster.put(Kind.NODE, node())
    await rig.start()
    rig.cluster.put(Kind.POD, pod("young", creationTimestamp="2026-01-01T00:00:09Z"))
    rig.cluster.put(Kind.POD, pod("old", creationTimestamp="2026-01-01T00:00:01Z"))
    await rig.quiet()
    rig.report_hardware("n1", machine())
    await rig.quiet()
    assert (rig.cpus("old"), rig.cpus("young")) == ("1-2,9-10", "4-5,12-13")


@virtual
async def test_opt_in_leaves_pods_without_the_label_alone():
    rig = Rig()
    await rig.furnished(management="OptIn")
    await rig.create(pod("a"))
    await rig.create(pod("b", labels={"podnuma.dev/managed": "true"}))
    assert rig.allocation("a") is None
    assert rig.cpus("b") == "1-2,9-10"


@virtual
async def test_a_namespace_selector_follows_the_labels_of_the_namespace():
    rig = Rig()
    await rig.furnished(namespaceSelector={"matchLabels": {"team": "db"}})
    await rig.create(pod())
    assert rig.allocation() is None
    rig.cluster.put(Kind.NAMESPACE, {"metadata": {"name": "default", "labels": {"team": "db"}}})
    await rig.quiet()
    assert rig.cpus() == "1-2,9-10"


@virtual
async def test_the_budget_annotation_counts_where_the_api_server_drops_the_field():
    rig = Rig()
    await rig.furnished()
    budget = {"cpu": "4", "memory": "4Gi"}
    value = pod(annotations={"podnuma.dev/resources": json.dumps({"limits": budget, "requests": budget})})
    del value["spec"]["resources"]
    value["status"]["qosClass"] = "Burstable"
    await rig.create(value)
    assert rig.cpus() == "1-2,9-10"


@virtual
async def test_a_pod_that_cannot_be_read_is_told_why_and_hinders_nobody():
    rig = Rig()
    await rig.furnished()
    value = pod("bad", annotations={"podnuma.dev/resources": "{" * 1000})
    del value["spec"]["resources"]
    await rig.create(value)
    await rig.create(pod("good"))
    assert rig.cpus("good") == "1-2,9-10"
    assert "podnuma.dev/resources" in rig.told("InvalidObject")[0]


@virtual
async def test_series_do_not_grow_with_pods():
    rig = Rig()
    await rig.furnished(onRejection="Share")
    rig.metrics.watch_state(lambda: rig.controller.snapshot(leading=True, term=1, watch_age=0))

    def series() -> int:
        return len(rig.metrics.exposition()[1].splitlines())

    await rig.create(pod("first"))
    await rig.create(pod("big", 9))
    before = series()
    for number in range(100):
        await rig.create(pod(f"p{number}"))
        await rig.delete(f"p{number}")
    assert series() == before


@virtual
async def test_a_full_list_puts_right_what_events_did_not_tell():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("a"))
    rig.cluster.deaf = True
    await rig.create(pod("b"))
    await rig.delete("a")
    rig.cluster.deaf = False
    assert rig.allocation("b") is None
    await rig.controller.sync(Kind)
    await rig.quiet()
    assert rig.allocation("a") is None
    assert rig.cpus("b") not in {None, "-"}
