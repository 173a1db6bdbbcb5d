"""One object in, one record out, whatever a tenant wrote."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from podnuma.operator.cache import decode
from podnuma.operator.cache.kinds import Kind
from podnuma.operator.cache.objects import CachedPod, ObjectKey, ObjectVersion, RequestingPod

from tests.unit.operator.rig import owned_by, pod, profile

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "metadata",
        "spec",
        "status",
        "annotations",
        "labels",
        "ownerReferences",
        "resources",
        "containers",
        "nodeName",
    ]
)
OBJECTS = st.dictionaries(FIELDS, JSON | st.dictionaries(FIELDS, JSON, max_size=5), max_size=5)


@given(st.sampled_from(Kind), OBJECTS)
def test_no_object_makes_a_reader_raise(kind, value):
    record = decode.DECODERS[kind](value)
    assert record is None or record.kind is kind


@given(JSON)
def test_an_annotation_of_any_content_gives_a_request_or_a_problem(content):
    value = pod(annotations={"podnuma.dev/resources": str(content)})
    del value["spec"]["resources"]
    record = decode.decode_pod(
        {**value, "metadata": {**value["metadata"], "uid": "u", "resourceVersion": "1"}}
    )
    assert record is not None
    assert (record.request is None) == (record.problem is not None)


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, True),
        ({"qosClass": "Burstable"}, False),
        ({"qosClass": "BestEffort"}, False),
        ({"phase": "Succeeded"}, False),
        ({"phase": "Failed"}, False),
        ({"qosClass": None}, True),
    ],
)
def test_only_pods_that_may_hold_something_become_records(change, kept):
    value = pod()
    value["status"].update(change)
    assert (decode.decode_pod(value) is not None) == kept


def test_a_pod_that_is_not_bound_is_none_of_ours():
    value = pod()
    del value["spec"]["nodeName"]
    assert decode.decode_pod(value) is None


def test_a_pod_with_an_annotated_budget_matters_whatever_its_stored_qos():
    value = pod(annotations={"podnuma.dev/resources": "{}"})
    value["status"]["qosClass"] = "Burstable"
    assert decode.decode_pod(value) is not None


def test_an_annotation_of_a_megabyte_is_refused_in_a_short_sentence():
    value = pod(annotations={"podnuma.dev/resources": "x" * 1_000_000})
    del value["spec"]["resources"]
    record = decode.decode_pod(value)
    assert record is not None
    assert record.problem is not None
    assert len(record.problem) < 1000


def test_absurd_quantities_and_container_counts_are_refused_in_words():
    value = pod()
    value["spec"]["containers"] = [
        {"name": f"c{number}", "resources": {"requests": {"cpu": "9" * 5000}}} for number in range(5000)
    ]
    record = decode.decode_pod(value)
    assert record is not None
    assert record.request is None
    assert len(record.problem or "") < 10_000


def test_fields_of_another_type_are_none_of_the_known_values():
    value = pod(ownerReferences=[{"controller": True, "kind": ["DaemonSet"], "uid": {}}])
    value["status"]["phase"] = ["Failed"]
    record = decode.decode_pod(value)
    assert record is not None
    assert not record.stays


def test_unicode_in_names_and_labels_is_kept_as_it_is():
    value = pod(labels={"a": "\u202e\u0000\U0001f600"})
    record = decode.decode_pod(value)
    assert record is not None
    assert record.labels == {"a": "\u202e\u0000\U0001f600"}


@pytest.mark.parametrize(
    ("text", "number"),
    [("17", 17), ("0", 0), ("", 0), (None, 0), ("x", 0), ("1" * 40, 0), ("-1", 0), ("٣", 0)],
)
def test_a_resource_version_is_a_number_or_nothing(text, number):
    assert decode.resource_version(text) == number


@pytest.mark.parametrize(
    ("metadata", "stays"),
    [
        ({}, False),
        ({"ownerReferences": owned_by("ReplicaSet", "r")}, False),
        ({"ownerReferences": owned_by("DaemonSet", "d")}, True),
        ({"annotations": {"kubernetes.io/config.mirror": "x"}}, True),
    ],
)
def test_pods_that_come_back_to_their_node_are_known(metadata, stays):
    record = decode.decode_pod(pod(**metadata))
    assert record is not None
    assert record.stays is stays


def test_an_unreadable_profile_keeps_its_name_and_its_reason():
    record = decode.decode_profile(profile("bad", cpuManagerPolicy="dynamic"))
    assert record.model is None
    assert record.key == ObjectKey("", "bad")
    assert "cpuManagerPolicy" in (record.problem or "")
    assert record.version == ObjectVersion("", 0)


@pytest.mark.parametrize(
    ("status", "version"),
    [
        ({"nodeInfo": {"kubeletVersion": "v1.37.2"}}, "v1.37.2"),
        ({"nodeInfo": {"kubeletVersion": 137}}, ""),
        ({"nodeInfo": []}, ""),
        ({}, ""),
    ],
)
def test_a_node_tells_the_version_of_its_kubelet(status, version):
    node = decode.decode_node({"metadata": {"name": "n1", "uid": "u"}, "status": status})
    assert node.kubelet_version == version


def test_where_pods_are_placed_a_pod_without_a_node_is_known_by_its_gates():
    value = pod(uid="u")
    del value["spec"]["nodeName"]
    value["spec"] |= {"schedulingGates": [{"name": "podnuma.dev/placement"}], "priority": 7}
    value["status"]["qosClass"] = "Burstable"
    record = decode.decode_requesting_pod(value)
    assert isinstance(record, CachedPod)
    assert (record.node, record.gated) == ("", True)
    assert record.scheduling is not None
    assert (record.scheduling.last_gate, record.scheduling.priority) == (True, 7)


def test_where_pods_are_placed_one_that_holds_nothing_counts_by_its_requests():
    value = pod()
    value["status"]["qosClass"] = "Burstable"
    record = decode.decode_requesting_pod(value)
    assert isinstance(record, RequestingPod)
    assert record.needs["cpu"] == 4 * 10**9
    assert decode.decode_requesting_pod({**value, "status": {"phase": "Succeeded"}}) is None


@given(OBJECTS)
def test_no_object_makes_a_reader_raise_where_pods_are_placed(value):
    for read in (*decode.PLACING_DECODERS.values(), decode.decode_placeable_pod):
        read(value)
