"""Misspelt fields are found; fields of the API are never reported."""

import pytest
import yaml
from podnuma.cli.objects.manifest_fields import KINDS, field_problems

from tests.unit.cli.builders import PODS


def found(kind: str, text: str) -> list[str]:
    return list(field_problems(kind, yaml.safe_load(text)))


def test_a_misspelt_field_is_named_with_its_path_and_the_nearest_known_one():
    text = """
    spec:
      containers:
      - name: a
        resurces: {limits: {cpu: 1}}
      - {name: b, resources: {limit: {cpu: 1}}}
      initContainer: []
    """
    assert found("Pod", text) == [
        "spec.containers[0].resurces: unknown field; did you mean resources?",
        "spec.containers[1].resources.limit: unknown field; did you mean limits?",
        "spec.initContainer: unknown field; did you mean initContainers?",
    ]


def test_templates_of_workloads_are_looked_into():
    assert found("CronJob", "spec: {jobTemplate: {spec: {template: {spec: {container: []}}}}}") == [
        "spec.jobTemplate.spec.template.spec.container: unknown field; did you mean containers?"
    ]


def test_values_of_maps_are_free():
    assert found("Pod", "metadata: {labels: {anything: goes}}\nspec: {nodeSelector: {a/b: c}}") == []


def test_what_the_api_server_would_refuse_is_said_by_field():
    text = """
    metadata: {labels: {released: 2.5, canary: true}, annotations: {port: 8080}}
    spec: {containers: [{name: 7, image: x, stdin: "yes"}], terminationGracePeriodSeconds: 1.5}
    """
    assert found("Pod", text) == [
        "metadata.labels[released]: is the number 2.5; text belongs here; put it in quotes",
        "metadata.labels[canary]: is true; text belongs here; put it in quotes",
        "metadata.annotations[port]: is the number 8080; text belongs here; put it in quotes",
        "spec.containers[0].name: is the number 7; text belongs here; put it in quotes",
        "spec.containers[0].stdin: is text; true or false belongs here",
        "spec.terminationGracePeriodSeconds: is the number 1.5; a whole number belongs here",
    ]


def test_labels_and_names_that_the_api_server_refuses_are_said():
    text = """
    metadata:
      name: Web
      labels: {at: "22:30", ok: a.b_c, "a/b/c": x, -x: ""}
      annotations: {at: "22:30", A/b c: ""}
    spec: {nodeSelector: {zone: "~5"}, containers: [{name: a.b}], initContainers: [{name: a-b}]}
    """
    key = "is not a valid key: use letters, digits, '-', '_' and '.', after a domain and '/' if any"
    label = "is not a valid label: use at most 63 letters, digits, '-', '_' and '.'"
    name = "is not a valid name: use lower case letters, digits and '-'"
    assert found("Pod", text) == [
        f"metadata.name: 'Web' {name}",
        f"metadata.labels[at]: '22:30' {label}",
        f"metadata.labels: 'a/b/c' {key}",
        f"metadata.labels: '-x' {key}",
        f"metadata.annotations: 'A/b c' {key}",
        f"spec.nodeSelector[zone]: '~5' {label}",
        f"spec.containers[0].name: 'a.b' {name}",
    ]


def test_quantities_and_ports_may_be_numbers_and_nothing_is_the_default():
    text = """
    metadata: {labels:}
    spec:
      overhead: {cpu: 1}
      containers:
      - name: a
        resources: {limits: {cpu: 2, memory: 1.5}}
        livenessProbe: {httpGet: {port: 80}}
        command:
    """
    assert found("Pod", text) == []


def test_wrong_shapes_are_named():
    assert found("Pod", "spec: {containers: 7, initContainers: [3], nodeSelector: x}") == [
        "spec.containers: is the number 7; a list belongs here",
        "spec.initContainers[0]: is the number 3; an object belongs here",
        "spec.nodeSelector: is text; an object belongs here",
    ]


@pytest.mark.parametrize("file", sorted(PODS.glob("*.yaml")), ids=lambda path: path.stem)
def test_real_pods_have_no_unknown_field(file):
    for pod in yaml.safe_load_all(file.read_text()):
        assert list(field_problems("Pod", pod)) == []


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_its_model(kind):
    assert list(field_problems(kind, {"kind": kind, "apiVersion": "x", "metadata": {}, "spec": {}})) == []
    assert list(field_problems(kind, {"oddity": 1})) == ["oddity: unknown field"]
