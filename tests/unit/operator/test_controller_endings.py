"""What a pod held is free when nobody runs on it any more, and not before."""

import asyncio
import copy
from typing import Any

import pytest
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey

from tests.unit.operator.rig import Rig, mirror, pod
from tests.unit.operator.virtual import virtual

DB = ObjectKey("default", "db")
HASH = "hash-1"
MIRROR: Any = mirror(HASH)


async def orphaned(*nodes: str, cpus: int = 6, **spec) -> tuple[Rig, str]:
    """Return a rig whose pod db is gone from the API and runs on: no agent has seen it end."""
    rig = Rig()
    await rig.furnished(*nodes, **spec)
    uid = await rig.create(pod("db", cpus))
    rig.cluster.agents_answer = False
    beat(rig)
    await rig.delete("db")
    return rig, uid


def beat(rig: Rig, name: str = "n1") -> None:
    """Send a heartbeat of a node's agent."""
    known = rig.topology(name)
    assert known is not None
    agent = {"heartbeatTime": rig.cluster.now().strftime("%Y-%m-%dT%H:%M:%SZ"), "version": "1"}
    rig.cluster.put(Kind.TOPOLOGY, {**known, "status": {**known["status"], "agent": agent}})


def orphans(rig: Rig, name: str = "n1") -> int:
    state = rig.controller.node_state(name)
    assert state is not None
    return len(state.orphans)


@virtual
async def test_a_pod_that_is_gone_from_the_api_keeps_its_cpus_until_its_processes_have_ended():
    rig, _ = await orphaned()
    assert rig.cpus() == "1-3,9-11"
    assert rig.allocation()["metadata"]["deletionTimestamp"]  # type: ignore[index]
    await rig.create(pod("next", 6))
    assert rig.cpus("next") == "4-6,12-14"
    rig.cluster.released(DB)
    await rig.quiet()
    assert rig.allocation() is None
    assert orphans(rig) == 0
    await rig.create(pod("third", 6))
    assert rig.cpus("third") == "1-3,9-11"


@virtual
async def test_a_pod_that_would_fit_without_an_orphan_waits_for_it_instead_of_being_refused():
    rig, _ = await orphaned()
    await rig.create(pod("first", 6))
    await rig.create(pod("waits", 6))
    assert rig.allocation("waits") is None
    assert rig.told("Undecided") == [
        "Waits for what default/db held: gone from the API, their processes have not ended yet"
    ]
    rig.cluster.released(DB)
    await rig.quiet()
    assert rig.cpus("waits") == "1-3,9-11"


@virtual
async def test_a_new_pod_of_that_name_gets_other_cpus_and_the_record_another_name():
    rig, uid = await orphaned()
    await rig.create(pod("db", 6))
    assert rig.cpus() == "4-6,12-14"
    aside = f"db-{uid[:8]}"
    assert rig.cpus(aside) == "1-3,9-11"
    rig.assert_sound()
    rig.cluster.released(ObjectKey("default", aside))
    await rig.quiet()
    assert rig.allocation(aside) is None
    assert rig.cpus() == "4-6,12-14"


@virtual
async def test_a_new_pod_of_that_name_on_another_node_waits_for_nobody():
    rig, uid = await orphaned("n1", "n2")
    await rig.create(pod("db", 6, on="n2"))
    assert rig.cpus() == "1-3,9-11"
    assert rig.allocation()["spec"]["nodeName"] == "n2"  # type: ignore[index]
    assert rig.allocation(f"db-{uid[:8]}")["spec"]["nodeName"] == "n1"  # type: ignore[index]
    assert orphans(rig, "n1") == 1


@virtual
async def test_while_the_agent_reports_an_orphan_stays_for_as_long_as_it_runs():
    rig, _ = await orphaned(releaseAfterSeconds=60)
    for _ in range(30):
        await rig.quiet(50)
        beat(rig)
    assert rig.cpus() == "1-3,9-11"


@virtual
async def test_of_a_silent_node_an_orphan_is_released_after_the_time_of_the_profile():
    rig, _ = await orphaned(releaseAfterSeconds=600)
    await rig.quiet(590)
    assert rig.cpus() == "1-3,9-11"
    await rig.quiet(30)
    assert rig.allocation() is None
    (told,) = rig.told("ReleasedUnseen")
    assert told == (
        "CPUs 1-3,9-11 of default/db were freed although nobody saw its processes end: "
        "the agent of node n1 is silent"
    )


@virtual
async def test_with_its_node_an_orphan_goes():
    rig, _ = await orphaned()
    rig.cluster.remove(Kind.NODE, ObjectKey("", "n1"))
    await rig.quiet()
    assert rig.allocation() is None


@virtual
async def test_a_restart_of_the_operator_keeps_an_orphan():
    rig, _ = await orphaned()
    await rig.crash()
    await rig.start()
    beat(rig)
    await rig.create(pod("next", 6))
    assert (rig.cpus(), rig.cpus("next")) == ("1-3,9-11", "4-6,12-14")
    assert orphans(rig) == 1
    rig.cluster.released(DB)
    await rig.quiet()
    assert rig.allocation() is None


