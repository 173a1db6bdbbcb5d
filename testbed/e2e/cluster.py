"""A cluster as the end-to-end suite uses it: kubectl with a kubeconfig, one node, a shell on that node.

kubectl and not a client library, so that any kubeconfig works (exec plugins, proxies), and so that the
suite does what a person would type. Waiting is done by `kubectl wait` and by polling with a deadline.
"""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from testbed.e2e.observe import Shell, Snapshot, snapshot
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from testbed.api import Json

# Generous, for software emulation: what is awaited ends the wait, not the clock.
POD_SECONDS = 240
ENDED = ("Succeeded", "Failed")


class KubectlError(RuntimeError):
    """kubectl ended with a status other than 0; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """kubectl: the program. node: where the suite's pods go. shell: root on that node. image: a busybox."""

    kubectl: str
    kubeconfig: Path
    node: str
    shell: Shell
    image: str
    namespace: str = "default"

    def run(self, *args: str, stdin: str | None = None, timeout: float = POD_SECONDS) -> str:
        """Run kubectl and return its output; KubectlError with its words when it fails."""
        done = subprocess.run(
            [self.kubectl, f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}", *args],
            check=False,
            capture_output=True,
            text=True,
            input=stdin,
            timeout=timeout,
        )
        if done.returncode != 0:
            raise KubectlError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def apply(self, *manifests: Json) -> None:
        """Server-side apply manifests in one call."""
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(manifests)})
        self.run("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def get(self, kind: str, name: str) -> Json:
        """Return one object."""
        found: Json = json.loads(self.run("get", kind, name, "-o", "json"))
        return found

    def find(self, kind: str, name: str) -> Json | None:
        """Return one object or None."""
        text = self.run("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def start(self, pod: Json) -> None:
        """Create a pod on the suite's node and return once the scheduler has bound it there.

        So pods started one after the other are admitted by the node in this order.
        """
        spec = pod["spec"] | {"nodeSelector": {"kubernetes.io/hostname": self.node}}
        self.apply(pod | {"spec": spec})
        self.run(
            *(
                "wait",
                "pod",
                pod["metadata"]["name"],
                "--for=condition=PodScheduled",
                f"--timeout={POD_SECONDS}s",
            ),
            timeout=POD_SECONDS + 10,
        )

    def settled(self, name: str) -> Json:
        """Wait until a pod is ready or has ended (completed, refused) and return it."""

        def check() -> Json | None:
            pod = self.get("pod", name)
            return pod if pod["status"].get("phase") in ENDED or is_ready(pod) else None

        return until(check, f"pod {name} to be ready or ended", POD_SECONDS, 1)

    def delete(self, *names: str) -> None:
        """Delete pods and wait until they are gone."""
        if names:
            self.run(
                "delete",
                "pod",
                *names,
                "--ignore-not-found",
                f"--timeout={POD_SECONDS}s",
                timeout=POD_SECONDS + 10,
            )

    @contextmanager
    def running(self, *pods: Json) -> Iterator[list[Json]]:
        """Start pods in order, yield them once settled, delete them at the end."""
        names = [pod["metadata"]["name"] for pod in pods]
        try:
            for pod in pods:
                self.start(pod)
            yield [self.settled(name) for name in names]
        finally:
            self.delete(*names)

    def snapshot(self) -> Snapshot:
        """Read the cgroups of all pods of the node."""
        return snapshot(self.shell)

    def logs(self, pod: str, container: str) -> str:
        """Return what a container has printed."""
        return self.run("logs", pod, "-c", container)


def is_ready(pod: Json) -> bool:
    """Tell whether the pod's condition Ready is True."""
    conditions: Sequence[Json] = pod["status"].get("conditions", [])
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def containers_of(pod: Json) -> list[str]:
    """Return the names of the containers that run as long as the pod: sidecars and apps, in order."""
    spec = pod["spec"]
    sidecars = [entry for entry in spec.get("initContainers", []) if entry.get("restartPolicy") == "Always"]
    return [entry["name"] for entry in (*sidecars, *spec["containers"])]
