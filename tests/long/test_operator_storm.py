"""Hundreds of lives in memory, each from its own seed."""

import os

import pytest

from tests.unit.operator.storm import Storm
from tests.unit.operator.virtual import virtual

pytestmark = pytest.mark.timeout(600)

FIRST = int(os.environ.get("PODNUMA_SEED", "1000"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 200))
@virtual
async def test_nothing_is_lost_or_given_twice_whatever_happens(seed):
    await Storm(seed).live(200)


@pytest.mark.parametrize("seed", range(FIRST + 1000, FIRST + 1050))
@virtual
async def test_every_kill_point_leaves_decisions_as_they_were(seed):
    await Storm(seed, kill_share=1.0, fault_share=0.0, edits=False, rest_every=25).live(200)
