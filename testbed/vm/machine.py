"""QEMU with two NUMA nodes, and a shell inside.

    socket 0, node 0: CPUs 0-7   (cores 0,1  2,3  4,5  6,7)          2 GiB
    socket 1, node 1: CPUs 8-15  (cores 8,9  10,11  12,13  14,15)    2 GiB

Software emulation: it works on every machine, also inside another virtual machine. A machine is booted
once and saved, and every run goes on from there: its disks are then opened with snapshot=on, so that a run
leaves nothing and any number may go on from one file. The guest reaches this host as 10.0.2.2 and nothing
else; ssh and the kubelet's port are forwarded from 127.0.0.1.
"""

from __future__ import annotations

import signal
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from testbed.ports import free_port
from testbed.processes import Process, ProcessFailedError
from testbed.vm.qmp import Monitor
from testbed.waiting import until

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

SMP = "16,sockets=2,cores=4,threads=2"
NODE_GIB = 2
BOOT_SECONDS = 420
SAVE_SECONDS = 120
MONITOR = "monitor"
# Multi-threaded emulation races while the guest brings up its CPUs and patches its own code: one boot in
# several ends with a crash of QEMU or a panic of the guest. Once it is up it runs.
BOOT_TRIES = 5
_QUICK = "quiet mitigations=off panic=-1"
# Left alone the kernel mistrusts the emulated TSC and reads a device for every time stamp, which
# makes Go programs several times slower.
_CLOCK = "tsc=reliable clocksource=tsc"
# Emulation runs string instructions byte by byte, and switches that guard user memory cost a new
# translation each: without these features the kernel takes plain loops, and pods start far sooner.
_CPU = "max,-erms,-smap,-pku,-la57"
_PLAIN_LOOPS = "clearcpuid=rep_good"


@dataclass(frozen=True, slots=True)
class Parts:
    """The files a machine is started from.

    root, payload, late: its disks, as /dev/vda, /dev/vdb and /dev/vdc. memory: where a machine was saved
    with these disks; None boots it, and lets it write to them.
    """

    kernel: Path
    initrd: Path
    root: Path
    payload: Path
    late: Path
    memory: Path | None = None


@dataclass(frozen=True, slots=True)
class CommandResult:
    """Exit status and output of a command in the guest."""

    status: int
    output: str
    errors: str


class CommandFailedError(RuntimeError):
    """A command in the guest ended with a status other than 0."""


