"""Fixtures on a real control plane: one per test process, made on first use.

`crds`          the control plane with podnuma's custom resources; most tests want this one
`control_plane` the same without them
`kwok`          nodes that become Ready and pods that become Running
`helm`          the program helm
`system`        podnuma at work on two nodes, for all tests of a module
`operating`     an operator at work, without agents, for all tests of a module
`site`          the same with the test's own namespace
`namespace`     a namespace of the test's own, gone afterwards
`filled`        `clean_cluster` with a node and a pod that holds something there, for the command line
`clean_cluster` `crds`, and after the test no pod, node, profile, topology or allocation is left

Tests of one process run one after another, so a test may stop the API server if it starts it again.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed import build
from testbed.cleanup import delete, wipe
from testbed.control_plane import ControlPlane
from testbed.installation import Installation, forget_leader
from testbed.kwok import Kwok
from testbed.playground.cluster import PROGRAMS
from tests.integration.cli_runs import fill
from tests.integration.operator_site import Site

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.api import Api

ROOT = Path(__file__).resolve().parents[2]

MACHINES = {
    "node-1": ("epyc7401-2s-8numa-16l3", "databases"),
    "node-2": ("xeon-2s-snc2-irregular", "training"),
}


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build before the first test starts its clock: the first build takes minutes."""
    wanted = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    needed = [*build.CONTROL_PLANE] if "control_plane" in wanted else []
    needed += [name for name in ("kwok", "helm") if name in wanted]
    needed += PROGRAMS if "playground" in wanted else ()
    try:
        build.ensure(needed, sys.__stderr__ or sys.stderr)
    except build.BuildError as error:
        pytest.exit(str(error), 1)


@pytest.fixture(scope="session")
def built() -> None:
    """Say that a test runs programs of the control plane by itself."""


@pytest.fixture(scope="session")
def helm() -> Path:
    """The program."""
    return build.ensure(["helm"])["helm"]


@pytest.fixture(scope="session")
def control_plane() -> Iterator[ControlPlane]:
    with ControlPlane() as running:
        yield running


@pytest.fixture(scope="session")
def crds(control_plane: ControlPlane) -> ControlPlane:
    control_plane.apply_crds(ROOT / "crds")
    return control_plane


@pytest.fixture(scope="session")
def kwok(control_plane: ControlPlane) -> Iterator[Kwok]:
    with Kwok(control_plane) as running:
        yield running


@pytest.fixture
def api(control_plane: ControlPlane) -> Api:
    """JSON calls as the administrator."""
    return control_plane.api


@pytest.fixture
def namespace(control_plane: ControlPlane, request: pytest.FixtureRequest) -> Iterator[str]:
    words = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower()).strip("-")
    name = f"{words[:40].strip('-')}-{os.urandom(3).hex()}"
    control_plane.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
    yield name
    # No kubelet confirms the end of pods on nodes that kwok does not mind.
    delete(control_plane.api, f"/api/v1/namespaces/{name}/pods")
    delete(control_plane.api, f"/api/v1/namespaces/{name}")


@pytest.fixture
def clean_cluster(crds: ControlPlane) -> Iterator[ControlPlane]:
    yield crds
    wipe(crds.api)


@pytest.fixture
def filled(clean_cluster: ControlPlane, namespace: str) -> ControlPlane:
    forget_leader(clean_cluster.api)
    fill(clean_cluster, namespace)
    return clean_cluster


@pytest.fixture(scope="module")
def operating(crds: ControlPlane, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(crds, "", tmp_path_factory.mktemp("operator")) as site:
        site.install()
        site.start()
        yield site


@pytest.fixture
def site(operating: Site, clean_cluster: ControlPlane, namespace: str) -> Iterator[Site]:
    """Nothing of another test is there; the last operator started must still run at the end."""
    assert clean_cluster is operating.cluster
    operating.namespace = namespace
    yield operating
    operating.operators[-1].process.check()


@pytest.fixture(scope="module")
def system(
    control_plane: ControlPlane, kwok: Kwok, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """podnuma at work: operator and two agents as processes, on the hardware of real servers."""
    with Installation(control_plane, tmp_path_factory.mktemp("system")) as installation:
        installation.install()
        control_plane.apply_files(ROOT / "examples" / "profiles")
        for name, (machine, pool) in MACHINES.items():
            installation.add_node(kwok, name, machine, {"node-pool": pool})
        programs = [installation.start_operator(), *(installation.start_agent(name) for name in MACHINES)]
        for program in programs:
            program.wait_ready()
        yield installation
    wipe(control_plane.api)
