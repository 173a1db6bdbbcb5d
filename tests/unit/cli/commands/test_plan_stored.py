"""What is stored of the objects of a manifest counts where the manifest leaves it open."""

import json
from typing import Any

import pytest
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.sources import FileSource

from tests.unit.cli.builders import budgeted_pod
from tests.unit.cli.commands.test_plan_running import FIRST, REPLICA, Tried, node, running, workload


def stored(value: dict[str, Any], *, applied: bool | None = None, **spec: Any) -> dict[str, Any]:
    """Return an object as it is in the cluster; `applied`: `kubectl apply` has set its replicas, or not."""
    last: dict[str, Any] = {"spec": {"replicas": 3} if applied else {}}
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": json.dumps(last)}
    metadata = {**value["metadata"], "annotations": {} if applied is None else annotations}
    return {**value, "metadata": metadata, "spec": {**value["spec"], **spec}}


@pytest.mark.parametrize("kind", ["Deployment", "StatefulSet"])
@pytest.mark.parametrize("applied", [None, False])
def test_replicas_that_a_manifest_leaves_out_are_those_that_its_object_has(tmp_path, kind, applied):
    """An autoscaler has set them. The node has seven NUMA nodes with room for such a pod."""
    new = workload(kind, 12)
    tried = Tried(tmp_path, [node(), stored(new, applied=applied, replicas=8)], new)
    assert [result for result, _ in tried.pods.values()] == ["admitted"] * 7 + ["refused"]
    assert tried.code is Exit.NO
    assert f"{kind} w is planned with the 8 replicas that it has: the manifest leaves them out" in tried.said


def test_a_change_of_what_an_autoscaler_has_scaled_is_planned_for_all_its_pods(tmp_path):
    new = workload("Deployment", 12)
    old = [one for name in "xyz" for one in running(f"w-5d4f-{name}", 11, FIRST, REPLICA, "5d4f")]
    tried = Tried(tmp_path, [node(), stored(new, replicas=3), *old], new)
    assert len(tried.pods) == 3
    assert "more than the manifests ask for" not in tried.said


def test_replicas_that_kubectl_has_applied_go_with_their_field(tmp_path):
    new = workload("Deployment", 12)
    tried = Tried(tmp_path, [node(), stored(new, applied=True, replicas=8)], new)
    assert tried.pods == {"w-1": ("admitted", "node-a")}
    assert "replicas that it has" not in tried.said


def test_what_a_manifest_says_counts(tmp_path):
    new = workload("Deployment", 12, 2)
    tried = Tried(tmp_path, [node(), stored(new, replicas=8)], new)
    assert len(tried.pods) == 2


def test_the_bounds_of_an_autoscaler_in_the_manifests_count_for_what_is_stored(tmp_path):
    new = workload("Deployment", 1)
    scaler = {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": {"name": "w", "namespace": "a"},
        "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "w"}, "minReplicas": 2, "maxReplicas": 4},
    }
    tried = Tried(tmp_path, [node(), stored(new, replicas=3)], new, scaler)
    assert len(tried.pods) == 3
    tried = Tried(tmp_path, [node(), stored(new, replicas=9)], new, scaler)
    assert len(tried.pods) == 4


def job(**spec: Any) -> dict[str, Any]:
    template = {"spec": {**budgeted_pod("x", 12)["spec"], "restartPolicy": "Never"}}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "migrate", "namespace": "a"},
        "spec": {**spec, "template": template},
    }


@pytest.mark.parametrize("end", ["Complete", "Failed"])
def test_a_job_that_has_finished_makes_no_more_pods(tmp_path, end):
    ended = {**job(), "status": {"conditions": [{"type": end, "status": "True"}]}}
    tried = Tried(tmp_path, [node(), ended], job())
    assert tried.pods == {}
    assert "Job migrate has finished: it makes no more pods; left out" in tried.said


@pytest.mark.parametrize("hook", ["helm.sh/hook", "argocd.argoproj.io/hook"])
def test_a_hook_that_has_finished_is_made_anew(tmp_path, hook):
    ended = {**job(), "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    new = job()
    new["metadata"]["annotations"] = {hook: "pre-upgrade" if "helm" in hook else "PreSync"}
    assert len(Tried(tmp_path, [node(), ended], new).pods) == 1


def test_of_a_job_that_is_under_way_what_is_left_is_planned(tmp_path):
    spec = {"completions": 10, "parallelism": 4}
    under_way = {**job(**spec), "status": {"succeeded": 8}}
    tried = Tried(tmp_path, [node(), under_way], job(**spec))
    assert len(tried.pods) == 2
    assert "planned with what is left of it: 8 of its 10 pods have succeeded" in tried.said


def test_a_kind_that_may_not_be_read_counts_as_the_manifests_say(tmp_path, monkeypatch):
    """And one that the cluster does not have; what may be read counts all the same."""
    refused = {"Job": Exit.FORBIDDEN, "Rollout": Exit.NOT_FOUND}
    fetch = FileSource.fetch

    def refusing(source, *asked):
        for one in asked:
            if one.type.kind in refused:
                raise Failure(refused[one.type.kind], "no")
        return fetch(source, *asked)

    monkeypatch.setattr(FileSource, "fetch", refusing)
    new = workload("Deployment", 12)
    rollout = {**workload("Rollout", 1), "apiVersion": "argoproj.io/v1alpha1"}
    rollout["metadata"] = {**rollout["metadata"], "name": "r"}
    ended = {**job(), "status": {"conditions": [{"type": "Complete", "status": "True"}]}}
    tried = Tried(tmp_path, [node(), stored(new, replicas=2), ended], new, rollout, job())
    assert sorted(tried.pods) == ["migrate-1", "r-1", "w-1", "w-2"]
    assert "you may not list jobs.batch: what depends on it is left out" in tried.said
