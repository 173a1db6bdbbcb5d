"""Gated pods with ResourceClaims, placed and bound on a real control plane: where their devices are free."""

from __future__ import annotations

import pytest

from testbed import dra
from testbed.cleanup import delete
from testbed.waiting import until
from tests.integration.operator_site import SOON, pod
from tests.integration.placement_site import bound, furnish, gates, placing_site, unbound

DRIVER = "gpu.example.com"

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def operating(crds, helm, tmp_path_factory):
    with placing_site(crds, "default", tmp_path_factory.mktemp("placement"), helm) as found:
        found.start(None, "--placement")
        yield found


@pytest.fixture
def driver(site):
    """The class of a driver; returns what publishes its devices of a node, by name and NUMA node."""
    site.api.create(dra.device_class(DRIVER))
    yield lambda node, devices: site.api.create(dra.resource_slice(DRIVER, node, devices))
    for kept in site.api.items(f"{dra.COLLECTION}/resourceslices"):
        delete(site.api, f"{dra.COLLECTION}/resourceslices/{kept['metadata']['name']}")
    delete(site.api, f"{dra.COLLECTION}/deviceclasses/{DRIVER}")


def claiming(site, name, cpus, **exactly):
    """Return a pod with a claim of its own for one device, which is made."""
    claim = dra.resource_claim(name, site.namespace, DRIVER)
    claim["spec"]["devices"]["requests"][0]["exactly"].update(exactly)
    site.api.create(claim)
    return dra.use_claim(unbound(name, cpus), name)


def test_a_pod_is_bound_where_free_cpus_are_near_its_free_device(site, kwok, driver):
    """n1 has the device at a full NUMA node; without a claim the pod would go there."""
    furnish(site, kwok, "n1", "n2")
    driver("n1", {"gpu-0": 0})
    driver("n2", {"gpu-0": 1})
    site.create(pod("full", 6, on="n1"))
    full = until(lambda: site.allocation("full"), f"full to be decided\n{site.logs()}", SOON)
    assert full["spec"]["memoryNodes"] == "0"
    site.create(unbound("plain", 4))
    assert bound(site, "plain") == "n1"
    site.delete("plain")
    site.gone("plain")
    site.create(claiming(site, "near", 4))
    assert bound(site, "near") == "n2"
    spec = site.allocation("near")["spec"]
    assert spec["memoryNodes"] == "1"
    assert site.events("DevicesNotJudged") == []
    site.assert_sound()


def test_pods_of_one_moment_do_not_share_the_last_device_of_a_node(site, kwok, driver):
    furnish(site, kwok, "n1", "n2", "n3")
    driver("n2", {"gpu-0": 0})
    driver("n3", {"gpu-0": 0})
    values = [claiming(site, name, 4) for name in ("a", "b")]
    for value in values:
        site.create(value)
    assert {bound(site, name) for name in ("a", "b")} == {"n2", "n3"}
    assert site.events("DevicesNotJudged") == []
    site.create(claiming(site, "late", 4))
    (told,) = until(lambda: site.events("DevicesNotJudged"), f"the event\n{site.logs()}", SOON)
    assert f"no node that could hold it has its devices free (1 of {DRIVER})" in told
    assert gates(site.pod("late")) == []


def test_a_claim_that_cannot_be_judged_is_said_and_keeps_no_pod(site, kwok, driver):
    furnish(site, kwok, "n1")
    driver("n1", {"gpu-0": 1})
    expression = 'device.attributes["resource.kubernetes.io"].numaNode == 1'
    site.create(claiming(site, "choosy", 4, selectors=[{"cel": {"expression": expression}}]))
    assert bound(site, "choosy") == "n1"
    (told,) = until(lambda: site.events("DevicesNotJudged"), f"the event\n{site.logs()}", SOON)
    assert f"selector {expression} is the scheduler's to judge" in told
