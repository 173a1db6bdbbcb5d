"""Which folder below the cgroup root is which pod's and which container's.

    driver    pod, Burstable                                                    container
    systemd   kubepods.slice/kubepods-burstable.slice/                          cri-containerd-<id>.scope
                kubepods-burstable-pod<uid, - as _>.slice                     <of the runtime>-<id>.scope
    cgroupfs  kubepods/burstable/pod<uid>                                       <id>, crio-<id>

Guaranteed pods lie directly below kubepods. Nested nodes (kind) and kubelets with a `cgroupRoot` put
everything below other folders: "kubelet.slice" with all units named "kubelet-kubepods...", or "kubelet"; one
that is two deep is "a.slice/a-b.slice" with "a-b-kubepods...", or "a/b". Which of these a node has is found
by looking for kubepods, never configured. A kubelet that got another driver or root leaves the former tree
behind, and its pods end there while others start in the new one. So the one in which most pods have processes
counts. What a runtime puts before the id in the name of a scope is its own choice. Conmon's scope beside a
CRI-O container is not a container.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path, PurePosixPath

from podnuma.agent.cgroups import files
from podnuma.agent.model.cgroup_ref import CgroupRef, ContainerCgroup, PodCgroup, QosCgroup
from podnuma.allocator.request import Qos

# Names come from the kubelet and the runtime; folders made by anyone else are ignored.
_UID = r"[0-9a-zA-Z][0-9a-zA-Z_.-]{0,127}"
_ID = r"[0-9a-zA-Z]{12,128}"
_CONTAINER = re.compile(
    rf"(?:(?!crio-conmon-)(?:[0-9a-zA-Z_]{{1,32}}-){{1,4}}(?P<scope>{_ID})\.scope|(?:crio-)?(?P<bare>{_ID}))"
)


# What a `cgroupRoot` has is few folders deep, and neither a unit with processes nor a container.
_DEEPEST = 4
_MAY_HAVE_KUBEPODS = re.compile(
    r"(?![0-9a-f]{64}$)(?!.*\.(?:service|scope|mount|socket|swap)$)[0-9a-zA-Z][0-9a-zA-Z_.-]{0,127}"
)


class CgroupDriver(Enum):
    """Who manages the cgroup tree; the kubelet and the runtime must agree on it."""

    SYSTEMD = "systemd"
    CGROUPFS = "cgroupfs"


@dataclass(frozen=True, slots=True)
class CgroupLayout:
    """Paths are relative to the cgroup root. `prefix` is the nesting: "", "kubelet" or, say, "a/b"."""

    driver: CgroupDriver
    prefix: str = ""

    @property
    def kubepods(self) -> PurePosixPath:
        name = f"{self._stem}.slice" if self.driver is CgroupDriver.SYSTEMD else "kubepods"
        return self._outer.joinpath(name)

    def qos(self, qos: Qos) -> PurePosixPath:
        """Return the folder whose children are the pods of a QoS class."""
        if qos is Qos.GUARANTEED:
            return self.kubepods
        if self.driver is CgroupDriver.SYSTEMD:
            return self.kubepods / f"{self._stem}-{qos.value.lower()}.slice"
        return self.kubepods / str(qos.value).lower()

    def pod(self, pod: PodCgroup) -> PurePosixPath:
        above = self.qos(pod.qos)
        if self.driver is CgroupDriver.CGROUPFS:
            return above / f"pod{pod.uid}"
        stem = above.name.removesuffix(".slice")
        return above / f"{stem}-pod{pod.uid.replace('-', '_')}.slice"

    def pod_of(self, name: str, qos: Qos) -> PodCgroup | None:
        """Return the pod that a folder below `qos` is for, or None if it is no pod's."""
        if self.driver is CgroupDriver.CGROUPFS:
            match = re.fullmatch(rf"pod({_UID})", name)
            return PodCgroup(match[1], qos) if match else None
        stem = self.qos(qos).name.removesuffix(".slice")
        match = re.fullmatch(rf"{re.escape(stem)}-pod({_UID})\.slice", name)
        return PodCgroup(match[1].replace("_", "-"), qos) if match else None

    def unit(self, cgroup: CgroupRef) -> str:
        """Return the systemd unit of a slice (systemd driver only)."""
        return self.folder(cgroup).name

    def folder(self, cgroup: CgroupRef) -> PurePosixPath:
        """Return the folder of a slice or pod, or the one that containerd makes for a container."""
        match cgroup:
            case QosCgroup(qos=qos):
                return self.qos(qos)
            case PodCgroup():
                return self.pod(cgroup)
            case ContainerCgroup(pod=pod, id=container_id):
                return self.pod(pod) / self.scope(container_id)

    def scope(self, container_id: str) -> str:
        """Return the folder name that containerd gives a container."""
        return f"cri-containerd-{container_id}.scope" if self.driver is CgroupDriver.SYSTEMD else container_id

    @property
    def _outer(self) -> PurePosixPath:
        parts = PurePosixPath(self.prefix).parts
        if self.driver is CgroupDriver.CGROUPFS:
            return PurePosixPath(*parts)
        return PurePosixPath(*(f"{'-'.join(parts[:depth])}.slice" for depth in range(1, len(parts) + 1)))

    @property
    def _stem(self) -> str:
        return "-".join((*PurePosixPath(self.prefix).parts, "kubepods"))


