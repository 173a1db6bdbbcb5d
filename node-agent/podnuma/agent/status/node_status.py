"""What the agent says about its node: hardware, itself, and the conditions that people look for first."""

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, replace

from podnuma.agent.apiserver.client import Json
from podnuma.agent.apiserver.status_writer import StatusWriter
from podnuma.agent.desired.state import DesiredState
from podnuma.agent.discover.machine import Discovered, Machine
from podnuma.agent.model.containers import RuntimeDescription
from podnuma.agent.reconcile.snapshot import NodeSnapshot
from podnuma.allocator import cpuset, nodeset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.memory.others import PagesInUse
from podnuma.allocator.nodeset import NodeSet
from podnuma.api.conditions import Condition, Status, merged, timestamp
from podnuma.api.hardware import Hardware
from podnuma.api.node_conditions import NodeCondition
from podnuma.api.node_topology import AgentReport, render_agent_status
from podnuma.api.resource_types import NODE_TOPOLOGY
from podnuma.plumbing.remembered import Remembered

_CUT = 1000
_WHO_TAKES_CPUS = (
    ": look for AllowedCPUs=, AllowedMemoryNodes= and CPUSetPartition= of this slice, of those above it and"
    " of other units, and for the limits of the container or machine that the node runs in"
)
_PAGES_REST = dt.timedelta(seconds=10)


@dataclass(frozen=True, slots=True)
class AgentIdentity:
    """What does not change while the agent runs."""

    node: str
    version: str
    boot_id: str


