"""Workloads become the pods they would make."""

import yaml
from podnuma.cli.objects.documents import Document
from podnuma.cli.objects.workloads import MOST_REPLICAS, expand

POD_SPEC = "{containers: [{name: c, resources: {limits: {cpu: '2', memory: 1Gi}}}]}"


def documents(text: str) -> list[Document]:
    return [
        Document(f"f document {number}", value) for number, value in enumerate(yaml.safe_load_all(text), 1)
    ]


def names(text: str) -> list[str]:
    return [planned.name for planned in expand(documents(text)).pods]


def workload(kind: str, spec: str) -> str:
    body = f"spec: {{{spec} template: {{spec: {POD_SPEC}}}}}"
    return f"{{kind: {kind}, metadata: {{name: w, namespace: n}}, {body}}}"


def test_replicas_are_numbered_as_their_kind_does():
    assert names(workload("Deployment", "replicas: 2,")) == ["n/w-1", "n/w-2"]
    assert names(workload("ReplicaSet", "replicas: 2,")) == ["n/w-1", "n/w-2"]
    assert names(workload("StatefulSet", "replicas: 2,")) == ["n/w-0", "n/w-1"]
    assert names(workload("DaemonSet", "")) == ["n/w"]


def test_a_job_has_as_many_pods_as_run_at_once():
    assert names(workload("Job", "")) == ["n/w-1"]
    assert names(workload("Job", "parallelism: 3,")) == ["n/w-1", "n/w-2", "n/w-3"]
    assert names(workload("Job", "parallelism: 3, completions: 2,")) == ["n/w-1", "n/w-2"]


def test_a_cron_job_is_one_run_of_its_job():
    job = f"{{spec: {{template: {{spec: {POD_SPEC}}}}}}}"
    text = f"{{kind: CronJob, metadata: {{name: w}}, spec: {{jobTemplate: {job}}}}}"
    assert names(text) == ["default/w-1"]


def test_replicas_are_one_if_nothing_is_said_and_bounded_if_too_much_is():
    assert names(workload("Deployment", "")) == ["n/w-1"]
    assert names(workload("Deployment", "replicas: 0,")) == []
    assert names(workload("Deployment", "replicas: -4,")) == []
    assert len(names(workload("Deployment", "replicas: 10000000,"))) == MOST_REPLICAS


def test_api_defaults_are_filled_in():
    (planned,) = expand(documents(f"{{kind: Pod, metadata: {{name: p}}, spec: {POD_SPEC}}}")).pods
    assert planned.pod.containers[0].requests["cpu"].milli == 2000
    assert (planned.pod.uid, planned.pod.qos) == ("default/p", None)


def test_labels_of_the_template_are_those_of_the_pod():
    template = f"template: {{metadata: {{labels: {{a: b}}}}, spec: {POD_SPEC}}}"
    text = f"{{kind: Job, metadata: {{name: w, labels: {{x: y}}}}, spec: {{{template}}}}}"
    assert expand(documents(text)).pods[0].labels == {"a": "b"}


def test_kinds_without_pods_are_named_and_left_out():
    result = expand(documents("{kind: Service, metadata: {name: s}}"))
    assert (result.pods, result.problems) == ((), ())
    assert result.skipped == ("f document 1: Service s has no pods; left out",)


def test_a_bad_quantity_is_one_line_with_the_path_in_the_manifest():
    text = "{kind: Deployment, metadata: {name: w}, spec: {replicas: 3, template: {spec: {containers: "
    text += "[{name: c, resources: {limits: {cpu: lots}}}]}}}}"
    result = expand(documents(text))
    assert len(result.problems) == 1
    assert result.problems[0].startswith(
        'f document 1: spec.template.spec.containers[0].resources.limits[cpu] "lots": '
    )


def test_unknown_fields_are_problems_but_the_pod_is_planned():
    result = expand(documents("{kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, imaeg: x}]}}"))
    assert result.problems == ("f document 1: spec.containers[0].imaeg: unknown field; did you mean image?",)
    assert len(result.pods) == 1


def test_a_value_that_the_api_server_refuses_is_one_problem_by_field():
    text = "{kind: Pod, metadata: {name: p, labels: {released: 2.5}}, spec: {containers: [{name: 7}]}}"
    assert expand(documents(text)).problems == (
        "f document 1: metadata.labels[released]: is the number 2.5; text belongs here; put it in quotes",
        "f document 1: spec.containers[0].name: is the number 7; text belongs here; put it in quotes",
    )
