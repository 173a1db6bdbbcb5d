"""Gives pods their huge page limits back, which a kubelet voids at a resize.

Kubelets up to v1.37.2 set the `hugetlb.*.max` of a pod's cgroup to 0 at any resize in place, whatever is
resized (kubernetes/kubernetes#141991): from then on no process of the pod gets another huge page. Containers
keep their own limits, so nothing has to be remembered: a pod whose limit is 0 gets what its containers have
together. A limit above 0 is never touched, nor is that of a pod whose containers have none.

Written to the file whatever manages the other cgroups: systemd has no property for it.
"""

import logging
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from podnuma.agent.cgroups import files
from podnuma.agent.cgroups.kept_files import FileGroup
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.model.cgroup_ref import PodCgroup, describe

logger = logging.getLogger(__name__)

_LIMIT = re.compile(r"hugetlb\.[0-9]{1,9}[KMG]B(\.rsvd)?\.max")


@dataclass(slots=True)
class HugetlbLimits:
    """Looks at the pods it is given below the root of `reader`, and writes where a limit is voided."""

    reader: CgroupReader
    _names: list[str] = field(init=False, default_factory=list)
    _limits: FileGroup[list[str]] = field(init=False, default_factory=lambda: _voided([]))

    def restore(self, pods: Iterable[PodCgroup]) -> list[PodCgroup]:
        """Give limits back; return the pods that got one."""
        self._find_limits()
        return [pod for pod in pods if self._names and self._restore(pod)]

    def _find_limits(self) -> None:
        """Find the names of the files; a controller that pods have, kubepods has."""
        below = files.names_in(self.reader.kubepods_folder)
        names = [name for name in below if name.startswith("hugetlb") and _LIMIT.fullmatch(name)]
        if names != self._names:
            self._names, self._limits = names, _voided(names)

    def _restore(self, pod: PodCgroup) -> bool:
        voided = self.reader.made(pod, self._limits)
        if not voided:
            return False
        folder = self.reader.root / self.reader.layout.pod(pod)
        containers = list(self.reader.containers(pod).values())
        restored = False
        for name in voided:
            wanted = sum(files.number(f"{container}/{name}") or 0 for container in containers)
            if wanted:
                restored = _write(folder / name, wanted, pod) or restored
        return restored


def _voided(names: Sequence[str]) -> FileGroup[list[str]]:
    """Return the files with these names, of which is made which of them say 0."""
    limits = [files.File(name, str, str) for name in names]
    return FileGroup(limits, lambda *said: [name for name in names if said[names.index(name)] == "0"])


def _write(path: Path, wanted: int, pod: PodCgroup) -> bool:
    try:
        path.write_text(f"{wanted}\n", encoding="ascii")
    except OSError as error:
        logger.warning("%s: %s could not be set to %d again: %s", describe(pod), path.name, wanted, error)
        return False
    logger.warning("%s: %s was 0; restored to %d, as its containers have", describe(pod), path.name, wanted)
    return True
