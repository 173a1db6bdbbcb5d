"""The kernel's side of all cgroups: what is written in them, and what the kernel made of it.

Reads files and writes none. A cgroup that is gone is left out: it just ended. Only what a plan needs is
read: the QoS slices, and the pods and containers that the caller names.
"""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from podnuma.agent.cgroups import files
from podnuma.agent.cgroups.layout import CgroupLayout, container_of
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, QosCgroup
from podnuma.agent.model.cgroup_values import CgroupValues
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.request import Qos

T = TypeVar("T")

_CRUN_LEAF = "container"


@dataclass(frozen=True, slots=True)
class CgroupReader:
    """Reads below `root`, the mount point of cgroup v2."""

    root: Path
    layout: CgroupLayout

    def everything(self) -> CpuSet | None:
        """Return the CPUs that kubepods may use, or those of the root where it has no cpuset yet."""
        for folder in (self.root / self.layout.kubepods, self.root):
            cpus = _value(str(folder), files.EFFECTIVE_CPUS)
            if cpus is not None:
                return cpus
        return None

    def pods(self, qos: Qos) -> list[PodCgroup]:
        """Return the pods whose cgroups lie where those of a QoS class do."""
        try:
            with os.scandir(self.root / self.layout.qos(qos)) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError:
            return []
        found = (self.layout.pod_of(name, qos) for name in names)
        return [pod for pod in found if pod is not None]

    def has_own_cpus(self, pod: PodCgroup) -> bool:
        """Tell whether a set is written in a pod's own cgroup."""
        return _value(str(self.root / self.layout.pod(pod)), files.CPUS) is not None

    def containers(self, pod: PodCgroup) -> dict[str, Path]:
        """Return the folders of a pod's containers by the runtime's id; the sandbox is one of them."""
        folder = self.root / self.layout.pod(pod)
        try:
            with os.scandir(folder) as entries:
                names = [entry.name for entry in entries if entry.is_dir()]
        except OSError:
            return {}
        named = ((container_of(name), name) for name in names)
        return {container_id: folder / name for container_id, name in named if container_id is not None}

    def folder(self, cgroup: ContainerCgroup) -> Path | None:
        """Return the folder of a container, whatever the runtime calls it; None if it is gone."""
        return self.containers(cgroup.pod).get(cgroup.id)

    def container(self, cgroup: ContainerCgroup) -> CgroupValues | None:
        """Return the values of one container; None if it has no cgroup."""
        folder = self.folder(cgroup)
        return None if folder is None else values_in(folder)

    def populated(self, cgroup: CgroupRef) -> bool | None:
        """Tell whether a cgroup, or one below it, has processes; None where the kernel does not say."""
        folder: Path | None = self.root / self.layout.folder(cgroup)
        if isinstance(cgroup, ContainerCgroup):
            folder = self.folder(cgroup)
        if folder is None or not folder.is_dir():
            return False
        text = files.content(f"{folder}/{files.EVENTS}") or ""
        match = re.search(r"^populated ([01])$", text, re.MULTILINE)
        return None if match is None else match[1] == "1"

    def read(
        self, pods: Iterable[PodCgroup], containers: Iterable[ContainerCgroup]
    ) -> dict[CgroupRef, CgroupValues]:
        """Return the values of everything that exists: both QoS slices and what is named."""
        wanted = list(containers)
        seen: dict[CgroupRef, CgroupValues] = {}
        slices: tuple[CgroupRef, ...] = (QosCgroup(Qos.BURSTABLE), QosCgroup(Qos.BEST_EFFORT))
        for above in (*slices, *pods):
            values = values_in(self.root.joinpath(self.layout.folder(above)))
            if values is not None:
                seen[above] = values
        folders = {pod: self.containers(pod) for pod in {cgroup.pod for cgroup in wanted}}
        for cgroup in wanted:
            folder = folders[cgroup.pod].get(cgroup.id)
            values = None if folder is None else values_in(folder)
            if values is not None:
                seen[cgroup] = values
        return seen


def values_in(folder: Path) -> CgroupValues | None:
    """Return the values of one cgroup, effective where its processes live; None if it does not exist."""
    if not folder.is_dir():
        return None
    own = str(folder)
    leaf = f"{own}/{_CRUN_LEAF}"
    effective = leaf if Path(leaf).is_dir() else own
    if files.content(f"{effective}/{files.EFFECTIVE_CPUS.name}") == "":
        return None  # no cgroup is without CPUs; this one is just being removed
    cpu_max = _value(own, files.MAX)
    limited = cpu_max is not None and cpu_max.quota is not None
    return CgroupValues(
        cpus=_value(own, files.CPUS),
        mems=_value(own, files.MEMS),
        cpu_max=cpu_max,
        effective_cpus=_value(effective, files.EFFECTIVE_CPUS),
        effective_mems=_value(effective, files.EFFECTIVE_MEMS),
        resident=_value(own, files.RESIDENT) or 0,
        throttled_percent=_value(own, files.THROTTLED_PERCENT) if limited else None,
    )


def _value(folder: str, file: files.File[T]) -> T | None:
    text = files.content(f"{folder}/{file.name}")
    try:
        return None if text is None else file.parse(text)
    except ValueError:
        return None
