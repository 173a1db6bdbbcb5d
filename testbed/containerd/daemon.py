"""containerd 2.4 with CRI and NRI, in a process and a mount namespace of its own.

    with Containerd(folder) as runtime:
        runtime.socket, runtime.nri_socket

The folder's path must be short (sockets) and not below /run, which the daemon sees as its own
empty one. Everything it starts, shims and containers, ends with it. Root is needed, or a kernel
that lets users make namespaces.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import grpc

from testbed import build
from testbed.containerd import fake_runc
from testbed.processes import Process
from testbed.vm.oci import Image, write_image
from testbed.waiting import until

if TYPE_CHECKING:
    from types import TracebackType

PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr")
PAUSE = "localhost/pause:1"
START_SECONDS = 60

# Snapshots are plain copies, so that no kernel feature is needed. Pods live in the host's network.
CONFIGURATION = """\
version = 3
root = '{folder}/root'
state = '{folder}/state'
[grpc]
  address = '{folder}/containerd.sock'
[ttrpc]
  address = '{folder}/containerd.sock.ttrpc'
[plugins.'io.containerd.nri.v1.nri']
  socket_path = '{folder}/nri.sock'
  plugin_path = '{folder}/nri-plugins'
  plugin_config_path = '{folder}/nri-conf'
  plugin_request_timeout = '{nri_request_timeout}'
[plugins.'io.containerd.cri.v1.images']
  snapshotter = 'native'
[plugins.'io.containerd.cri.v1.images'.pinned_images]
  sandbox = '{pause}'
[plugins.'io.containerd.cri.v1.runtime']
  disable_apparmor = true
  restrict_oom_score_adj = true
  tolerate_missing_hugetlb_controller = true
[plugins.'io.containerd.cri.v1.runtime'.cni]
  conf_dir = '{folder}/cni'
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
  runtime_type = 'io.containerd.runc.v2'
  container_annotations = ['testbed/*']
[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
  BinaryName = '{folder}/runc'
  SystemdCgroup = {systemd_cgroup}
"""


class Containerd:
    """One containerd; `systemd_cgroup` decides the form of cgroup paths and the driver it reports."""

    def __init__(self, folder: Path, *, nri_request_timeout: str = "2s", systemd_cgroup: bool = True) -> None:
        self.folder = folder
        self.socket = folder / "containerd.sock"
        self.nri_socket = folder / "nri.sock"
        self._programs = build.ensure(PROGRAMS)
        self._process: Process | None = None
        text = CONFIGURATION.format(
            folder=folder,
            pause=PAUSE,
            nri_request_timeout=nri_request_timeout,
            systemd_cgroup=str(systemd_cgroup).lower(),
        )
        (folder / "config.toml").write_text(text)
        runc = folder / "runc"
        runc.write_text(f'#!/bin/sh\nexec {sys.executable} -S {fake_runc.__file__} {folder} "$@"\n')
        runc.chmod(0o755)
        (folder / "settings.jsonl").touch()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until pods can be run; raises ProcessFailedError with the end of the log."""
        daemon = f"{self._programs['containerd']} -c {self.folder}/config.toml"
        # The first process of the namespace starts containerd again when it ends; when the first
        # process ends, the kernel ends all.
        script = f"mount -t tmpfs run /run && while :; do {daemon}; done"
        identity = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        namespaces = ["--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        path = f"{self._programs['containerd'].parent}:{os.environ['PATH']}"
        self._process = Process(
            "containerd",
            ["unshare", *identity, *namespaces, "sh", "-c", script],
            self.folder / "log",
            env={"PATH": path},
        )
        self._wait_until_served()
        image = self.folder / "pause.tar"
        write_image(Image(PAUSE, ("/pause",), {"pause": Path(fake_runc.__file__)}), image)
        self._ctr("image", "import", "--local", "--snapshotter", "native", str(image))

    def stop(self) -> None:
        """Kill containerd, every shim and every container."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        """End containerd as a package upgrade does, and wait for the next one; containers go on."""
        before = self._daemon()
        os.kill(before, signal.SIGTERM)
        until(lambda: before not in self._inside(), "containerd to end", START_SECONDS)
        self._wait_until_served()

    def settings(self, container: str | None = None) -> list[dict[str, Any]]:
        """Return what would have become cgroup values, in order; of one container if it is named."""
        lines = (self.folder / "settings.jsonl").read_text().splitlines()
        parsed = [json.loads(line) for line in lines]
        return [entry for entry in parsed if container in (None, entry["id"])]

    def end(self, container: str) -> None:
        """Kill the process of a container from outside, as the kernel or an operator would."""
        inside = int((self.folder / "containers" / container / "pid").read_text())
        os.kill(self._outside(inside), signal.SIGKILL)

    def _wait_until_served(self) -> None:
        def served() -> bool:
            if self._process is not None:
                self._process.check()
            with grpc.insecure_channel(f"unix:{self.socket}") as channel:
                try:
                    channel.unary_unary("/runtime.v1.RuntimeService/Version")(b"", timeout=1)
                except grpc.RpcError:
                    return False
            return True

        until(served, "containerd to serve CRI", START_SECONDS)

    def _ctr(self, *arguments: str) -> None:
        argv = [str(self._programs["ctr"]), "-a", str(self.socket), "-n", "k8s.io", *arguments]
        subprocess.run(argv, check=True, capture_output=True)

    def _daemon(self) -> int:
        found = [
            pid for pid in self._inside() if Path(f"/proc/{pid}/comm").read_text().strip() == "containerd"
        ]
        if not found:
            raise RuntimeError(f"containerd does not run; see {self.folder}/log")
        return found[0]

    def _outside(self, inside: int) -> int:
        for pid in self._inside():
            status = Path(f"/proc/{pid}/status").read_text()
            numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()
            if int(numbers[-1]) == inside:
                return pid
        raise RuntimeError(f"no process {inside} in the namespace of containerd")

    def _inside(self) -> list[int]:
        if self._process is None:
            raise RuntimeError("containerd was not started")
        found, fresh = [], [self._process.pid]
        while fresh:
            pid = fresh.pop()
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            fresh += [int(child) for child in children]
            found += [int(child) for child in children]
        return found
