"""podnuma's own pods on nodes that are folders: what a kubelet would do for them.

A pod of podnuma (by its label) that is bound to a node becomes a process with the arguments and the
environment of its manifest and the service account that it names; only what a container would see under
another path is replaced: by the node's folder, or by files below the cluster's. Its status is what the
process does: Running when it runs, Ready when its probe says so, Succeeded or Failed when it ends and may
end, else it is started again. A pod that is deleted gets SIGTERM and goes when the process has.

All other pods are kwok's, which is told to leave these alone (`LEFT_ALONE`).
"""

from __future__ import annotations

import datetime as dt
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, Final, Self

import requests

from testbed.api import Api, ApiStatusError, Json
from testbed.installation import SIMULATED_RIGHTS
from testbed.ports import free_port
from testbed.processes import Process
from testbed.program import podnuma_script

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from testbed.control_plane import ControlPlane
    from testbed.installation import FakeNode

LEFT_ALONE: Final = ("app.kubernetes.io/part-of", "podnuma")
_PERIOD = 0.5
_TOKEN_SECONDS = 1200.0  # a third of what a token lives
_BACKOFF_LIMIT = 30.0
_ACCOUNT_MOUNT = "/var/run/secrets/kubernetes.io/serviceaccount"


@dataclass(slots=True)
class _Pod:
    """A pod whose process was started: `restarts` counts those after the first."""

    path: str
    port: int
    process: Process
    restarts: int = 0
    ended_at: float | None = None
    reported: Json = field(default_factory=dict)


