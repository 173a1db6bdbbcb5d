"""What this node should look like, as far as the API server has said. The one owner of that knowledge.

Kept from three streams: the PodAllocations of this node, its NodeTopology, and which grants the agent took.
An object that cannot be read (edited by hand, another version) never takes away what is applied: the last
good one stays, with the problem beside it. A new process finds it in the status, where the agent keeps a copy
of the spec that it acts on. Decisions change while pods run; an older state of an object, from
an API server that lags, never replaces a newer one.

Read and changed in the event loop's thread only. `changed` is called after every difference.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from podnuma.agent.apiserver.client import Json
from podnuma.agent.apiserver.watch import Changed, Listed, WatchEvent, WatchEventType
from podnuma.allocator.decision import PodGrant
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.node_settings import Mode, NodeSettings
from podnuma.api.node_topology import NodeTopology, read_node_topology
from podnuma.api.pod_allocation import PodAllocation, read_accepted_allocation, read_pod_allocation

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class DesiredAllocation:
    """One PodAllocation. `allocation` is the last that could be read, None if there never was one.

    `uid` is the object's own; `problem` says what is wrong with its present state, if anything is. `spec` is
    the JSON that `allocation` was read from. `pod_uid` is the UID of the pod on the node, "" if even that
    cannot be read; `deleted`: somebody asked for the deletion of the object, readable or not.
    """

    namespace: str
    name: str
    uid: str
    generation: int
    allocation: PodAllocation | None
    problem: str | None
    spec: Json | None = None
    pod_uid: str = ""
    deleted: bool = False

    @property
    def key(self) -> tuple[str, str]:
        return self.namespace, self.name

    @property
    def uid_on_node(self) -> str:
        """The UID that names the pod's cgroup; empty if the object was never readable."""
        return "" if self.allocation is None else self.allocation.uid_on_node

    @property
    def undecided(self) -> bool:
        """Whether it says only that it waits for the devices of the pod."""
        return self.allocation is not None and self.allocation.decision.undecided

    @property
    def grant(self) -> PodGrant | None:
        """What the pod holds, under the UID that names its cgroup; None if rejected or never readable."""
        allocation = self.allocation
        if allocation is None or not allocation.decision.admitted:
            return None
        static = allocation.uid_on_node != allocation.pod_uid
        return replace(allocation.grant, uid=allocation.uid_on_node) if static else allocation.grant


@dataclass(frozen=True, slots=True)
class NodeConfig:
    """The NodeTopology of this node. `settings` are the last good ones; None before the first.

    `audit_asked`: the object cannot be read as a whole, but it says `mode: Audit`, and that is believed.
    """

    exists: bool = False
    uid: str = ""
    generation: int = 0
    settings: NodeSettings | None = None
    status: NodeTopology | None = None
    problem: str | None = None
    audit_asked: bool = False

    @property
    def mode(self) -> Mode | None:
        """Whether values are written on this node; None while nothing says so, and then none are."""
        if self.audit_asked:
            return Mode.AUDIT
        return None if self.settings is None else self.settings.pod_policy.mode


class DesiredState:
    """The last readable PodAllocations and NodeTopology of this node.

    `allocations_known`, `topology_known`: the API server has listed the allocations, the topology once.
    """

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._allocations: dict[tuple[str, str], DesiredAllocation] = {}
        self._in_order: tuple[DesiredAllocation, ...] = ()
        self._of_pods: Mapping[str, DesiredAllocation] = {}
        self._waiters: set[asyncio.Event] = set()
        self.node_config = NodeConfig()
        self.allocations_known = False
        self.topology_known = False

    def allocations(self) -> tuple[DesiredAllocation, ...]:
        """Return all allocations, in a stable order."""
        return self._in_order

    def of_pod(self, uid: str) -> DesiredAllocation | None:
        """Return the allocation of the pod with this UID on the node, which names its cgroup.

        That of the pod itself comes before that of a mirror pod which says that it is that one.
        """
        return self._of_pods.get(uid)

    async def wait_for(self, uid: str, within: float) -> DesiredAllocation | None:
        """Wait until a pod is decided, `within` seconds at the longest."""
        return await self._wait(lambda: self._decided(uid), within)

    def _decided(self, uid: str) -> DesiredAllocation | None:
        found = self.of_pod(uid)
        return None if found is None or found.undecided else found

    async def wait_for_topology_list(self, within: float) -> bool:
        """Wait until it is known whether there is a NodeTopology, `within` seconds at the longest."""
        return await self._wait(lambda: self.topology_known or None, within) is True

    async def wait_for_mode(self, within: float) -> Mode | None:
        """Wait until it is known whether values are written here, `within` seconds at the longest."""
        return await self._wait(lambda: self.node_config.mode, within)

    async def wait_until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on what is known holds."""
        await self._wait(lambda: condition() or None, None)

    async def _wait(self, look: Callable[[], T | None], within: float | None) -> T | None:
        found = look()
        if found is not None or within == 0:
            return found
        arrived = asyncio.Event()
        self._waiters.add(arrived)
        try:
            async with asyncio.timeout(within):
                while (found := look()) is None:
                    await arrived.wait()
                    arrived.clear()
                return found
        except TimeoutError:
            return None
        finally:
            self._waiters.discard(arrived)

    def take_allocations(self, event: WatchEvent) -> None:
        """Take an event of the stream of PodAllocations."""
        before = dict(self._allocations)
        match event:
            case Listed(items=items):
                self._allocations = {desired.key: desired for desired in map(self._newest, items)}
                self.allocations_known = True
            case Changed(kind=WatchEventType.DELETED, item=item):
                self._allocations.pop(_identity(item)[0], None)
            case Changed(item=item):
                desired = self._newest(item)
                self._allocations[desired.key] = desired
        self._in_order = tuple(self._allocations[key] for key in sorted(self._allocations))
        self._of_pods = _by_pod(self._allocations.values())
        if self._differs(before) or isinstance(event, Listed):
            self._tell()

    def take_topology(self, event: WatchEvent) -> None:
        """Take an event of the stream of NodeTopologies, which has the one of this node or none."""
        before = self.node_config
        item: Json | None = None
        match event:
            case Listed(items=(first, *_)):
                item = first
            case Changed(kind=WatchEventType.ADDED | WatchEventType.MODIFIED, item=changed):
                item = changed
            case Listed() | Changed():
                pass
        first_list = isinstance(event, Listed) and not self.topology_known
        self.topology_known = self.topology_known or first_list
        if item is None:
            # Running pods keep what they hold; only the object is gone.
            self.node_config = replace(before, exists=False, uid="", status=None)
        else:
            self.node_config = _read_config(item, before)
        if first_list or replace(self.node_config, status=None) != replace(before, status=None):
            self._tell()

    def _tell(self) -> None:
        for waiter in self._waiters:
            waiter.set()
        self._changed()

    def _newest(self, item: Json) -> DesiredAllocation:
        """Read an object, unless a later generation of the very same one is known."""
        key, uid, generation = _identity(item)
        known = self._allocations.get(key)
        if known is not None and known.uid == uid and generation < known.generation:
            return known
        return self._read(item)

    def _read(self, item: Json) -> DesiredAllocation:
        key, uid, generation = _identity(item)
        read = DesiredAllocation(*key, uid, generation, None, None, deleted=_is_deleted(item))
        try:
            return _with(read, read_pod_allocation(item), item.get("spec"))
        except InvalidObjectError as error:
            read = replace(read, problem=str(error), pod_uid=_pod_uid(item))
        # Of another object of the same name nothing is kept, unless it is about the same pod.
        known = self._allocations.get(key)
        same = known is not None and (uid == known.uid or read.pod_uid == known.pod_uid)
        if same and known is not None and known.allocation is not None:
            return _with(read, _refreshed(known.allocation, item, known.spec), known.spec)
        accepted = read_accepted_allocation(item)
        return read if accepted is None else _with(read, accepted, item["status"]["acceptedSpec"])

    def _differs(self, before: Mapping[tuple[str, str], DesiredAllocation]) -> bool:
        """Tell whether more than statuses changed: those come back from this agent's own writes."""
        return {key: _without_status(desired) for key, desired in before.items()} != {
            key: _without_status(desired) for key, desired in self._allocations.items()
        }


