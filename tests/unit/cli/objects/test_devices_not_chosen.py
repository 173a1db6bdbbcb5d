"""Devices that a plan does not consider are named, with who chooses them."""

import pytest
from podnuma.cli.objects.devices_not_chosen import devices_not_chosen

from testbed import dra
from tests.unit.cli.builders import budgeted_pod


def of_template(pod):
    pod = dra.use_claim(pod, "gpu")
    pod["spec"]["resourceClaims"] = [{"name": "gpu", "resourceClaimTemplateName": "a-gpu"}]
    return pod


def of_plugins(pod):
    for one in pod["spec"]["containers"]:
        one["resources"] = {"limits": {"nvidia.com/gpu": 1, "cpu": "1", "hugepages-2Mi": "2Mi"}}
    return pod


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda pod: dra.use_claim(pod, "gpu"), "ResourceClaim gpu (chosen by the scheduler)"),
        (of_template, "ResourceClaimTemplate a-gpu (chosen by the scheduler)"),
        (of_plugins, "nvidia.com/gpu (chosen by the node's kubelet)"),
    ],
)
def test_what_is_asked_for_and_who_chooses_it(change, named):
    said = devices_not_chosen(change(budgeted_pod("train", 4)))
    assert said.startswith(f"where its devices are is not considered: {named}; CPUs and memory follow them ")


def test_nothing_is_said_of_pods_without_devices_and_of_claims_that_no_container_uses():
    assert devices_not_chosen(budgeted_pod("train", 4)) == ""
    unused = budgeted_pod("train", 4)
    unused["spec"]["resourceClaims"] = [{"name": "gpu", "resourceClaimName": "gpu"}]
    assert devices_not_chosen(unused) == ""
    assert devices_not_chosen({"spec": {"resourceClaims": "gpu", "containers": [1]}}) == ""
