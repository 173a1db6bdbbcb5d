"""What a pod requests of its node, as the scheduler counts it.

Numbers are those of k8s.io/component-helpers v0.37.2, with which random pods were compared.
"""

from typing import Any

import pytest
from podnuma.allocator.quantities import NANO
from podnuma.api.pod_needs import add, read_pod_needs


def test_amounts_add_up_by_name():
    assert add({"cpu": 1}, {"cpu": 2, "pods": 1}) == {"cpu": 3, "pods": 1}


def resized(asked, allocated, has, reason=""):
    """A pod of one container and a sidecar, resized to what is asked for."""
    condition = {"type": "PodResizePending", "status": "True", "reason": reason}
    told = {"allocatedResources": {"cpu": allocated}, "resources": {"requests": {"cpu": has}}}
    return {
        "spec": {
            "initContainers": [
                {"name": "mesh", "restartPolicy": "Always", "resources": {"requests": {"cpu": "1"}}}
            ],
            "containers": [{"name": "db", "resources": {"requests": {"cpu": asked}}}],
        },
        "status": {
            "containerStatuses": [{"name": "db", **told}],
            "initContainerStatuses": [{"name": "mesh"}],
            "conditions": [condition] if reason else [],
        },
    }


@pytest.mark.parametrize(
    ("pod", "cpus"),
    [
        (resized("4", "4", "4"), 5),
        (resized("8", "4", "4", "Deferred"), 9),
        (resized("8", "4", "4", "Infeasible"), 5),
        (resized("2", "4", "4"), 5),
        (resized("2", "2", "4"), 5),
        (resized("8", "?", "?", "Infeasible"), 9),
    ],
)
def test_a_pod_that_is_resized_counts_as_the_scheduler_counts_it(pod, cpus):
    """kubernetes/kubernetes#126033: what a kubelet called infeasible stays in the spec for ever."""
    assert read_pod_needs(pod)["cpu"] == cpus * NANO


@pytest.mark.parametrize(("asked", "cpus"), [("8", 8), ("2", 4)])
def test_a_budget_that_is_resized_counts_likewise(asked, cpus):
    status = {"allocatedResources": {"cpu": "4"}, "resources": {"requests": {"cpu": "4"}}}
    pod = {
        "spec": {"resources": {"requests": {"cpu": asked}}, "containers": [{"name": "db"}]},
        "status": status,
    }
    assert read_pod_needs(pod)["cpu"] == cpus * NANO


def asks(name: str, cpu: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "resources": {"requests": {"cpu": cpu}}, **more}


def has(name: str, allocated: str, present: str) -> dict[str, Any]:
    return {
        "name": name,
        "allocatedResources": {"cpu": allocated},
        "resources": {"requests": {"cpu": present}},
    }


def test_containers_are_resized_together_so_the_largest_sum_counts():
    """kubernetes/kubernetes#140046: one gives a CPU to the other; the pod never has four."""
    spec = {"containers": [asks("a", "1"), asks("b", "2")]}
    status = {"containerStatuses": [has("a", "2", "2"), has("b", "1", "1")]}
    assert read_pod_needs({"spec": spec, "status": status})["cpu"] == 3 * NANO


@pytest.mark.parametrize("restarts", [{}, {"restartPolicy": "Always"}])
def test_an_init_container_counts_with_what_it_has_too(restarts):
    spec = {"initContainers": [asks("first", "2", **restarts)], "containers": [asks("a", "1")]}
    status = {"initContainerStatuses": [has("first", "8", "8")], "containerStatuses": [has("a", "1", "1")]}
    assert read_pod_needs({"spec": spec, "status": status})["cpu"] == (9 if restarts else 8) * NANO


@pytest.mark.parametrize("budget", [{}, {"resources": {"requests": {"cpu": "4"}}}])
def test_an_overhead_that_the_kubelet_has_counted_is_counted_again_as_the_scheduler_does(budget):
    """kubernetes/kubernetes#139627: whoever counts it once sends pods where the scheduler has no room."""
    spec = {"overhead": {"cpu": "250m"}, "containers": [asks("a", "4")], **budget}
    told = {"allocatedResources": {"cpu": "4250m"}, "resources": {"requests": {"cpu": "4250m"}}}
    assert read_pod_needs({"spec": spec})["cpu"] == 4.25 * NANO
    status = {"containerStatuses": [has("a", "4", "4")], **told}
    assert read_pod_needs({"spec": spec, "status": status})["cpu"] == 4.5 * NANO


def test_what_claims_take_of_the_node_is_requested():
    claim = {"resourceClaimName": "c", "mapping": [{"name": "cpu", "quantity": "2"}]}
    status = {"nodeAllocatableResourceClaimStatuses": [claim]}
    assert read_pod_needs({"spec": {"containers": [asks("a", "4")]}, "status": status})["cpu"] == 6 * NANO
