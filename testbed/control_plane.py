"""A real Kubernetes control plane for demo and tests: etcd, API server, controllers, scheduler.

    with ControlPlane() as cluster:
        cluster.kubectl("get", "namespaces")

What always holds: all files are in one temporary folder that is removed with the control plane; every
port is reserved before it is used, so any number of control planes run side by side; leaving the `with`
block, an exception and the death of this process all stop every child (see `processes`). Ready means
that the API server reports ready and the scheduler and the controllers run; a child that dies is
reported with the end of its log at once.

Users: `admin` (system:masters) by certificate, and any service account by a token from the API
server's own TokenRequest, so RBAC and token expiry are the real ones. The ServiceAccount admission
plugin is off, so that pods need no token volume, unless kubelets run them (`real_nodes`).
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TextIO

import requests
import yaml

from testbed import build
from testbed.api import Api, ApiStatusError, Json
from testbed.pki import DAY, Authority
from testbed.ports import ReservedPort
from testbed.processes import Process, ProcessFailedError
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import TracebackType

START_SECONDS = 120
_ORDERLY_SECONDS = 60
_AUDIT_LOG = "audit.log"
_CLIENTS = ("kube-controller-manager", "kube-scheduler")
# The address by which a QEMU guest with user networking sees its host.
_GUEST_SIDE = "10.0.2.2"
# A kubelet and its control plane may be saved and go on much later.
_LIFETIME = 60 * DAY
# What a control plane knows: everything else in its folder is written anew at each start.
STATE = ("etcd", "pki/ca.crt", "pki/ca.key", "pki/service-accounts.key")
# The cluster IP of the service `kubernetes`: the first address of the range.
SERVICE_ADDRESS = "10.96.0.1"
_HOSTS = ("127.0.0.1", _GUEST_SIDE, SERVICE_ADDRESS, "localhost", "kubernetes.default.svc")


class ControlPlane:
    """One running control plane; `start` and `stop`, or a `with` block.

    folder: where its files lie; a temporary one, removed at the end, if not given. One with the
    `STATE` of an earlier control plane goes on with it: the same objects, the same authority, other ports.
    audit: record every request's user, verb and resource for `end_audit_log`.
    admission: configuration of admission plugins, by their names.
    feature_gates: further gates of the API server beside PodLevelResources, as {"Name": True}.
    release: of Kubernetes, one of `build.RELEASES`.
    real_nodes: kubelets join and run pods, which get service account tokens; they are reached under
    their host names.
    """

    def __init__(  # noqa: PLR0913 - what makes one control plane unlike another
        self,
        folder: Path | None = None,
        *,
        audit: bool = False,
        admission: Mapping[str, Any] | None = None,
        feature_gates: dict[str, bool] | None = None,
        real_nodes: bool = False,
        release: str = build.DEFAULT_RELEASE,
        out: TextIO = sys.stderr,
    ) -> None:
        self._given_folder = folder
        self._audit = audit
        self._admission = admission or {}
        self._gates = {"PodLevelResources": True, **(feature_gates or {})}
        self._real_nodes = real_nodes
        self._release = release
        self._out = out
        self._stack = ExitStack()
        self._processes: dict[str, Process] = {}
        self.tools: dict[str, Path] = {}
        self.start_seconds = 0.0

    # -- life -----------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Build what is missing, start everything, return when it serves."""
        self.tools = build.ensure_release(build.CONTROL_PLANE, self._release, self._out)
        began = time.monotonic()
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        self.start_seconds = time.monotonic() - began

    def _start(self) -> None:
        if self._given_folder is None:
            self.folder = Path(tempfile.mkdtemp(prefix="podnuma-control-plane-"))
            self._stack.callback(shutil.rmtree, self.folder, ignore_errors=True)
        else:
            self.folder = self._given_folder
            self.folder.mkdir(parents=True, exist_ok=True)
        self._stack.callback(self._kill_all)
        ports = [ReservedPort() for _ in range(3)]
        for port in ports:
            self._stack.callback(port.release)
        self._etcd_port, self._peer_port, self.port = (port.number for port in ports)
        self.server = f"https://127.0.0.1:{self.port}"
        self._make_identities()
        self._spawn("etcd", self._etcd_flags())
        self._wait("etcd", "to serve", self._etcd_healthy)
        self.start_apiserver()

    def stop(self) -> None:
        """Stop everything and remove the temporary folder. May be called twice."""
        self._stack.close()

    def _kill_all(self) -> None:
        # The data is thrown away, so nothing needs to shut down in order; clients go first.
        for process in reversed(self._processes.values()):
            process.kill()
        self._processes.clear()

    def check(self) -> None:
        """Raise ProcessFailedError, with the end of its log, if some part has died."""
        for process in self._processes.values():
            process.check()

    # -- the API server can go away and come back ---------------------------------------------------

    def start_apiserver(self) -> None:
        """Start the API server on its port, wait until it is ready, and start its clients.

        Controllers and scheduler start anew each time: after an outage they would wait up to a minute.
        """
        self._spawn("kube-apiserver", self._apiserver_flags())
        self._wait("kube-apiserver", "to be ready", self._apiserver_ready)
        for name in _CLIENTS:
            if name in self._processes:
                self._processes.pop(name).kill()
            self._spawn(name, self._controller_flags(name))

    def stop_apiserver(self) -> None:
        """Kill the API server: connections break, new ones are refused, the data stays in etcd."""
        self._processes.pop("kube-apiserver").kill()

    def end_audit_log(self) -> list[Json]:
        """End the API server in order and return everything it recorded (see `audit`), oldest first.

        A request is noted after its answer went out, when its effect may be seen already: only of an
        API server that has ended is the log complete. End all clients before: it waits for a watch
        as long as it may.
        """
        for name in _CLIENTS:
            self._processes.pop(name).kill()
        status = self._processes.pop("kube-apiserver").terminate(_ORDERLY_SECONDS)
        if status != 0:
            raise ProcessFailedError(f"kube-apiserver did not end in order: status {status}")
        lines = (self.folder / _AUDIT_LOG).read_text().splitlines()
        return [json.loads(line) for line in lines]

    @contextmanager
    def apiserver_gone(self) -> Iterator[None]:
        """Stop the API server inside the `with` block."""
        self.stop_apiserver()
        try:
            yield
        finally:
            self.start_apiserver()

    @contextmanager
    def scheduler_gone(self) -> Iterator[None]:
        """Stop the scheduler inside the `with` block."""
        name = "kube-scheduler"
        self._processes.pop(name).kill()
        try:
            yield
        finally:
            if name not in self._processes:  # an API server that starts anew starts it
                self._spawn(name, self._controller_flags(name))

    # -- identities ---------------------------------------------------------------------------------

    def _make_identities(self) -> None:
        self._authority = Authority(self.folder / "pki", _LIFETIME if self._real_nodes else DAY)
        self.ca_file = self._authority.ca_file
        self.serving_certificate = self._authority.issue("apiserver", "kube-apiserver", hosts=_HOSTS)
        self.admin_certificate = self._authority.issue("admin", "admin", group="system:masters")
        self._kubelet_client = self._authority.issue(
            "kubelet-client", "kube-apiserver-kubelet-client", group="system:masters"
        )
        self._signing_key = self._authority.signing_key("service-accounts")
        self.kubeconfig = self._certificate_kubeconfig("admin", self.admin_certificate)
        self.api = self._stack.enter_context(
            Api(self.server, self.ca_file, certificate=self.admin_certificate)
        )

    def kubeconfig_for_user(self, name: str, *, group: str | None = None) -> Path:
        """Return a kubeconfig with a client certificate, as for system:node:NAME in system:nodes."""
        safe = name.replace(":", "-")
        return self._certificate_kubeconfig(safe, self._authority.issue(safe, name, group=group))

    def token(
        self, namespace: str, service_account: str, *, node: str | None = None, seconds: int = 3600
    ) -> str:
        """Ask for a token of a service account that exists; `node` binds it to that node, as a pod's is.

        The API server grants at least 600 seconds.
        """
        spec: Json = {"expirationSeconds": seconds}
        if node is not None:
            uid = self.api.get(f"/api/v1/nodes/{node}")["metadata"]["uid"]
            spec["boundObjectRef"] = {"kind": "Node", "apiVersion": "v1", "name": node, "uid": uid}
        answer = self.api.request(
            "POST",
            f"/api/v1/namespaces/{namespace}/serviceaccounts/{service_account}/token",
            {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec},
        )
        token: str = answer["status"]["token"]
        return token

    def api_for(self, namespace: str, service_account: str, *, node: str | None = None) -> Api:
        """Return a client with the rights of a service account; the caller closes it."""
        return Api(self.server, self.ca_file, token=self.token(namespace, service_account, node=node))

    def kubeconfig_for(self, namespace: str, service_account: str, *, node: str | None = None) -> Path:
        """Return a kubeconfig of a service account; its token lies in a file beside it (`tokenFile`).

        Rewriting that file (see `token_file`) is what the kubelet does when it rotates a token. Here nothing
        does so by itself: the token is valid for longer than any run.
        """
        name = f"{namespace}-{service_account}" + (f"-{node}" if node else "")
        token_file = self.token_file(namespace, service_account, node=node)
        seconds = int(_LIFETIME.total_seconds())
        token_file.write_text(self.token(namespace, service_account, node=node, seconds=seconds))
        return self._write_kubeconfig(name, {"tokenFile": str(token_file)})

    def token_file(self, namespace: str, service_account: str, *, node: str | None = None) -> Path:
        """Return the path of the token that `kubeconfig_for` wrote."""
        return self.folder / (f"{namespace}-{service_account}" + (f"-{node}" if node else "") + ".token")

    def _certificate_kubeconfig(self, name: str, certificate: tuple[Path, Path]) -> Path:
        return self._write_kubeconfig(
            name, {"client-certificate": str(certificate[0]), "client-key": str(certificate[1])}
        )

    def _write_kubeconfig(self, name: str, user: dict[str, str]) -> Path:
        path = self.folder / f"{name}.kubeconfig"
        cluster = {"server": self.server, "certificate-authority": str(self.ca_file)}
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "testbed", "cluster": cluster}],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": "testbed", "context": {"cluster": "testbed", "user": name}}],
            "current-context": "testbed",
        }
        path.touch(mode=0o600)
        path.write_text(yaml.safe_dump(content))
        return path

    # -- use ----------------------------------------------------------------------------------------

    def kubectl(
        self, *args: str, stdin: str | None = None, kubeconfig: Path | None = None, check: bool = True
    ) -> str:
        """Run kubectl (as admin by default) and return its output; RuntimeError with its output if it fails.

        With check=False the output is stdout and stderr together, whatever the exit status.
        """
        done = subprocess.run(
            [str(self.tools["kubectl"]), f"--kubeconfig={kubeconfig or self.kubeconfig}", *args],
            check=False,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE if check else subprocess.STDOUT,
            text=True,
            timeout=120,
        )
        if check and done.returncode != 0:
            raise RuntimeError(f"kubectl {' '.join(args)}: {done.stderr.strip()}")
        return done.stdout

    def apply_files(self, *paths: Path) -> None:
        """Server-side apply every manifest in YAML files or folders of them, in order of their names."""
        for path in paths:
            files = sorted(path.glob("*.yaml")) if path.is_dir() else [path]
            for file in files:
                for manifest in yaml.safe_load_all(file.read_text()):
                    if manifest:
                        self.api.apply(manifest)

    def apply_crds(self, *paths: Path) -> None:
        """Apply CustomResourceDefinitions and wait until the API server serves them."""
        self.apply_files(*paths)
        until(self._all_crds_served, "the custom resources to be served", 30)

    def _all_crds_served(self) -> bool:
        try:
            return self._crds_served()
        except ApiStatusError as error:
            if error.of_a_start:
                return False
            raise

    def _crds_served(self) -> bool:
        for crd in self.api.items("/apis/apiextensions.k8s.io/v1/customresourcedefinitions"):
            if not _condition(crd, "Established"):
                return False
            group, plural = crd["spec"]["group"], crd["spec"]["names"]["plural"]
            for version in crd["spec"]["versions"]:
                if version["served"] and self.api.find(f"/apis/{group}/{version['name']}/{plural}") is None:
                    return False
        return True

    # -- children -----------------------------------------------------------------------------------

    def log_of(self, program: str) -> Path:
        """Return the log file of "etcd", "kube-apiserver", "kube-controller-manager" or "kube-scheduler"."""
        return self.folder / f"{program}.log"

    def _spawn(self, program: str, flags: Sequence[str]) -> None:
        argv = [str(self.tools[program]), *flags]
        self._processes[program] = Process(program, argv, self.log_of(program))

    def _wait(self, name: str, what: str, ready: Any) -> None:
        def check() -> bool:
            self.check()
            with suppress(requests.RequestException, ApiStatusError):
                return bool(ready())
            return False

        try:
            until(check, f"{name} {what}", START_SECONDS)
        except TimeoutError as error:
            busy = f"  load of this machine: {os.getloadavg()[0]:.0f} on {os.cpu_count()} CPUs"
            raise TimeoutError(f"{error}\n{busy}\n{self._processes[name].tail()}") from error

    def _etcd_healthy(self) -> bool:
        answer = requests.get(f"http://127.0.0.1:{self._etcd_port}/health", timeout=2)
        return bool(answer.ok and json.loads(answer.text)["health"] == "true")

    def _apiserver_ready(self) -> bool:
        self.api.request("GET", "/readyz")
        return self.api.find("/api/v1/namespaces/default") is not None

    def _etcd_flags(self) -> list[str]:
        client, peer = f"http://127.0.0.1:{self._etcd_port}", f"http://127.0.0.1:{self._peer_port}"
        return [
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--socket-reuse-port=true",
            "--unsafe-no-fsync",
            "--log-level=warn",
        ]

    def _apiserver_flags(self) -> list[str]:
        gates = ",".join(f"{name}={str(on).lower()}" for name, on in self._gates.items())
        flags = [
            f"--etcd-servers=http://127.0.0.1:{self._etcd_port}",
            "--bind-address=127.0.0.1",
            f"--secure-port={self.port}",
            "--permit-port-sharing=true",
            f"--tls-cert-file={self.serving_certificate[0]}",
            f"--tls-private-key-file={self.serving_certificate[1]}",
            f"--client-ca-file={self.ca_file}",
            f"--kubelet-client-certificate={self._kubelet_client[0]}",
            f"--kubelet-client-key={self._kubelet_client[1]}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._signing_key}",
            f"--service-account-signing-key-file={self._signing_key}",
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=Node,RBAC",
            "--allow-privileged=true",
            f"--feature-gates={gates}",
        ]
        if self._real_nodes:
            flags.append("--kubelet-preferred-address-types=Hostname")
        else:
            flags.append("--disable-admission-plugins=ServiceAccount")
        if self._admission:
            file = self.folder / "admission.yaml"
            plugins = [{"name": name, "configuration": one} for name, one in self._admission.items()]
            kind = {"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AdmissionConfiguration"}
            file.write_text(yaml.safe_dump({**kind, "plugins": plugins}))
            flags.append(f"--admission-control-config-file={file}")
        if self._audit:
            policy = self.folder / "audit-policy.yaml"
            rule = {"level": "Metadata", "omitStages": ["RequestReceived"]}
            policy.write_text(
                yaml.safe_dump({"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [rule]})
            )
            flags += [f"--audit-policy-file={policy}", f"--audit-log-path={self.folder / _AUDIT_LOG}"]
        return flags

    def _controller_flags(self, program: str) -> list[str]:
        flags = [f"--kubeconfig={self.kubeconfig}", "--secure-port=0", "--leader-elect=false"]
        if program == "kube-controller-manager":
            # The defaults spare the API server of a large cluster; here they only make tests slow.
            flags += ["--kube-api-qps=200", "--kube-api-burst=400", "--concurrent-gc-syncs=5"]
            if self._real_nodes:
                flags += [
                    f"--root-ca-file={self.ca_file}",
                    f"--service-account-private-key-file={self._signing_key}",
                ]
        else:
            flags += ["--kube-api-qps=500", "--kube-api-burst=1000"]
        return flags


def _condition(found: Json, kind: str) -> bool:
    # A resource that was just created has "conditions: null".
    conditions = found.get("status", {}).get("conditions") or []
    return any(entry["type"] == kind and entry["status"] == "True" for entry in conditions)


def main() -> int:
    """Run a control plane until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m testbed.control_plane", description=main.__doc__)
    parser.add_argument("--folder", type=Path, help="where its files lie (default: a temporary folder)")
    parser.add_argument("--kwok", action="store_true", help="start kwok beside it")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with ControlPlane(options.folder) as running, ExitStack() as stack:
            crds = Path(__file__).resolve().parents[1] / "crds"
            running.apply_crds(crds)
            if options.kwok:
                from testbed.kwok import Kwok  # noqa: PLC0415 - kwok.py needs this module

                stack.enter_context(Kwok(running))
            print(f"ready after {running.start_seconds:.1f} s", flush=True)
            print(f"export KUBECONFIG={running.kubeconfig}", flush=True)
            while True:
                running.check()
                time.sleep(1)
    except KeyboardInterrupt:
        return 130
    except (build.BuildError, ProcessFailedError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
