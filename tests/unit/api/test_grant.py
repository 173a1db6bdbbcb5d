"""A grant survives the API exactly, and an edited one is refused."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from podnuma.allocator import PodGrant
from podnuma.api.decoding import FieldErrors, Fields, InvalidObjectError
from podnuma.api.grant import read_grant, render_grant
from podnuma.api.object_metadata import Metadata

from tests.unit.api.objects import DATABASE, TRAINING, grants


def read(spec, grant: PodGrant) -> PodGrant:
    """Read a spec in an object that has the name of the grant's pod."""
    fields = Fields.of(spec, "spec", FieldErrors())
    found = read_grant(fields, Metadata(grant.name, grant.namespace, "", "", 0, deleted=False))
    fields.errors.check("PodAllocation a")
    return found


@given(grants())
def test_a_grant_is_read_exactly_as_it_was_rendered(grant):
    assert read(json.loads(json.dumps(render_grant(grant))), grant) == grant


@given(grants(), grants())
def test_grants_are_equal_exactly_when_their_json_is(one, other):
    other = replace(other, namespace=one.namespace, name=one.name)
    assert (render_grant(one) == render_grant(other)) is (one == other)


def test_sets_are_kernel_lists_and_memory_is_quantities():
    spec = render_grant(DATABASE)
    assert spec["cpus"] == "1-4,49-52"
    assert spec["memory"] == [{"resource": "memory", "size": "16Gi", "nodes": "0"}]
    assert spec["memoryNodes"] == "0"
    assert spec["containers"][2] == {
        "name": "database",
        "kind": "app",
        "assignment": {"cpu": "pod_exclusive", "memory": "pod_exclusive"},
        "isolation": "container",
        "cpus": "1-3,49-51",
        "memoryNodes": "0",
        "cpuQuota": -1,
        "cpuPeriod": 100000,
        "cpuShares": 8192,
        "memoryLimit": "12Gi",
    }


def test_what_is_not_held_is_absent():
    spec = render_grant(TRAINING)
    assert "memory" not in spec
    assert {"cpus", "memoryNodes", "memory"} & spec["containers"][0].keys() == set()
    assert (spec["cpus"], spec["memoryNodes"]) == ("6-8", "0")


@pytest.mark.parametrize(
    ("grant", "edit", "words"),
    [
        (TRAINING, {"cpus": "6-9"}, 'spec.cpus "6-9": is not what the containers have together: 6-8'),
        (TRAINING, {"cpus": None}, 'spec.cpus "": is not what the containers have together: 6-8'),
        (DATABASE, {"cpus": "1-4"}, 'spec.cpus "1-4": lacks CPUs of its containers: 49-52'),
        (DATABASE, {"podLevel": False, "containers": []}, "is not what .* together: nothing"),
        (TRAINING, {"podLevel": "yes"}, 'spec.podLevel "yes": must be true or false'),
        (
            DATABASE,
            {"memory": [{"resource": "memory", "size": "1Gi"}]},
            r"spec.memory\[0\].nodes: is required",
        ),
        (DATABASE, {"memory": [{"resource": "memory", "size": "1Gi", "nodes": ""}]}, "must not be empty"),
    ],
)
def test_a_grant_that_somebody_edited_is_refused(grant, edit, words):
    with pytest.raises(InvalidObjectError, match=words):
        read({**render_grant(grant), **edit}, grant)
