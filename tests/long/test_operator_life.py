"""Hundreds of kills and a thousand steps on a real API server."""

from __future__ import annotations

import os

import pytest

from testbed.faults import FaultyApiServer
from tests.integration.operator_life import NODES, Life
from tests.integration.operator_site import Site

pytestmark = pytest.mark.timeout(3600)

KILLS = 220
STEPS = 1000
SEED = int(os.environ.get("PODNUMA_SEED", "1"))


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


def test_hundreds_of_kills_lose_and_change_nothing(site, faulty):
    life = Life(site, faulty, SEED)
    life.die(KILLS)
    assert life.kills >= KILLS


def test_a_thousand_steps_lose_and_change_nothing(site, faulty):
    Life(site, faulty, SEED + 1).live(STEPS)