class VirtualMachine:
    """One running virtual machine; a `with` block stops it.

    node_gib: GiB of each of the two NUMA nodes.
    """

    def __init__(
        self, parts: Parts, key: Path, folder: Path, kubelet_port: int, *, node_gib: int = NODE_GIB
    ) -> None:
        self._parts = parts
        self._key = key
        self._folder = folder
        self._kubelet_port = kubelet_port
        self._node_gib = node_gib
        self.ssh_port = free_port()
        self.console = folder / "console.log"
        self.start_seconds = 0.0
        self.crashes = 0

    def __enter__(self) -> Self:
        began = time.monotonic()
        while not self._starts():
            self.crashes += 1
            if self.crashes == BOOT_TRIES:
                self._process.check()
        self.start_seconds = time.monotonic() - began
        return self

    def _starts(self) -> bool:
        """Start the emulator; False if it crashed before the guest answered."""
        self._process = Process("qemu-system-x86_64", self._argv(), self._folder / "qemu.log")
        try:
            if self._parts.memory is not None:
                self._load(self._parts.memory)
            until(self._answers, f"the virtual machine to answer (console: {self.console})", BOOT_SECONDS, 1)
        except ProcessFailedError:
            # 0: the guest panicked, and "-no-reboot" makes an exit of its reboot.
            if self._process.returncode in {0, -signal.SIGSEGV}:
                return False
            raise
        except BaseException:
            self._process.kill()
            raise
        return True

    def _load(self, memory: Path) -> None:
        monitor = self._folder / MONITOR

        def listens() -> bool:
            self._process.check()
            return monitor.exists()

        until(listens, "QEMU's monitor", 30)
        with Monitor(monitor, SAVE_SECONDS) as connected:
            connected.load(memory)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()

    def save(self, memory: Path) -> None:
        """Stop the machine for good and write to a file what it takes to go on from here."""
        with Monitor(self._folder / MONITOR, SAVE_SECONDS) as monitor:
            monitor.save(memory)
        self._process.kill()

    def run(
        self, command: str, *, timeout: float = 120, check: bool = True, stdin: str = ""
    ) -> CommandResult:
        """Run a shell command in the guest as root.

        Raises CommandFailedError with the guest's words when `check` and the status is not 0,
        TimeoutError when it takes longer than `timeout` seconds.
        """
        try:
            done = subprocess.run(
                [*self._ssh(), command],
                check=False,
                capture_output=True,
                text=True,
                timeout=timeout,
                input=stdin,
            )
        except subprocess.TimeoutExpired as late:
            raise TimeoutError(f"in the virtual machine: {command!r} took more than {timeout:g} s") from late
        if check and done.returncode != 0:
            raise CommandFailedError(
                f"in the virtual machine: {command!r} ended with {done.returncode}: "
                f"{done.stderr.strip()[-2000:]}"
            )
        return CommandResult(done.returncode, done.stdout, done.stderr)

    def _answers(self) -> bool:
        self._process.check()
        try:
            return self.run("true", timeout=20, check=False).status == 0
        except TimeoutError:
            return False

    def _ssh(self) -> list[str]:
        options = {
            "StrictHostKeyChecking": "no",
            "UserKnownHostsFile": "/dev/null",
            "LogLevel": "ERROR",
            "ConnectTimeout": "15",
            # One connection for all commands: a handshake costs a second under emulation.
            "ControlMaster": "auto",
            "ControlPath": f"{self._folder}/ssh-%C",
            "ControlPersist": "yes",
        }
        flags = [part for name, value in options.items() for part in ("-o", f"{name}={value}")]
        return ["ssh", "-i", str(self._key), "-p", str(self.ssh_port), *flags, "root@127.0.0.1"]

    def _argv(self) -> list[str]:
        forwards = (
            f"hostfwd=tcp:127.0.0.1:{self.ssh_port}-:22",
            f"hostfwd=tcp:127.0.0.1:{self._kubelet_port}-:{self._kubelet_port}",
        )
        return [
            "qemu-system-x86_64",
            *(
                "-machine",
                "q35,hpet=off",
                "-accel",
                "tcg,thread=multi",
                "-cpu",
                _CPU,
                "-smp",
                SMP,
                "-m",
                f"{2 * self._node_gib}G",
            ),
            *("-object", f"memory-backend-ram,id=m0,size={self._node_gib}G"),
            *("-object", f"memory-backend-ram,id=m1,size={self._node_gib}G"),
            *("-numa", "node,nodeid=0,cpus=0-7,memdev=m0", "-numa", "node,nodeid=1,cpus=8-15,memdev=m1"),
            *("-numa", "dist,src=0,dst=1,val=21"),
            *("-kernel", str(self._parts.kernel), "-initrd", str(self._parts.initrd)),
            *(
                "-append",
                f"root=/dev/vda rw console=ttyS0 net.ifnames=0 {_QUICK} {_CLOCK} {_PLAIN_LOOPS}",
            ),
            *self._disks(),
            *("-netdev", f"user,id=n0,{','.join(forwards)}", "-device", "virtio-net-pci,netdev=n0"),
            *("-display", "none", "-serial", f"file:{self.console}", "-monitor", "none", "-no-reboot"),
            *("-qmp", f"unix:{self._folder / MONITOR},server=on,wait=off"),
            *(() if self._parts.memory is None else ("-incoming", "defer")),
        ]

    def _disks(self) -> list[str]:
        booted = self._parts.memory is None
        # Nothing is lost that could not be made again: the host need not wait for its own disk.
        how = "cache=unsafe" if booted else "snapshot=on"
        disks = (self._parts.root, self._parts.payload, self._parts.late)
        return [part for disk in disks for part in ("-drive", f"file={disk},if=virtio,format=raw,{how}")]
