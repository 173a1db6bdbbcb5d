"""A cluster as the end-to-end suite uses it: kubectl with a kubeconfig, one node, a shell on that node.

kubectl and not a client library, so that any kubeconfig works (exec plugins, proxies), and so that the
suite does what a person would type. Waiting for an object is watching it (`awaited`): a kubectl per look
would take from an emulated machine what it needs to get there.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from testbed.e2e.observe import Shell, Snapshot, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from pathlib import Path

    from testbed.api import Json

Value = TypeVar("Value")

# Generous, for software emulation: what is awaited ends the wait, not the clock.
POD_SECONDS = 240
MORE_SECONDS = 20  # for each pod that starts at the same time
SCHEDULED_SECONDS = 30
WATCH_SECONDS = 20
ENDED = ("Succeeded", "Failed")


class KubectlError(RuntimeError):
    """kubectl ended with a status other than 0; the text is what it said."""


@dataclass(frozen=True, slots=True)
class Cluster:
    """Everything the scenarios use.

    kubectl: the program. node: where the suite's pods go. shell: root on that node. image: busybox with
    the suite's probe. probe: that program as a path on the node. web: returns what a URL of the pod
    network serves.
    """

    kubectl: str
    kubeconfig: Path
    node: str
    shell: Shell
    image: str
    probe: str
    web: Callable[[str], str]
    namespace: str = "default"

    def run(self, *args: str, stdin: str | None = None, timeout: float = POD_SECONDS) -> str:
        """Run kubectl and return its output; KubectlError with its words when it fails."""
        return self.run_anywhere(f"--namespace={self.namespace}", *args, stdin=stdin, timeout=timeout)

    def run_anywhere(self, *args: str, stdin: str | None = None, timeout: float = POD_SECONDS) -> str:
        """Run kubectl without the suite's namespace."""
        done = subprocess.run(
            [self.kubectl, f"--kubeconfig={self.kubeconfig}", *args],
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
        """Server-side apply manifests in one call; those without a namespace go to the suite's."""
        items = [
            manifest | {"metadata": {"namespace": self.namespace} | manifest["metadata"]}
            if manifest["kind"] == "Pod"
            else manifest
            for manifest in manifests
        ]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": items})
        self.run_anywhere("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=text)

    def get(self, kind: str, name: str) -> Json:
        """Return one object."""
        found: Json = json.loads(self.run("get", kind, name, "-o", "json"))
        return found

    def find(self, kind: str, name: str) -> Json | None:
        """Return one object or None."""
        text = self.run("get", kind, name, "-o", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def awaited(
        self, kind: str, name: str, check: Callable[[Json | None], Value | None], what: str, seconds: float
    ) -> Value:
        """Watch an object until `check` returns something true of it and return that.

        `check` gets None when there is no such object. TimeoutError names `what`.
        """
        deadline = time.monotonic() + seconds
        while True:
            # A look between watches: what was gone before a watch began is never told.
            found = check(self.find(kind, name))
            if found:
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"waited {seconds:g} s for {what}")
            for now in self._changes(kind, name, min(left, WATCH_SECONDS)):
                found = check(now)
                if found:
                    return found

    def _changes(self, kind: str, name: str, seconds: float) -> Iterator[Json | None]:
        """Yield what an object becomes, None when it goes, for some time."""
        argv = [
            *(self.kubectl, f"--kubeconfig={self.kubeconfig}", f"--namespace={self.namespace}"),
            *("get", kind, f"--field-selector=metadata.name={name}", "-o", "json"),
            *("--watch", "--output-watch-events"),
        ]
        with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as watching:
            timer = threading.Timer(seconds, watching.kill)
            timer.start()
            try:
                for event in _documents(watching.stdout or ()):
                    yield None if event["type"] == "DELETED" else event["object"]
            finally:
                timer.cancel()
                watching.kill()

    def pinned_to_node(self, pod: Json) -> Json:
        """Return the pod with a selector for the suite's node."""
        return pod | {"spec": pod["spec"] | {"nodeSelector": {"kubernetes.io/hostname": self.node}}}

    def start(self, pod: Json) -> None:
        """Create a pod on the suite's node and return once the scheduler has bound it there.

        So pods started one after the other are admitted by the node in this order.
        """
        self.apply(self.pinned_to_node(pod))
        name = pod["metadata"]["name"]

        def bound(now: Json | None) -> bool:
            # Not the condition PodScheduled: a kubelet that refuses a pod overwrites its status. Nor may
            # the pod be missed: refused and evicted, it is gone at once.
            return now is None or "nodeName" in now["spec"]

        try:
            self.awaited("pod", name, bound, f"pod {name} to be bound to a node", SCHEDULED_SECONDS)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.why(name)}") from error

    def settled(self, name: str, seconds: float = POD_SECONDS) -> Json:
        """Wait until a pod is ready or has ended (completed, refused) and return it.

        A pod that was refused and evicted is returned as Failed, with the reason of its last warning.
        """
        last: Json = {"metadata": {"name": name}}

        def check(pod: Json | None) -> Json | None:
            nonlocal last
            if pod is None:
                return last | {"status": {"phase": "Failed", "reason": self._last_warning(name)}}
            last = pod
            if "deletionTimestamp" in pod["metadata"]:
                return None  # its kubelet ends it first, which is not what was wrong with it
            return pod if pod["status"].get("phase") in ENDED or is_ready(pod) else None

        try:
            return self.awaited("pod", name, check, f"pod {name} to be ready or ended", seconds)
        except TimeoutError as error:
            raise TimeoutError(f"{error}\n{self.why(name)}") from error

    def events(self, pod: str) -> list[Json]:
        """Return the events of all pods that had a name, oldest first."""
        selector = f"--field-selector=involvedObject.kind=Pod,involvedObject.name={pod}"
        text = self.run("get", "events", selector, "-o", "json")
        found: list[Json] = json.loads(text)["items"]
        return sorted(found, key=lambda event: str(event["metadata"]["creationTimestamp"]))

    def why(self, name: str) -> str:
        """Return what a person would look at when a pod does not run: conditions, states, events."""
        pod = self.find("pod", name)
        if pod is None:
            return f"pod {name} is gone"
        status = pod["status"]
        states = [entry for key, entries in status.items() if key.endswith("Statuses") for entry in entries]
        lines = [
            f"{entry['type']}={entry['status']} {entry.get('message', '')}"
            for entry in status.get("conditions", [])
        ]
        lines += [f"{entry['name']}: {entry.get('state')}" for entry in states]
        events = self.events(name)
        lines += [f"{event['type']} {event['reason']}: {event['message']}" for event in events[-10:]]
        return "\n".join(f"    {line}" for line in lines)

    def _last_warning(self, pod: str) -> str:
        # The kubelet has warnings of its own, about containers that it was not allowed to start, and the
        # eviction is what follows from the refusal.
        warnings = [
            str(event["reason"])
            for event in self.events(pod)
            if event["type"] == "Warning"
            and event["reason"] != "Evicted"
            and event.get("reportingComponent") != "kubelet"
        ]
        return warnings[-1] if warnings else "deleted"

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

    @contextmanager
    def running_at_once(self, *pods: Json) -> Iterator[list[Json]]:
        """Start pods all together, yield them once settled, delete them at the end."""
        names = [pod["metadata"]["name"] for pod in pods]
        try:
            self.apply(*map(self.pinned_to_node, pods))
            seconds = POD_SECONDS + MORE_SECONDS * len(pods)
            yield [self.settled(name, seconds) for name in names]
        finally:
            self.delete(*names)

    def snapshot(self) -> Snapshot:
        """Read the cgroups of all pods of the node."""
        return snapshot(self.shell)

    def logs(self, pod: str, container: str) -> str:
        """Return what a container has printed."""
        return self.run("logs", pod, "-c", container)


def _documents(lines: Iterable[str]) -> Iterator[Json]:
    """Yield the JSON objects that kubectl prints, on one line each or on several."""
    text = ""
    for line in lines:
        text += line
        if line.rstrip().endswith("}"):
            try:
                document: Json = json.loads(text)
            except json.JSONDecodeError:
                continue  # the brace ends a part of it
            yield document
            text = ""


def is_ready(pod: Json) -> bool:
    """Tell whether the pod's condition Ready is True."""
    conditions: Sequence[Json] = pod["status"].get("conditions", [])
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def containers_of(pod: Json) -> list[str]:
    """Return the names of the containers that run as long as the pod: sidecars and apps, in order."""
    spec = pod["spec"]
    sidecars = [entry for entry in spec.get("initContainers", []) if entry.get("restartPolicy") == "Always"]
    return [entry["name"] for entry in (*sidecars, *spec["containers"])]
