"""An API server in memory, as far as the operator can tell: versions, preconditions, events, faults.

Objects are JSON. Each change gets a version; what subscribers hear of it arrives later, and, if told
so, more than once and in another order for different objects. `fault` sees every request before it is
carried out and after, and may raise: a request that fails afterwards has happened. `late` may say after
how many seconds a request whose answer is lost is carried out. `admit_allocation` and
`admit_topology` are admission policies that change specs.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
import datetime as dt
import itertools
import random
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from podnuma.api.asked_devices import read_asking_claim, read_device_class, serving_classes
from podnuma.api.device_claims import AllocatedDevice, DeviceSearch, read_allocated_devices
from podnuma.api.device_inventory import DeviceInventory
from podnuma.api.node_resource_topology import is_ours
from podnuma.api.volumes import read_volume_terms
from podnuma.operator.cache import decode
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import CachedAllocation, CachedObject, CachedPod, ObjectKey, ObjectVersion
from podnuma.plumbing.kube import errors

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from podnuma.api.asked_devices import AskingClaim, NotKnown, SelectedDrivers
    from podnuma.api.volumes import VolumeTerms

Json = dict[str, Any]
T = TypeVar("T")
START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
API = "podnuma.dev/v1alpha1"


class Subscriber(Protocol):
    def on_update(self, record: CachedObject) -> None: ...
    def on_delete(self, kind: Kind, key: ObjectKey, version: ObjectVersion) -> None: ...
    def is_cached(self, kind: Kind, key: ObjectKey, version: ObjectVersion) -> bool: ...


def no_fault(_moment: str, _request: str) -> None:
    pass


def in_time(_request: str) -> None:
    pass


class FakeCluster:
    """Reader and Writer at once."""

    def __init__(self, rng: random.Random | None = None, *, placing: bool = False) -> None:
        self.rng = rng or random.Random(1)
        self.decoders = decode.PLACING_DECODERS if placing else decode.DECODERS
        self._decode_pod = decode.decode_placeable_pod if placing else decode.decode_bound_pod
        self.objects: dict[Kind, dict[ObjectKey, Json]] = {kind: {} for kind in Kind}
        self.claims: dict[ObjectKey, Json] = {}
        self.slices: list[Json] = []
        self.volumes: dict[ObjectKey, Json] = {}
        self.device_classes: dict[str, Json] = {}
        self.resource_topologies: dict[str, Json] = {}
        self.resource_topologies_served = True
        self.events: list[Json] = []
        self.requests: list[str] = []
        self.subscribers: list[Subscriber] = []
        self.fault: Callable[[str, str], None] = no_fault
        self.late: Callable[[str], float | None] = in_time
        self.allows_eviction: Callable[[ObjectKey], bool] = lambda _: True
        self.admit_allocation: Callable[[Json], Json] = lambda spec: spec
        self.admit_topology: Callable[[Json], Json] = lambda spec: spec
        self.delay = 0.0
        self.duplicates = 0.0
        self.lost = 0.0
        self.deaf = False
        self.agents_answer = True
        self._versions = itertools.count(100)
        self._uids = itertools.count(1)
        self._on_their_way: list[asyncio.TimerHandle] = []

    # What a test does

    def now(self) -> dt.datetime:
        return START + dt.timedelta(seconds=asyncio.get_running_loop().time())

    def put(self, kind: Kind, value: Json) -> Json:
        """Create or change an object, as anybody but the operator may."""
        value = copy.deepcopy(value)
        metadata = value.setdefault("metadata", {})
        key = decode.object_key(value)
        known = self.objects[kind].get(key)
        if known is None or metadata.get("uid") not in {None, known["metadata"]["uid"]}:
            metadata.setdefault("uid", f"uid-{next(self._uids)}")
            metadata.setdefault("creationTimestamp", self.now().strftime("%Y-%m-%dT%H:%M:%SZ"))
            metadata["generation"] = 1
        else:
            for field in ("uid", "creationTimestamp"):
                metadata[field] = known["metadata"][field]
            changed = known.get("spec") != value.get("spec")
            metadata["generation"] = known["metadata"]["generation"] + changed
        metadata["resourceVersion"] = str(next(self._versions))
        self.objects[kind][key] = value
        self._tell(kind, copy.deepcopy(value), ended=False)
        if kind is Kind.POD and (decode.has_finished(value) or known is not None):
            self.agents_look()
        return copy.deepcopy(value)

    def remove(self, kind: Kind, key: ObjectKey) -> None:
        """Delete an object, and later what it owns."""
        value = self.objects[kind].get(key)
        if value is None:
            return
        if value["metadata"].get("finalizers"):
            if "deletionTimestamp" not in value["metadata"]:
                value = copy.deepcopy(value)
                value["metadata"]["deletionTimestamp"] = self.now().strftime("%Y-%m-%dT%H:%M:%SZ")
                self.put(kind, value)
                self.agents_look()
            return
        del self.objects[kind][key]
        value["metadata"]["resourceVersion"] = str(next(self._versions))
        self._tell(kind, value, ended=True)
        if kind is Kind.POD:
            self.agents_look()

    def agents_look(self) -> None:
        """Do what agents do of whose pods no process is left: report those whose deletion was asked for."""
        for key, value in list(self.objects[Kind.ALLOCATION].items()):
            deleted = "deletionTimestamp" in value["metadata"]
            told = value.get("status", {}).get("phase") == "Released"
            if self.agents_answer and deleted and not told and not self._runs(value["spec"].get("podUID")):
                self.released(key)

    def remove_at_once(self, kind: Kind, key: ObjectKey) -> None:
        """Delete an object whatever its finalizers, as somebody may who removes them first."""
        self.objects[kind][key]["metadata"]["finalizers"] = []
        self.remove(kind, key)

    def released(self, key: ObjectKey) -> None:
        """Do what an agent does that sees no process of a pod whose PodAllocation is being deleted."""
        known = self._at(Kind.ALLOCATION, key)
        self.put(Kind.ALLOCATION, {**known, "status": {**known.get("status", {}), "phase": "Released"}})

    def get(self, kind: Kind, key: ObjectKey) -> Json | None:
        return self.objects[kind].get(key)

    def drop_late_requests(self) -> None:
        """Carry out nothing more of what was sent: its deadline has passed."""
        for handle in self._on_their_way:
            handle.cancel()
        self._on_their_way.clear()

    def collect_garbage(self) -> None:
        """Delete what lost its owner, as kube-controller-manager does sooner or later."""
        alive = {
            value["metadata"]["uid"]
            for kind in (Kind.POD, Kind.NODE)
            for value in self.objects[kind].values()
        }
        for kind in (Kind.ALLOCATION, Kind.TOPOLOGY):
            for key, value in list(self.objects[kind].items()):
                owners = value["metadata"].get("ownerReferences", [])
                if owners and not any(owner["uid"] in alive for owner in owners):
                    self.remove(kind, key)

    # Reader

    async def list_all(self, kind: Kind) -> tuple[list[CachedObject], int]:
        async def act() -> tuple[list[CachedObject], int]:
            records = [self.decoders[kind](copy.deepcopy(value)) for value in self.objects[kind].values()]
            return [record for record in records if record is not None], next(self._versions)

        return await self._request(f"list {kind.value.kind}", act)

    async def pod(self, key: ObjectKey) -> CachedPod | None:
        async def act() -> CachedPod | None:
            value = self.objects[Kind.POD].get(key)
            return self._decode_pod(copy.deepcopy(value)) if value is not None else None

        return await self._request(f"get Pod {key}", act)

    async def stored_pod(self, key: ObjectKey) -> Json | None:
        async def act() -> Json | None:
            return copy.deepcopy(self.objects[Kind.POD].get(key))

        return await self._request(f"get Pod {key}", act)

    async def allocation(self, key: ObjectKey) -> CachedAllocation | None:
        async def act() -> CachedAllocation | None:
            value = self.objects[Kind.ALLOCATION].get(key)
            return decode.decode_kept_allocation(copy.deepcopy(value)) if value is not None else None

        return await self._request(f"get PodAllocation {key}", act)

    async def node_exists(self, name: str) -> bool:
        async def act() -> bool:
            return ObjectKey("", name) in self.objects[Kind.NODE]

        return await self._request(f"list Node {name}", act)

    async def allocated_devices(self, claim: ObjectKey) -> tuple[AllocatedDevice, ...] | None:
        async def act() -> tuple[AllocatedDevice, ...] | None:
            if claim not in self.claims:
                raise errors.NotFoundError(404, "NotFound", f"ResourceClaim {claim} not found")
            return read_allocated_devices(self.claims[claim])

        return await self._request(f"get ResourceClaim {claim}", act)

    async def search_devices(self, node: str, wanted: frozenset[AllocatedDevice]) -> DeviceSearch:
        async def act() -> DeviceSearch:
            search = DeviceSearch(wanted)
            for one in self.slices:
                if one["spec"]["nodeName"] == node:
                    search.see(one)
            return search

        return await self._request(f"list ResourceSlice {node}", act)

    async def asking_claim(self, claim: ObjectKey) -> AskingClaim | NotKnown:
        async def act() -> AskingClaim | NotKnown:
            if claim not in self.claims:
                raise errors.NotFoundError(404, "NotFound", f"ResourceClaim {claim} not found")
            return read_asking_claim(self.claims[claim])

        return await self._request(f"get ResourceClaim {claim}", act)

    async def device_class(self, name: str) -> SelectedDrivers | NotKnown:
        async def act() -> SelectedDrivers | NotKnown:
            if name not in self.device_classes:
                raise errors.NotFoundError(404, "NotFound", f"DeviceClass {name} not found")
            return read_device_class(self.device_classes[name])

        return await self._request(f"get DeviceClass {name}", act)

    async def extended_resources(self) -> dict[str, str]:
        async def act() -> dict[str, str]:
            return serving_classes(self.device_classes.values())

        return await self._request("list DeviceClass", act)

    async def volume_terms(self, claim: ObjectKey) -> VolumeTerms | None:
        async def act() -> VolumeTerms | None:
            return read_volume_terms(self.volumes.get(claim, {}))

        return await self._request(f"get volume of {claim}", act)

    async def device_inventory(self) -> DeviceInventory:
        async def act() -> DeviceInventory:
            inventory = DeviceInventory()
            for one in self.slices:
                inventory.see_slice(one)
            for claim in self.claims.values():
                inventory.see_claim(claim)
            return inventory

        return await self._request("list ResourceSlice, ResourceClaim", act)

    async def resource_topology(self, name: str) -> str | None:
        async def act() -> str | None:
            found = self.resource_topologies.get(name)
            return found["metadata"]["uid"] if found is not None and is_ours(found) else None

        return await self._request(f"get NodeResourceTopology {name}", act)

    # Writer

    async def create_allocation(self, key: ObjectKey, body: Json) -> Json:
        async def act() -> Json:
            namespace = self.objects[Kind.NAMESPACE].get(ObjectKey("", key.namespace))
            if namespace is None:
                raise errors.NotFoundError(404, "NotFound", f"namespace {key.namespace} not found")
            if namespace["metadata"].get("deletionTimestamp"):
                raise errors.RefusedError(403, "Forbidden", f"namespace {key.namespace} is being terminated")
            if key in self.objects[Kind.ALLOCATION]:
                raise errors.AlreadyExistsError(409, "AlreadyExists", f"{key} already exists")
            return self.put(Kind.ALLOCATION, {**self._admitted(body), "status": {"phase": "Pending"}})

        return await self._request(f"create PodAllocation {key}", act)

    async def replace_allocation(self, key: ObjectKey, body: Json) -> Json:
        async def act() -> Json:
            known = self._at(Kind.ALLOCATION, key)
            if known["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
                raise errors.ConflictError(409, "Conflict", f"{key} has been modified")
            return self.put(Kind.ALLOCATION, {**self._admitted(body), "status": known.get("status", {})})

        return await self._request(f"replace PodAllocation {key}", act)

    async def delete_allocation(self, key: ObjectKey, uid: str) -> Json | None:
        async def act() -> Json | None:
            self._remove_this(Kind.ALLOCATION, key, uid)
            return copy.deepcopy(self.objects[Kind.ALLOCATION].get(key))

        return await self._request(f"delete PodAllocation {key}", act)

    async def set_allocation_finalizers(self, key: ObjectKey, uid: str, finalizers: Sequence[str]) -> None:
        async def act() -> None:
            known = self.objects[Kind.ALLOCATION].get(key)
            if known is None:
                return
            if known["metadata"]["uid"] != uid:
                raise errors.ConflictError(409, "Conflict", "another uid")
            known = copy.deepcopy(known)
            known["metadata"]["finalizers"] = [*finalizers]
            self.put(Kind.ALLOCATION, known)
            if known["metadata"].get("deletionTimestamp") and not finalizers:
                self.remove(Kind.ALLOCATION, key)

        await self._request(f"finalize PodAllocation {key}", act)

    async def apply_allocation_status(self, key: ObjectKey, body: Json) -> Json:
        async def act() -> Json:
            known = self._at(Kind.ALLOCATION, key)
            before = known.get("status", {})
            told = [
                one
                for one in before.get("conditions", [])
                if isinstance(one, dict) and one.get("type") == "DevicesKnown"
            ]
            status = {"phase": "Pending", **body["status"]}
            if told:  # the agent's part stays
                status |= {"conditions": [*status.get("conditions", []), *told]}
                status |= {"devices": before.get("devices", [])}
            return self.put(Kind.ALLOCATION, {**known, "status": status})

        return await self._request(f"apply PodAllocation/status {key}", act)

    async def apply_topology(self, name: str, body: Json) -> Json:
        async def act() -> Json:
            known = self.objects[Kind.TOPOLOGY].get(ObjectKey("", name), {})
            spec = self.admit_topology({**known.get("spec", {}), **body["spec"]})
            return self.put(Kind.TOPOLOGY, {**body, "spec": spec, "status": known.get("status", {})})

        return await self._request(f"apply NodeTopology {name}", act)

    async def replace_topology_spec(self, name: str, version: int, spec: Json) -> Json:
        async def act() -> Json:
            known = self._at(Kind.TOPOLOGY, ObjectKey("", name))
            if known["metadata"]["resourceVersion"] != str(version):
                raise errors.RefusedError(422, "Invalid", "the test operation failed")
            return self.put(Kind.TOPOLOGY, {**known, "spec": self.admit_topology(spec)})

        return await self._request(f"replace NodeTopology {name}", act)

    async def delete_topology(self, name: str, uid: str) -> None:
        async def act() -> None:
            self._remove_this(Kind.TOPOLOGY, ObjectKey("", name), uid)

        await self._request(f"delete NodeTopology {name}", act)

    async def apply_topology_status(self, name: str, body: Json) -> Json:
        async def act() -> Json:
            known = self._at(Kind.TOPOLOGY, ObjectKey("", name))
            return self.put(
                Kind.TOPOLOGY, {**known, "status": _merged(known.get("status", {}), body["status"])}
            )

        return await self._request(f"apply NodeTopology/status {name}", act)

    async def apply_resource_topology(self, name: str, body: Json) -> Json:
        async def act() -> Json:
            if not self.resource_topologies_served:
                raise errors.NotFoundError(404, "NotFound", "the kind is not served")
            known = self.resource_topologies.get(name)
            if known is not None and not is_ours(known):
                raise errors.ConflictError(409, "Conflict", 'conflict with "nfd-master": .zones')
            uid = known["metadata"]["uid"] if known is not None else f"uid-{next(self._uids)}"
            new = {**body, "metadata": {**body["metadata"], "uid": uid}}
            self.resource_topologies[name] = new
            return new

        return await self._request(f"apply NodeResourceTopology {name}", act)

    async def delete_resource_topology(self, name: str, uid: str) -> None:
        async def act() -> None:
            known = self.resource_topologies.get(name)
            if known is not None and known["metadata"]["uid"] == uid:
                del self.resource_topologies[name]

        await self._request(f"delete NodeResourceTopology {name}", act)

    async def apply_profile_status(self, name: str, body: Json) -> Json:
        async def act() -> Json:
            known = self._at(Kind.PROFILE, ObjectKey("", name))
            return self.put(Kind.PROFILE, {**known, "status": body["status"]})

        return await self._request(f"apply NodeProfile/status {name}", act)

    async def post_event(self, namespace: str, body: Json) -> None:
        async def act() -> None:
            if any(event["metadata"] == body["metadata"] for event in self.events):
                raise errors.AlreadyExistsError(409, "AlreadyExists", "told before")
            self.events.append(body)

        await self._request(f"create Event {namespace}", act)

    async def apply_event(self, namespace: str, name: str, body: Json) -> None:
        async def act() -> None:
            self.events = [event for event in self.events if event["metadata"]["name"] != name]
            self.events.append(body)

        await self._request(f"apply Event {namespace}", act)

    async def apply_pod_status(self, key: ObjectKey, body: Json) -> Json:
        async def act() -> Json:
            known = self._at(Kind.POD, key)
            if known["metadata"]["uid"] != body["metadata"]["uid"]:
                raise errors.ConflictError(409, "Conflict", "another uid")
            conditions = body.get("status", {}).get("conditions", [])
            return self.put(Kind.POD, {**known, "status": {**known["status"], "conditions": conditions}})

        return await self._request(f"apply Pod/status {key}", act)

    async def nominate(self, key: ObjectKey, body: Json) -> Json:
        async def act() -> Json:
            known = self._pod_of(key, body)
            return self.put(Kind.POD, {**known, "status": {**known["status"], **body["status"]}})

        return await self._request(f"nominate Pod {key}", act)

    async def lift_gate(self, key: ObjectKey, body: Json) -> Json:
        async def act() -> Json:
            known = self._pod_of(key, body)
            gone = [gate["name"] for gate in body["spec"]["schedulingGates"]]
            gates = [gate for gate in known["spec"].get("schedulingGates", []) if gate["name"] not in gone]
            return self.put(
                Kind.POD, {**known, "spec": {**known["spec"], **body["spec"], "schedulingGates": gates}}
            )

        return await self._request(f"lift gate of Pod {key}", act)

    async def evict(self, key: ObjectKey, uid: str) -> None:
        async def act() -> None:
            known = self.objects[Kind.POD].get(key)
            if known is None:
                return
            if known["metadata"]["uid"] != uid:
                raise errors.ConflictError(409, "Conflict", "another uid")
            if not self.allows_eviction(key):
                raise errors.BusyError(429, "TooManyRequests", "the disruption budget does not allow it", 5.0)
            known["metadata"]["deletionTimestamp"] = self.now().strftime("%Y-%m-%dT%H:%M:%SZ")
            self.put(Kind.POD, known)

        await self._request(f"evict {key}", act)

    # Inside

    async def _request(self, request: str, act: Callable[[], Awaitable[T]]) -> T:
        self.requests.append(request)
        await asyncio.sleep(self.rng.uniform(0, self.delay))
        self.fault("before", request)
        wait = self.late(request)
        if wait is not None:
            loop = asyncio.get_running_loop()
            self._on_their_way.append(loop.call_later(wait, lambda: loop.create_task(_quietly(act))))
            raise errors.UncertainError(0, "NoAnswer", "the connection was cut")
        answer = await act()
        self.fault("after", request)
        await asyncio.sleep(self.rng.uniform(0, self.delay))
        return answer

    def _admitted(self, body: Json) -> Json:
        return {**body, "spec": self.admit_allocation(copy.deepcopy(body["spec"]))}

    def _runs(self, uid: str) -> bool:
        pods = self.objects[Kind.POD].values()
        return any(one["metadata"]["uid"] == uid and not decode.has_finished(one) for one in pods)

    def _pod_of(self, key: ObjectKey, body: Json) -> Json:
        known = self._at(Kind.POD, key)
        if known["metadata"]["uid"] != body["metadata"]["uid"]:
            raise errors.ConflictError(409, "Conflict", "another uid")
        return known

    def _remove_this(self, kind: Kind, key: ObjectKey, uid: str) -> None:
        known = self.objects[kind].get(key)
        if known is None:
            return
        if known["metadata"]["uid"] != uid:
            raise errors.ConflictError(409, "Conflict", "another uid")
        self.remove(kind, key)

    def _at(self, kind: Kind, key: ObjectKey) -> Json:
        known = self.objects[kind].get(key)
        if known is None:
            raise errors.NotFoundError(404, "NotFound", f"{kind.value.kind} {key} not found")
        return copy.deepcopy(known)

    def _tell(self, kind: Kind, value: Json, *, ended: bool) -> None:
        if self.deaf or self.rng.random() < self.lost:
            return
        times = 1 + (self.rng.random() < self.duplicates)
        for subscriber in self.subscribers:
            for _ in range(times):
                asyncio.get_running_loop().call_later(
                    self.rng.uniform(0, 2 * self.delay), self._deliver, subscriber, kind, value, ended
                )

    def _deliver(self, subscriber: Subscriber, kind: Kind, value: Json, ended: bool) -> None:  # noqa: FBT001
        if subscriber not in self.subscribers:
            return
        # A finished pod leaves the selection of the watch: the server says DELETED.
        if ended or (kind is Kind.POD and decode.has_finished(value)):
            last = self.decoders[kind](value) if kind is Kind.POD and ended else None
            if last is not None and not last.node:
                subscriber.on_update(last)
            subscriber.on_delete(kind, decode.object_key(value), decode.object_version(value))
        elif subscriber.is_cached(kind, decode.object_key(value), decode.object_version(value)):
            return
        elif (record := self.decoders[kind](value)) is not None:
            subscriber.on_update(record)


async def _quietly(act: Callable[[], Awaitable[Any]]) -> None:
    with contextlib.suppress(errors.KubeError):
        await act()


def _merged(before: Json, new: Json) -> Json:
    # A server that checks the schema holds no condition whose type is no text.
    found = [*before.get("conditions", []), *new.get("conditions", [])]
    conditions = {
        entry["type"]: entry
        for entry in found
        if isinstance(entry, dict) and isinstance(entry.get("type"), str)
    }
    summary = {**before.get("summary", {}), **new.get("summary", {})}
    merged = {**before, **new, "conditions": list(conditions.values()), "summary": summary}
    if "allocation" not in new:
        merged.pop("allocation", None)
    return merged