def _by_pod(allocations: Iterable[DesiredAllocation]) -> dict[str, DesiredAllocation]:
    """Return the allocations by the UID of their pod on the node; see `DesiredState.of_pod`."""
    found: dict[str, DesiredAllocation] = {}
    for desired in allocations:
        if desired.allocation is not None:
            known = found.setdefault(desired.pod_uid, desired)
            if _is_own(desired) and not _is_own(known):
                found[desired.pod_uid] = desired
    return found


def _is_own(desired: DesiredAllocation) -> bool:
    return desired.allocation is not None and desired.allocation.pod_uid == desired.pod_uid


def _without_status(desired: DesiredAllocation) -> object:
    allocation = desired.allocation
    if allocation is None:
        return desired
    return (
        desired.uid,
        desired.problem,
        allocation.grant,
        allocation.decision,
        desired.deleted,
    )


def _with(desired: DesiredAllocation, allocation: PodAllocation, spec: Json | None) -> DesiredAllocation:
    return replace(desired, allocation=allocation, spec=spec, pod_uid=allocation.uid_on_node)


def _identity(item: Json) -> tuple[tuple[str, str], str, int]:
    """Return namespace and name, UID and generation of an object that may be unreadable otherwise."""
    metadata = item.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    key = str(metadata.get("namespace") or ""), str(metadata.get("name") or "")
    generation = metadata.get("generation")
    return key, str(metadata.get("uid") or ""), generation if isinstance(generation, int) else 0


def _refreshed(known: PodAllocation, item: Json, spec: Json | None) -> PodAllocation:
    """Return what is known of an allocation with the metadata and the status that it has now."""
    try:
        return read_pod_allocation({**item, "spec": spec})
    except InvalidObjectError:
        return known


def _is_deleted(item: Json) -> bool:
    metadata = item.get("metadata")
    return isinstance(metadata, dict) and bool(metadata.get("deletionTimestamp"))


def _pod_uid(item: Json) -> str:
    """Return the UID on the node of the pod that an unreadable object is about, as far as it can be told."""
    spec, metadata = item.get("spec"), item.get("metadata")
    spec = spec if isinstance(spec, dict) else {}
    owners = metadata.get("ownerReferences") if isinstance(metadata, dict) else None
    owner = (
        owners[0].get("uid") if isinstance(owners, list) and owners and isinstance(owners[0], dict) else None
    )
    # What the API server checks is first; a static pod has no owner.
    found = (owner, spec.get("uidOnNode"), spec.get("podUID"))
    return next((uid for uid in found if isinstance(uid, str) and uid), "")


def _read_config(item: Json, before: NodeConfig) -> NodeConfig:
    _, uid, generation = _identity(item)
    now = replace(before, exists=True, uid=uid, generation=generation)
    try:
        topology = read_node_topology(item)
    except InvalidObjectError as error:
        # Who asks for Audit beside a mistake asks for Audit; nothing else of the object is used.
        spec = item.get("spec")
        audit_asked = isinstance(spec, dict) and spec.get("mode") == Mode.AUDIT.value
        return replace(now, status=None, problem=str(error), audit_asked=audit_asked)
    return replace(now, settings=topology.node, status=topology, problem=None, audit_asked=False)
