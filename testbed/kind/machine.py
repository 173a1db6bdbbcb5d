"""The virtual machine with Docker: kind's nodes are containers in it.

    with running() as machine:
        subprocess.run(["docker", "info"], env={"DOCKER_HOST": machine.docker_host})

It is the machine of `testbed.vm` with Debian's Docker, booted for each run; all of it is thrown away
afterwards. Docker's socket comes to this host through ssh. One TCP port of this host leads to the same
port of the machine, for the cluster's API server.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from testbed.kind import node_image
from testbed.ports import free_port
from testbed.processes import Process
from testbed.vm import payload as payload_files
from testbed.vm import rootfs
from testbed.vm.machine import Parts, VirtualMachine
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

MORE = rootfs.More(("docker.io", "docker-cli"), ("docker.service", "docker.socket"))
FILES = Path(__file__).parent / "files" / "payload"
DOCKER_DISK = 10 << 30
NODE_GIB = 3  # the README's profile reserves 2Gi of a NUMA node
LOAD_SECONDS = 1200
SOCKET_SECONDS = 60
_SOCKET = "/run/docker.sock"


@dataclass(frozen=True, slots=True)
class DockerMachine:
    """A machine with Docker in it: how to reach Docker, and the port that both have in common."""

    machine: VirtualMachine
    docker_host: str
    port: int


@contextmanager
def running(out: TextIO = sys.stderr) -> Iterator[DockerMachine]:
    """Boot a machine, start Docker and load kind's node image into it."""
    rootfs.require_tools()
    image, base = node_image.ensure(out), rootfs.ensure(out, MORE)
    # Sockets have short names only.
    with tempfile.TemporaryDirectory(prefix="podnuma-kind-") as scratch:
        folder, port = Path(scratch), free_port()
        key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
        parts = _disks(base, image, key.with_suffix(".pub"), folder)
        with VirtualMachine(parts, key, folder, port, node_gib=NODE_GIB) as machine:
            _say(out, f"the machine answers after {machine.start_seconds:.0f} s")
            began = time.monotonic()
            machine.run("systemctl start payload", timeout=LOAD_SECONDS)  # returns when it is through
            _say(out, f"Docker has kind's node image after {time.monotonic() - began:.0f} s more")
            socket = folder / "docker.sock"
            tunnel = Process("ssh", _tunnel(machine.ssh_port, key, socket), folder / "tunnel.log")
            try:

                def listens() -> bool:
                    tunnel.check()
                    return socket.exists()

                until(listens, "ssh to bring Docker's socket here", SOCKET_SECONDS)
                yield DockerMachine(machine, f"unix://{socket}", port)
            finally:
                tunnel.kill()


def _disks(base: rootfs.Rootfs, image: Path, public_key: Path, folder: Path) -> Parts:
    root, payload, docker = (folder / name for name in ("root.img", "payload.img", "docker.img"))
    subprocess.run(["cp", "--sparse=always", str(base.disk), str(root)], check=True)
    with tempfile.TemporaryDirectory(prefix="payload-", dir=folder) as scratch:
        content = Path(scratch) / "root"
        shutil.copytree(FILES, content)
        # What keeps the kernel from rewriting its code while it runs holds for this machine, too.
        shutil.copy(payload_files.FILES / "units" / "static-keys.service", content / "units")
        shutil.copy(image, content / "node-image.tar")
        shutil.copy(public_key, content / "authorized_keys")
        _make_disk(payload, int(image.stat().st_size * 1.15) + (96 << 20), content)
    _make_disk(docker, DOCKER_DISK, None)
    return Parts(base.kernel, base.initrd, root, payload, docker)


def _make_disk(disk: Path, size: int, content: Path | None) -> None:
    with disk.open("wb") as file:
        file.truncate(size)
    source = [] if content is None else ["-d", str(content)]
    subprocess.run(
        ["mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", *source, str(disk)],
        check=True,
        capture_output=True,
    )


def _tunnel(port: int, key: Path, socket: Path) -> list[str]:
    options = {
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
        "LogLevel": "ERROR",
        "ExitOnForwardFailure": "yes",
    }
    flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
    return [
        "ssh",
        "-N",
        "-i",
        str(key),
        "-p",
        str(port),
        *flags,
        "-L",
        f"{socket}:{_SOCKET}",
        "root@127.0.0.1",
    ]


def _say(out: TextIO, text: str) -> None:
    print(text, file=out, flush=True)
