"""No alert's condition holds on a good day; on a bad day those hold whose fault was made.

`for`, and what depends on how long a fault lasts, are left to tests/dashboard/test_rules.py, which has its
own clock: here every condition is asked at the moment.
"""

import math

import pytest

from testbed.metrics_reference import alerts

pytestmark = pytest.mark.timeout(900)

MADE = {
    "PodnumaNoLeader",
    "PodnumaPodsRejected",
    "PodnumaPodsUndecided",
    "PodnumaAgentMissing",
    "PodnumaPaused",
    "PodnumaNotIsolated",
    "PodnumaContended",
    "PodnumaCgroupsOutOfSync",
    "PodnumaStartedUnpinned",
    "PodnumaResizePending",
}
# Hold if the fault lasts, or if the machine is slow.
TIMED = {"PodnumaDrift", "PodnumaApiErrors", "PodnumaSlowAdmission"}
# Minutes of waiting, or what only a fault of podnuma or an old definition makes: see test_rules.py.
NOT_MADE = {
    "PodnumaCpuWithTwoOwners",
    "PodnumaCrdsTooOld",
    "PodnumaNodeWaits",
    "PodnumaObjectsUnreadable",
    "PodnumaStatusRefused",
    "PodnumaPodsGated",
}
# Of TIMED the only one that a slow machine makes hold without a fault.
SLOW = "PodnumaSlowAdmission"
NAMES = [rule["alert"] for rule in alerts()]


def test_every_alert_is_in_one_of_the_lists():
    assert sorted(NAMES) == sorted([*MADE, *TIMED, *NOT_MADE])


@pytest.mark.parametrize("name", [name for name in NAMES if name != SLOW])
def test_it_does_not_hold_on_a_good_day(days, name):
    assert days.good.alerts[name] == []


@pytest.mark.parametrize("name", NAMES)
def test_what_it_compares_has_a_value(days, name):
    """An alert on a series that does not exist would never fire."""
    # The share of failed requests exists once one has failed.
    moments = days.bad.values() if name == "PodnumaApiErrors" else [days.good]
    values = [value for answers in moments for _, value in answers.bare_alerts[name]]
    assert values
    assert all(math.isfinite(value) for value in values)


@pytest.mark.parametrize("name", sorted(MADE))
def test_it_holds_after_its_fault(days, name):
    assert name in days.fired()


@pytest.mark.parametrize("name", sorted(NOT_MADE))
def test_it_holds_after_no_other_fault(days, name):
    assert name not in days.fired()
