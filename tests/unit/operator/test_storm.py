"""Short lives of a cluster; `make test-long` lives longer ones."""

import pytest

from tests.unit.operator.storm import Storm
from tests.unit.operator.virtual import virtual


@pytest.mark.parametrize("seed", range(12))
@virtual
async def test_nothing_is_lost_or_given_twice_whatever_happens(seed):
    await Storm(seed).live(60)


@pytest.mark.parametrize("seed", range(100, 112))
@virtual
async def test_every_kill_point_leaves_decisions_as_they_were(seed):
    storm = Storm(seed, kill_share=1.0, fault_share=0.0, edits=False, rest_every=25)
    await storm.live(100)
    assert storm.killer.kills >= 5
