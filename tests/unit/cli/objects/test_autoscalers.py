"""How many pods autoscalers among the manifests make of a workload."""

import pytest
from podnuma.cli.objects.documents import Document
from podnuma.cli.objects.workloads import expand


def workload(replicas=None, kind="Deployment", **metadata):
    container = {"name": "c", "image": "i"}
    spec = {} if replicas is None else {"replicas": replicas}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": "web", **metadata},
        "spec": {**spec, "template": {"spec": {"containers": [container]}}},
    }


def autoscaler(least=None, most=10, kind="Deployment", **metadata):
    bounds = {"maxReplicas": most} if least is None else {"minReplicas": least, "maxReplicas": most}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "by-load", **metadata},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": kind, "name": "web"}, **bounds},
    }


def expanded(*values):
    return expand([Document(f"f document {number}", one) for number, one in enumerate(values, 1)])


@pytest.mark.parametrize(
    ("replicas", "least", "most", "planned", "bound"),
    [
        (None, 3, 10, 3, "minReplicas"),
        (1, 3, 10, 3, "minReplicas"),
        (4, 3, 10, 4, ""),
        (12, 3, 10, 10, "maxReplicas"),
        (None, None, 10, 1, ""),
        (0, 3, 10, 0, ""),
    ],
)
def test_replicas_are_within_the_bounds_of_the_autoscaler(replicas, least, most, planned, bound):
    for values in (
        (workload(replicas), autoscaler(least, most)),
        (autoscaler(least, most), workload(replicas)),
    ):
        found = expanded(*values)
        assert (len(found.pods), found.problems) == (planned, ())
        (said,) = found.autoscaled or ("",)
        assert said.endswith(f"{bound} of HorizontalPodAutoscaler by-load" if bound else "")
        assert not any("by-load" in line for line in found.skipped)


def test_the_line_names_both_objects_and_both_numbers():
    (said,) = expanded(workload(), autoscaler(3)).autoscaled
    assert said == (
        "f document 1: Deployment web is planned with 3 replicas instead of 1: "
        "minReplicas of HorizontalPodAutoscaler by-load"
    )


@pytest.mark.parametrize(
    "other", [workload(kind="StatefulSet"), workload(namespace="elsewhere"), workload(name="other")]
)
def test_an_autoscaler_of_something_else_makes_no_pods(other):
    found = expanded(other, autoscaler(3))
    assert (len(found.pods), found.autoscaled) == (1, ())
    assert found.skipped == ("f document 2: HorizontalPodAutoscaler by-load makes no pods; left out",)


def scaled_object(name="web", annotations=None, **spec):
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": {"name": "by-queue", "annotations": annotations or {}},
        "spec": {"scaleTargetRef": {"name": name}, **spec},
    }


@pytest.mark.parametrize(
    ("replicas", "spec", "planned"),
    [
        (None, {"minReplicaCount": 3}, 3),
        (0, {"minReplicaCount": 3}, 3),
        (0, {}, 0),
        (None, {}, 1),
        (5, {"maxReplicaCount": 4}, 4),
    ],
)
def test_what_keda_scales_has_its_bounds_also_from_zero(replicas, spec, planned):
    """Other than a HorizontalPodAutoscaler it scales what has no replicas; a Deployment unless it says so."""
    found = expanded(workload(replicas), scaled_object(**spec))
    assert (len(found.pods), found.not_understood) == (planned, ())
    assert len(expanded(workload(1, kind="StatefulSet"), scaled_object(**spec)).pods) == 1


def test_what_keda_has_paused_has_the_replicas_of_the_annotation():
    paused = {"autoscaling.keda.sh/paused-replicas": "2"}
    found = expanded(workload(), scaled_object(annotations=paused, minReplicaCount=5))
    assert len(found.pods) == 2
    assert found.autoscaled[0].endswith("autoscaling.keda.sh/paused-replicas of ScaledObject by-queue")


def vertical(target="web", mode="Recreate", **spec):
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": target}
    return {
        "apiVersion": "autoscaling.k8s.io/v1",
        "kind": "VerticalPodAutoscaler",
        "metadata": {"name": "by-use"},
        "spec": {"targetRef": reference, "updatePolicy": {"updateMode": mode}, **spec},
    }


ALL_OFF = {"containerName": "*", "mode": "Off"}


@pytest.mark.parametrize(
    ("one", "changes"),
    [
        (vertical(), True),
        (vertical(mode="InPlaceOrRecreate"), True),
        (vertical(mode="Initial"), True),
        (vertical(resourcePolicy={"containerPolicies": [ALL_OFF, {"containerName": "c"}]}), True),
        (vertical(resourcePolicy={"containerPolicies": [ALL_OFF]}), False),
        (vertical(mode="Off"), False),
        (vertical("other"), False),
    ],
)
def test_requests_that_an_autoscaler_changes_are_said_to_be_those_of_the_manifest(one, changes):
    """They are rarely whole CPUs: what is admitted with CPUs of its own would have none."""
    found = expanded(workload(), one)
    said = (
        "f document 1: Deployment web is planned with the requests of its manifest, though "
        "VerticalPodAutoscaler by-use gives its pods others when they are created, rarely of whole CPUs"
    )
    assert found.autoscaled == ((said,) if changes else ())
    assert len(found.pods) == 1
