"""The arithmetic of savings: what sidecars hold, what they would share, what that frees."""

from typing import Any

import pytest
from podnuma.cli.objects import sidecar_survey
from podnuma.cli.objects.sidecar_survey import survey_sidecars


def container(name: str, cpu: str, memory: str = "1Gi", **more: Any) -> dict[str, Any]:
    amounts = {"cpu": cpu, "memory": memory}
    return {"name": name, "resources": {"requests": amounts, "limits": amounts}, **more}


def pod(name: str = "db-0", *containers: dict[str, Any], **more: Any) -> dict[str, Any]:
    """A running pod; init containers are those with a restart policy or called init."""
    early = [one for one in containers if "restartPolicy" in one or one["name"] == "init"]
    return {
        "metadata": {"name": name, "namespace": "shop", **more.pop("metadata", {})},
        "spec": {
            "initContainers": early,
            "containers": [one for one in containers if one not in early],
            **more,
        },
        "status": {"phase": "Running"},
    }


def fleet_pod(**more: Any) -> dict[str, Any]:
    """A database with three sidecars that hold whole CPUs to stay Guaranteed."""
    sidecars = [
        container("log", "1"),
        container("proxy", "1"),
        container("backup", "2", restartPolicy="Always"),
    ]
    return pod("db-0", container("db", "8"), *sidecars, **more)


def test_sidecars_share_whole_cpus_of_what_they_need_together():
    (finding,) = survey_sidecars([fleet_pod()], {}, assumed=250).findings
    assert (finding.main, finding.main_holds) == ("db", 8000)
    assert sorted(one.name for one in finding.sidecars) == ["backup", "log", "proxy"]
    assert (finding.held, finding.pool, finding.freed) == (4000, 1000, 3000)


def test_measured_use_counts_twice_and_never_more_than_is_held():
    usage = {("shop", "db-0"): {"log": 700, "proxy": 400, "backup": 5}}
    (finding,) = survey_sidecars([fleet_pod()], usage, assumed=250).findings
    needs = {one.name: (one.needs, one.measured) for one in finding.sidecars}
    assert needs == {"log": (1000, True), "proxy": (800, True), "backup": (10, True)}
    assert (finding.pool, finding.freed) == (2000, 2000)


def test_fractional_sidecars_may_free_nothing():
    small = pod("db-0", container("db", "8"), container("log", "250m"))
    result = survey_sidecars([small], {}, assumed=250)
    assert (len(result.findings), result.saving) == (1, ())


def test_the_main_container_is_the_largest_or_the_annotated_one():
    both = (container("a", "4"), container("b", "2"))
    assert survey_sidecars([pod("p", *both)], {}, 250).findings[0].main == "a"
    annotated = {"annotations": {sidecar_survey.DEFAULT_CONTAINER: "b"}}
    assert survey_sidecars([pod("p", *both, metadata=annotated)], {}, 250).findings[0].main == "b"


@pytest.mark.parametrize(
    "other",
    [
        pod("burstable", container("db", "8"), {"name": "log"}),
        pod("alone", container("db", "8")),
        pod("init-only", container("db", "8"), container("init", "4")),
        pod("no-whole-cpu", container("db", "1500m"), container("log", "500m")),
    ],
    ids=lambda value: value["metadata"]["name"],
)
def test_pods_without_anything_to_share_are_no_findings(other):
    assert survey_sidecars([other], {}, 250).findings == ()


def test_pods_with_a_budget_are_counted_only():
    budget = {"requests": {"cpu": "12", "memory": "8Gi"}, "limits": {"cpu": "12", "memory": "8Gi"}}
    result = survey_sidecars([fleet_pod(resources=budget)], {}, 250)
    assert (result.looked_at, result.with_budget, result.findings) == (1, 1, ())


def test_ended_pods_hold_nothing():
    ended = fleet_pod()
    ended["status"]["phase"] = "Succeeded"
    assert survey_sidecars([ended], {}, 250).looked_at == 0


def test_what_cannot_be_read_is_named_and_the_rest_counted():
    broken = fleet_pod()
    broken["spec"]["containers"][0]["resources"]["limits"] = {"cpu": "many"}
    result = survey_sidecars([broken, fleet_pod()], {}, 250)
    assert (len(result.unreadable), len(result.findings)) == (1, 1)
    assert result.unreadable[0].startswith('Pod shop/db-0, spec.containers[0].resources.limits[cpu] "many"')


def test_workloads_are_named_by_what_people_wrote():
    def owned(kind: str, name: str, **labels: str) -> dict[str, Any]:
        owner = {"kind": kind, "name": name, "controller": True}
        return {"metadata": {"name": "p", "ownerReferences": [owner], "labels": labels}}

    assert sidecar_survey.workload_of(owned("StatefulSet", "db")) == "StatefulSet/db"
    deployed = owned("ReplicaSet", "api-5d8b7", **{"pod-template-hash": "5d8b7"})
    assert sidecar_survey.workload_of(deployed) == "Deployment/api"
    assert sidecar_survey.workload_of(owned("ReplicaSet", "alone")) == "ReplicaSet/alone"
    assert sidecar_survey.workload_of({"metadata": {"name": "p"}}) == "Pod/p"


def test_the_largest_saving_comes_first():
    small = pod("web-0", container("web", "2"), container("log", "2"))
    groups = survey_sidecars([small, fleet_pod()], {}, 250).by_workload()
    assert [group[0].pod for group in groups] == ["db-0", "web-0"]
    assert [sidecar_survey.total_freed(group) for group in groups] == [3000, 1000]


def test_usage_is_read_from_pod_metrics():
    metrics = {
        "metadata": {"name": "db-0", "namespace": "shop"},
        "containers": [
            {"name": "log", "usage": {"cpu": "1234567n", "memory": "1Mi"}},
            {"name": "db", "usage": {}},
        ],
    }
    assert sidecar_survey.container_usage([metrics]) == {("shop", "db-0"): {"log": 2}}
