"""A short life of resizes, with kills, on a real API server."""

from __future__ import annotations

import pytest

from testbed.cleanup import wipe
from testbed.installation import Installation
from tests.integration.resize_life import ResizeLife, install

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def resizing(clean_cluster, tmp_path):
    with Installation(clean_cluster, tmp_path) as system:
        install(system)
        yield system
        wipe(clean_cluster.api)


def test_resizes_and_kills_of_operator_and_agents_lose_nothing(resizing, namespace):
    life = ResizeLife(resizing, namespace, seed=20261129)
    life.live(16)
    assert life.kills >= 2
    assert life.resizes >= 5
