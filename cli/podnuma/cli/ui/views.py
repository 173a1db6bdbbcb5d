"""What the pages show, as JSON: a row per node, one node in full, refusals by owner.

A row has, per NUMA node, how many CPUs each holder has, in the order of a map: reserved, exclusive by pod,
pod shared pools, the node shared pool; the numbers add up to the NUMA node's CPUs. Texts come from the
cluster and are passed on as they are: the page puts them into text nodes, never into markup.
"""

import asyncio
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from podnuma.allocator import cpuset
from podnuma.api.conditions import Status, find
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.kept_refusals import KeptRefusal, read_kept_refusal
from podnuma.api.kernel_reports import values_unknown
from podnuma.api.node_topology import NodeTopology
from podnuma.api.pod_allocation import read_pod_allocation
from podnuma.api.pod_allocation_status import Phase
from podnuma.api.resource_types import POD
from podnuma.cli.exits import Failure
from podnuma.cli.objects.nodes import read_topology
from podnuma.cli.render.node_map import Hold, NodeMap, Zone
from podnuma.cli.ui.live_objects import Json, KeptAllocation, LiveObjects

_HUES = 8  # as many as the style sheet has

DrawUp = Callable[[Mapping[str, Any], Sequence[Mapping[str, Any]]], NodeMap]


