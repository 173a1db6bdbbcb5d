"""An empty cluster with the demo's two machines, and how a shell finds it.

The nodes are kwok's but do not carry its label, so that the chart with its default values puts agents there.
"""

from __future__ import annotations

import os
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

from testbed import build
from testbed.control_plane import ControlPlane
from testbed.demo.story import NODES
from testbed.installation import FakeNode, Installation
from testbed.kwok import Kwok
from testbed.playground.pods import LEFT_ALONE, PodProcesses

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

PROGRAMS = (*build.CONTROL_PLANE, "kwok", "helm")


class Playground:
    """The cluster. Leaving the `with` block ends it, and all that runs in it."""

    def __init__(self) -> None:
        self.cluster = ControlPlane()
        self.nodes: Mapping[str, FakeNode] = {}
        self._helm = Path()
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._helm = build.ensure(PROGRAMS)["helm"]
        try:
            self._stack.enter_context(self.cluster)
            kwok = self._stack.enter_context(Kwok(self.cluster, leave_alone=LEFT_ALONE))
            machines = self._stack.enter_context(Installation(self.cluster))
            for name, (machine, _) in NODES.items():
                machines.add_node(kwok, name, machine, {"type": "playground"})
            self.nodes = machines.nodes
            self._stack.enter_context(PodProcesses(self.cluster, self.nodes))
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def environment(self) -> dict[str, str]:
        """Return the environment in which kubectl, helm and podnuma mean this cluster."""
        places = (self.cluster.tools["kubectl"].parent, self._helm.parent, Path(sys.executable).parent)
        path = os.pathsep.join([*map(str, places), os.environ.get("PATH", os.defpath)])
        kept = {key: value for key, value in os.environ.items() if key not in {"PYTHONPATH", "MAKEFLAGS"}}
        # helm has an own folder, so that nothing of the user's is changed.
        helm = {
            f"HELM_{kind}_HOME": str(self.cluster.folder / "helm" / kind.lower())
            for kind in ("CACHE", "CONFIG", "DATA")
        }
        return {**kept, **helm, "PATH": path, "KUBECONFIG": str(self.cluster.kubeconfig)}
