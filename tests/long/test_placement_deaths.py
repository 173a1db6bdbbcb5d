"""The operator dies while it places pods: at two hundred requests in memory, and on a real API server."""

import os

import pytest

from testbed import faults
from testbed.faults import FaultyApiServer
from tests.integration.placement_faults import fail_each_step, kill_the_leader, name_of_fault
from tests.integration.placement_life import PlacementLife
from tests.integration.placement_site import placing_site
from tests.unit.operator.test_controller_placement import die_while_placing
from tests.unit.operator.virtual import virtual

pytestmark = pytest.mark.timeout(3600)

FIRST = int(os.environ.get("PODNUMA_SEED", "1000"))
KILLS = int(os.environ.get("PODNUMA_KILLS", "200"))


@pytest.fixture
def site(clean_cluster, namespace, tmp_path, helm):
    with placing_site(clean_cluster, namespace, tmp_path, helm) as found:
        yield found


@pytest.fixture
def faulty(clean_cluster):
    with FaultyApiServer(clean_cluster) as found:
        yield found


@pytest.mark.parametrize("seed", range(FIRST, FIRST + 200))
@virtual
async def test_no_pod_stays_gated_and_none_shares_wherever_the_operator_dies(seed):
    await die_while_placing(seed)


def test_hundreds_of_kills_leave_no_pod_gated_and_nothing_twice(site, kwok, faulty):
    life = PlacementLife(site, faulty, FIRST)
    life.furnish(kwok)
    life.die(KILLS)
    assert life.kills >= KILLS


@pytest.mark.parametrize(
    ("step", "done"), [("reserve", False), ("nominate", True), ("lift", False), ("take over", True)]
)
def test_a_leader_killed_at_any_step_leaves_no_pod_gated_and_nothing_twice(site, kwok, faulty, step, done):
    kill_the_leader(site, kwok, faulty, step, done=done)


@pytest.mark.parametrize(
    "fault",
    [faults.Refuse(429, "TooManyRequests", retry_after=1), faults.Cut()],
    ids=name_of_fault,
)
def test_a_step_that_fails_is_repeated(site, kwok, faulty, fault):
    fail_each_step(site, kwok, faulty, fault)