class NodeStatus:
    """Keeps the agent's part of the NodeTopology's status, and says it again as a heartbeat."""

    def __init__(
        self,
        identity: AgentIdentity,
        desired: DesiredState,
        status_writer: StatusWriter,
        *,
        clock: Callable[[], dt.datetime],
        heartbeat: float,
    ) -> None:
        self._identity = identity
        self._desired = desired
        self._status_writer = status_writer
        self._clock = clock
        self._heartbeat = dt.timedelta(seconds=heartbeat)
        self._discovered = Discovered(None, ())
        self._machine: Machine | None = None
        self._cgroup_driver = ""
        self._describe: Callable[[], RuntimeDescription] = lambda: RuntimeDescription("")
        self._lost: str | None = "not asked yet"
        self._pause_reason: str | None = None
        self._contended = ""
        self._intruders = ""
        self._pages: tuple[PagesInUse, ...] = ()
        self._pages_at: dt.datetime | None = None
        self._beat: dt.datetime | None = None
        self._conditions: tuple[Condition, ...] = ()
        self._refused: tuple[Condition, ...] = ()
        self._rendered = Remembered(self._patch)

    @property
    def path(self) -> str:
        return NODE_TOPOLOGY.path("", self._identity.node, "status")

    def discovered(self, discovered: Discovered) -> None:
        """Take the hardware; where it could not be made out, the last one that was stays."""
        self._discovered = discovered
        self._machine = discovered.machine or self._machine

    def found_pages(self, pages: tuple[PagesInUse, ...]) -> None:
        """Take the huge pages in use; who touches one after the other costs a write in ten seconds."""
        now = self._clock()
        if pages != self._pages and (self._pages_at is None or abs(now - self._pages_at) >= _PAGES_REST):
            self._pages, self._pages_at = pages, now

    def backend(self, cgroup_driver: str, describe: Callable[[], RuntimeDescription]) -> None:
        """Take how to ask who writes to containers first, and which runtime it is."""
        self._cgroup_driver = cgroup_driver
        self._describe = describe

    def runtime_lost(self, why: str) -> None:
        self._lost = why

    def runtime_found(self, snapshot: NodeSnapshot) -> None:
        self._lost = None
        self._pause_reason = snapshot.pause_reason
        self._intruders = snapshot.intruders()[:_CUT]
        self._contended = "; ".join(
            f"{snapshot.describe(cgroup)}: {what}"
            for cgroup, what in sorted(snapshot.contended.items(), key=repr)
        )[:_CUT]

    def publish(self) -> None:
        """Hand the status over, if something changed or the heartbeat is due."""
        settings = self._desired.node_config
        if not settings.exists:
            return
        now = self._clock()
        before = self._conditions
        if not before and settings.status is not None:
            before = settings.status.conditions
        conditions = merged(before, self._wanted(settings.generation), now)
        changed = conditions != self._conditions
        if self._beat is None or changed or not dt.timedelta() <= now - self._beat < self._heartbeat:
            self._beat = now
        self._conditions = conditions
        described = self._describe()
        agent = AgentReport(
            version=self._identity.version,
            mechanism=described.mechanism,
            runtime=described.runtime,
            failure_policy=described.failure_policy,
            cgroup_driver=self._cgroup_driver,
            boot_id=self._identity.boot_id,
            heartbeat_time=timestamp(self._beat),
        )
        hardware, uid = self._hardware(), settings.uid
        self._status_writer.submit(
            self.path,
            self._rendered(uid, hardware, agent, conditions, self._pages),
            substitute=lambda why: self._without_what_is_refused(uid, hardware, agent, why),
        )

    def _patch(
        self,
        uid: str,
        hardware: Hardware | None,
        agent: AgentReport,
        conditions: tuple[Condition, ...],
        pages: tuple[PagesInUse, ...] = (),
    ) -> Json:
        status = render_agent_status(hardware, agent, conditions, pages)
        return NODE_TOPOLOGY.status_patch("", self._identity.node, uid, status)

    def _without_what_is_refused(
        self, uid: str, hardware: Hardware | None, agent: AgentReport, why: str
    ) -> Json:
        """Say that the API server refuses the status.

        Hardware that it has already stays, other does not; the other conditions stay without their texts.
        """
        stored = self._desired.node_config.status
        kept = hardware if stored is not None and stored.hardware == hardware else None
        message = f"the API server refuses this agent's status: {why}"[:_CUT]
        about = {NodeCondition.AGENT_READY.value, NodeCondition.HARDWARE_KNOWN.value}
        refused = [
            replace(condition, status=Status.FALSE, reason="StatusRefused", message=message)
            if condition.type in about
            else replace(condition, message="")
            for condition in self._conditions
        ]
        self._refused = merged(self._refused or self._conditions, refused, self._clock())
        return self._patch(uid, kept, agent, self._refused)

    def _hardware(self) -> Hardware | None:
        if self._machine is None:
            return None
        problems = tuple(str(finding)[:_CUT] for finding in self._discovered.findings)
        return Hardware(self._machine.topology, problems)

    def _wanted(self, generation: int) -> list[Condition]:
        described = self._describe()
        conditions = [
            self._hardware_known(),
            _condition(
                NodeCondition.RUNTIME_CONNECTED,
                self._lost is None,
                ("Connected", f"the runtime answers: {described.mechanism} {described.runtime}"),
                ("NotConnected", self._lost or ""),
            ),
            _condition(
                NodeCondition.PAUSED,
                self._pause_reason is not None,
                ("OtherManager", self._pause_reason or ""),
                ("NoOtherManager", "no other CPU or memory manager is active on this node"),
            ),
            _condition(
                NodeCondition.CONTENDED,
                bool(self._contended),
                ("SomebodyElseWrites", self._contended),
                ("NobodyElseWrites", "nobody else changes what podnuma writes"),
            ),
            self._outside_kubepods(),
            _condition(
                NodeCondition.ISOLATED,
                not self._intruders,
                ("NobodyElse", "no container runs on CPUs that another holds exclusively"),
                ("OthersOnExclusiveCPUs", self._intruders),
            ),
        ]
        hindrance = self._hindrance()
        conditions.append(
            _condition(
                NodeCondition.AGENT_READY,
                hindrance is None,
                ("Ready", "decisions are applied on this node"),
                ("NotReady", hindrance or ""),
            )
        )
        return [replace(condition, observed_generation=generation) for condition in conditions]

    def _outside_kubepods(self) -> Condition:
        machine = self._machine
        text = ""
        if machine is not None:
            text = lacking(machine.kubepods, machine.topology.outside, machine.topology.outside_memory)
        return _condition(
            NodeCondition.OUTSIDE_KUBEPODS,
            bool(text),
            ("NotInCgroup", f"{text}; pods get none of it{_WHO_TAKES_CPUS}"),
            ("AllInCgroup", "the cgroup of all pods has every CPU and all memory that is online"),
        )

    def _hindrance(self) -> str | None:
        if self._machine is None:
            return "the hardware is not known"
        config = self._desired.node_config
        if config.mode is None:
            return f"nothing is applied before these settings can be read: {config.problem}"
        return self._lost or self._pause_reason

    def _hardware_known(self) -> Condition:
        findings = self._discovered.findings
        text = "; ".join(str(finding) for finding in findings)[:_CUT]
        good = self._discovered.machine is not None
        machine = self._discovered.machine
        if machine is not None and machine.topology.unknown_siblings:
            return Condition(NodeCondition.HARDWARE_KNOWN, Status.FALSE, "SiblingsUnknown", text)
        if good and findings:
            return Condition(NodeCondition.HARDWARE_KNOWN, Status.TRUE, "WithDefaults", text)
        return _condition(
            NodeCondition.HARDWARE_KNOWN,
            good,
            ("Known", "all of sysfs could be read"),
            ("Unknown", text or "not read yet"),
        )


def lacking(folder: str, cpus: CpuSet, memory_nodes: NodeSet) -> str:
    """Say what the cgroup of all pods lacks; "" if nothing."""
    found = []
    if cpus:
        found.append(f"cpuset.cpus.effective of {folder} lacks CPUs {cpuset.render(cpus)}, which are online")
    if memory_nodes:
        found.append(
            f"cpuset.mems.effective of {folder} lacks {nodeset.named(memory_nodes)}, which have memory"
        )
    return "; ".join(found)


def _condition(
    kind: NodeCondition,
    holds: bool,  # noqa: FBT001 - the condition itself
    if_true: tuple[str, str],
    if_false: tuple[str, str],
) -> Condition:
    reason, message = if_true if holds else if_false
    return Condition(kind, Status.of(holds), reason, message)