class Views:
    """The pages of what is known. `draw_up`: how a node's map is made. A topology is read once per change."""

    def __init__(self, live: LiveObjects, draw_up: DrawUp) -> None:
        self._live = live
        self._draw_up = draw_up
        self._read: dict[str, tuple[Json, NodeTopology | str]] = {}
        self._rows: dict[str, tuple[int, str]] = {}

    def state(self) -> Json:
        """Return what holds for all pages: what cannot be followed now."""
        return {"problems": [text for _, text in sorted(self._live.problems.items()) if text]}

    def rows(self, names: Sequence[str] = ()) -> str:
        """Return the rows of these nodes as JSON, of all without names; a node that is gone has none."""
        wanted = sorted(names or self._live.topologies)
        return f"[{','.join(self._row_text(name) for name in wanted if name in self._live.topologies)}]"

    async def prepare(self) -> None:
        """Make rows as soon as something changes, until cancelled: then the first look finds them made."""
        with self._live.subscribed() as changes:
            while True:
                await changes.wait()
                for name in changes.take():
                    if name in self._live.topologies:
                        self._row_text(name)
                    else:
                        self._rows.pop(name, None)
                        self._read.pop(name, None)
                    await asyncio.sleep(0)

    def node(self, name: str) -> Json | None:
        """Return one node in full; None if it is not known."""
        value = self._live.topologies.get(name)
        if value is None:
            return None
        kept = self._live.on_node(name)
        try:
            drawn = self._draw_up(value, [one.value() for one in kept])
        except Failure as failure:
            return {**self._row(name), "problems": list(failure.lines)}
        return {
            **self._row(name),
            **_map_data(drawn),
            "pods": [_pod_data(one) for one in kept],
            "hues": _hues(kept, self._live.row_of(name)),
        }

    def stored(self, namespace: str, name: str) -> Json | None:
        """Return a PodAllocation; None if there is none."""
        kept = self._live.allocations.get((namespace, name))
        return None if kept is None else kept.value()

    def kernel(self, namespace: str, name: str) -> Json:
        """Return what is to be known before a PodAllocation's values of the kernel are shown.

        `unknown`: why they are old; `audit`: whether nothing is written.
        """
        kept = self._live.allocations.get((namespace, name))
        try:
            status = read_pod_allocation(kept.value(), as_it_is=True).status if kept is not None else None
        except InvalidObjectError:
            status = None
        if kept is None or status is None:
            return {"unknown": "", "audit": False}
        node = self._topology(kept.node) if kept.node in self._live.topologies else None
        known = node if isinstance(node, NodeTopology) else None
        return {"unknown": values_unknown(status, known), "audit": status.phase is Phase.AUDIT}

    def refusals(self, events: Sequence[Json]) -> list[Json]:
        """Return what is refused or waits now, and what `events` keep of refused pods, latest first."""
        standing = [
            _standing_data(one)
            for one in self._live.allocations.values()
            if not one.admitted or one.phase in ("Pending", "ResizePending", "Drifted")
        ]
        kept = [(value, found) for value in events if (found := read_kept_refusal(value)) is not None]
        gone = [_kept_data(value, found) for value, found in kept if not self._exists(value, found)]
        return sorted((*standing, *gone), key=lambda one: str(one["time"]), reverse=True)

    def _exists(self, event: Json, refusal: KeptRefusal) -> bool:
        """Tell whether the pod of a refusal is still there: what stands about it is shown anyway."""
        namespace = str((event.get("involvedObject") or {}).get("namespace") or "")
        known = self._live.allocations.get((namespace, refusal.pod))
        return known is not None and known.pod_uid == refusal.pod_uid != ""

    def _topology(self, name: str) -> NodeTopology | str:
        value = self._live.topologies[name]
        known = self._read.get(name)
        if known is not None and known[0] is value:
            return known[1]
        found: NodeTopology | str
        try:
            found = read_topology(value)
        except Failure as failure:
            found = "; ".join(failure.lines)
        self._read[name] = value, found
        return found

    def _row_text(self, name: str) -> str:
        """Return a row as JSON, made once per change."""
        version = self._live.changes[name]
        known = self._rows.get(name)
        if known is None or known[0] != version:
            known = self._rows[name] = version, json.dumps(self._row(name), separators=(",", ":"))
        return known[1]

    def _row(self, name: str) -> Json:
        node, kept = self._topology(name), self._live.on_node(name)
        row: Json = {
            "name": name,
            "labels": self._live.labels.get(name, {}),
            "namespaces": sorted({one.key[0] for one in kept}),
            "podCount": sum(one.holds for one in kept),
            "refusedCount": sum(one.refused for one in kept),
            "driftedCount": sum(one.phase == "Drifted" for one in kept),
        }
        if isinstance(node, str):
            return row | {"profile": "", "policy": "", "ready": "Unreadable", "message": node, "zones": []}
        ready = find(node.conditions, "Ready")
        return row | {
            "profile": node.profile.name if node.profile else "",
            "policy": node.node.managers.topology_manager_policy.value,
            "ready": "" if ready is None else "True" if ready.status is Status.TRUE else ready.reason,
            "message": ready.message if ready and ready.status is not Status.TRUE else "",
            "zones": list(_zones(node, kept, _hues(kept, self._live.row_of(name)))),
        }


def _zones(node: NodeTopology, kept: Sequence[KeptAllocation], hues: Mapping[str, int]) -> Iterator[Json]:
    topology = node.hardware.topology if node.hardware else None
    reserved = node.allocation.reserved if node.allocation else node.node.managers.reserved_system_cpus or 0
    for one in topology.nodes if topology else ():
        own = topology.cpus_of_node(one.id) if topology else 0
        parts: list[list[Any]] = []
        left = int(own)
        for hold, mask, pod in _holders(int(reserved), kept):
            if taken := (left & mask).bit_count():
                parts.append([hold.value, taken, pod, hues.get(pod, 0)])
                left &= ~mask
        if left:
            parts.append([Hold.NODE_SHARED.value, left.bit_count(), "", 0])
        yield {"id": one.id, "cpus": own.bit_count(), "parts": parts}


def _holders(reserved: int, kept: Sequence[KeptAllocation]) -> Iterator[tuple[Hold, int, str]]:
    yield Hold.RESERVED, reserved, ""
    holding = [one for one in kept if one.holds]
    for one in holding:
        yield Hold.EXCLUSIVE, one.exclusive, "/".join(one.key)
    for one in holding:
        yield Hold.POD_SHARED, one.shared, "/".join(one.key)


