"""Which folder below the cgroup root is which pod's and which container's.

    driver    pod, Burstable                                                    container
    systemd   kubepods.slice/kubepods-burstable.slice/                          cri-containerd-<id>.scope
                kubepods-burstable-pod<uid, - as _>.slice                     crio-<id>.scope
    cgroupfs  kubepods/burstable/pod<uid>                                       <id>, crio-<id>

Guaranteed pods lie directly below kubepods. Nested nodes (kind) and kubelets with a `cgroupRoot` put
everything below another folder, "kubelet.slice" with all units named "kubelet-kubepods...", or "kubelet".
Which of these a node has is found by looking for kubepods, never configured. A kubelet that got another
driver or root leaves the former tree behind, so the one with processes in it counts. Conmon's scope beside a
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
    rf"(?:(?:cri-containerd|crio|docker|podnuma)-(?P<scope>{_ID})\.scope|(?:crio-)?(?P<bare>{_ID}))"
)


class CgroupDriver(Enum):
    """Who manages the cgroup tree; the kubelet and the runtime must agree on it."""

    SYSTEMD = "systemd"
    CGROUPFS = "cgroupfs"


@dataclass(frozen=True, slots=True)
class CgroupLayout:
    """Paths are relative to the cgroup root. `prefix` is the nesting: "" or, say, "kubelet"."""

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
        if not self.prefix:
            return PurePosixPath()
        return PurePosixPath(f"{self.prefix}.slice" if self.driver is CgroupDriver.SYSTEMD else self.prefix)

    @property
    def _stem(self) -> str:
        return f"{self.prefix}-kubepods" if self.prefix else "kubepods"


def container_of(name: str) -> str | None:
    """Return the container id in a folder name, or None if the folder is no container's."""
    match = _CONTAINER.fullmatch(name)
    return (match["scope"] or match["bare"]) if match else None


def detect(root: Path) -> CgroupLayout | None:
    """Return the layout of the tree below `root`; None if the kubelet has made no kubepods there yet."""
    found = [layout for layout in _candidates(root) if (root / layout.kubepods).is_dir()]
    inhabited = (layout for layout in found if _is_inhabited(root / layout.kubepods))
    return next(inhabited, found[0] if found else None)


def _is_inhabited(folder: Path) -> bool:
    return "populated 1" in (files.content(f"{folder}/{files.EVENTS}") or "").splitlines()


def _candidates(root: Path) -> Iterator[CgroupLayout]:
    for prefix in ("", *_nested(root)):
        for driver in CgroupDriver:
            yield CgroupLayout(driver, prefix)


def _nested(root: Path) -> list[str]:
    # One level is what kind does, and what a `cgroupRoot` usually has.
    try:
        names = sorted(entry.name for entry in root.iterdir() if entry.is_dir())
    except OSError:
        return []
    stems = {name.removesuffix(".slice") for name in names}
    return sorted(
        stem
        for stem in stems
        if re.fullmatch(r"[0-9a-zA-Z][0-9a-zA-Z_.-]{0,62}", stem) and stem != "kubepods"
    )
