"""The life of a cluster, from a seed: pods, profiles, nodes come and go, requests fail, the operator dies.

What must hold is checked at every write of the operator and whenever the cluster has come to rest:

  * no CPU is in two PodAllocations, at no moment;
  * a decision that gave something to a pod never changes while the pod lives and is not resized, a resize
    moves nothing that the pod keeps, and what somebody destroys comes back as it was; only what was destroyed
    when the operator died is lost;
  * at rest every pod that wants one has a decision, and nothing is left of pods that are gone;
  * at rest a refused pod really does not fit, and a resized one has what it asks for or cannot have it;
  * at rest nothing waits without a reason that a person can read: every node's Ready is of its present
    generation and names one of the known reasons, every pod without a decision was told why or is on a
    node that says why.

Somebody also changes one field of what is stored, to anything. When it has been mended, everything works.
"""

from __future__ import annotations

import asyncio
import copy
import random
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.decision import PodGrant, Rejected
from podnuma.allocator.resize.decide import ResizeRefused
from podnuma.api.hardware import Hardware, render_hardware
from podnuma.api.node_conditions import NodeReason
from podnuma.api.pod_allocation import read_pod_allocation
from podnuma.operator.cache import decode
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import ObjectKey
from podnuma.operator.node.devices import NO_DEVICES
from podnuma.plumbing.kube import errors

from testbed import dra
from tests.fuzz.mutation import changed
from tests.unit.operator.rig import Rig, machine, node, owned_by, pod, profile

if TYPE_CHECKING:
    from podnuma.operator.node.state import NodeState

    from tests.unit.operator.fake_cluster import FakeCluster, Json

NODES = ("n1", "n2", "n3")
WRITES = ("create PodAllocation", "replace PodAllocation", "delete PodAllocation")
REST = 30.0  # virtual seconds; longer than any back-off of a node
LOST = 0.01  # of all news
MENDED = 0.5  # of all rests
EXCLUSIVE = (AssignmentType.POD_EXCLUSIVE, AssignmentType.NODE_EXCLUSIVE)
FRACTION = 0.2  # of all resizes, and of all claims
FORGOTTEN = 0.5  # of edits of a PodAllocation: the operator dies at once
CLAIMED = 0.25  # of all pods
DRIVER = "gpu.example.com"
DEVICES = ["gpu0", "gpu1", "gpu2"]  # on NUMA nodes 0 and 1; of the last the driver does not say


def use_claim(value: Json) -> None:
    """Let the first container of a pod use the claim that has the pod's name."""
    name = value["metadata"]["name"]
    value["spec"]["resourceClaims"] = [{"name": "devices", "resourceClaimName": name}]
    value["spec"]["containers"][0]["resources"]["claims"] = [{"name": "devices"}]


def claim_devices(cluster: FakeCluster, value: Json, devices: list[str], rng: random.Random) -> None:
    """Give a pod a claim for these devices of its node, now and then one that is not allocated yet."""
    pool = value["spec"]["nodeName"]
    results = [{"request": "device", "driver": DRIVER, "pool": pool, "device": device} for device in devices]
    allocated = {"allocation": {"devices": {"results": results}}}
    key = ObjectKey("default", value["metadata"]["name"])
    cluster.claims[key] = {
        "metadata": {"name": key.name},
        "status": {} if rng.random() < FRACTION else allocated,
        "later": allocated,
    }
    use_claim(value)


def allocate_claims(cluster: FakeCluster) -> None:
    """Allocate the claims that are not, as a scheduler that was slow."""
    for claim in cluster.claims.values():
        claim["status"] = claim["later"]


def stays(before: PodGrant, after: PodGrant) -> None:
    """Check that a resize moved nothing that a container keeps."""
    if not after.holds_anything:
        return
    for old, new in zip(before.containers, after.containers, strict=True):
        if old.cpus and new.cpus and old.cpu_assignment is new.cpu_assignment in EXCLUSIVE:
            assert old.cpus & new.cpus == min(old.cpus, new.cpus, key=int.bit_count), f"{before} -> {after}"
        if old.memory_nodes and new.memory_nodes:
            assert old.memory_nodes == new.memory_nodes, f"{before} -> {after}"


