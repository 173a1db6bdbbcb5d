"""What the kernel says about the pods of a node, read from its cgroups all at once.

A snapshot maps every cgroup below the kubelet's root to its values; a container's cgroup is found by
the container id that its pod's status names. No code of the product is used: a
test must not share its mistakes. Files: kernel documentation, admin-guide/cgroup-v2 (cpuset, cpu, memory).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from testbed.api import Json

FILES = (
    "cpuset.cpus",
    "cpuset.cpus.effective",
    "cpuset.mems",
    "cpuset.mems.effective",
    "cpu.max",
    "memory.max",
)
# Everything in a cgroup that says how much of something may be used there.
_LIMITS = (
    *(
        "cpuset.cpus",
        "cpuset.mems",
        "cpuset.cpus.effective",
        "cpuset.mems.effective",
        "cpuset.cpus.partition",
    ),
    *("cpu.max", "cpu.weight", "cpu.idle"),
    *("memory.min", "memory.low", "memory.high", "memory.max", "memory.swap.max", "pids.max"),
)
# One process for all files: a fork per file would take seconds under emulation.
_DUMP = (
    "cd /sys/fs/cgroup && find . -path '*kubepods*' \\( "
    + " -o ".join(f"-name {name}" for name in FILES)
    + " \\) -print0 | xargs -0 -r grep -s -H ''"
)


class Shell(Protocol):
    """Runs a command on a node as root in the host's namespaces and returns its standard output."""

    def __call__(self, command: str, /) -> str: ...


@dataclass(frozen=True, slots=True)
class Cgroup:
    """The values of one cgroup; CPU and node sets as frozen sets, the rest as the kernel writes it.

    leaf: the cgroup that holds the processes; crun makes one of its own below the container's.
    """

    path: str
    leaf: str
    cpus: frozenset[int]
    effective_cpus: frozenset[int]
    mems: frozenset[int]
    effective_mems: frozenset[int]
    cpu_max: str
    memory_max: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All cgroups of pods at one moment, by path below the cgroup root."""

    cgroups: Mapping[str, Cgroup]

    def container(self, pod: Json, name: str) -> Cgroup:
        """Return the cgroup of a running container; LookupError when there is none (yet)."""
        identity = container_id(pod, name)
        found = sorted(
            (cgroup for path, cgroup in self.cgroups.items() if identity in path),
            key=lambda cgroup: len(cgroup.path),
        )
        if not found:
            raise LookupError(
                f"no cgroup of container {name} ({identity[:12]}) of pod {pod['metadata']['name']}"
            )
        outer, leaf = found[0], found[-1]
        return replace(
            outer, leaf=leaf.path, effective_cpus=leaf.effective_cpus, effective_mems=leaf.effective_mems
        )

    def pod(self, pod: Json) -> Cgroup:
        """Return the cgroup of the pod itself, under either cgroup driver; LookupError when it is gone."""
        uid = pod["metadata"]["uid"]
        ends = (f"pod{uid.replace('-', '_')}.slice", f"pod{uid}")
        for path, cgroup in self.cgroups.items():
            if path.endswith(ends):
                return cgroup
        raise LookupError(f"no cgroup of pod {pod['metadata']['name']} ({uid})")


def kubepods(shell: Shell) -> str:
    """Return the folder of the cgroup of all pods: of either driver, below any root that a kubelet has."""
    names = " -o ".join(f"-name '{name}'" for name in ("kubepods", "kubepods.slice", "*-kubepods.slice"))
    found = shell(f"find /sys/fs/cgroup -maxdepth 2 -type d \\( {names} \\) -print -quit").strip()
    if not found:
        raise LookupError("the node has no cgroup of pods")
    return found


def snapshot(shell: Shell) -> Snapshot:
    """Read every cgroup of the node's pods."""
    values: dict[str, dict[str, str]] = {}
    for line in shell(_DUMP).splitlines():
        file, _, value = line.partition(":")
        path, _, name = file.removeprefix("./").rpartition("/")
        values.setdefault(path, {})[name] = value
    return Snapshot({path: _cgroup(path, files) for path, files in values.items()})


def limits(shell: Shell, pods: Iterable[Json] = ()) -> dict[str, str]:
    """Return every file that limits the slices of the kubelet and the given pods, by path."""
    uids = [pod["metadata"]["uid"].replace("-", "_") for pod in pods]
    names = " -o ".join(f"-name {name}" for name in _LIMITS)
    text = shell(
        f"cd /sys/fs/cgroup && find . -path '*kubepods*' \\( {names} \\) -print0 | xargs -0 -r grep -s -H ''"
    )
    found = dict(line.split(":", 1) for line in text.splitlines())
    return {
        path: value
        for path, value in found.items()
        if "pod" not in path.replace("kubepods", "") or any(uid in path.replace("-", "_") for uid in uids)
    }


def container_id(pod: Json, name: str) -> str:
    """Return the id of a container of the pod without the runtime's prefix; LookupError if it has none."""
    status = pod.get("status", {})
    for group in ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses"):
        for entry in status.get(group, []):
            if entry["name"] == name and entry.get("containerID"):
                return str(entry["containerID"]).rpartition("/")[2]
    raise LookupError(f"container {name} of pod {pod['metadata']['name']} has no id yet")


def parse_list(text: str) -> frozenset[int]:
    """Read a kernel list ("0-3,8"); the empty text is the empty set."""
    members: set[int] = set()
    for part in filter(None, text.strip().split(",")):
        first, _, last = part.partition("-")
        members.update(range(int(first), int(last or first) + 1))
    return frozenset(members)


def render_list(members: Iterable[int]) -> str:
    """Write a set as a kernel list."""
    runs: list[list[int]] = []
    for member in sorted(members):
        if runs and member == runs[-1][1] + 1:
            runs[-1][1] = member
        else:
            runs.append([member, member])
    return ",".join(f"{first}-{last}" if last > first else f"{first}" for first, last in runs)


def _cgroup(path: str, files: Mapping[str, str]) -> Cgroup:
    return Cgroup(
        path=path,
        leaf=path,
        cpus=parse_list(files.get("cpuset.cpus", "")),
        effective_cpus=parse_list(files.get("cpuset.cpus.effective", "")),
        mems=parse_list(files.get("cpuset.mems", "")),
        effective_mems=parse_list(files.get("cpuset.mems.effective", "")),
        cpu_max=files.get("cpu.max", ""),
        memory_max=files.get("memory.max", ""),
    )