@virtual
async def test_a_pod_that_ended_while_no_operator_looked_and_whose_processes_run_keeps_its_cpus():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("db", 6))
    await rig.crash()
    rig.cluster.agents_answer = False
    rig.cluster.remove(Kind.POD, DB)
    rig.cluster.collect_garbage()
    await rig.start()
    beat(rig)
    await rig.create(pod("next", 6))
    assert (rig.cpus(), rig.cpus("next")) == ("1-3,9-11", "4-6,12-14")


@pytest.mark.parametrize("seconds", [1, 100])
@virtual
async def test_a_mirror_pod_that_is_deleted_and_comes_back_changes_nothing(seconds):
    rig = Rig()
    await rig.furnished()
    first = await rig.create(pod("db", 6, **MIRROR))
    rig.cluster.agents_answer = False
    beat(rig)
    await rig.delete("db")
    rig.cluster.collect_garbage()
    await rig.quiet(seconds)
    assert "deletionTimestamp" not in rig.allocation()["metadata"]  # type: ignore[index]
    uid = rig.allocation()["metadata"]["uid"]  # type: ignore[index]
    second = await rig.create(pod("db", 6, **MIRROR))
    found = rig.allocation()
    assert found is not None
    assert first != second == found["spec"]["podUID"]
    assert (found["metadata"]["uid"], found["spec"]["uidOnNode"], rig.cpus()) == (uid, "hash-1", "1-3,9-11")
    assert orphans(rig) == 0
    await rig.crash()
    await rig.start()
    await rig.quiet()
    assert rig.cpus() == "1-3,9-11"


@virtual
async def test_a_static_pod_whose_manifest_is_gone_goes_when_its_processes_have_ended():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("db", 6, **MIRROR))
    rig.cluster.agents_answer = False
    beat(rig)
    await rig.delete("db")
    rig.cluster.released(DB)
    await rig.quiet()
    assert rig.allocation() is None


@virtual
async def test_a_mirror_that_never_comes_back_is_an_orphan_like_others():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("db", 6, **MIRROR))
    rig.cluster.agents_answer = False
    beat(rig)
    await rig.delete("db")
    await rig.quiet(150)
    assert rig.allocation()["metadata"]["deletionTimestamp"]  # type: ignore[index]


async def with_static_pod_in_force() -> Rig:
    """Return a cluster whose node has applied what a static pod holds."""
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("db", 6, **MIRROR))
    known = rig.allocation()
    assert known is not None
    rig.cluster.put(Kind.ALLOCATION, {**known, "status": {**known["status"], "phase": "Applied"}})
    return rig


@virtual
async def test_a_mirror_that_comes_back_late_finds_what_its_running_containers_hold():
    """A kubelet that was away for longer than anybody would wait; meanwhile its pods run on."""
    rig = await with_static_pod_in_force()
    rig.cluster.agents_answer = False
    beat(rig)
    await rig.delete("db")
    for _ in range(30):
        await rig.quiet(60)
        beat(rig)
    (told,) = rig.told("MirrorMissing")
    assert told == "default/db keeps CPUs 1-3,9-11 until its processes have ended: its mirror pod is gone"
    await rig.create(pod("other", 6))
    assert rig.cpus("other") == "4-6,12-14"
    second = await rig.create(pod("db", 6, **MIRROR))
    found = rig.allocation()
    assert found is not None
    assert "deletionTimestamp" not in found["metadata"]
    assert (found["spec"]["podUID"], rig.cpus()) == (second, "1-3,9-11")
    assert len(rig.cluster.objects[Kind.ALLOCATION]) == 2
    rig.assert_sound()


@virtual
async def test_a_static_pod_whose_mirror_stays_away_goes_when_its_processes_have_ended():
    rig = await with_static_pod_in_force()
    beat(rig)
    await rig.delete("db")
    await rig.quiet(150)
    assert rig.cpus() == "1-3,9-11"
    rig.cluster.released(DB)
    await rig.quiet()
    assert rig.allocation() is None


@pytest.mark.parametrize("forged", [{"annotations": MIRROR["annotations"]}, mirror(HASH, node_uid="guessed")])
@virtual
async def test_a_mirror_that_its_node_did_not_make_is_a_pod_like_others(forged):
    """Whoever may create pods can write the annotations with the UID of somebody else's pod."""
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("db", 6, **forged))
    await rig.create(pod("static", 4, **mirror("hash-2")))
    found = [rig.allocation(name) or {} for name in ("db", "static")]
    assert [one["spec"].get("uidOnNode") for one in found] == [None, "hash-2"]


@virtual
async def test_a_mirror_that_was_stored_as_best_effort_is_judged_by_its_spec():
    rig = Rig()
    await rig.furnished()
    value = pod("db", 6, **MIRROR)
    value["status"]["qosClass"] = "BestEffort"
    await rig.create(value)
    assert rig.cpus() == "1-3,9-11"


