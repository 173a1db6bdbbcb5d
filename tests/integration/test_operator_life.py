"""Short lives on a real API server; `make test-long` lives longer ones."""

from __future__ import annotations

import pytest

from testbed.faults import FaultyApiServer
from tests.integration.operator_life import NODES, Life
from tests.integration.operator_site import Site

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def site(clean_cluster, namespace, tmp_path):
    with Site(clean_cluster, namespace, tmp_path) as found:
        found.install()
        found.furnish(*NODES, onRejection="Share")
        yield found


@pytest.fixture
def faulty(clean_cluster):
    with FaultyApiServer(clean_cluster) as found:
        yield found


def test_a_kill_between_any_two_requests_loses_and_changes_nothing(site, faulty):
    life = Life(site, faulty, seed=20261125)
    life.die(12)
    assert life.kills >= 12


def test_pods_profiles_and_nodes_come_and_go_and_nothing_is_given_twice(site, faulty):
    Life(site, faulty, seed=20261126).live(75)
