"""How many pods stay ready during a rollout: the numbers of the controllers."""

from __future__ import annotations

import pytest
from podnuma.cli.objects.rolling_updates import pods_kept_ready


@pytest.mark.parametrize(
    ("replicas", "update", "kept"),
    [
        (1, {}, 1),
        (3, {}, 3),
        (4, {}, 3),
        (10, {}, 8),
        (3, {"maxUnavailable": "50%"}, 2),
        (3, {"maxUnavailable": 1}, 2),
        (3, {"maxUnavailable": 5}, 0),
        (3, {"maxUnavailable": 0}, 3),
        (3, {"maxUnavailable": "0%", "maxSurge": "0%"}, 2),  # both zero: one may be missing
        (3, {"maxSurge": 0}, 2),
        (10, {"maxUnavailable": "10%", "maxSurge": 0}, 9),
        (0, {}, 0),
        (3, {"maxUnavailable": "some"}, 3),
    ],
)
def test_what_may_be_missing_is_rounded_down(replicas, update, kept):
    assert pods_kept_ready("Deployment", {"strategy": {"rollingUpdate": update}}, replicas) == kept


@pytest.mark.parametrize("spec", [{}, {"strategy": None}, {"strategy": {"type": "RollingUpdate"}}])
def test_a_deployment_rolls_where_it_says_nothing(spec):
    assert pods_kept_ready("Deployment", spec, 3) == 3


def test_to_recreate_pods_all_go_first():
    assert pods_kept_ready("Deployment", {"strategy": {"type": "Recreate"}}, 3) == 0


@pytest.mark.parametrize(
    ("strategy", "kept"),
    [
        ({}, 3),
        ({"canary": {"maxUnavailable": 1}}, 2),
        ({"canary": {"steps": [{"setWeight": 20}]}}, 3),
        ({"blueGreen": {"activeService": "web"}}, 5),
        ({"canary": {"trafficRouting": {"nginx": {}}, "maxUnavailable": 1}}, 5),
        ({"canary": {"trafficRouting": {"nginx": {}}, "dynamicStableScale": True}}, 3),
    ],
)
def test_a_rollout_is_a_deployment_unless_all_new_pods_come_first(strategy, kept):
    assert pods_kept_ready("Rollout", {"strategy": strategy}, 3) == kept


@pytest.mark.parametrize(
    ("update", "kept"),
    [
        ({}, 0),
        ({"rollingUpdate": {"maxUnavailable": 1}}, 0),
        ({"rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}, 1),
        ({"rollingUpdate": {"maxSurge": "10%"}}, 1),
        ({"rollingUpdate": {"maxSurge": "0%"}}, 0),
        ({"type": "OnDelete", "rollingUpdate": {"maxSurge": 1}}, 0),
    ],
)
def test_the_old_pod_of_a_daemon_set_stays_where_that_surges(update, kept):
    assert pods_kept_ready("DaemonSet", {"updateStrategy": update}, 1) == kept
