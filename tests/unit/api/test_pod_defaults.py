"""Manifests get what the API server would have filled in; the integration tests ask a real one."""

from typing import Any

import pytest
from hypothesis import given
from podnuma.api.pod import read_pod
from podnuma.api.pod_defaults import with_api_defaults

from tests.unit.api.objects import example, junk, spoiled


def pod(resources=None, *containers, init=()) -> dict[str, Any]:
    spec = {"initContainers": [dict(c) for c in init], "containers": [dict(c) for c in containers]}
    return {"metadata": {"name": "p"}, "spec": spec | ({} if resources is None else {"resources": resources})}


def container(**resources) -> dict[str, Any]:
    return {"name": "c", "resources": resources}


def filled(*args, **kwargs) -> dict[str, Any]:
    spec: dict[str, Any] = with_api_defaults(pod(*args, **kwargs))["spec"]
    return spec


def test_a_container_requests_its_limit_where_it_requests_nothing():
    (found,) = filled(None, container(requests={"cpu": "1"}, limits={"cpu": "2", "memory": "1Gi"}))[
        "containers"
    ]
    assert found["resources"] == {
        "requests": {"cpu": "1", "memory": "1Gi"},
        "limits": {"cpu": "2", "memory": "1Gi"},
    }


def test_a_missing_pod_request_is_what_the_containers_request_together():
    spec = filled({"limits": {"cpu": "4", "memory": "8Gi"}}, container(requests={"cpu": "2"}))
    assert spec["resources"]["requests"] == {"cpu": "2", "memory": "8Gi"}


def test_a_missing_pod_request_is_the_limit_when_no_container_requests_the_resource():
    spec = filled({"limits": {"cpu": "4", "memory": "8Gi"}}, {"name": "c"})
    assert spec["resources"]["requests"] == {"cpu": "4", "memory": "8Gi"}


def test_requests_of_containers_count_at_their_peak():
    init = [{"name": "i", "resources": {"requests": {"cpu": "3"}}}]
    sidecar = [{"name": "s", "restartPolicy": "Always", "resources": {"requests": {"cpu": "500m"}}}]
    spec = filled({"limits": {"cpu": "9"}}, container(requests={"cpu": "1"}), init=[*sidecar, *init])
    assert spec["resources"]["requests"] == {"cpu": "3500m"}


def test_pod_requests_without_limits_are_left_alone():
    spec = filled({"requests": {"cpu": "4"}}, container(limits={"cpu": "2", "memory": "2Gi"}))
    assert spec["resources"] == {"requests": {"cpu": "4"}}


def test_a_missing_limit_for_huge_pages_is_what_the_containers_have_together():
    huge = {"hugepages-2Mi": "64Mi"}
    spec = filled({"limits": {"cpu": "4"}}, container(limits=huge), container(limits=huge))
    assert spec["resources"]["limits"] == {"cpu": "4", "hugepages-2Mi": "128Mi"}
    assert spec["resources"]["requests"]["hugepages-2Mi"] == "128Mi"


def test_a_pod_without_a_budget_gets_none():
    assert "resources" not in filled(None, container(limits={"hugepages-2Mi": "64Mi"}))
    assert filled({}, container(limits={"hugepages-2Mi": "64Mi"}))["resources"] == {}


@pytest.mark.parametrize(
    ("written", "stored"),
    [("1.5Gi", "1536Mi"), ("0.5", "500m"), (1.5, "1500m"), ("4000m", "4000m"), (4, 4), ("2G", "2G")],
)
def test_amounts_with_a_fraction_are_rewritten_without_one(written, stored):
    resource = "memory" if str(written)[-1] in "iG" else "cpu"
    (found,) = filled(None, container(requests={resource: written}))["containers"]
    assert found["resources"]["requests"] == {resource: stored}


def test_a_rewritten_amount_can_be_counted_by_the_kubelet():
    body = pod({"limits": {"cpu": "4", "memory": "1.5Gi"}}, {"name": "c"})
    as_written, as_stored = read_pod(body).pod_limits, read_pod(with_api_defaults(body)).pod_limits
    assert as_written is not None
    assert not as_written["memory"].representable
    assert as_stored is not None
    assert as_stored["memory"].representable


@pytest.mark.parametrize(
    ("budget", "containers", "requests", "limits"),
    [
        # A request for one resource is enough for the other's, and all containers have limits.
        (
            {"requests": {"cpu": "4"}},
            [{"limits": {"cpu": "2", "memory": "2Gi"}}],
            {"cpu": "4", "memory": "2Gi"},
            {"cpu": "4", "memory": "2Gi"},
        ),
        ({"requests": {"cpu": "1"}}, [{"limits": {"cpu": "2"}}], {"cpu": "1"}, {"cpu": "2"}),
        # One container without a limit: no limit.
        (
            {"requests": {"cpu": "4"}},
            [{"limits": {"cpu": "2"}}, {"requests": {"cpu": "1"}}],
            {"cpu": "4"},
            {},
        ),
        (
            {"limits": {"cpu": "4"}},
            [{"limits": {"cpu": "1", "memory": "1Gi"}}, {"limits": {"cpu": "1", "memory": "1Gi"}}],
            {"cpu": "2", "memory": "2Gi"},
            {"cpu": "4", "memory": "2Gi"},
        ),
        ({"requests": {"cpu": "4"}}, [{}], {"cpu": "4"}, {}),
    ],
)
def test_with_fixed_defaulting_a_pod_gets_the_limits_of_its_containers(budget, containers, requests, limits):
    body = pod(budget, *(container(**resources) for resources in containers))
    found = with_api_defaults(body, fix_defaulting=True)["spec"]["resources"]
    assert (found["requests"], found.get("limits", {})) == (requests, limits)


def test_the_examples_are_stored_as_they_are():
    for name in ("pods/database", "pods/ml-training"):
        assert with_api_defaults(example(name)) == example(name)


def test_the_given_pod_is_not_changed():
    body = pod({"limits": {"cpu": "4"}}, container(limits={"cpu": "2"}))
    before = repr(body)
    with_api_defaults(body)
    assert repr(body) == before


@given(junk | spoiled(pod({"limits": {"cpu": "4"}}, container(limits={"cpu": "2"}))))
def test_defaults_are_stable_and_never_fail(value):
    once = with_api_defaults(value)
    assert repr_of(with_api_defaults(once)) == repr_of(once)


def repr_of(value) -> object:
    """Something that compares NaN equal to itself, and numbers too long to print."""
    if isinstance(value, dict):
        return {repr_of(key): repr_of(item) for key, item in value.items()}
    if isinstance(value, list):
        return [repr_of(item) for item in value]
    return value if isinstance(value, int) else repr(value)
