"""What a pod has of its node by its claims."""

import pytest
from podnuma.allocator.quantities import NANO
from podnuma.api.claimed_resources import claimed_resources


def of(**claim):
    return claimed_resources({"nodeAllocatableResourceClaimStatuses": [{"resourceClaimName": "c", **claim}]})


def test_devices_and_what_it_takes_to_have_them_add_up():
    found = of(
        containers=["db", "log"],
        mapping=[{"name": "cpu", "quantity": "4"}],
        overhead=[
            {"name": "cpu", "perPod": "1", "perContainer": "500m"},
            {"name": "memory", "perPod": "1Gi"},
        ],
    )
    assert found == {"cpu": 6 * NANO, "memory": 2**30 * NANO}
    assert of(resources={"cpu": "3"}) == {"cpu": 3 * NANO}  # v1.36


@pytest.mark.parametrize(
    "junk", [{"mapping": 7}, {"mapping": [{"name": "cpu", "quantity": "much"}], "containers": 3}]
)
def test_what_cannot_be_read_counts_as_nothing(junk):
    assert not any(of(**junk).values())
    assert claimed_resources({"nodeAllocatableResourceClaimStatuses": "x"}) == {}
