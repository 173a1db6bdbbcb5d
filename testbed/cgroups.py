"""Read what an agent wrote for each container, from nothing but the files of a node.

A container's folder is found by the container id in the PodAllocation's status, and the values are
those of the files. podnuma's own reader is not used: this module checks it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from podnuma.allocator import cpuset

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.api import Json


@dataclass(frozen=True, slots=True)
class Written:
    """The values in one control group. An empty set means that the file is empty."""

    pod: str
    container: str
    path: str
    cpus: frozenset[int]
    mems: frozenset[int]
    cpu_max: str

    @property
    def cpu_list(self) -> str:
        """The CPUs as the kernel lists them, "-" for none."""
        return cpuset.render(cpuset.of(self.cpus)) or "-"

    @property
    def mem_list(self) -> str:
        return cpuset.render(cpuset.of(self.mems)) or "-"


class NoGroupError(LookupError):
    """A container has no control group below the node's root."""


def read_group(cgroup_root: Path, group: Path, pod: str, container: str) -> Written:
    """Read one control group; absent files count as empty."""
    return Written(
        pod=pod,
        container=container,
        path=str(group.relative_to(cgroup_root)),
        cpus=_ids(group / "cpuset.cpus"),
        mems=_ids(group / "cpuset.mems"),
        cpu_max=_text(group / "cpu.max"),
    )


def containers_of(cgroup_root: Path, allocation: Json) -> dict[str, Written]:
    """Return container name -> values for every container in an allocation's status."""
    pod = allocation["metadata"]["name"]
    found = {}
    for entry in allocation.get("status", {}).get("containers", []):
        number = entry["containerID"].rpartition("/")[2]
        groups = [path for path in cgroup_root.rglob(f"*{number}*") if path.is_dir()]
        if len(groups) != 1:
            raise NoGroupError(
                f"container {entry['name']} of pod {pod}: {len(groups)} control groups for id {number} "
                f"below {cgroup_root}"
            )
        found[entry["name"]] = read_group(cgroup_root, groups[0], pod, entry["name"])
    return found


def pod_group(cgroup_root: Path, allocation: Json) -> Written:
    """Return the values of the pod's own control group."""
    name = allocation["metadata"]["name"]
    uid = allocation["spec"]["podUID"]
    spellings = {uid, uid.replace("-", "_")}
    for path in sorted(cgroup_root.rglob("*pod*")):
        if path.is_dir() and any(spelling in path.name for spelling in spellings):
            return read_group(cgroup_root, path, name, "(pod)")
    raise NoGroupError(f"pod {name}: no control group for UID {uid} below {cgroup_root}")


def _text(file: Path) -> str:
    return file.read_text().strip() if file.exists() else ""


def _ids(file: Path) -> frozenset[int]:
    return frozenset(cpuset.ids(cpuset.parse(_text(file))))
