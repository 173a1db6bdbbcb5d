"""The operator dies at two hundred random requests of a placement, in memory."""

import os

import pytest

from tests.unit.operator.test_controller_placement import die_while_placing
from tests.unit.operator.virtual import virtual

pytestmark = pytest.mark.timeout(600)

FIRST = int(os.environ.get("PODNUMA_SEED", "1000"))


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 200))
@virtual
async def test_no_pod_stays_gated_and_none_shares_wherever_the_operator_dies(seed):
    await die_while_placing(seed)
