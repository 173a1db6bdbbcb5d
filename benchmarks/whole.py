"""What takes minutes and needs the whole machine: a crowd in the virtual machine, `make demo`, `make test`.

Each is measured in the source tree that is the working directory, with the clock on the wall.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from testbed.e2e.cluster import Cluster

ROUNDS = 3


def crowd() -> tuple[float, float]:
    """Return the seconds until 20 pods run in the virtual machine: before podnuma is there, and with it.

    The shortest of three rounds each: the first one warms the page cache. The pods are those of the
    end-to-end test, six of them with CPUs of their own.
    """
    from testbed.e2e import target  # noqa: PLC0415 - needs the virtual machine's tools
    from testbed.e2e.product import POD_SCOPE, Product  # noqa: PLC0415
    from testbed.vm.cell import parse  # noqa: PLC0415

    with target.machine(parse("")) as machine:
        without = min(_started(machine.cluster) for _ in range(ROUNDS))
        product = Product(machine.cluster)
        product.install(operator=False)
        target.start_operator(machine, product)
        product.profile(POD_SCOPE)
        product.wait_agent()
        return without, min(_started(machine.cluster) for _ in range(ROUNDS))


def _started(cluster: Cluster) -> float:
    from tests.e2e.test_2_starts import MIXED, mixed, others  # noqa: PLC0415

    pods = [*(mixed(name, cluster.image) for name in MIXED), *others(cluster.image)]
    began = time.monotonic()
    with cluster.running_at_once(*pods):
        return time.monotonic() - began


def first_demo() -> float:
    """Return the seconds of `make demo` in a copy of the tree with empty caches of Python packages and Go."""
    with tempfile.TemporaryDirectory(prefix="podnuma-first-") as folder:
        tree, caches = Path(folder) / "tree", Path(folder) / "caches"
        left_out = shutil.ignore_patterns(".git", ".venv", "*_pb2.py*", "__pycache__")
        shutil.copytree(Path.cwd(), tree, ignore=left_out)
        environment = {
            **_outside(),
            "PODNUMA_CACHE": str(caches / "podnuma"),
            "XDG_CACHE_HOME": str(caches),
            "GOCACHE": str(caches / "go-build"),
            "GOMODCACHE": str(caches / "go-mod"),
            "GOFLAGS": "-modcacherw",  # else the folder could not be removed
        }
        return _timed(["make", "demo"], tree, environment)


def suite() -> float:
    """Return the seconds of `make test`, with all that it needs built before."""
    tree, environment = Path.cwd(), _outside()
    subprocess.run(["make", "install"], cwd=tree, env=environment, check=True)
    subprocess.run(
        [".venv/bin/python", "-m", "testbed.build"],
        cwd=tree,
        env={**environment, "PYTHONPATH": "."},
        check=True,
    )
    return _timed(["make", "test"], tree, environment)


def _timed(command: list[str], tree: Path, environment: dict[str, str]) -> float:
    began = time.monotonic()
    subprocess.run(command, cwd=tree, env=environment, check=True)
    return time.monotonic() - began


def _outside() -> dict[str, str]:
    """Return the environment of a user's shell: without what this process was started with."""
    inner = {"PYTHONPATH", "VIRTUAL_ENV", "PODNUMA_CACHE", "MAKEFLAGS", "MFLAGS", "MAKELEVEL"}
    kept = {name: value for name, value in os.environ.items() if name not in inner}
    places = [place for place in os.environ["PATH"].split(os.pathsep) if not place.endswith(".venv/bin")]
    return {**kept, "PATH": os.pathsep.join(places)}
