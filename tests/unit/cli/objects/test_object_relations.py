"""Of objects that others of the same manifests make, one counts; a template may stand in another object."""

import pytest
from podnuma.cli.objects.documents import Document
from podnuma.cli.objects.workloads import expand

TEMPLATE = {"spec": {"containers": [{"name": "c", "image": "i"}]}}


def thing(kind, name, version="apps/v1", by=None, **spec):
    metadata = {"name": name, "namespace": "n"}
    if by is not None:
        owner = {"apiVersion": by["apiVersion"], "kind": by["kind"], "name": by["metadata"]["name"]}
        metadata["ownerReferences"] = [{**owner, "controller": True}]
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def expanded(*values):
    return expand([Document(f"f document {number}", one) for number, one in enumerate(values, 1)])


def names(*values):
    return [one.name for one in expanded(*values).pods]


def test_what_a_deployment_has_made_counts_with_it_once():
    """So are the objects in `kubectl get all -o yaml`: each pod was planned three times."""
    deployment = thing("Deployment", "w", replicas=2, template=TEMPLATE)
    replica_set = thing("ReplicaSet", "w-5d4f", by=deployment, replicas=2, template=TEMPLATE)
    pod = thing("Pod", "w-5d4f-x", "v1", by=replica_set, **TEMPLATE["spec"])
    found = expanded(pod, replica_set, deployment)
    assert [one.name for one in found.pods] == ["n/w-1", "n/w-2"]
    assert found.skipped[0] == (
        "f document 1: Pod w-5d4f-x is made by ReplicaSet w-5d4f in f document 2, which counts; left out"
    )
    assert len(found.skipped) == 2


def test_what_a_job_of_a_cron_job_has_made_counts_with_that():
    cron_job = thing("CronJob", "c", "batch/v1", jobTemplate={"spec": {"template": TEMPLATE}})
    job = thing("Job", "c-1", "batch/v1", by=cron_job, template=TEMPLATE)
    pod = thing("Pod", "c-1-x", "v1", by=job, **TEMPLATE["spec"])
    assert names(cron_job, job, pod) == ["n/c-1"]
    assert names(job, pod) == ["n/c-1-1"]
    assert names(pod) == ["n/c-1-x"]


def test_what_others_own_counts_where_nothing_else_tells_of_its_pods():
    """The maker is of a kind whose pods nobody knows, is another object of that name, or only an owner."""
    unknown = thing("Cluster", "db", "postgresql.cnpg.io/v1", instances=3)
    pod = thing("Pod", "db-1", "v1", by=unknown, **TEMPLATE["spec"])
    assert names(unknown, pod) == ["n/db-1"]
    elsewhere = thing("StatefulSet", "db", template=TEMPLATE)
    elsewhere["metadata"]["namespace"] = "m"
    pod = thing("Pod", "db-0", "v1", by=elsewhere, **TEMPLATE["spec"])
    assert names(elsewhere, pod) == ["m/db-0", "n/db-0"]
    here = thing("StatefulSet", "db", template=TEMPLATE)
    del pod["metadata"]["ownerReferences"][0]["controller"]
    assert names(here, pod) == ["n/db-0", "n/db-0"]


@pytest.mark.parametrize("replicas", [0, 1])
def test_a_rollout_has_the_template_of_the_deployment_that_it_names(replicas):
    """The Deployment has no replicas then, so that there were no pods at all."""
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "w"}
    rollout = thing("Rollout", "r", "argoproj.io/v1alpha1", replicas=3, workloadRef=reference)
    deployment = thing("Deployment", "w", replicas=replicas, template=TEMPLATE)
    assert names(rollout, deployment)[:3] == ["n/r-1", "n/r-2", "n/r-3"]
    alone = expanded(rollout)
    assert (alone.pods, alone.problems) == ((), ())
    (line,) = alone.not_understood
    assert line == (
        "f document 1: Rollout r has the template of Deployment w (spec.workloadRef), which is not in these "
        "manifests; left out"
    )
