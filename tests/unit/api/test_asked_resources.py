"""Specs in the same words are read once; what is not plain is read each time."""

import copy

import pytest
from podnuma.allocator import Admitted
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.api import asked_resources
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.pod import read_pod
from podnuma.api.pod_resize import allocated

from tests.unit.allocator.shapes import machine, settings

BOTH = {"requests": {"cpu": "2", "memory": "1Gi"}, "limits": {"cpu": "2", "memory": "1Gi"}}
BUDGET = {"requests": {"cpu": "4", "memory": "2Gi"}, "limits": {"cpu": "4", "memory": "2Gi"}}


@pytest.fixture(autouse=True)
def _nothing_known(monkeypatch):
    monkeypatch.setattr(asked_resources, "_known", {})


def stored(name="a", **spec):
    app = {"name": "app", "resources": copy.deepcopy(BOTH)}
    log = {"name": "log", "restartPolicy": "Always"}
    body = {"containers": [app], "initContainers": [log], "resources": copy.deepcopy(BUDGET)}
    return {
        "metadata": {"name": name, "namespace": "n", "uid": name},
        "spec": body | spec,
        "status": {"qosClass": "Guaranteed"},
    }


def with_app(**app):
    return stored(containers=[{"name": "app", "resources": copy.deepcopy(BOTH)} | app])


def test_pods_in_the_same_words_ask_with_the_same_objects():
    first, second = read_pod(stored("a")), read_pod(stored("b"))
    assert (first.name, second.name) == ("a", "b")
    assert first.containers is second.containers
    assert first.pod_requests is second.pod_requests
    assert first.pod_limits is second.pod_limits
    assert first.overhead is second.overhead


def test_equal_pods_on_equal_nodes_share_their_grants():
    node = NodeAllocator.empty(settings(), machine("DS12"))
    first, second = (node.decide(read_pod(stored(name))) for name in "ab")
    assert isinstance(first, Admitted)
    assert isinstance(second, Admitted)
    assert first.grant.containers is second.grant.containers


def test_a_pod_that_its_kubelet_has_given_what_it_asks_for_is_as_it_was():
    value = stored()
    value["status"] |= {
        "containerStatuses": [{"name": "app", "allocatedResources": BOTH["requests"]}],
        "allocatedResources": BUDGET["requests"],
    }
    request = read_pod(value)
    assert allocated(value, request) is request


@pytest.mark.parametrize(
    "changed",
    [
        with_app(name="other"),
        with_app(resources=BUDGET),
        stored(resources=BOTH | {"limits": BUDGET["limits"]}),
        stored(resources=None),
        stored(overhead={"cpu": "1"}),
        stored(initContainers=[{"name": "log"}]),
        stored(initContainers=[{"name": "log", "restartPolicy": "Always", "resources": BOTH}]),
    ],
    ids=["name", "amount", "budget", "no budget", "overhead", "kind", "sidecar"],
)
def test_other_words_are_read_for_themselves(changed):
    known = read_pod(stored())
    remembered = read_pod(changed)
    asked_resources._known.clear()
    assert remembered == read_pod(changed)
    assert remembered != known


@pytest.mark.parametrize(
    ("accepted", "refused"),
    [
        (
            stored(resources=BOTH | {"requests": {"cpu": 2}}),
            stored(resources=BOTH | {"requests": {"cpu": True}}),
        ),
        (stored(initContainers=None), stored(initContainers={})),
        (stored(initContainers=[]), stored(initContainers=0)),
        (with_app(resources={}), with_app(resources=[])),
        (with_app(resources={"requests": {}}), with_app(resources={"requests": []})),
    ],
    ids=["boolean", "object for list", "zero for list", "list for object", "list for amounts"],
)
def test_what_is_no_text_is_not_taken_for_one_that_is_equal(accepted, refused):
    read_pod(accepted)
    with pytest.raises(InvalidObjectError):
        read_pod(refused)


def test_what_is_refused_is_refused_again_at_its_place():
    wrong = with_app(resources={"requests": {"cpu": "3"}, "limits": {"cpu": "2"}})
    for _ in range(2):
        with pytest.raises(InvalidObjectError, match=r"spec\.containers\[0\]\.resources\.requests\[cpu\]"):
            read_pod(wrong)
    assert asked_resources._known == {}


def test_an_annotation_is_part_of_the_words():
    small, large = stored(resources=None), stored(resources=None)
    for value, cpus in ((small, "4"), (large, "5")):
        text = f'{{"limits": {{"cpu": "{cpus}", "memory": "2Gi"}}}}'
        value["metadata"]["annotations"] = {"podnuma.dev/resources": text}
    found = [(read_pod(value).pod_limits or {})["cpu"].units for value in (small, large, small)]
    assert found == [4, 5, 4]
    assert read_pod(small).qos is None


def test_what_is_remembered_is_bounded(monkeypatch):
    monkeypatch.setattr(asked_resources, "MOST_KNOWN", 3)
    for number in range(8):
        read_pod(with_app(name=f"app-{number}"))
        assert 1 <= len(asked_resources._known) <= 3


def test_huge_specs_are_not_remembered():
    read_pod(stored(containers=[{"name": f"c{number}"} for number in range(30)]))
    read_pod(with_app(resources={"limits": {f"hugepages-{number}Mi": "0" for number in range(1, 30)}}))
    assert asked_resources._known == {}
