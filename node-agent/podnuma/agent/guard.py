"""Reasons to stand back: grants that can not be right, and others who pin on this node.

An allocation that overlaps one that is already applied is refused, whoever is to blame: the one that runs
has the right. So is one that names CPUs the node does not have, and one that would leave the shared pool
empty: an empty set means "all CPUs" to a kernel.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.decision import PodGrant

_LONGEST_STATE = 4 * 2**20


@dataclass(frozen=True, slots=True)
class Accepted:
    """Grants by pod UID, why others were refused, by pod UID, and what is left for everybody."""

    grants: Mapping[str, PodGrant]
    refused: Mapping[str, str]
    pool: CpuSet

    def knows(self, uid: str) -> bool:
        """Tell whether there was a grant for a pod, taken or refused."""
        return uid in self.grants or uid in self.refused


@dataclass(frozen=True, slots=True)
class Cpus:
    """CPUs of the node: `known` ones, offline included; those that can be shared; those never granted."""

    known: CpuSet
    shareable: CpuSet
    reserved: CpuSet

    def pool(self, exclusive: CpuSet) -> CpuSet:
        """Return the shared pool when pods hold `exclusive`; see `allocator.node.Node.shared_pool`."""
        return CpuSet(self.shareable & ~exclusive or self.reserved & ~exclusive)


def accept(grants: Iterable[PodGrant], applied: Mapping[str, CpuSet], cpus: Cpus) -> Accepted:
    """Sort out what can be applied; where nothing is held nothing is to be applied.

    `applied`: exclusive CPUs by pod UID that are in force now.
    """
    taken: dict[str, PodGrant] = {}
    refused: dict[str, str] = {}
    exclusive = cpuset.EMPTY
    holding = [grant for grant in grants if grant.holds_anything]
    for grant in sorted(holding, key=lambda each: (applied.get(each.uid) != each.exclusive_cpus, each.uid)):
        both = CpuSet(exclusive | grant.exclusive_cpus)
        why = _strange(grant, cpus.known) or _overlap(grant, taken.values())
        if why is None and not cpus.pool(both):
            why = (
                f"spec.cpus {cpuset.render(grant.exclusive_cpus)!r} would leave no CPU for the node shared"
                " pool; delete the PodAllocation"
            )
        if why is None:
            taken[grant.uid] = grant
            exclusive = both
        else:
            refused[grant.uid] = why
    return Accepted(taken, refused, cpus.pool(exclusive))


def _strange(grant: PodGrant, known: CpuSet) -> str | None:
    cpus = grant.exclusive_cpus
    if cpus & ~known:
        strange = cpuset.render(CpuSet(cpus & ~known))
        return f"spec.cpus {cpuset.render(cpus)!r}: this node has no CPU {strange}; delete the PodAllocation"
    return None


def _overlap(grant: PodGrant, taken: Iterable[PodGrant]) -> str | None:
    cpus = grant.exclusive_cpus
    for other in taken:
        both = CpuSet(cpus & other.exclusive_cpus)
        if both:
            return (
                f"spec.cpus {cpuset.render(cpus)!r}: CPUs {cpuset.render(both)} are already held by pod"
                f" {other.namespace}/{other.name}; delete the PodAllocation of one of them"
            )
    return None


def static_kubelet(kubelet_root: Path) -> str | None:
    """Return why the kubelet's own managers rule here, by their state files; None if they do not."""
    for file, policy, field in (
        ("cpu_manager_state", "static", "cpuManagerPolicy: none"),
        ("memory_manager_state", "Static", "memoryManagerPolicy: None"),
    ):
        path = kubelet_root / file
        if _policy(path) == policy:
            return (
                f'{path} says policyName "{policy}": the kubelet pins containers itself and would undo every'
                f" value; set {field} in its configuration, remove that file and restart it"
            )
    return None


def _policy(path: Path) -> object:
    try:
        with path.open("rb") as file:
            state = json.loads(file.read(_LONGEST_STATE))
    except (OSError, ValueError):
        return None
    return state.get("policyName") if isinstance(state, dict) else None


@dataclass(frozen=True, slots=True)
class Pinner:
    """Another program that pins containers, and how it shows on a node: labels of its pods."""

    name: str
    images: tuple[str, ...]


PINNERS = (
    Pinner("nri-plugins", ("nri-resource-policy-",)),
    Pinner("koordlet", ("koordlet",)),
    Pinner("dra-driver-cpu", ("dra-driver-cpu", "dracpu")),
    Pinner("CPU-Pooler", ("cpu-device-plugin", "cpusetter")),
    Pinner("katalyst-agent", ("katalyst-agent",)),
)


def other_pinners(names: Iterable[str]) -> tuple[str, ...]:
    """Return who else pins, by the names of the containers and plugins that run on this node."""
    running = [name.lower() for name in names]
    found = {
        pinner.name for pinner in PINNERS for sign in pinner.images if any(sign in name for name in running)
    }
    return tuple(sorted(found))
