"""The machine with Docker, as far as it can be checked without one: set-up, disk, the way to Docker."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from testbed.kind import machine
from testbed.vm import rootfs


def test_the_set_up_is_good_shell_and_may_be_run():
    setup = machine.FILES / "setup"
    checked = subprocess.run(["sh", "-n", str(setup)], check=False, capture_output=True, text=True)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert os.access(setup, os.X_OK)


def test_a_machine_with_more_packages_has_a_disk_of_its_own():
    plain = rootfs._key(rootfs.More())
    assert rootfs._key(machine.MORE) != plain
    assert rootfs._key(rootfs.More(("docker.io",))) != rootfs._key(rootfs.More((), ("docker.io",)))


def test_dockers_socket_comes_here_through_ssh():
    argv = machine._tunnel(4022, Path("/some/key"), Path("/here/docker.sock"))
    assert argv[argv.index("-L") + 1] == "/here/docker.sock:/run/docker.sock"
    assert argv[argv.index("-p") + 1] == "4022"
    # A tunnel that cannot be made ends, instead of being waited for.
    assert "ExitOnForwardFailure=yes" in argv
