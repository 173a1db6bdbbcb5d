"""To which nodes the volumes of a pod can be attached."""

import pytest
from podnuma.api.scheduling import Obstacle, PodConstraints, SchedulableNode, obstacle
from podnuma.api.volumes import read_claim_names, read_volume_name, read_volume_terms

ZONE = "topology.kubernetes.io/zone"


def volume(*terms):
    return {"spec": {"nodeAffinity": {"required": {"nodeSelectorTerms": list(terms)}}}}


def within(key, *values):
    return {"matchExpressions": [{"key": key, "operator": "In", "values": list(values)}]}


def test_claims_have_a_name_of_their_own_or_that_of_their_pod_and_volume():
    volumes = [
        {"name": "data", "persistentVolumeClaim": {"claimName": "data-db-0"}},
        {"name": "cache", "ephemeral": {"volumeClaimTemplate": {}}},
        {"name": "scratch", "emptyDir": {}},
    ]
    assert read_claim_names({"metadata": {"name": "db-0"}, "spec": {"volumes": volumes}}) == (
        "data-db-0",
        "db-0-cache",
    )
    assert read_claim_names({}) == ()


def test_a_claim_has_a_volume_once_it_is_bound():
    assert read_volume_name({"spec": {"volumeName": "pv-1"}}) == "pv-1"
    assert read_volume_name({"spec": {}}) == ""


@pytest.mark.parametrize(
    ("terms", "attaches"),
    [
        ([within(ZONE, "a")], True),
        ([within(ZONE, "b")], False),
        ([within(ZONE, "b"), within("kubernetes.io/hostname", "n1")], True),
        ([], False),
    ],
)
def test_one_of_the_terms_of_a_volume_has_to_match_the_node(terms, attaches):
    found = read_volume_terms(volume(*terms))
    assert found is not None
    node = SchedulableNode("n1", {ZONE: "a", "kubernetes.io/hostname": "n1"})
    why = obstacle(PodConstraints(attachable=(found,)), node, {})
    assert why is (None if attaches else Obstacle.VOLUME)


def test_a_volume_without_affinity_can_be_anywhere():
    assert read_volume_terms({"spec": {}}) is None
