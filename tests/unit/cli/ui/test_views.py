"""What the pages show."""

import asyncio
import json
from dataclasses import replace

from podnuma.allocator import nodeset
from podnuma.allocator.decision import GrantedDevice
from podnuma.cli.commands.map import map_of
from podnuma.cli.ui.live_objects import LiveObjects
from podnuma.cli.ui.views import Views

from tests.unit.cli.builders import allocation_object, container, database, grant, topology_object

EPYC = "epyc7401-2s-8numa-16l3"


def shown(*values):
    live = LiveObjects()
    for value in values:
        live.keep(value)
    return live, Views(live, map_of)


def whole():
    return shown(topology_object(EPYC, reserved="0,48"), allocation_object(database()))


def test_the_parts_of_a_bar_add_up_to_the_cpus_of_its_numa_node():
    _, views = whole()
    (row,) = json.loads(views.rows())
    assert [sum(part[1] for part in zone["parts"]) for zone in row["zones"]] == [12] * 8
    assert [part[:3] for part in row["zones"][0]["parts"]] == [
        ["reserved", 2, ""],
        ["exclusive", 6, "shop/database"],
        ["pod shared", 2, "shop/database"],
        ["node shared", 2, ""],
    ]


def test_a_node_that_is_gone_has_no_row():
    _, views = whole()
    assert views.rows(["node-a", "node-z"]) == views.rows()
    assert views.node("node-z") is None


def test_a_topology_that_cannot_be_read_has_a_row_that_says_so():
    bad = topology_object(EPYC, name="node-b")
    bad["spec"]["cpuManagerPolicy"] = 7
    _, views = shown(topology_object(EPYC), bad)
    good, unreadable = json.loads(views.rows())
    assert good["zones"]
    assert unreadable["ready"] == "Unreadable"
    assert "cpuManagerPolicy" in unreadable["message"]
    assert "cpuManagerPolicy" in " ".join(views.node("node-b")["problems"])


def test_a_changed_topology_is_read_again():
    live, views = whole()
    views.rows()
    live.keep(topology_object(EPYC, reserved="0-5"))
    assert json.loads(views.rows())[0]["zones"][0]["parts"][0][:2] == ["reserved", 6]


def test_every_cpu_of_a_node_has_a_holder():
    _, views = whole()
    node = views.node("node-a")
    cpus = [
        cpu
        for zone in node["numaNodes"]
        for cache in zone["caches"]
        for core in cache["cores"]
        for cpu in core
    ]
    assert sorted(map(str, cpus)) == sorted(node["holders"])
    assert node["holders"]["4"] == {
        "hold": "pod shared",
        "pod": "shop/database",
        "containers": ("backup", "metrics"),
    }
    assert node["pods"][0]["cpus"] == "1-4,49-52"


def test_pods_of_a_node_have_different_colours_and_keep_them():
    pods = [grant(f"shop/p{n}", f"{n}", container("c", "pod_exclusive", f"{n}")) for n in range(8)]
    values = [allocation_object(one) for one in pods]
    for turn, value in enumerate(values):
        value["metadata"]["creationTimestamp"] = f"2026-01-01T00:00:0{turn}Z"
    _, views = shown(topology_object(EPYC), *values)
    hues = views.node("node-a")["hues"]
    assert sorted(hues.values()) == list(range(8))
    _, fewer = shown(topology_object(EPYC), *values[:3])
    assert fewer.node("node-a")["hues"].items() <= hues.items()


