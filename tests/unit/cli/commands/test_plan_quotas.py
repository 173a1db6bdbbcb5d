"""Quotas of the cluster and of the manifests refuse pods of a plan; that is said, and the exit code is 1."""

from __future__ import annotations

from typing import Any

import pytest
from podnuma.cli.exits import Exit

from tests.unit.cli.commands.test_plan_running import FIRST, REPLICA, Tried, node, running, workload


def quota(hard: str, used: str = "0", namespace: str = "a") -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "team", "namespace": namespace},
        "spec": {"hard": {"requests.cpu": hard}},
        "status": {"hard": {"requests.cpu": hard}, "used": {"requests.cpu": used}},
    }


@pytest.mark.parametrize(("hard", "code"), [("24", Exit.OK), ("23", Exit.NO)])
def test_a_quota_is_asked_about_all_new_pods_together(tmp_path, hard, code):
    tried = Tried(tmp_path, [node(), quota(hard)], workload("Deployment", 12, 2))
    assert {result for result, _ in tried.pods.values()} == {"admitted"}
    assert tried.code is code
    assert ("ResourceQuota a/team refuses some pods: it has requests.cpu 23" in tried.said) == (
        code is Exit.NO
    )


def test_pods_that_run_are_in_what_a_quota_says_is_used(tmp_path):
    cluster = [node(), *running("w-5d4f-x", 12, FIRST, REPLICA, "5d4f")]
    assert Tried(tmp_path, [*cluster, quota("24", "12")], workload("Deployment", 12, 2)).code is Exit.OK
    assert Tried(tmp_path, [*cluster, quota("23", "12")], workload("Deployment", 12, 2)).code is Exit.NO


def test_a_quota_may_be_among_the_manifests_and_of_another_namespace(tmp_path):
    assert Tried(tmp_path, [node()], quota("1"), workload("Deployment", 12, 1)).code is Exit.NO
    assert Tried(tmp_path, [node()], quota("1", namespace="b"), workload("Deployment", 12, 1)).code is Exit.OK
