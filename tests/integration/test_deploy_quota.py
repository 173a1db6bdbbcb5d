"""Where priority classes are limited, as on GKE, the chart's quota lets its pods in."""

import json

from testbed.control_plane import ControlPlane
from testbed.waiting import until
from tests.integration.helm_chart import SYSTEM, one, rendered, workloads

# What GKE sets.
LIMITED = {
    "apiVersion": "apiserver.config.k8s.io/v1",
    "kind": "ResourceQuotaConfiguration",
    "limitedResources": [
        {
            "resource": "pods",
            "matchScopes": [
                {
                    "scopeName": "PriorityClass",
                    "operator": "In",
                    "values": ["system-node-critical", "system-cluster-critical"],
                }
            ],
        }
    ],
}


def test_pods_of_the_chart_are_admitted_where_their_classes_are_limited(helm):
    manifests = rendered(helm)
    quota = one(manifests, "ResourceQuota", "podnuma")
    classes = {
        pod["priorityClassName"] for pod in workloads(manifests).values() if "priorityClassName" in pod
    }
    assert classes == {"system-node-critical", "system-cluster-critical"}
    with ControlPlane(admission={"ResourceQuota": LIMITED}) as cluster:
        cluster.kubectl("create", "namespace", SYSTEM)

        def admitted(name: str) -> bool:
            pod = {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": SYSTEM},
                "spec": {"priorityClassName": name, "containers": [{"name": "c", "image": "x"}]},
            }
            done = cluster.kubectl("create", "-f", "-", stdin=json.dumps(pod), check=False)
            assert done.endswith("created\n") or "insufficient quota to match these scopes" in done
            return done.endswith("created\n")

        assert not any(map(admitted, classes))
        cluster.kubectl("apply", "-f", "-", stdin=json.dumps(quota))
        left = set(classes)

        def all_are_admitted() -> bool:
            left.difference_update([name for name in left if admitted(name)])
            return not left

        until(all_are_admitted, "the pods to be admitted", 30)


def test_other_classes_need_no_quota(helm):
    manifests = rendered(helm, "operator.priorityClassName=mine", "agent.priorityClassName=mine")
    assert not [manifest for manifest in manifests if manifest["kind"] == "ResourceQuota"]