def test_refusals_are_those_that_stand_and_those_that_are_kept():
    refused = allocation_object(grant("shop/big", ""), phase="Rejected", reason="TopologyAffinityError")
    refused["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z"
    refused["spec"]["decision"]["explanation"] = "no NUMA node has room"
    event = {
        "metadata": {"annotations": {"podnuma.dev/kubelet-message": "cannot"}},
        "reportingComponent": "podnuma-operator",
        "involvedObject": {"kind": "ReplicaSet", "namespace": "shop", "name": "web"},
        "related": {"name": "web-1"},
        "source": {"host": "node-a"},
        "reason": "UnexpectedAdmissionError",
        "message": "too large (pod web-1 on node node-a)",
        "lastTimestamp": "2026-01-02T00:00:00Z",
        "count": 3,
    }
    _, views = shown(topology_object(EPYC), refused, allocation_object(database()))
    kept, standing = views.refusals([event, {"metadata": {}}])
    assert (kept["owner"], kept["pod"], kept["cause"], kept["count"]) == (
        "ReplicaSet shop/web", "shop/web-1", "too large", 3,
    )  # fmt: skip
    assert (standing["owner"], standing["cause"]) == ("shop/big", "no NUMA node has room")


def refusal_of(kind: str, name: str, pod: str, uid: str):
    return {
        "metadata": {"annotations": {"podnuma.dev/kubelet-message": "cannot"}},
        "reportingComponent": "podnuma-operator",
        "involvedObject": {"kind": kind, "namespace": "shop", "name": name},
        "related": {"name": pod, "uid": uid},
        "source": {"host": "node-a"},
        "reason": "TopologyAffinityError",
        "message": "too large (on node-a)",
        "lastTimestamp": "2026-01-02T00:00:00Z",
    }


def test_a_pod_without_a_controller_that_was_evicted_owns_its_refusal():
    _, views = shown(topology_object(EPYC))
    (kept,) = views.refusals([refusal_of("Pod", "big", "big", "u1")])
    assert (kept["owner"], kept["pod"], kept["phase"], kept["cause"]) == (
        "shop/big", "shop/big", "Evicted", "too large",
    )  # fmt: skip


def test_a_refusal_of_a_pod_that_is_still_there_is_shown_once():
    refused = allocation_object(grant("shop/big", ""), phase="Rejected", reason="TopologyAffinityError")
    _, views = shown(topology_object(EPYC), refused)
    of_pod, of_controller = (
        refusal_of("Pod", "big", "big", "uid-big"),
        refusal_of("ReplicaSet", "b", "big", "uid-big"),
    )
    (standing,) = views.refusals([of_pod, of_controller])
    assert standing["exists"]
    assert len(views.refusals([refusal_of("Pod", "big", "big", "an-earlier-one")])) == 2


def test_pods_of_neighbouring_nodes_have_different_colours():
    names = ("node-1", "node-2", "node-10")
    values = [topology_object(EPYC, name=name) for name in names]
    for number, name in enumerate(names):
        for pod in range(4):
            held = container("c", "pod_exclusive", f"{pod}")
            values.append(allocation_object(grant(f"shop/p{number}-{pod}", f"{pod}", held), name))
    _, views = shown(*values)
    first, second, third = (set(views.node(name)["hues"].values()) for name in names)
    assert len(first) == len(second) == len(third) == 4
    assert not first & second
    assert not second & third


def test_a_page_says_why_values_of_the_kernel_are_old():
    released = allocation_object(database(), phase="Released")
    _, views = shown(topology_object(EPYC), released)
    assert views.kernel("shop", "database") == {"unknown": "Released: the pod has ended", "audit": False}
    _, views = shown(topology_object(EPYC), allocation_object(database(), phase="Audit"))
    assert views.kernel("shop", "database") == {"unknown": "", "audit": True}
    assert views.refusals([]) == [], "it waits for nothing"
    _, views = whole()
    assert views.kernel("shop", "database") == {"unknown": "", "audit": False}
    assert views.kernel("shop", "nobody") == {"unknown": "", "audit": False}


async def test_rows_are_made_before_anyone_looks(monkeypatch):
    live, views = whole()
    task = asyncio.create_task(views.prepare())
    await asyncio.sleep(0)
    live.keep(topology_object(EPYC, reserved="0-5"))
    async with asyncio.timeout(5):
        while not views._rows:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
    task.cancel()
    monkeypatch.setattr(views, "_topology", None)
    assert json.loads(views.rows())[0]["zones"][0]["parts"][0][:2] == ["reserved", 6]


async def test_nothing_is_kept_of_a_node_that_is_gone():
    live, views = whole()
    views.rows()
    task = asyncio.create_task(views.prepare())
    await asyncio.sleep(0)
    live.forget(topology_object(EPYC))
    async with asyncio.timeout(5):
        while views._rows:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)
    task.cancel()
    assert views._read == {}


def test_a_row_tells_of_a_pod_that_came_or_went():
    live, views = whole()
    before = views.rows()
    live.forget(allocation_object(database()))
    assert json.loads(views.rows())[0]["podCount"] == 0
    live.keep(allocation_object(database()))
    assert views.rows() == before


def test_a_device_stands_at_each_of_its_numa_nodes():
    device = GrantedDevice("gpu.example", "gpu-0", nodeset.parse("1-2"))
    held = replace(container("render", "node_exclusive", "6-8"), devices=(device,))
    _, views = shown(topology_object(EPYC), allocation_object(grant("ml/render", "", held)))
    node = views.node("node-a")
    expected = {"pod": "ml/render", "container": "render", "resource": "gpu.example", "name": "gpu-0"}
    assert {one["id"]: one["devices"] for one in node["numaNodes"] if one["devices"]} == {
        1: [expected],
        2: [expected],
    }