@virtual
async def test_the_record_of_a_living_pod_stays_though_somebody_deletes_it():
    rig = Rig()
    await rig.furnished()
    await rig.create(pod("db", 6))
    rig.cluster.remove(Kind.ALLOCATION, DB)
    await rig.quiet()
    assert rig.cpus() == "1-3,9-11"
    (told,) = rig.told("Kept")
    assert told.startswith("PodAllocation default/db was deleted by someone else and stays until the pod has")
    await rig.create(pod("next", 6))
    assert rig.cpus("next") == "4-6,12-14"
    await rig.delete("db")
    assert rig.allocation() is None


@virtual
async def test_an_orphan_whose_record_somebody_made_unreadable_is_released_all_the_same():
    rig, _ = await orphaned()
    known = rig.allocation()
    assert known is not None
    rig.cluster.put(Kind.ALLOCATION, {**known, "spec": {**known["spec"], "scope": "nonsense"}})
    await rig.quiet()
    rig.cluster.released(DB)
    await rig.quiet()
    assert rig.allocation() is None
    assert orphans(rig) == 0


async def unreadable_orphan() -> Rig:
    """Return a rig that knows nothing of what the pod db held, which is gone and runs on."""
    rig, _ = await orphaned()
    known = rig.allocation()
    assert known is not None
    await rig.crash()
    rig.cluster.put(Kind.ALLOCATION, {**known, "spec": {**known["spec"], "cpus": "9-1"}})
    await rig.start()
    await rig.create(pod("next", 6))
    return rig


@virtual
async def test_while_nobody_knows_what_an_ended_pod_held_nothing_is_given_and_its_end_is_waited_for():
    rig = await unreadable_orphan()
    assert rig.allocation() is not None
    assert rig.allocation("next") is None
    assert rig.told("Undecided") == [
        "Waits for the agent of node n1 to report what is in force for PodAllocation default/db"
    ]
    rig.cluster.released(DB)
    await rig.quiet()
    assert rig.allocation() is None
    assert rig.cpus("next") == "1-3,9-11"


@virtual
async def test_what_nobody_knows_is_waited_for_as_long_as_the_profile_says_and_no_longer():
    rig = await unreadable_orphan()
    await rig.quiet(400)
    assert rig.allocation() is None
    assert rig.cpus("next") == "1-3,9-11"


@virtual
async def test_what_an_ended_pod_held_is_known_from_what_its_agent_acted_on():
    rig, _ = await orphaned()
    known = rig.allocation()
    assert known is not None
    await rig.crash()
    broken = {**known, "spec": {**known["spec"], "cpus": "9-1"}, "status": {"acceptedSpec": known["spec"]}}
    rig.cluster.put(Kind.ALLOCATION, broken)
    await rig.start()
    await rig.create(pod("next", 6))
    assert rig.cpus("next") == "4-6,12-14"
    rig.cluster.released(DB)
    await rig.quiet()
    assert rig.allocation() is None


@virtual
async def test_a_late_write_does_not_take_the_name_from_the_pod_that_has_it_now(monkeypatch):
    rig = Rig()
    await rig.furnished("n1", "n2")
    create, stored = rig.cluster.create_allocation, asyncio.Event()

    async def slow(key: ObjectKey, body: Any) -> Any:
        if body["spec"]["nodeName"] == "n1":
            await stored.wait()
        return await create(key, body)

    monkeypatch.setattr(rig.cluster, "create_allocation", slow)
    await rig.create(pod("db", 6))
    rig.cluster.remove(Kind.POD, DB)
    uid = await rig.create(pod("db", 4, on="n2"))
    stored.set()
    await rig.quiet()
    assert rig.allocation()["spec"]["podUID"] == uid  # type: ignore[index]
    assert [*rig.cluster.objects[Kind.ALLOCATION]] == [DB]


async def copied(rig: Rig, *, only: bool) -> Any:
    """Store what db holds a second time, or only, under another name, and restart the operator."""
    await rig.furnished()
    await rig.create(pod("db", 6))
    held = copy.deepcopy(rig.allocation())
    assert held is not None
    rig.cluster.deaf = True
    copied = copy.deepcopy(held)
    copied["metadata"] = {
        "name": "db-of-monday",
        "namespace": "default",
        "finalizers": held["metadata"]["finalizers"],
    }
    rig.cluster.put(Kind.ALLOCATION, copied)
    if only:
        rig.cluster.remove_at_once(Kind.ALLOCATION, DB)
    rig.cluster.deaf = False
    await rig.crash()
    await rig.start()
    await rig.quiet()
    return held["spec"]


@virtual
@pytest.mark.parametrize("only", [False, True])
async def test_a_copy_of_a_running_pods_record_changes_nothing_and_goes(only):
    rig = Rig()
    held = await copied(rig, only=only)
    assert [*rig.cluster.objects[Kind.ALLOCATION]] == [DB]
    assert rig.allocation()["spec"] == held  # type: ignore[index]
    assert "deletionTimestamp" not in rig.allocation()["metadata"]  # type: ignore[index]
    assert orphans(rig) == 0