def container_of(name: str) -> str | None:
    """Return the container id in a folder name, or None if the folder is no container's."""
    match = _CONTAINER.fullmatch(name)
    return (match["scope"] or match["bare"]) if match else None


def detect(root: Path) -> CgroupLayout | None:
    """Return the layout of the tree below `root`; None if the kubelet has made no kubepods there yet."""
    found = list(_layouts(root))
    if len(found) < 2:  # noqa: PLR2004 - a choice
        return found[0] if found else None
    return max(
        found, key=lambda layout: (_inhabited_pods(root, layout), _is_inhabited(root / layout.kubepods))
    )


def _inhabited_pods(root: Path, layout: CgroupLayout) -> int:
    """Return how many pods have processes there."""
    return sum(
        _is_inhabited(root / layout.pod(pod))
        for qos in Qos
        for name in files.names_in(str(root / layout.qos(qos)))
        if (pod := layout.pod_of(name, qos)) is not None
    )


def _is_inhabited(folder: Path) -> bool:
    return "populated 1" in (files.content(f"{folder}/{files.EVENTS}") or "").splitlines()


def _layouts(root: Path) -> Iterator[CgroupLayout]:
    """Yield the layouts of all kubepods, those that are least deep first, slices before plain folders."""
    level = [PurePosixPath()]
    for _ in range(_DEEPEST):
        below = [folder / name for folder in level for name in _folders(root / folder)]
        level = []
        for folder in sorted(below, key=lambda path: (path.suffix != ".slice", path)):
            layout = _layout_at(folder)
            if layout is not None:
                yield layout
            elif _MAY_HAVE_KUBEPODS.fullmatch(folder.name):
                level.append(folder)


def _folders(folder: Path) -> list[str]:
    try:
        return [entry.name for entry in folder.iterdir() if entry.is_dir()]
    except OSError:
        return []


def _layout_at(folder: PurePosixPath) -> CgroupLayout | None:
    """Return the layout that has its kubepods in this folder, if one has."""
    if folder.name == "kubepods":
        return CgroupLayout(CgroupDriver.CGROUPFS, "/".join(folder.parent.parts))
    slices = [part.removesuffix(".slice") for part in folder.parts]
    prefix = slices[-1].removesuffix("kubepods").replace("-", "/").strip("/")
    layout = CgroupLayout(CgroupDriver.SYSTEMD, prefix)
    return layout if layout.kubepods == folder else None
