"""Where the kubelet pins by itself, the agent writes nothing and says so."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.e2e import kubelet, pods

if TYPE_CHECKING:
    from testbed.e2e.cluster import Cluster
    from testbed.e2e.product import Product

pytestmark = pytest.mark.machine


def test_the_agent_stands_back_from_the_static_policy(cluster: Cluster, podnuma: Product) -> None:
    """With the kubelet's own static policy the agent says so and writes nothing; without it, it is back."""
    kubelet.switch(cluster, kubelet.Managers.POD_SCOPE)
    try:
        condition = podnuma.wait_condition("Paused", "True", 120)
        assert 'policyName "static"' in condition["message"]
        with cluster.running(pods.pod("pinned-by-kubelet", cluster.image, {"app": "2"})) as (pod,):
            kernel = cluster.snapshot()
            assert len(kernel.container(pod, "app").cpus) == 2
            assert kernel.pod(pod).cpus == frozenset(), "the agent wrote to a pod it must leave alone"
    finally:
        kubelet.switch(cluster, kubelet.Managers.DEFAULT)
    podnuma.wait_condition("Paused", "False", 120)
