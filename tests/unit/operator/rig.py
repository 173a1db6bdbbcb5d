"""A controller on a fake cluster, and short helpers for what happens there.

The machine, unless a test asks for another: 16 CPUs, threads n and n+8 of one core, NUMA node 0 with
CPUs 0-3,8-11 and NUMA node 1 with 4-7,12-15, 32 GiB each; CPUs 0 and 8 are reserved.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any

from podnuma.allocator import cpuset
from podnuma.allocator.topology import Cpu, NumaNode, Topology
from podnuma.api.hardware import Hardware, render_hardware
from podnuma.operator.cache import decode
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey
from podnuma.operator.controller import Controller, ControllerTiming
from podnuma.operator.metrics import Metrics

from tests.unit.operator.fake_cluster import API, FakeCluster, Json

GIB = 2**30
QUIET = 0.5  # virtual seconds; longer than any delay between an event and what follows from it


def machine(cores: int = 8, nodes: int = 2, memory: int = 32) -> Topology:
    """Return a machine with two threads per core, cores in equal shares on NUMA nodes of `memory` GiB."""
    share = cores // nodes
    cpus = [
        Cpu(core + thread * cores, core, core // share, core // share)
        for core in range(cores)
        for thread in (0, 1)
    ]
    distances = [tuple(10 if a == b else 21 for b in range(nodes)) for a in range(nodes)]
    return Topology.build(cpus, [NumaNode(n, memory * GIB, {}, distances[n]) for n in range(nodes)])


def node(name: str = "n1", **labels: str) -> Json:
    return {"metadata": {"name": name, "uid": f"uid-of-{name}", "labels": labels or {"pool": "a"}}}


def namespace(name: str = "default", **labels: str) -> Json:
    return {"metadata": {"name": name, "labels": labels}}


def profile(name: str = "main", **spec: Any) -> Json:
    return {
        "apiVersion": API,
        "kind": "NodeProfile",
        "metadata": {"name": name},
        "spec": {
            "nodeSelector": {},
            "cpuManagerPolicy": "static",
            "memoryManagerPolicy": "Static",
            "topologyManagerPolicy": "single-numa-node",
            "topologyManagerScope": "pod",
            "reservedSystemCPUs": "0,8",
            "reservedMemory": [
                {"numaNode": 0, "limits": {"memory": "1Gi"}},
                {"numaNode": 1, "limits": {"memory": "1Gi"}},
            ],
            **spec,
        },
    }


def pod(name: str = "db", cpus: int = 4, memory: str = "4Gi", on: str = "n1", **metadata: Any) -> Json:
    """Return a bound pod with a budget, one exclusive container of all but one CPU, and a sidecar."""
    amounts = {"cpu": str(cpus - 1), "memory": "1Gi"}
    budget = {"cpu": str(cpus), "memory": memory}
    return {
        "metadata": {"name": name, "namespace": "default", **metadata},
        "spec": {
            "nodeName": on,
            "resources": {"requests": budget, "limits": budget},
            "containers": [
                {"name": "main", "resources": {"requests": amounts, "limits": amounts}},
                {"name": "side", "resources": {}},
            ],
        },
        "status": {"phase": "Pending", "qosClass": "Guaranteed"},
    }


def mirror(uid: str, on: str = "n1", node_uid: str = "") -> Json:
    """Return the metadata of the mirror that a kubelet makes of its static pod."""
    owner = {
        "apiVersion": "v1",
        "kind": "Node",
        "name": on,
        "uid": node_uid or f"uid-of-{on}",
        "controller": True,
    }
    return {
        "annotations": {"kubernetes.io/config.mirror": uid, "kubernetes.io/config.hash": uid},
        "ownerReferences": [owner],
    }


def owned_by(kind: str, uid: str) -> list[Json]:
    return [{"apiVersion": "apps/v1", "kind": kind, "name": "owner", "uid": uid, "controller": True}]


class Rig:
    """A cluster and one controller that decides for it."""

    def __init__(
        self,
        seed: int = 1,
        *,
        export_resource_topologies: bool = False,
        placement: bool = False,
        **timing: float,
    ) -> None:
        self.export_resource_topologies = export_resource_topologies
        self.placement = placement
        self.cluster = FakeCluster(random.Random(seed), placing=placement)
        self.timing = ControllerTiming(**{"settle": 0.01, "status_interval": 0.0, **timing})  # type: ignore[arg-type]
        self.metrics = Metrics()
        self.controller = self._controller()
        self._tasks: set[asyncio.Task[Any]] = set()

    def _controller(self) -> Controller:
        self.metrics = Metrics()
        return Controller(
            self.cluster,
            self.cluster,
            metrics=self.metrics,
            timing=self.timing,
            clock=asyncio.get_running_loop().time,
            now=self.cluster.now,
            rng=random.Random(7),
            export_resource_topologies=self.export_resource_topologies,
            placement=self.placement,
        )

    async def start(self) -> None:
        """Begin to listen and to decide."""
        before = asyncio.all_tasks()
        self.cluster.subscribers.append(self.controller)
        await self.controller.start()
        posting = asyncio.create_task(self.controller.events.run())
        self._tasks = (asyncio.all_tasks() - before) | {posting}

    async def crash(self) -> None:
        """End the process in the middle of whatever it does, and begin a new one that knows nothing."""
        self.cluster.subscribers.remove(self.controller)
        me = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not me]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self.controller.stop()  # its timers die with the process
        self.cluster.drop_late_requests()  # the next one leads when their deadlines have passed
        self.controller = self._controller()

    async def quiet(self, seconds: float = QUIET) -> None:
        """Let everything that is under way arrive."""
        await asyncio.sleep(seconds)

    async def furnished(self, *names: str, hardware: Topology | None = None, **spec: Any) -> None:
        """Create namespace, profile and nodes whose agents have reported, and start."""
        self.cluster.put(Kind.NAMESPACE, namespace())
        self.cluster.put(Kind.PROFILE, profile(**spec))
        for name in names or ("n1",):
            self.cluster.put(Kind.NODE, node(name))
        await self.start()
        await self.quiet()
        for name in names or ("n1",):
            self.report_hardware(name, hardware or machine())
        await self.quiet()

    async def crowded(self) -> None:
        """Furnish n1 and create pods a, b and c, of which only two fit; who is refused is not evicted."""
        await self.furnished(onRejection="Share")
        for name in ("a", "b", "c"):
            await self.create(pod(name, 6))

    def report_hardware(self, name: str, hardware: Topology) -> None:
        """Do what the agent does first."""
        known = self.cluster.get(Kind.TOPOLOGY, ObjectKey("", name))
        assert known is not None, f"no NodeTopology {name}"
        status = {**known.get("status", {}), "hardware": render_hardware(Hardware(hardware))}
        self.cluster.put(Kind.TOPOLOGY, {**known, "status": status})

    async def create(self, value: Json) -> str:
        """Create a pod; return its UID."""
        uid: str = self.cluster.put(Kind.POD, value)["metadata"]["uid"]
        await self.quiet()
        return uid

    async def finish(self, name: str, phase: str = "Succeeded") -> None:
        known = self.cluster.get(Kind.POD, ObjectKey("default", name))
        assert known is not None
        self.cluster.put(Kind.POD, {**known, "status": {**known["status"], "phase": phase}})
        await self.quiet()

    async def delete(self, name: str) -> None:
        self.cluster.remove(Kind.POD, ObjectKey("default", name))
        await self.quiet()

    # What is to be seen

    def allocation(self, name: str = "db") -> Json | None:
        return self.cluster.get(Kind.ALLOCATION, ObjectKey("default", name))

    def cpus(self, name: str = "db") -> str | None:
        """Return the CPUs that a pod holds, None without a decision, "-" for a refused one."""
        found = self.allocation(name)
        if found is None:
            return None
        return str(found["spec"].get("cpus", "-"))

    def topology(self, name: str = "n1") -> Json | None:
        return self.cluster.get(Kind.TOPOLOGY, ObjectKey("", name))

    def condition(self, kind: Kind, name: str, of: str) -> Json:
        known = self.cluster.get(kind, ObjectKey("", name))
        assert known is not None, f"no {kind.value.kind} {name}"
        conditions = known.get("status", {}).get("conditions", [])
        return next(entry for entry in conditions if entry["type"] == of)

    def told(self, reason: str) -> list[str]:
        """Return the messages of all events with a reason."""
        return [event["message"] for event in self.cluster.events if event["reason"] == reason]

    def assert_sound(self) -> None:
        """No CPU has two owners, whatever else is going on.

        Where somebody has changed a spec, the earlier one counts by which the agent acts, if it has told.
        """
        owners: dict[tuple[str, int], str] = {}
        for key, value in self.cluster.objects[Kind.ALLOCATION].items():
            accepted = decode.decode_allocation(value).accepted
            spec = value["spec"] if accepted is None else value["status"]["acceptedSpec"]
            for cpu in cpuset.ids(cpuset.parse(spec.get("cpus", ""))):
                place = (value["spec"]["nodeName"], cpu)
                # One that is gone from the API may have two for a moment: its name was wanted.
                owner = value["spec"]["podUID"]
                assert owners.setdefault(place, owner) == owner, (
                    f"CPU {place} is of {owners[place]} and {key}"
                )
