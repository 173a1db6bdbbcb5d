"""Nodes without machines: kwok keeps them Ready and makes the pods bound to them Running.

kwok manages only nodes with the annotation `kwok.x-k8s.io/node: fake`, so a control plane may have
other nodes too. The stages (how a pod becomes ready, completes, goes) are read from
the kwok module itself.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Self, TextIO

import yaml

from testbed import build
from testbed.processes import Process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path
    from types import TracebackType

    from testbed.api import Json
    from testbed.control_plane import ControlPlane

MARK = {"kwok.x-k8s.io/node": "fake"}
UNMARKED: dict[str, str] = {}
"""Annotations of a node whose kubelet a test plays itself: a kwok of others stays out of it."""
PODS_PER_NODE = 110


def node_manifest(
    name: str,
    *,
    cpus: int,
    memory: int,
    labels: Mapping[str, str] | None = None,
    extra: Mapping[str, str] | None = None,
    taints: list[Json] | None = None,
) -> Json:
    """Return a Node for kwok with `cpus` CPUs and `memory` bytes; `extra` adds resources like hugepages-2Mi.

    Capacity and allocatable are equal: nothing of a fake machine is used by its system.
    """
    amounts = {
        "cpu": str(cpus),
        "memory": f"{memory // 1024}Ki",
        "pods": str(PODS_PER_NODE),
        **(extra or {}),
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": dict(MARK),
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "type": "kwok",
                **(labels or {}),
            },
        },
        "spec": {"taints": taints} if taints else {},
        "status": {
            "capacity": amounts,
            "allocatable": amounts,
            "nodeInfo": {
                "architecture": "amd64",
                "operatingSystem": "linux",
                "kubeletVersion": "fake",
                "bootID": "",
                "containerRuntimeVersion": "",
                "kernelVersion": "",
                "kubeProxyVersion": "fake",
                "machineID": "",
                "osImage": "",
                "systemUUID": "",
            },
        },
    }


class Kwok:
    """A kwok process beside a control plane, as a context manager.

    `leave_alone`: a label, key and value, of pods that somebody else runs.
    """

    def __init__(
        self,
        control_plane: ControlPlane,
        out: TextIO = sys.stderr,
        *,
        leave_alone: tuple[str, str] | None = None,
    ) -> None:
        self._control_plane = control_plane
        self._out = out
        self._leave_alone = leave_alone

    def __enter__(self) -> Self:
        self.start()
        return self

    def restart(self) -> None:
        """Restart: after an outage of the API server kwok would wait for up to a minute."""
        self.process.kill()
        self.start()

    def start(self) -> None:
        """Start the process; leaving the `with` block ends it."""
        program = build.ensure(["kwok"], self._out)["kwok"]
        ((key, value),) = MARK.items()
        self.process = Process(
            "kwok",
            [
                str(program),
                f"--kubeconfig={self._control_plane.kubeconfig}",
                f"--config={self._stages()}",
                f"--manage-nodes-with-annotation-selector={key}={value}",
            ],
            self._control_plane.folder / "kwok.log",
            # kwok would read the configuration in the user's home folder.
            env={"HOME": os.fspath(self._control_plane.folder)},
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()

    def _stages(self) -> Path:
        shipped = build.kwok_stages_path()
        if self._leave_alone is None:
            return shipped
        key, value = self._leave_alone
        others = {"key": f'.metadata.labels["{key}"]', "operator": "NotIn", "values": [value]}
        stages = list(yaml.safe_load_all(shipped.read_text()))
        for stage in stages:
            if stage["spec"]["resourceRef"]["kind"] == "Pod":
                stage["spec"].setdefault("selector", {}).setdefault("matchExpressions", []).append(others)
        path = self._control_plane.folder / "kwok-stages.yaml"
        path.write_text(yaml.safe_dump_all(stages))
        return path

    def add_node(
        self,
        name: str,
        *,
        cpus: int,
        memory: int,
        labels: Mapping[str, str] | None = None,
        extra: Mapping[str, str] | None = None,
        timeout: float = 30,
    ) -> Json:
        """Create a node, wait until it is Ready and return it."""
        manifest = node_manifest(name, cpus=cpus, memory=memory, labels=labels, extra=extra)
        self._control_plane.api.create(manifest)
        self.process.check()
        return self._control_plane.api.wait_for(
            "/api/v1/nodes",
            is_ready,
            f"node {name} to be Ready",
            timeout=timeout,
            fieldSelector=f"metadata.name={name}",
        )


def is_ready(node: Json) -> bool:
    """Return whether a node is Ready and has no not-ready taint."""
    conditions = node.get("status", {}).get("conditions", [])
    taints = node.get("spec", {}).get("taints", [])
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions) and not any(
        taint["key"] == "node.kubernetes.io/not-ready" for taint in taints
    )
