"""Misspelt fields are found; fields of the API are never reported."""

import pytest
import yaml
from podnuma.cli.objects.unknown_fields import KINDS, unknown_fields

from tests.unit.cli.builders import PODS


def found(kind: str, text: str) -> list[str]:
    return list(unknown_fields(kind, yaml.safe_load(text)))


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


def test_wrong_shapes_are_left_to_others():
    assert found("Pod", "spec: {containers: 7, initContainers: [3]}") == []


@pytest.mark.parametrize("file", sorted(PODS.glob("*.yaml")), ids=lambda path: path.stem)
def test_real_pods_have_no_unknown_field(file):
    for pod in yaml.safe_load_all(file.read_text()):
        assert list(unknown_fields("Pod", pod)) == []


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_has_its_model(kind):
    assert list(unknown_fields(kind, {"kind": kind, "apiVersion": "x", "metadata": {}, "spec": {}})) == []
    assert list(unknown_fields(kind, {"oddity": 1})) == ["oddity: unknown field"]
