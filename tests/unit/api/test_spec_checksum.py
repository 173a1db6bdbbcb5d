import copy
import json
import random

import pytest
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.pod_allocation import Decision, read_pod_allocation, render_pod_allocation
from podnuma.api.spec_checksum import checksum, with_checksum

from tests.fuzz.mutation import changed
from tests.unit.api.objects import DATABASE

BODY = json.loads(json.dumps(render_pod_allocation(DATABASE, "w1", Decision(admitted=True, revision="r"))))


def with_spec(**fields):
    body = copy.deepcopy(BODY)
    body["spec"] |= fields
    return body


def test_the_checksum_does_not_depend_on_the_order_of_fields():
    spec = BODY["spec"]
    assert checksum(dict(reversed(spec.items()))) == checksum(spec) == spec["decision"]["checksum"]


@pytest.mark.parametrize(
    "field", [{"containers": []}, {"podCPUQuota": 5}, {"podLevel": False, "containers": [], "cpus": None}]
)
def test_a_readable_spec_that_was_changed_is_refused(field):
    with pytest.raises(InvalidObjectError):
        read_pod_allocation(with_spec(**field))


def test_containers_removed_by_hand_are_noticed_by_the_checksum_alone():
    with pytest.raises(InvalidObjectError, match=r"spec.decision.checksum .* the operator puts it back"):
        read_pod_allocation(with_spec(containers=[]))


@pytest.mark.parametrize("seed", range(200))
def test_no_change_of_a_spec_is_taken_for_a_decision(seed):
    rng = random.Random(seed)
    field = rng.choice(sorted(BODY["spec"].keys() - {"summary"}))
    body = with_spec(**{field: changed(BODY["spec"][field], rng)})
    if body["spec"] == BODY["spec"]:
        return
    try:
        read = read_pod_allocation(body)
    except InvalidObjectError:
        return
    # Only a checksum that is gone altogether is believed, and that the schema refuses.
    assert "checksum" not in body["spec"]["decision"]
    assert read.grant == DATABASE


def test_the_summary_is_for_people_and_may_be_changed():
    assert read_pod_allocation(with_spec(summary={"cpus": "all of them"})).grant == DATABASE


def test_a_spec_without_a_checksum_is_believed():
    body = copy.deepcopy(BODY)
    del body["spec"]["decision"]["checksum"]
    assert read_pod_allocation(body).grant == DATABASE


def test_fields_of_a_newer_version_are_covered():
    newer = with_spec(later={"a": 1})
    with pytest.raises(InvalidObjectError):
        read_pod_allocation(newer)
    newer["spec"] = with_checksum(newer["spec"])
    assert read_pod_allocation(newer).grant == DATABASE


def test_what_is_no_json_has_no_checksum():
    deep: dict[str, object] = {}
    for _ in range(100_000):
        deep = {"a": deep}
    assert [checksum({"a": value}) for value in (object(), {1: 2, "b": 3}, deep)] == ["", "", ""]


def test_half_a_surrogate_pair_counts_as_what_the_server_makes_of_it():
    assert checksum({"a": "x\ud800"}) == checksum({"a": "x\ufffd"}) != checksum({"a": "x"})
    assert checksum({"a": "\ud835\udd4f"}) == checksum({"a": "\U0001d54f"})
