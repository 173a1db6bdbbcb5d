"""`make e2e-kind` on a machine without Docker and registries: with the Docker of a virtual machine.

python -m testbed.kind                     runs `make e2e-kind`
python -m testbed.kind COMMAND [ARG...]    runs a command with that Docker, kind, kubectl and helm instead
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from testbed import build
from testbed.e2e import image
from testbed.kind import machine, node_image
from testbed.kind.cluster import for_machine
from testbed.processes import ProcessFailedError
from testbed.vm import rootfs

ROOT = Path(__file__).parents[2]
TOOLS = ("docker", "kind", "kubectl", "helm")
# Of helm and kind: what takes seconds on a real machine takes minutes here.
PATIENCE = "20m"


def main() -> int:
    """Run `make e2e-kind`, or a command, with the Docker of a virtual machine; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m testbed.kind", description=main.__doc__)
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to run instead")
    command = parser.parse_args().command or ["make", "-C", str(ROOT), "e2e-kind"]
    try:
        tools = build.ensure(TOOLS)
        archive = image.ensure()
        with machine.running() as running, tempfile.TemporaryDirectory(prefix="podnuma-kind-") as scratch:
            folder = Path(scratch)
            programs = folder / "bin"
            programs.mkdir()
            for name, path in {**tools, "busybox": rootfs.ensure().busybox}.items():
                (programs / name).symlink_to(path)
            described = yaml.safe_load((ROOT / "deploy" / "kind" / "cluster.yaml").read_text())
            config = folder / "cluster.yaml"
            config.write_text(yaml.safe_dump(for_machine(described, node_image.REFERENCE, running.port)))
            env = {
                **os.environ,
                "PATH": f"{programs}:{os.environ['PATH']}",
                "DOCKER_HOST": running.docker_host,
                "CLUSTER": str(config),
                "IMAGE_TAR": str(archive),
                "PATIENCE": PATIENCE,
            }
            return subprocess.run(command, check=False, env=env).returncode
    except (build.BuildError, ProcessFailedError, TimeoutError) as error:
        print(error, file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
