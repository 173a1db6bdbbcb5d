"""Gives pods their huge page limits back, which a kubelet voids at a resize.

Kubelets up to v1.37.2 set the `hugetlb.*.max` of a pod's cgroup to 0 at any resize in place, whatever is
resized (kubernetes/kubernetes#141991): from then on no process of the pod gets another huge page. Containers
keep their own limits, so nothing has to be remembered: a pod whose limit is 0 gets what its containers have
together. A limit above 0 is never touched, nor is that of a pod whose containers have none.

Written to the file whatever manages the other cgroups: systemd has no property for it.
"""

import logging
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from podnuma.agent.cgroups import files
from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.model.cgroup_ref import PodCgroup, describe

logger = logging.getLogger(__name__)

_LIMIT = re.compile(r"hugetlb\.[0-9]{1,9}[KMG]B(\.rsvd)?\.max")


@dataclass(frozen=True, slots=True)
class HugetlbLimits:
    """Looks at the pods it is given below the root of `reader`, and writes where a limit is voided."""

    reader: CgroupReader

    def restore(self, pods: Iterable[PodCgroup]) -> list[PodCgroup]:
        """Give limits back; return the pods that got one."""
        limits = self._limits()
        return [pod for pod in pods if limits and self._restore(pod, limits)]

    def _limits(self) -> list[str]:
        """Return the names of the files; a controller that pods have, kubepods has."""
        try:
            with os.scandir(self.reader.root / self.reader.layout.kubepods) as entries:
                return sorted(entry.name for entry in entries if _LIMIT.fullmatch(entry.name))
        except OSError:
            return []

    def _restore(self, pod: PodCgroup, limits: Iterable[str]) -> bool:
        voided = [name for name in limits if self.reader.text(pod, name) == "0"]
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


def _write(path: Path, wanted: int, pod: PodCgroup) -> bool:
    try:
        path.write_text(f"{wanted}\n", encoding="ascii")
    except OSError as error:
        logger.warning("%s: %s could not be set to %d again: %s", describe(pod), path.name, wanted, error)
        return False
    logger.warning("%s: %s was 0 and is %d again, as its containers have", describe(pod), path.name, wanted)
    return True