class PodProcesses:
    """Runs podnuma's pods on these nodes inside a `with` block, in a thread of its own."""

    def __init__(self, cluster: ControlPlane, nodes: Mapping[str, FakeNode]) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self._api = Api(cluster.server, cluster.ca_file, certificate=cluster.admin_certificate)
        self._pods: dict[str, _Pod] = {}
        self._tokens: dict[tuple[str, str, str], float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pods", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._api.close()

    def _run(self) -> None:
        try:
            while not self._stop.wait(_PERIOD):
                # The API server may be gone for a moment; the next round says the same again.
                with suppress(ApiStatusError, requests.RequestException):
                    self._round()
        finally:
            for pod in self._pods.values():
                pod.process.kill()

    def _round(self) -> None:
        self._rotate_tokens()
        listed = self._api.items("/api/v1/pods", labelSelector="=".join(LEFT_ALONE))
        present = {
            one["metadata"]["uid"]: one for one in listed if one["spec"].get("nodeName") in self._nodes
        }
        for uid in [uid for uid in self._pods if uid not in present]:
            self._pods.pop(uid).process.kill()
        for uid, manifest in present.items():
            with suppress(ApiStatusError):  # deleted or changed meanwhile; the others are not to wait
                self._follow(uid, manifest)

    def _follow(self, uid: str, manifest: Json) -> None:
        metadata = manifest["metadata"]
        path = f"/api/v1/namespaces/{metadata['namespace']}/pods/{metadata['name']}"
        pod = self._pods.get(uid)
        if "deletionTimestamp" in metadata:
            if pod is not None:
                pod.process.terminate()
            self._api.delete(path, grace_seconds=0)
        elif manifest.get("status", {}).get("phase") in {"Succeeded", "Failed"}:
            return
        elif (reason := _not_runnable(manifest)) is not None:
            self._api.merge(f"{path}/status", {"status": {"phase": "Failed", "message": reason}})
        elif pod is None:
            port = free_port()
            self._pods[uid] = _Pod(path, port, self._start(manifest, port))
        else:
            self._restart_if_due(pod, manifest)
            self._report(pod, manifest)

    # -- processes ----------------------------------------------------------------------------------

    def _start(self, manifest: Json, port: int) -> Process:
        metadata, spec = manifest["metadata"], manifest["spec"]
        (container,) = spec["containers"]
        if container["args"][0] == "agent":
            # Containers come from pods here, so the agent must be allowed to read those.
            self._cluster.apply_files(SIMULATED_RIGHTS)
        key = (metadata["namespace"], spec["serviceAccountName"], spec["nodeName"])
        kubeconfig = self._cluster.kubeconfig_for(*key[:2], node=key[2])
        self._tokens[key] = time.monotonic()
        environment = environment_of(container, manifest)
        if "command" in container:
            argv = [sys.executable, str(self._script(manifest, key)), *container["args"]]
            environment |= {
                "KUBERNETES_SERVICE_HOST": "127.0.0.1",
                "KUBERNETES_SERVICE_PORT": str(self._cluster.port),
            }
        else:
            node = self._nodes[spec["nodeName"]]
            argv = [podnuma_script(), *fitted(container["args"], node, str(kubeconfig), port)]
        log = self._cluster.folder / f"{metadata['name']}.log"
        return Process(metadata["name"], argv, log, env=environment)

    def _script(self, manifest: Json, key: tuple[str, str, str]) -> Path:
        """Write the script of a pod, which is in a ConfigMap, and the files of its service account."""
        namespace, account, node = key
        folder = self._cluster.folder / manifest["metadata"]["name"]
        folder.mkdir(exist_ok=True)
        (folder / "ca.crt").write_bytes(self._cluster.ca_file.read_bytes())
        (folder / "token").write_bytes(self._cluster.token_file(namespace, account, node=node).read_bytes())
        name = next(one["configMap"]["name"] for one in manifest["spec"]["volumes"] if "configMap" in one)
        stored = self._api.get(f"/api/v1/namespaces/{namespace}/configmaps/{name}")
        file = PurePosixPath(manifest["spec"]["containers"][0]["command"][1]).name
        script: Path = folder / file
        script.write_text(stored["data"][file].replace(_ACCOUNT_MOUNT, str(folder)))
        return script

    def _restart_if_due(self, pod: _Pod, manifest: Json) -> None:
        if pod.process.alive or manifest["spec"].get("restartPolicy") == "Never":
            return
        if pod.ended_at is None:
            pod.ended_at = time.monotonic()
        elif time.monotonic() - pod.ended_at >= min(2.0**pod.restarts, _BACKOFF_LIMIT):
            pod.process = self._start(manifest, pod.port)
            pod.restarts += 1
            pod.ended_at = None

    def _rotate_tokens(self) -> None:
        for key, written in self._tokens.items():
            if time.monotonic() - written < _TOKEN_SECONDS:
                continue
            namespace, account, node = key
            self._tokens[key] = time.monotonic()
            # Gone with its node or its installation: nobody reads it any more.
            with suppress(ApiStatusError):
                token = self._cluster.token(namespace, account, node=node)
                self._cluster.token_file(namespace, account, node=node).write_text(token)

    # -- statuses -----------------------------------------------------------------------------------

    def _report(self, pod: _Pod, manifest: Json) -> None:
        status = status_of(manifest, pod.process.returncode, ready=self._ready(pod, manifest))
        status["containerStatuses"][0]["restartCount"] = pod.restarts
        if status != pod.reported:
            now = dt.datetime.now(dt.UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
            started = manifest.get("status", {}).get("startTime", now)
            self._api.merge(f"{pod.path}/status", {"status": {**status, "startTime": started}})
            pod.reported = status

    @staticmethod
    def _ready(pod: _Pod, manifest: Json) -> bool:
        if not pod.process.alive:
            return False
        probe = manifest["spec"]["containers"][0].get("readinessProbe")
        if not probe:
            return True
        asked = probe["httpGet"]
        url = f"{asked.get('scheme', 'HTTP').lower()}://127.0.0.1:{pod.port}{asked['path']}"
        with suppress(requests.RequestException):
            # A kubelet does not look at the certificate either.
            return requests.get(url, timeout=2, verify=False).ok
        return False


def fitted(arguments: list[str], node: FakeNode, kubeconfig: str, port: int) -> list[str]:
    """Return the arguments of a manifest with the node's folders, a port and credentials of the test bed."""
    places = {
        "--cgroup-root": str(node.cgroup_root),
        "--kubelet-root": str(node.kubelet_root),
        "--run-root": str(node.run_root),
        "--runtime": "simulated",
        "--metrics-port": str(port),
    }
    verb = " ".join(arguments[:2]) if arguments[0] == "agent" else arguments[0]
    connected, host = f"--kubeconfig={kubeconfig}", "--metrics-host=127.0.0.1"
    more = {
        "operator": [connected, host],
        "release-nodes": [connected],
        "agent run": [connected, host, f"--sys-root={node.sys_root}", f"--proc-root={node.proc_root}"],
        "agent cleanup": [host],
    }
    replaced = []
    for argument in arguments:
        key, _, value = argument.partition("=")
        replaced.append(f"{key}={places.get(key, value)}" if value else argument)
    return [*replaced, *more[verb]]


def _not_runnable(manifest: Json) -> str | None:
    (container, *others) = manifest["spec"]["containers"]
    command = container.get("command")
    if not others and (command is None or (len(command) == 2 and command[0] == "python")):
        return None
    return "only podnuma's own command and scripts of a ConfigMap are run here"


def environment_of(container: Json, manifest: Json) -> dict[str, str]:
    """Return the environment of a container, with the fields of its pod that it asks for."""
    found = {}
    for one in container.get("env", []):
        if "value" in one:
            found[one["name"]] = str(one["value"])
        else:
            value: Any = manifest
            for part in one["valueFrom"]["fieldRef"]["fieldPath"].split("."):
                value = value[part]
            found[one["name"]] = str(value)
    return found


def status_of(manifest: Json, code: int | None, *, ready: bool) -> Json:
    """Return the status of a pod whose process runs (`code` is None) or has ended with a code."""
    ends = manifest["spec"].get("restartPolicy") == "Never"
    phase = "Running" if code is None or not ends else "Failed" if code else "Succeeded"
    yes = "True" if ready else "False"
    scheduled = [
        one for one in manifest.get("status", {}).get("conditions", []) if one["type"] == "PodScheduled"
    ]
    (container,) = manifest["spec"]["containers"]
    state: Json = {"running": {}} if code is None else {"terminated": {"exitCode": code}}
    return {
        "phase": phase,
        "conditions": [
            *scheduled,
            {"type": "Initialized", "status": "True"},
            {"type": "ContainersReady", "status": yes},
            {"type": "Ready", "status": yes},
        ],
        "containerStatuses": [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": ready,
                "restartCount": 0,
                "state": state,
            }
        ],
    }
