"""The kernel's side of all cgroups: what is written in them, and what the kernel made of it.

Reads files and writes none. A cgroup that is gone is left out: it just ended. Only what a plan needs is
read: the QoS slices, and the pods and containers that the caller names. Folders that were found and files
that were read stay at hand until a `sweep` finds that nobody asked for them since the one before.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from podnuma.agent.cgroups import files, partitions
from podnuma.agent.cgroups.kept_files import FileBudget, KeptFolder, is_folder
from podnuma.agent.cgroups.layout import CgroupDriver, CgroupLayout, container_of
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, QosCgroup
from podnuma.agent.model.cgroup_values import CgroupValues, KubepodsCpuset, narrower
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.request import Qos

_CRUN_LEAF = "container"
_SLICES = (QosCgroup(Qos.BURSTABLE), QosCgroup(Qos.BEST_EFFORT))


@dataclass(frozen=True, slots=True, eq=False)
class CgroupReader:
    """Reads below `root`, the mount point of cgroup v2. Used by one thread at a time."""

    root: Path
    layout: CgroupLayout
    _budget: FileBudget = field(default_factory=FileBudget)
    _kept: dict[CgroupRef | str, KeptFolder] = field(init=False, default_factory=dict)
    _pods: dict[Qos, dict[str, PodCgroup | None]] = field(init=False, default_factory=dict)
    _underscored: dict[str, str] = field(init=False, default_factory=dict)

    def everything(self) -> CpuSet | None:
        """Return the CPUs that kubepods may use, or those of the root where it has no cpuset yet."""
        return self.kubepods().cpus

    def kubepods(self) -> KubepodsCpuset:
        """Return what the cgroup of all pods has, or what the root has where that has no cpuset yet."""
        folder = self.layout.kubepods
        own, root = self._at(str(self.root / folder)), self._at(str(self.root))
        cpus, claimed = own.value(files.EFFECTIVE_CPUS), own.value(files.CLAIMED_CPUS)
        if cpus is not None and claimed is not None and claimed & ~cpus:
            cpus = CpuSet(cpus | partitions.below(own.path, claimed))
        return KubepodsCpuset(
            str(folder),
            cpus or root.value(files.EFFECTIVE_CPUS),
            own.value(files.EFFECTIVE_MEMS) or root.value(files.EFFECTIVE_MEMS),
        )

    def pods(self, qos: Qos) -> list[PodCgroup]:
        """Return the pods whose cgroups lie where those of a QoS class do."""
        try:
            with os.scandir(self.root / self.layout.qos(qos)) as entries:
                names = sorted(entry.name for entry in entries)
        except OSError:
            names = []
        known = self._pods.get(qos, {})
        found = {name: known[name] if name in known else self.layout.pod_of(name, qos) for name in names}
        self._pods[qos] = found
        there = [pod for pod in found.values() if pod is not None]
        return [self._named(pod) for pod in there] if self._underscored else there

    def expect(self, uids: Iterable[str]) -> None:
        """Take note of the pods that there may be.

        systemd's names write "-" as "_", so the name of a slice alone does not tell which of them a UID has.
        The API server's have no "_", but that of a static pod is whatever its manifest says.
        """
        self._underscored.clear()
        self._underscored.update({uid.replace("_", "-"): uid for uid in uids if "_" in uid})

    def _named(self, pod: PodCgroup) -> PodCgroup:
        uid = self._underscored.get(pod.uid)
        return pod if uid is None or self.layout.driver is CgroupDriver.CGROUPFS else PodCgroup(uid, pod.qos)

    def has_own_cpus(self, pod: PodCgroup) -> bool:
        """Tell whether a set is written in a pod's own cgroup."""
        kept = self._of(pod)
        return kept is not None and kept.value(files.CPUS) is not None

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
        kept = self._of(cgroup)
        return None if kept is None else Path(kept.path)

    def container(self, cgroup: ContainerCgroup) -> CgroupValues | None:
        """Return the values of one container; None if it has no cgroup."""
        kept = self._of(cgroup)
        return None if kept is None else self._values(kept)

    def text(self, cgroup: CgroupRef, name: str) -> str | None:
        """Return the text of a file of a cgroup; None if it cannot be read."""
        kept = self._of(cgroup)
        return None if kept is None else kept.text(name)

    def populated(self, cgroup: CgroupRef) -> bool | None:
        """Tell whether a cgroup, or one below it, has processes; None where the kernel does not say."""
        kept = self._of(cgroup)
        if kept is None:
            return False
        text = files.content(f"{kept.path}/{files.EVENTS}") or ""
        match = re.search(r"^populated ([01])$", text, re.MULTILINE)
        return None if match is None else match[1] == "1"

    def read(
        self, pods: Iterable[PodCgroup], containers: Iterable[ContainerCgroup]
    ) -> dict[CgroupRef, CgroupValues]:
        """Return the values of everything that exists: both QoS slices and what is named."""
        return dict(self.read_each(pods, containers))

    def read_each(
        self, pods: Iterable[PodCgroup], containers: Iterable[ContainerCgroup]
    ) -> Iterator[tuple[CgroupRef, CgroupValues]]:
        """Yield what `read` returns, one cgroup after the other; others may read in between."""
        named: tuple[CgroupRef, ...] = (*_SLICES, *pods, *containers)
        for cgroup in named:
            kept = self._of(cgroup)
            values = None if kept is None else self._values(kept)
            if values is not None:
                yield cgroup, values

    def leaf(self, cgroup: ContainerCgroup) -> tuple[Path, CgroupValues] | None:
        """Return the group that crun makes in a container, and its values; None without one."""
        folder = self.folder(cgroup)
        path = None if folder is None else folder / _CRUN_LEAF
        values = None if path is None or not path.is_dir() else self.at(path)
        return None if path is None or values is None else (path, values)

    def at(self, folder: Path) -> CgroupValues | None:
        """Return the values of the cgroup in a folder; None if it does not exist."""
        kept = self._at(str(folder))
        return self._values(kept) if kept.exists() else None

    def sweep(self) -> None:
        """Close what was not asked for since the last sweep."""
        for key, kept in tuple(self._kept.items()):
            if kept.used:
                kept.used = False
            else:
                kept.close()
                del self._kept[key]

    def _of(self, cgroup: CgroupRef) -> KeptFolder | None:
        kept = self._kept.get(cgroup)
        if kept is not None and not kept.exists():
            kept.close()
            del self._kept[cgroup]
            kept = None
        if kept is None:
            path = self._find(cgroup)
            if path is None or not is_folder(path):
                return None
            kept = self._kept[cgroup] = KeptFolder(path, self._budget)
        kept.used = True
        return kept

    def _find(self, cgroup: CgroupRef) -> str | None:
        if not isinstance(cgroup, ContainerCgroup):
            return str(self.root / self.layout.folder(cgroup))
        folder = self.containers(cgroup.pod).get(cgroup.id)
        return None if folder is None else str(folder)

    def _at(self, path: str) -> KeptFolder:
        kept = self._kept.get(path)
        if kept is None:
            kept = self._kept[path] = KeptFolder(path, self._budget)
        elif not kept.exists():
            kept.close()
        kept.used = True
        return kept

    def _leaf(self, own: KeptFolder) -> KeptFolder:
        leaf = f"{own.path}/{_CRUN_LEAF}"
        kept = self._kept.get(leaf)
        there = is_folder(leaf) if kept is None else kept.exists()
        return self._at(leaf) if there else own

    def _values(self, own: KeptFolder) -> CgroupValues | None:
        """Return the values of one cgroup, effective where its processes live; None if it is just going."""
        effective = self._leaf(own)
        effective_cpus = effective.value(files.EFFECTIVE_CPUS)
        if effective_cpus is None and (
            not is_folder(own.path) or effective.text(files.EFFECTIVE_CPUS.name) == ""
        ):
            return None  # no cgroup is without CPUs
        cpus = own.value(files.CPUS)
        if cpus is not None and effective_cpus is not None and (missing := CpuSet(cpus & ~effective_cpus)):
            effective_cpus = CpuSet(effective_cpus | partitions.below(own.path, missing))
        cpu_max = own.value(files.MAX)
        if effective is not own:
            cpu_max = narrower(cpu_max, effective.value(files.MAX))
        limited = cpu_max is not None and cpu_max.quota is not None
        return CgroupValues(
            cpus=cpus,
            mems=own.value(files.MEMS),
            cpu_max=cpu_max,
            effective_cpus=effective_cpus,
            effective_mems=effective.value(files.EFFECTIVE_MEMS),
            resident=own.value(files.RESIDENT) or 0,
            throttled_percent=self._throttled(own, effective) if limited else None,
        )

    @staticmethod
    def _throttled(own: KeptFolder, leaf: KeptFolder) -> int | None:
        counted = (folder.value(files.THROTTLED_PERCENT) for folder in (own, leaf))
        return max((percent for percent in counted if percent is not None), default=None)
