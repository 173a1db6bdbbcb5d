"""What a ResourceQuota has left, and which pods it refuses: the numbers of the API server."""

from __future__ import annotations

from typing import Any

import pytest
from podnuma.api.pod import read_pod
from podnuma.api.pod_needs import read_pod_needs
from podnuma.api.resource_quotas import beyond_quota, uncounted_in_quota


def quota(hard: dict[str, str], used: dict[str, str] | None = None, **spec: object) -> dict[str, Any]:
    return {
        "metadata": {"namespace": "a", "name": "team"},
        "spec": {"hard": hard, **spec},
        "status": {"hard": hard, "used": used or {}},
    }


def pod(budget: str = "", **containers: str) -> dict[str, Any]:
    """A pod with CPUs for each container, and a budget; no amount: the container says nothing."""
    spec: dict[str, Any] = {
        "containers": [
            {"name": name, "resources": {"requests": {"cpu": cpus}} if cpus else {}}
            for name, cpus in containers.items()
        ]
    }
    if budget:
        spec["resources"] = {"requests": {"cpu": budget}, "limits": {"cpu": budget}}
    return {"metadata": {"namespace": "a", "name": "p", "uid": "u"}, "spec": spec}


def asked(hard: dict[str, str], used: dict[str, str], *pods: dict[str, Any], gone: Any = ()) -> list[str]:
    new = [(read_pod(one), read_pod_needs(one)) for one in pods]
    return list(beyond_quota(quota(hard, used), new, map(read_pod_needs, gone)))


FOUR = pod(main="4")


@pytest.mark.parametrize("name", ["cpu", "requests.cpu"])
def test_what_new_pods_request_together_is_refused_beyond_what_is_left(name):
    assert asked({name: "16"}, {name: "8"}, FOUR, FOUR) == []
    refused = f"ResourceQuota a/team refuses some pods: it has {name} 7 left, they need 8"
    assert asked({name: "15"}, {name: "8"}, FOUR, FOUR) == [refused]


def test_pods_are_counted_and_what_is_gone_is_free_again():
    assert asked({"pods": "3"}, {"pods": "2"}, FOUR) == []
    assert asked({"count/pods": "2"}, {"count/pods": "2"}, FOUR) != []
    assert asked({"count/pods": "2", "cpu": "8"}, {"count/pods": "2", "cpu": "8"}, FOUR, gone=[FOUR]) == []


def test_a_quota_that_is_used_up_refuses_nothing_of_pods_that_need_nothing_more():
    assert asked({"cpu": "4"}, {"cpu": "8"}, FOUR, gone=[FOUR]) == []


def test_a_budget_counts_instead_of_its_containers():
    assert asked({"cpu": "8"}, {"cpu": "0"}, pod(budget="6", main="4", side="")) == []
    assert asked({"cpu": "5"}, {"cpu": "0"}, pod(budget="6", main="4")) != []


def test_each_container_names_what_is_limited_unless_the_pod_has_a_budget():
    (line,) = asked({"limits.memory": "8Gi"}, {}, FOUR)
    assert line.endswith("refuses a/p: each container has to name its limits of memory")
    (line,) = asked({"requests.cpu": "8"}, {}, pod(main="4", side=""))
    assert line.endswith("each container has to name its requests of cpu")
    assert asked({"requests.cpu": "8", "limits.memory": "8Gi"}, {}, pod(budget="6", main="4", side="")) == []


@pytest.mark.parametrize(
    "name",
    [
        "services",
        "count/deployments.apps",
        "requests.storage",
        "gold.storageclass.storage.k8s.io/requests.storage",
    ],
)
def test_what_is_not_about_pods_is_left_alone(name):
    assert asked({name: "0"}, {name: "0"}, FOUR) == []
    assert uncounted_in_quota(quota({name: "0"})) == ""


def test_devices_and_huge_pages_are_counted():
    value = pod(main="4")
    value["spec"]["containers"][0]["resources"] = {
        "requests": {"cpu": "4", "hugepages-2Mi": "4Mi", "example.com/gpu": "2"},
        "limits": {"hugepages-2Mi": "4Mi", "example.com/gpu": "2"},
    }
    hard = {"requests.example.com/gpu": "1", "requests.hugepages-2Mi": "2Mi"}
    texts = [line.partition("it has ")[2] for line in asked(hard, {}, value)]
    assert texts == [
        "requests.example.com/gpu 1 left, they need 2",
        "requests.hugepages-2Mi 2Mi left, they need 4Mi",
    ]


@pytest.mark.parametrize(
    "spec", [{"scopes": ["NotTerminating"]}, {"scopeSelector": {"matchExpressions": []}}]
)
def test_a_quota_with_scopes_is_not_looked_at_and_named(spec):
    new = [(read_pod(FOUR), read_pod_needs(FOUR))]
    found = quota({"cpu": "1"}, **spec)
    assert (
        list(beyond_quota(found, new)) == [] or spec["scopes" if "scopes" in spec else "scopeSelector"] == {}
    )
    assert uncounted_in_quota(found) == "ResourceQuota a/team, which counts some pods only (scopes)"


def test_limits_are_not_added_up_and_named():
    assert uncounted_in_quota(quota({"limits.cpu": "1", "cpu": "1"})) == "limits.cpu of ResourceQuota a/team"


@pytest.mark.parametrize("junk", [None, 7, {"spec": 7}, {"spec": {"hard": {"cpu": "x"}}}])
def test_what_no_api_server_stores_refuses_nothing_of_a_pod_that_asks_for_nothing(junk):
    empty = pod(main="0")
    assert list(beyond_quota(junk, [(read_pod(empty), {})])) == []
