"""The suite's pods with devices fit the devices that there are, and claims ask for the plugin's places."""

from __future__ import annotations

from collections import Counter

import pytest

from testbed.e2e.device_pods import CONTAINER_SCOPE, POD_SCOPE, Shape, Waves, twin
from testbed.e2e.devices import GPUS, NICS, RESOURCE

ALL = (POD_SCOPE, CONTAINER_SCOPE)
WAVES = [wave for waves in ALL for wave in (*waves.settled, *waves.chosen)]


def asked(shape: Shape) -> Counter[int]:
    """Return how many devices of each NUMA node a pod has."""
    return sum((Counter(counts) for counts in shape.devices.values()), Counter())


@pytest.mark.parametrize("wave", WAVES, ids=lambda wave: "-".join(shape.name for shape in wave))
def test_the_plugin_which_gives_the_first_devices_first_gives_each_pod_those_named(wave):
    left = list(NICS.values())
    for shape in wave:
        for container in shape.containers:
            counts = Counter(shape.devices.get(container, {}))
            given, left = left[: counts.total()], left[counts.total() :]
            assert Counter(given) == counts


def test_plugin_and_driver_have_as_many_devices_on_each_numa_node():
    assert Counter(NICS.values()) == Counter(GPUS.values()) == {0: 4, 1: 4}


@pytest.mark.parametrize("shape", [shape for wave in WAVES for shape in wave], ids=lambda shape: shape.name)
def test_claims_ask_for_as_many_devices_in_the_same_places(shape):
    (plain,) = shape.with_nics("image")
    *claims, pod = shape.with_claims("image", "default")
    nics = sum(int(entry["resources"]["limits"].get(RESOURCE, 0)) for entry in plain["spec"]["containers"])
    requests = [request for claim in claims for request in claim["spec"]["devices"]["requests"]]
    wanted: Counter[int] = Counter()
    for request in requests:
        (selector,) = request["exactly"]["selectors"]
        numa = int(selector["cel"]["expression"].rpartition(" ")[2])
        wanted[numa] += request["exactly"]["count"]
    assert wanted == asked(shape)
    assert wanted.total() == nics
    named = {entry["resourceClaimName"] for entry in pod["spec"]["resourceClaims"]}
    assert named == {claim["metadata"]["name"] for claim in claims}
    assert twin(f"pod/{pod['metadata']['name']}") == f"pod/{plain['metadata']['name']}"
    assert twin(f"pod/{plain['metadata']['name']}") is None


def test_no_pod_of_a_table_has_the_name_of_another():
    for waves in ALL:
        assert isinstance(waves, Waves)
        names = [shape.name for wave in (*waves.settled, *waves.chosen) for shape in wave]
        assert len(names) == len(set(names))