def _hues(kept: Sequence[KeptAllocation], row: int = 0) -> dict[str, int]:
    """Return a colour per pod of a node. Pods that came earlier keep theirs; few pods have different ones.

    Nodes of odd and of even rows begin with other halves of the colours, so that pods on neighbouring
    nodes have different ones, too.
    """
    found: dict[str, int] = {}
    half = _HUES // 2
    first, second = (range(half), range(half, _HUES)) if row % 2 == 0 else (range(half, _HUES), range(half))
    for one in sorted(kept, key=lambda one: (one.created, one.key)):
        name, taken = "/".join(one.key), set(found.values())
        free = next((left for hues in (first, second) if (left := [h for h in hues if h not in taken])), ())
        choice = free or range(_HUES)
        found[name] = choice[zlib.crc32(name.encode()) % len(choice)]
    return found


def _map_data(drawn: NodeMap) -> Json:
    return {
        "numaNodes": [_zone_data(zone) for zone in drawn.zones],
        "holders": {
            str(cpu): {
                "hold": one.hold.value,
                "pod": one.pods[0] if one.pods else "",
                "containers": one.containers,
            }
            for cpu, one in drawn.holders.items()
        },
        "offline": cpuset.render(drawn.offline),
        "kinds": {kind: cpuset.render(cpus) for kind, cpus in drawn.kinds.items()},
        "problems": list(drawn.remarks),
    }


def _zone_data(zone: Zone) -> Json:
    return {
        "id": zone.id,
        "sockets": list(zone.sockets),
        "caches": [{"id": cache.id, "cores": [list(core) for core in cache.cores]} for cache in zone.caches],
        "memory": zone.capacity,
        "memoryHeld": [
            {
                "pod": share.pod,
                "resource": share.block.resource,
                "size": share.block.size,
                # Of a block on several NUMA nodes nobody knows how much lies where.
                "numaNodes": share.block.nodes.bit_count(),
            }
            for share in zone.memory
        ],
        "devices": [
            {
                "pod": one.pod,
                "container": one.container,
                "resource": one.device.resource,
                "name": one.device.name,
            }
            for one in zone.devices
        ],
    }


def _pod_data(one: KeptAllocation) -> Json:
    spec = one.value().get("spec") or {}
    summary = spec.get("summary") or {}
    return {
        "pod": "/".join(one.key),
        "admitted": one.admitted,
        "phase": one.phase,
        "reason": one.reason,
        "cpus": summary.get("cpus", ""),
        "numa": summary.get("numa", ""),
        "exclusive": summary.get("exclusive", ""),
        "shared": summary.get("shared", ""),
        "count": (one.exclusive | one.shared).bit_count(),
    }


def _standing_data(one: KeptAllocation) -> Json:
    decision = (one.value().get("spec") or {}).get("decision") or {}
    return {
        "owner": "/".join(one.key),
        "pod": "/".join(one.key),
        "exists": True,
        "node": one.node,
        "phase": one.phase,
        "reason": one.reason,
        "cause": decision.get("explanation") or decision.get("message") or "",
        "kubelet": decision.get("message") or "",
        "count": 1,
        "time": one.created,
    }


def _kept_data(event: Json, found: KeptRefusal) -> Json:
    involved = event.get("involvedObject") or {}
    namespace = str(involved.get("namespace") or "")
    kind = "" if involved.get("kind") == POD.kind else f"{involved.get('kind')} "
    return {
        "owner": f"{kind}{namespace}/{involved.get('name')}",
        "pod": f"{namespace}/{found.pod}",
        "exists": False,
        "node": found.node,
        "phase": "Evicted",
        "reason": found.reason,
        "cause": found.cause,
        "kubelet": found.kubelet_message,
        "count": found.count,
        "time": found.last_seen,
    }
