"""Devices in the virtual machine: a real device plugin and a real DRA driver, while a scenario needs them.

    with at_work(target) as devices: ...

Both are programs of `testbed/modules` that speak the kubelet's own interfaces; each has eight devices, four
on each NUMA node, which are nothing but names. The saved machine knows nothing of them: it fetches them from
this host, and systemd runs them until the block ends. A kubelet that starts anew finds them again by itself.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Final

from testbed import build, dra
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from testbed.api import Json
    from testbed.e2e.cluster import Cluster
    from testbed.e2e.target import MachineTarget
    from testbed.vm.machine import VirtualMachine

RESOURCE: Final = "example.com/nic"
DRIVER: Final = "gpu.example.com"
# The first ones are preferred: node 0's, as long as there are any.
NICS: Final = {f"nic-{number}": number // 4 for number in range(8)}
GPUS: Final = {f"gpu-{number}": number // 4 for number in range(8)}
PROGRAMS: Final = ("device-plugin", "dra-driver")
READY_SECONDS = 240
FETCH_SECONDS = 240
_FOLDER = "/var/tmp"
_SOCKETS = "/var/lib/kubelet/device-plugins"
_OWN_SOCKET = f"{RESOURCE.replace('/', '_')}.sock"
_HOST = "10.0.2.2"  # this host, as the machine sees it


@dataclass(frozen=True, slots=True)
class Devices:
    """Plugin and driver on the suite's node."""

    cluster: Cluster

    def plug_in(self, devices: Mapping[str, int]) -> None:
        """Start the device plugin, anew if it runs; returns when the kubelet offers its devices."""
        self._run("device-plugin", RESOURCE, devices)
        self.wait_plugin(len(devices))

    def wait_plugin(self, count: int = len(NICS)) -> None:
        """Wait until the kubelet offers so many devices of the plugin, and not those it remembers."""
        # The plugin makes its socket anew for a kubelet that has made its own anew.
        told = f"cd {_SOCKETS} && test {_OWN_SOCKET} -nt kubelet.sock && echo yes || echo no"
        until(lambda: self.cluster.shell(told).strip() == "yes", "the plugin to register", READY_SECONDS, 1)

        def offered(node: Json | None) -> bool:
            return node is not None and node["status"]["allocatable"].get(RESOURCE) == str(count)

        what = f"the node to offer {count} {RESOURCE}"
        self.cluster.awaited("node", self.cluster.node, offered, what, READY_SECONDS)

    def drive(self, devices: Mapping[str, int]) -> None:
        """Start the DRA driver; returns when it has published its devices."""
        node = f"-kubeconfig /etc/kubernetes/kubelet.kubeconfig -node {self.cluster.node} "
        self._run("dra-driver", node + DRIVER, devices)
        self.cluster.apply(dra.device_class(DRIVER))
        self.wait_driver()

    def wait_driver(self) -> None:
        """Wait until the driver has published its devices."""
        selector = f"--field-selector=spec.nodeName={self.cluster.node},spec.driver={DRIVER}"

        def published() -> bool:
            return bool(self.cluster.run("get", "resourceslices", selector, "--output=name").strip())

        until(published, f"{DRIVER} to have published its devices", READY_SECONDS, 1)

    def stop(self) -> None:
        """Stop both."""
        self.cluster.shell(f"systemctl stop {' '.join(map(_unit, PROGRAMS))} 2>/dev/null; true")

    def _run(self, program: str, arguments: str, devices: Mapping[str, int]) -> None:
        unit = _unit(program)
        words = " ".join(f"{name}={numa}" for name, numa in devices.items())
        self.cluster.shell(
            f"systemctl stop {unit} 2>/dev/null; systemd-run --quiet --collect --unit={unit}"
            " --setenv=GOMAXPROCS=2 --property=Restart=always --property=RestartSec=1"
            f" {_FOLDER}/{program} {arguments} {words}"
        )


@contextmanager
def at_work(target: MachineTarget) -> Iterator[Devices]:
    """Bring plugin and driver to the machine and have them at work."""
    for name, program in build.ensure(PROGRAMS).items():
        _fetch(target.node.machine, program, name)
    devices = Devices(target.cluster)
    try:
        devices.plug_in(NICS)
        devices.drive(GPUS)
        yield devices
    finally:
        devices.stop()


def _fetch(machine: VirtualMachine, program: Path, name: str) -> None:
    """Copy a program into the machine. Not by ssh: it would decipher every byte under emulation."""
    handler = partial(_Quiet, directory=str(program.parent))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            url = f"http://{_HOST}:{server.server_port}/{program.name}"
            place = f"{_FOLDER}/{name}"
            fetched = f"busybox wget -qO {place}.new {url} && chmod +x {place}.new && mv {place}.new {place}"
            machine.run(f"test -x {place} || {{ {fetched}; }}", timeout=FETCH_SECONDS)
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files and says nothing about it."""

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _unit(program: str) -> str:
    return f"testbed-{program}"
