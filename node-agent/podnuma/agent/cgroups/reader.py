"""The kernel's side of all cgroups: what is written in them, and what the kernel made of it.

Reads files and writes none. A cgroup that is gone is left out: it just ended. Where descriptors or memory are
wanting nothing is known of any, and what is asked raises OSError. Only what a plan needs is read: the QoS
slices, and the pods and containers that the caller names. Folders that were found and files that were read
stay at hand until a `sweep` finds that nobody asked for them since the one before.
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from podnuma.agent.cgroups import files, partitions
from podnuma.agent.cgroups.kept_files import FileBudget, FileGroup, KeptFolder, is_there
from podnuma.agent.cgroups.layout import CgroupDriver, CgroupLayout, container_of
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, QosCgroup
from podnuma.agent.model.cgroup_values import CgroupValues, KubepodsCpuset, narrower
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.request import Qos

T = TypeVar("T")

_CRUN_LEAF = "container"
_VALUES = (files.CPUS, files.MEMS, files.MAX, files.EFFECTIVE_CPUS, files.EFFECTIVE_MEMS)
_OF_CONTAINER = FileGroup((*_VALUES, files.MAIN_PROCESS), CgroupValues)
_OF_OTHERS = FileGroup(_VALUES, CgroupValues)  # the processes of a pod's cgroup are its containers'
_SLICES = (QosCgroup(Qos.BURSTABLE), QosCgroup(Qos.BEST_EFFORT))


@dataclass(slots=True, eq=False)
class CgroupReader:
    """Reads below `root`, the mount point of cgroup v2. Used by one thread at a time."""

    root: Path
    layout: CgroupLayout
    _budget: FileBudget = field(default_factory=FileBudget)
    _kept: dict[CgroupRef | str, KeptFolder] = field(init=False, default_factory=dict)
    _pods: dict[Qos, dict[str, PodCgroup | None]] = field(init=False, default_factory=dict)
    _underscored: dict[str, str] = field(init=False, default_factory=dict)
    kubepods_folder: str = field(init=False)
    _above: dict[Qos, str] = field(init=False)

    def __post_init__(self) -> None:
        self.kubepods_folder = str(self.root / self.layout.kubepods)
        self._above = {qos: str(self.root / self.layout.qos(qos)) for qos in Qos}

    def everything(self) -> CpuSet | None:
        """Return the CPUs that kubepods may use, or those of the root where it has no cpuset yet."""
        return self.kubepods().cpus

    def kubepods(self) -> KubepodsCpuset:
        """Return what the cgroup of all pods has, or what the root has where that has no cpuset yet."""
        own = self._at(self.kubepods_folder)
        cpus, memory = own.value(files.EFFECTIVE_CPUS), own.value(files.EFFECTIVE_MEMS)
        claimed = own.value(files.CLAIMED_CPUS)
        if cpus is not None and claimed is not None and claimed & ~cpus:
            cpus = CpuSet(cpus | partitions.below(own.path, claimed))
        if not cpus or not memory:
            root = self._at(str(self.root))
            cpus = cpus or root.value(files.EFFECTIVE_CPUS)
            memory = memory or root.value(files.EFFECTIVE_MEMS)
        return KubepodsCpuset(str(self.layout.kubepods), cpus, memory)

    def pods(self, qos: Qos) -> list[PodCgroup]:
        """Return the pods whose cgroups lie where those of a QoS class do."""
        names = files.names_in(self._above[qos])
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
        named = ((container_of(name), name) for name in files.folders_in(folder))
        return {container_id: folder / name for container_id, name in named if container_id is not None}

    def container_ids(self) -> set[str]:
        """Return the runtime's ids of all containers of all pods; sandboxes are among them."""
        return {each for qos in Qos for pod in self.pods(qos) for each in self.containers(pod)}

    def folder(self, cgroup: ContainerCgroup) -> Path | None:
        """Return the folder of a container, whatever the runtime calls it; None if it is gone."""
        kept = self._of(cgroup)
        return None if kept is None else Path(kept.path)

    def container(self, cgroup: ContainerCgroup) -> CgroupValues | None:
        """Return the values of one container; None if it has no cgroup."""
        return self._values_of(cgroup)

    def made(self, cgroup: CgroupRef, group: FileGroup[T]) -> T | None:
        """Return what is made of files of a cgroup; None if it is gone."""
        kept = self._of(cgroup)
        return None if kept is None else kept.made(group)

    def populated(self, cgroup: CgroupRef) -> bool | None:
        """Tell whether a cgroup, or one below it, has processes; None where the kernel does not say."""
        kept = self._of(cgroup)
        if kept is None:
            return False
        text = files.content(f"{kept.path}/{files.EVENTS}") or ""
        match = re.search(r"^populated ([01])$", text, re.MULTILINE)
        return None if match is None else match[1] == "1"

    def has_process(self, pod: PodCgroup, pid: int) -> bool:
        """Tell whether a process is in the cgroup of a pod, or in one below it."""
        folders = [f"{self.root}/{self.layout.pod(pod)}"]
        while folders:
            folder = folders.pop()
            if str(pid) in (files.content(f"{folder}/{files.MAIN_PROCESS.name}") or "").split():
                return True
            folders += [f"{folder}/{name}" for name in files.folders_in(folder)]
        return False

    def resident(self, cgroup: CgroupRef) -> int:
        """Return the memory of a cgroup in bytes."""
        kept = self._of(cgroup)
        return 0 if kept is None else kept.value(files.RESIDENT) or 0

    def throttled_percent(self, cgroup: ContainerCgroup) -> int | None:
        """Return in how many of its periods its quota held a container back; None: it has no quota."""
        own = self._of(cgroup)
        if own is None:
            return None
        folders = dict.fromkeys((own, self._leaf(own)))
        quotas = [folder.value(files.MAX) for folder in folders]
        if all(quota is None or quota.quota is None for quota in quotas):
            return None
        counted = (folder.value(files.THROTTLED_PERCENT) for folder in folders)
        return max((percent for percent in counted if percent is not None), default=None)

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
            values = self._values_of(cgroup)
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
        return self._values(kept, self._leaf(kept), _OF_OTHERS) if kept.exists() else None

    def sweep(self) -> None:
        """Close what was not asked for since the last sweep."""
        for key, kept in tuple(self._kept.items()):
            if kept.used:
                kept.used = False
            else:
                kept.close()
                del self._kept[key]

    def close(self) -> None:
        """Close all files that are kept open."""
        for kept in self._kept.values():
            kept.close()
        self._kept.clear()

    def _of(self, cgroup: CgroupRef) -> KeptFolder | None:
        kept = self._kept.get(cgroup)
        if kept is not None and not kept.exists():
            kept.close()
            del self._kept[cgroup]
            kept = None
        if kept is None:
            path = self._find(cgroup)
            if path is None or not is_there(path):
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
        """Return where the processes of a container are: in it, or in the group that crun makes in it."""
        leaf = f"{own.path}/{_CRUN_LEAF}"
        kept = self._kept.get(leaf)
        there = is_there(leaf) if kept is None else kept.exists()
        return self._at(leaf) if there else own

    def _values_of(self, cgroup: CgroupRef) -> CgroupValues | None:
        own = self._of(cgroup)
        if own is None:
            return None
        if isinstance(cgroup, ContainerCgroup):
            return self._values(own, self._leaf(own), _OF_CONTAINER)
        return self._values(own, own, _OF_OTHERS)

    @staticmethod
    def _values(own: KeptFolder, leaf: KeptFolder, group: FileGroup[CgroupValues]) -> CgroupValues | None:
        """Return the values of one cgroup, effective where its processes live; None if it is just going."""
        values = own.made(group)
        if leaf is not own:
            inner = leaf.made(group)
            values = CgroupValues(
                values.cpus,
                values.mems,
                narrower(values.cpu_max, inner.cpu_max),
                inner.effective_cpus,
                inner.effective_mems,
                inner.main_process or values.main_process,
            )
        if values.effective_cpus is None and (
            not is_there(own.path) or leaf.text(files.EFFECTIVE_CPUS.name) == ""
        ):
            return None  # no cgroup is without CPUs
        there = values.effective_cpus
        if values.cpus is not None and there is not None and (missing := CpuSet(values.cpus & ~there)):
            values = replace(values, effective_cpus=CpuSet(there | partitions.below(own.path, missing)))
        return values