@dataclass
class Killer:
    """Ends the process at the n-th request from now on, before or after it is carried out."""

    left: int | None = None
    dead: bool = False
    kills: int = 0

    def passes(self) -> None:
        if self.dead:
            raise asyncio.CancelledError
        if self.left is None:
            return
        self.left -= 1
        if self.left <= 0:
            self.left, self.dead = None, True
            self.kills += 1
            raise asyncio.CancelledError


@dataclass
class Storm:
    """One life, step by step."""

    seed: int
    kill_share: float = 0.3
    fault_share: float = 0.02
    edits: bool = True
    rest_every: int = 10
    killer: Killer = field(default_factory=Killer)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.claims_rng = random.Random(f"claims {self.seed}")
        self.rig = Rig(self.seed)
        self.cluster = self.rig.cluster
        self.given: dict[str, tuple[str, PodGrant]] = {}
        self.destroyed: set[str] = set()
        self.unanswered = 0
        self.broken: list[str] = []
        self.steps: list[str] = []
        self._names = 0

    async def live(self, steps: int) -> None:
        """Take this many steps and come to rest now and then."""
        await self._begin()
        for number in range(steps):
            action = self.rng.choice(self._actions())
            self.steps.append(action.__name__)
            try:
                action()
                await asyncio.sleep(self.rng.choice([0.0, 0.01, 0.05, 0.3]))
                await self._revive()
                assert not self.broken, self.broken[0]
                if number % self.rest_every == self.rest_every - 1:
                    await self.rest()
            except AssertionError as error:
                raise AssertionError(
                    f"seed {self.seed}, step {number}, {self.steps[-5:]}: {error}"
                ) from error
        await self.rest()

    async def rest(self) -> None:
        """Let everything settle without faults, and look at all of it."""
        self.killer.left = None
        faults, self.fault_share = self.fault_share, 0.0
        self.cluster.lost, self.unanswered = 0.0, 0
        if self.edits and self.rng.random() < MENDED:
            self.mend()
        self.cluster.agents_look()
        allocate_claims(self.cluster)
        await self._revive()
        self.cluster.collect_garbage()
        self.cluster.agents_look()  # they report again what somebody has overwritten
        await self.rig.controller.sync(Kind)
        self.rig.controller.enqueue_all()
        # A request that was under way may overwrite what an agent has told; it tells it again.
        await asyncio.sleep(REST / 2)
        self.cluster.agents_look()
        await asyncio.sleep(REST / 2)
        self._look()
        self.fault_share, self.cluster.lost = faults, LOST

    # Steps

    def _actions(self):
        actions = [self.create] * 8 + [self.delete] * 4 + [self.finish] * 3 + [self.replace] * 2
        actions += [self.resize] * 10
        actions += [self.edit_profile, self.change_hardware, self.node_away, self.node_back, self.relabel]
        if self.fault_share:
            actions += [self.silence, self.leave_unanswered]
        if self.rng.random() < self.kill_share:
            actions += [self.kill] * 30
        if self.edits:
            actions += (
                [self.edit_allocation] * 2 + [self.delete_allocation] + [self.accept] * 6 + [self.spoil] * 4
            )
        return actions

    def create(self) -> None:
        self._names += 1
        self._create(f"p{self._names}")

    def _create(self, name: str) -> None:
        cpus = self.rng.choice([1, 2, 2, 3, 4, 6, 9])
        on = self.rng.choice(NODES)
        extra = {"ownerReferences": owned_by("ReplicaSet", f"rs{self.rng.randrange(3)}")}
        value = pod(name, max(cpus, 2), f"{self.rng.choice([1, 2, 8])}Gi", on, **extra)
        if cpus == 1:
            value["status"]["qosClass"] = "Burstable"
        if self.claims_rng.random() < CLAIMED:
            devices = self.claims_rng.sample(DEVICES, self.claims_rng.choice([1, 1, 2]))
            claim_devices(self.cluster, value, devices, self.claims_rng)
        self.cluster.put(Kind.POD, value)

    def _some_pod(self) -> ObjectKey | None:
        pods = sorted(self.cluster.objects[Kind.POD], key=str)
        return self.rng.choice(pods) if pods else None

    def delete(self) -> None:
        if key := self._some_pod():
            self.cluster.remove(Kind.POD, key)

    def finish(self) -> None:
        if key := self._some_pod():
            value = self.cluster.objects[Kind.POD][key]
            self.cluster.put(Kind.POD, {**value, "status": {**value["status"], "phase": "Failed"}})

    def replace(self) -> None:
        if key := self._some_pod():
            self.cluster.remove(Kind.POD, key)
            self._create(key.name)

    def resize(self) -> None:
        """Resize a pod, as its kubelet accepts it: at once, or not yet."""
        if not (key := self._some_pod()):
            return
        value = copy.deepcopy(self.cluster.objects[Kind.POD][key])
        claims = value["spec"].get("resourceClaims")
        value["spec"] = pod(key.name, self.rng.choice([2, 3, 4, 6]), "8Gi", value["spec"]["nodeName"])["spec"]
        if claims:
            use_claim(value)
        if self.rng.random() < FRACTION:
            amounts = value["spec"]["containers"][0]["resources"]
            amounts["requests"]["cpu"] = amounts["limits"]["cpu"] = "500m"
        held_back = {"type": "PodResizePending", "status": "True", "reason": "Deferred"}
        value["status"]["conditions"] = [held_back] if self.rng.random() < FRACTION else []
        self.cluster.put(Kind.POD, value)

    def edit_profile(self) -> None:
        reserved = self.rng.choice(["0,8", "0,8", "0-1,8-9", "0,96"])
        scope = self.rng.choice(["pod", "container"])
        policy = self.rng.choice(["single-numa-node", "best-effort", "restricted"])
        self.cluster.put(
            Kind.PROFILE,
            profile(
                reservedSystemCPUs=reserved,
                topologyManagerScope=scope,
                topologyManagerPolicy=policy,
                onRejection=self.rng.choice(["Evict", "Share"]),
            ),
        )

    def change_hardware(self) -> None:
        """Add or take away CPUs and memory of a node, or put another machine there."""
        name = self.rng.choice(NODES)
        if self.cluster.get(Kind.TOPOLOGY, ObjectKey("", name)) is not None:
            hardware = machine(self.rng.choice([8, 8, 6, 12, 16]), memory=self.rng.choice([32, 32, 8, 64]))
            if self.rng.random() < FRACTION:
                hardware = hardware.without(1 << self.rng.randrange(1, 8))
            self.rig.report_hardware(name, hardware)

    def node_away(self) -> None:
        self.cluster.remove(Kind.NODE, ObjectKey("", self.rng.choice(NODES)))

    def node_back(self) -> None:
        for name in NODES:
            if self.cluster.get(Kind.NODE, ObjectKey("", name)) is None:
                self.cluster.put(Kind.NODE, node(name))

    def relabel(self) -> None:
        name = self.rng.choice(NODES)
        if self.cluster.get(Kind.NODE, ObjectKey("", name)) is not None:
            self.cluster.put(Kind.NODE, node(name, pool=self.rng.choice("ab")))

    def kill(self) -> None:
        self.killer.left = self.rng.randrange(1, 10)

    def edit_allocation(self) -> None:
        found = sorted(self.cluster.objects[Kind.ALLOCATION], key=str)
        if not found:
            return
        value = copy.deepcopy(self.cluster.objects[Kind.ALLOCATION][self.rng.choice(found)])
        if value.get("status", {}).get("acceptedSpec") != value["spec"]:
            self._destroy(value)
        value["spec"] |= self.rng.choice([{"scope": "nonsense"}, {"containers": []}, {"podCPUQuota": 7}])
        self.cluster.put(Kind.ALLOCATION, value)
        if self.rng.random() < FORGOTTEN:
            self.killer.left = 1  # before it has put back what only it knows, but for the agent

    def accept(self) -> None:
        """Do what agents do: keep a copy of each spec by which they act."""
        for value in list(self.cluster.objects[Kind.ALLOCATION].values()):
            read = decode.decode_allocation(value)
            if read.model is not None and not read.problem and read.model.decision.admitted:
                status = {**value.get("status", {}), "acceptedSpec": copy.deepcopy(value["spec"])}
                self.cluster.put(Kind.ALLOCATION, {**value, "status": status})

    def delete_allocation(self) -> None:
        found = sorted(self.cluster.objects[Kind.ALLOCATION], key=str)
        if found:
            key = self.rng.choice(found)
            self._destroy(self.cluster.objects[Kind.ALLOCATION][key])
            self.cluster.remove(Kind.ALLOCATION, key)

    def spoil(self) -> None:
        """Change one field of an object of podnuma to anything, in what is not a decision."""
        kind = self.rng.choice([Kind.TOPOLOGY, Kind.TOPOLOGY, Kind.PROFILE, Kind.ALLOCATION])
        found = sorted(self.cluster.objects[kind], key=str)
        if not found:
            return
        value = copy.deepcopy(self.cluster.objects[kind][self.rng.choice(found)])
        part = "status" if kind is Kind.ALLOCATION else self.rng.choice(["spec", "status"])
        fields = value.get(part)
        if not fields:
            return
        name = self.rng.choice(sorted(fields))
        if name == "acceptedSpec":
            self._destroy(value)  # from now on nobody has it but the spec
        fields[name] = changed(fields[name], self.rng)
        self.cluster.put(kind, value)

    def mend(self) -> None:
        """Write anew what its owners write: agents their statuses, a person the profile."""
        self.edit_profile()
        for name in NODES:
            known = self.cluster.get(Kind.TOPOLOGY, ObjectKey("", name))
            if known is not None:
                ready = {"type": "AgentReady", "status": "True", "reason": "Ready", "message": ""}
                status = {"hardware": render_hardware(Hardware(machine())), "conditions": [ready]}
                self.cluster.put(Kind.TOPOLOGY, {**known, "status": status})
        for value in list(self.cluster.objects[Kind.ALLOCATION].values()):
            # An agent goes on keeping the spec by which it acts.
            kept = value.get("status", {}).get("acceptedSpec")
            status = {"phase": "Pending"} | ({"acceptedSpec": kept} if kept else {})
            self.cluster.put(Kind.ALLOCATION, {**value, "status": status})

    def silence(self) -> None:
        """Let half of all news wait for the next full list."""
        self.cluster.lost = 0.5

    def leave_unanswered(self) -> None:
        """Lose the answers to the next writes; some of them are carried out seconds later."""
        self.unanswered = self.rng.randrange(1, 4)

    # Inside

    def _destroy(self, value: Json) -> None:
        uid = value["spec"]["podUID"]
        state = self.rig.controller.node_state(value["spec"]["nodeName"])
        if state is not None and (uid in state.decisions or uid in state.unconfirmed):
            self.destroyed.add(uid)
        else:
            # The operator that would know has died: it is decided anew.
            self.given.pop(uid, None)

    async def _begin(self) -> None:
        await self.rig.furnished(*NODES)
        for name in NODES:
            numa = dict(zip(DEVICES, (0, 1, None), strict=True))
            self.cluster.slices.append(dra.resource_slice(DRIVER, name, numa))
        self.cluster.delay = 0.004
        self.cluster.duplicates = 0.1
        self.cluster.lost = LOST
        self.cluster.fault = self._fault
        self.cluster.late = self._late

    async def _revive(self) -> None:
        while self.killer.dead:
            for uid in self.destroyed:
                self.given.pop(uid, None)
            self.destroyed.clear()
            await self.rig.crash()
            self.killer.dead = False
            try:
                await self.rig.start()
            except asyncio.CancelledError:
                continue
            except errors.KubeError:
                self.killer.dead = True
        # Agents report again where a NodeTopology was made anew.
        for name in NODES:
            known = self.cluster.get(Kind.TOPOLOGY, ObjectKey("", name))
            if known is not None and "hardware" not in known.get("status", {}):
                self.rig.report_hardware(name, machine())

    def _fault(self, moment: str, request: str) -> None:
        self.killer.passes()
        if moment == "after" and "PodAllocation" in request:
            self._watch_write(request)
        if self.rng.random() < self.fault_share:
            if moment == "after":
                raise errors.UncertainError(0, "NoAnswer", "the connection was cut")
            raise self.rng.choice(
                [
                    errors.UncertainError(500, "InternalError", "etcd leader changed"),
                    errors.BusyError(429, "TooManyRequests", "come back later", 0.1),
                    errors.ConflictError(409, "Conflict", "refused for no good reason"),
                ]
            )

    def _late(self, request: str) -> float | None:
        if not self.unanswered or not request.startswith(WRITES):
            return None
        self.unanswered -= 1
        wait = self.rng.choice([0.0, 0.0, 0.3, 4.0])
        asyncio.get_running_loop().call_later(wait + 0.001, self._watch_write, f"late {request}")
        return wait

    def _watch_write(self, request: str) -> None:
        try:
            self._check_write()
        except AssertionError as error:
            # The operator would take it for a failed request and go on.
            self.broken.append(f"after {request}: {error}")

    def _check_write(self) -> None:
        self.rig.assert_sound()
        for value in self.cluster.objects[Kind.ALLOCATION].values():
            allocation = decode.decode_allocation(value)
            if allocation.model is None or allocation.problem:
                continue
            # The record of a pod that is gone may get another name, and what it holds stays.
            told = replace(allocation.model.grant, name="")
            self.destroyed.discard(told.uid)
            if not allocation.model.decision.admitted:
                continue
            now = allocation.model.decision.revision, told
            before = self.given.get(told.uid, now)
            self.given[told.uid] = now
            if before[0] == now[0]:
                assert before == now, f"the decision about {allocation.key} changed: {before} -> {now}"
            else:
                stays(before[1], told)

    def _look(self) -> None:
        self._check_write()
        alive = {
            record.uid: record
            for value in self.cluster.objects[Kind.POD].values()
            if (record := decode.decode_bound_pod(value)) is not None
        }
        left = sorted(str(alive[uid].key) for uid in self.destroyed & alive.keys())
        assert not left, f"what somebody destroyed did not come back: {left}"
        self.destroyed.clear()
        for key, value in self.cluster.objects[Kind.ALLOCATION].items():
            uid = value["spec"]["podUID"]
            assert uid in alive, f"{key} is left of a pod that is gone"
            state = self.rig.controller.node_state(value["spec"]["nodeName"])
            if state is not None and state.allocator is not None:
                read_pod_allocation(value)
        for name in NODES:
            self._look_at_node(name)

    def _look_at_node(self, name: str) -> None:
        known = self.cluster.get(Kind.TOPOLOGY, ObjectKey("", name))
        if self.cluster.get(Kind.NODE, ObjectKey("", name)) is None or known is None:
            return
        state = self.rig.controller.node_state(name)
        assert state is not None, f"no reconciler for {name}"
        self._look_at_reasons(known, state)
        allocator = state.allocator
        if allocator is None:  # no settings that fit: nothing is decided
            return
        for value in self.cluster.objects[Kind.POD].values():
            record = decode.decode_pod(value)
            if record is None or record.node != name or record.terminating or record.request is None:
                continue
            found = self.cluster.get(Kind.ALLOCATION, record.key)
            assert found is not None, f"{record.key} on {name} has no decision"
            if not found["spec"]["decision"]["admitted"]:
                located = state.pods[record.uid].devices or NO_DEVICES
                answer = state.decide(allocator, located.attached_to(record.request))
                assert isinstance(answer, Rejected), f"{record.key} is refused and fits {name}"
            elif not record.held_back:
                decided = state.decisions[record.uid].decision
                if decided.revision != record.revision:
                    assert decided.pending_resize is not None, f"the resize of {record.key} was lost"
                    again = state.resize(allocator, record.request)
                    assert isinstance(again, ResizeRefused), (
                        f"{record.key} waits for a resize that fits {name}"
                    )
        told = known.get("status", {}).get("allocation", {})
        held = sum(decided.grant.holds_anything for decided in state.decisions.values())
        assert told.get("pods") == held, f"{name} tells {told.get('pods')} pods, {held} hold something"

    def _look_at_reasons(self, topology: Json, state: NodeState) -> None:
        told = {
            str(entry.get("type")): entry
            for entry in topology["status"]["conditions"]
            if isinstance(entry, dict)
        }
        ready = told["Ready"]
        assert NodeReason(ready["reason"]), ready
        assert ready["message"]
        assert ready["observedGeneration"] == topology["metadata"]["generation"], (
            f"{state.name}: {ready} is old"
        )
        assert state.standing is not None
        assert state.standing.reason == ready["reason"]
        for value in self.cluster.objects[Kind.POD].values():
            pod_there = decode.decode_pod(value)
            if pod_there is None or pod_there.node != state.name or pod_there.uid in state.decisions:
                continue
            heard = state.pods[pod_there.uid].warning is not None
            assert heard or ready["status"] == "False" or pod_there.terminating, (
                f"{pod_there.key} waits for nothing"
            )
        for decision in state.decisions.values():
            assert decision.admitted or decision.decision.explanation, (
                f"{decision.key} is refused for nothing"
            )
