"""The operating system of the virtual machine: a Debian disk image, kernel and initial RAM disk.

    $PODNUMA_CACHE/vm/rootfs-<key>/{disk.img,vmlinuz,initrd.img,busybox,packages}

<key> is a hash of the constants below, of what a machine has beyond them, and of every file of
`files/rootfs`; a folder appears by rename and is never changed, a machine gets a copy. The image knows
nothing of Kubernetes: at boot it mounts the payload disk and runs what it finds there, so that a change of
a configuration file costs seconds and not a new image. debootstrap needs root.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from testbed.build import BuildError, cache_folder, run_logged
from testbed.making import Progress, make_once

FILES = Path(__file__).parent / "files" / "rootfs"
SUITE = "trixie"
PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "udev", "kmod", "procps", "mount", "util-linux"),
    *("linux-image-cloud-amd64", "initramfs-tools", "lz4", "openssh-server", "iproute2", "iptables"),
    *(
        "runc",
        "crun",
        "containerd",
        "containernetworking-plugins",
        "conntrack",
        "socat",
        "ca-certificates",
        "busybox-static",
    ),
)
# containerd is started by the payload. Timers would all fire when a machine goes on days later.
DISABLED = ("containerd.service",)
MASKED = tuple(
    f"{name}.timer"
    for name in (
        "apt-daily",
        "apt-daily-upgrade",
        "dpkg-db-backup",
        "e2scrub_all",
        "fstrim",
        "systemd-tmpfiles-clean",
    )
)
ENABLED = ("systemd-networkd", "ssh", "payload")
DISK_SIZE = "4G"


@dataclass(frozen=True, slots=True)
class More:
    """What another kind of machine has beside: packages, and units of theirs that wait to be started."""

    packages: tuple[str, ...] = ()
    disabled: tuple[str, ...] = ()


_NO_MORE = More()
TOOLS = {"debootstrap": "debootstrap", "mke2fs": "e2fsprogs", "qemu-system-x86_64": "qemu-system-x86"}


@dataclass(frozen=True, slots=True)
class Rootfs:
    """Paths of what QEMU boots, of a static busybox for container images, and of the list of packages."""

    disk: Path
    kernel: Path
    initrd: Path
    busybox: Path
    packages: Path

    def version_of(self, package: str) -> str:
        """Return the installed version of a Debian package."""
        listed = dict(line.split(" ", 1) for line in self.packages.read_text().splitlines())
        return listed[package]


def require_tools() -> None:
    """Raise BuildError naming the Debian packages whose programs are missing, or the missing right."""
    missing = sorted({package for tool, package in TOOLS.items() if shutil.which(tool) is None})
    if missing:
        raise BuildError(
            f"the virtual machine needs {', '.join(missing)}: "
            f"apt-get install --no-install-recommends {' '.join(missing)}"
        )
    if os.geteuid() != 0:
        raise BuildError("debootstrap builds the virtual machine's disk as root: run this as root")


def ensure(out: TextIO = sys.stderr, more: More = _NO_MORE) -> Rootfs:
    """Build the image if the cache lacks it (about two minutes) and return its paths."""
    folder = cache_folder() / "vm" / f"rootfs-{_key(more)}"
    if not folder.exists():
        require_tools()
        lock = cache_folder() / "rootfs.lock"
        make_once("the virtual machine's disk", folder.exists, lambda: _build(folder, more, out), lock, out)
    names = ("disk.img", "vmlinuz", "initrd.img", "busybox", "packages")
    return Rootfs(*(folder / name for name in names))


def _key(more: More) -> str:
    packages, disabled = PACKAGES + more.packages, DISABLED + more.disabled
    digest = hashlib.sha256(f"{SUITE} {packages} {disabled} {MASKED} {ENABLED} {DISK_SIZE}".encode())
    for path in sorted(FILES.rglob("*")):
        if path.is_file():
            digest.update(str(path.relative_to(FILES)).encode() + path.read_bytes())
    return digest.hexdigest()[:16]


def _build(folder: Path, more: More, out: TextIO) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    progress = Progress("building the virtual machine's disk", out)
    with tempfile.TemporaryDirectory(prefix=".rootfs-", dir=folder.parent) as scratch:
        root, made = Path(scratch) / "root", Path(scratch) / "made"
        made.mkdir()
        log = Path(scratch) / "log"
        include = f"--include={','.join(PACKAGES + more.packages)}"
        run_logged(["debootstrap", "--variant=minbase", include, SUITE, str(root)], log, progress)
        shutil.copytree(FILES, root, dirs_exist_ok=True, symlinks=True)
        # Fewer modules and no compression: under emulation unpacking is what a boot waits for.
        run_logged(["chroot", str(root), "update-initramfs", "-u"], log, progress)
        for verb, units in (("disable", DISABLED + more.disabled), ("mask", MASKED), ("enable", ENABLED)):
            run_logged(["chroot", str(root), "systemctl", verb, *units], log, progress)
        for name in ("vmlinuz", "initrd.img"):
            (found,) = (root / "boot").glob(f"{name}-*")
            shutil.move(found, made / name)
        shutil.copy(root / "usr/bin/busybox", made)
        listed = ["chroot", str(root), "dpkg-query", "-W", "-f=${Package} ${Version}\\n"]
        packages = subprocess.run(listed, check=True, capture_output=True, text=True).stdout
        (made / "packages").write_text(packages)
        shutil.rmtree(root / "var/cache/apt")
        subprocess.run(["truncate", "-s", DISK_SIZE, str(made / "disk.img")], check=True)
        run_logged(["mke2fs", "-q", "-t", "ext4", "-d", str(root), str(made / "disk.img")], log, progress)
        made.rename(folder)
    progress.done()
