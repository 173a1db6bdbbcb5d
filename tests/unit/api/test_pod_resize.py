"""What the kubelet has allocated, and revisions of a pod's resources."""

import copy
from typing import Any

import pytest
from podnuma.allocator import Quantity
from podnuma.api.pod import read_pod
from podnuma.api.pod_resize import allocated, kubelet_holds_back, resources_revision


def pod(cpu: str = "3", budget: str | None = "4", **status: Any) -> dict[str, Any]:
    amounts = {"cpu": cpu, "memory": "1Gi"}
    spec: dict[str, Any] = {
        "containers": [
            {"name": "db", "resources": {"requests": amounts, "limits": dict(amounts)}},
            {"name": "log", "resources": {}},
        ]
    }
    if budget:
        whole = {"cpu": budget, "memory": "2Gi"}
        spec["resources"] = {"requests": whole, "limits": dict(whole)}
    return {
        "metadata": {"name": "db", "namespace": "shop", "uid": "u1"},
        "spec": spec,
        "status": {"qosClass": "Guaranteed", **status},
    }


def of_container(cpu: str = "2", memory: str = "1Gi") -> list[dict[str, Any]]:
    return [{"name": "db", "allocatedResources": {"cpu": cpu, "memory": memory}}]


def cpus(value: dict[str, Any]) -> tuple[int, int, int]:
    """Return the CPUs of the first container, requested and at most, and of the budget."""
    found = allocated(value, read_pod(value))
    first = found.containers[0]
    budget = (found.pod_requests or {}).get("cpu", Quantity(0))
    return first.requests["cpu"].units, first.limits["cpu"].units, budget.units


def test_what_the_kubelet_has_not_reported_is_as_the_spec_says():
    assert cpus(pod()) == (3, 3, 4)
    assert cpus(pod(containerStatuses=[{"name": "db"}], allocatedResources={})) == (3, 3, 4)


def test_a_resize_that_is_only_desired_does_not_count():
    value = pod(
        "3", "6", containerStatuses=of_container("2"), allocatedResources={"cpu": "4", "memory": "2Gi"}
    )
    assert cpus(value) == (2, 2, 4)


def test_sidecars_are_reported_apart():
    value = pod(budget="6")
    value["spec"]["initContainers"] = [
        {**value["spec"]["containers"][0], "name": "proxy", "restartPolicy": "Always"}
    ]
    value["status"]["initContainerStatuses"] = [{**of_container("1")[0], "name": "proxy"}]
    found = allocated(value, read_pod(value))
    assert [container.requests["cpu"].units for container in found.containers if container.requests] == [1, 3]


def test_a_sum_over_containers_is_no_budget():
    value = pod(budget=None, allocatedResources={"cpu": "3", "memory": "1Gi"})
    del value["spec"]["containers"][1]
    assert allocated(value, read_pod(value)).pod_requests is None


def test_a_limit_above_its_request_stays_as_desired():
    value = pod(containerStatuses=of_container("2"))
    value["spec"]["containers"][0]["resources"]["limits"]["cpu"] = "4"
    assert cpus(value) == (2, 4, 4)


@pytest.mark.parametrize(
    "status",
    [
        {"containerStatuses": 5},
        {"containerStatuses": [5, {"name": 3}, {"name": "db", "allocatedResources": [1]}]},
        {"containerStatuses": [{"name": "db", "allocatedResources": {"cpu": "much", "memory": "1Gi"}}]},
        {"allocatedResources": {"cpu": {}}},
        {"conditions": [None, {"type": "PodResizePending"}, 3]},
    ],
)
def test_a_status_that_cannot_be_read_counts_as_not_reported(status):
    assert cpus(pod(**status)) == (3, 3, 4)
    assert kubelet_holds_back(pod(**status)) == ""


def test_the_kubelets_reason_is_told():
    condition = {"type": "PodResizePending", "status": "True", "reason": "Infeasible", "message": "no room"}
    assert kubelet_holds_back(pod(conditions=[condition])) == "Infeasible: no room"
    assert kubelet_holds_back(pod(conditions=[{**condition, "status": "False"}])) == ""


def test_a_revision_depends_on_amounts_and_not_on_how_they_are_written():
    def revision(value):
        return resources_revision(read_pod(value))

    same = copy.deepcopy(pod())
    same["spec"]["containers"][0]["resources"]["limits"] = {"memory": "1024Mi", "cpu": "3000m"}
    same["metadata"]["labels"] = {"a": "b"}
    assert revision(pod()) == revision(same)
    others = [pod("2"), pod("3", "5"), pod(budget=None)]
    assert len({revision(value) for value in [pod(), *others]}) == 4


def test_a_revision_does_not_change_between_versions_of_podnuma():
    """A stored revision that reads otherwise would make every running pod a resized one."""
    assert resources_revision(read_pod(pod())) == "6f6890d60e8ac8bb"


@pytest.mark.parametrize(
    ("told", "generation", "budget"),
    [
        ({"cpu": "4250m", "memory": "2208Mi"}, 1, 4),
        ({"cpu": "6250m", "memory": "2208Mi"}, 2, 6),
        ({"cpu": "4", "memory": "2Gi"}, 1, 4),  # of whoever reports it without
    ],
)
def test_what_a_kubelet_reports_of_a_budget_has_the_pods_overhead_in_it(told, generation, budget):
    """kubernetes/kubernetes#139627: since v1.36 the status of a pod has the overhead of its runtime class."""
    value = pod("3", "4", allocatedResources=told, observedGeneration=1)
    value["metadata"]["generation"] = generation
    value["spec"]["overhead"] = {"cpu": "250m", "memory": "160Mi"}
    found = allocated(value, read_pod(value))
    assert (found.pod_requests or {})["cpu"] == Quantity(budget * 10**9)
    assert (found.pod_limits or {})["cpu"] == Quantity(budget * 10**9)
    assert (found.pod_requests or {})["memory"] == Quantity(2 * 2**30 * 10**9)


def test_what_claims_take_of_the_node_is_not_in_the_budget():
    """With DRANodeAllocatableResources the status of a pod has the CPUs of its claims, too."""
    value = pod("3", "4", allocatedResources={"cpu": "6", "memory": "2Gi"})
    value["status"]["nodeAllocatableResourceClaimStatuses"] = [
        {"resourceClaimName": "c", "mapping": [{"name": "cpu", "quantity": "2"}]}
    ]
    assert cpus(value)[2] == 4


def test_a_resize_by_just_the_overhead_is_told_from_one_that_is_done():
    """A budget of 4 and an overhead of 1 are 5, and 5 are asked for: the kubelet says whether it has them."""
    value = pod("3", "5", allocatedResources={"cpu": "5", "memory": "2Gi"})
    value["spec"]["overhead"] = {"cpu": "1"}
    deferred = {"type": "PodResizePending", "status": "True", "reason": "Deferred"}
    assert cpus(value)[2] == 5
    assert cpus({**value, "status": {**value["status"], "conditions": [deferred]}})[2] == 4
