"""NodeResourceTopologies on a real API server, with the rights that the chart gives for them."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from testbed.installation import NAMESPACE, OPERATOR_ACCOUNT
from testbed.waiting import until
from tests.integration.helm_chart import rendered
from tests.integration.operator_site import SOON, Site, pod

pytestmark = pytest.mark.timeout(180)

EXPORT = "/apis/topology.node.k8s.io/v1alpha2/noderesourcetopologies"
NAME = {"name": "noderesourcetopologies.topology.node.k8s.io"}
ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def definition() -> dict[str, Any]:
    """Return a definition that stores any object of the kind; lists are atomic, as in the published one."""
    fields = {name: {"type": "array", "items": ANY} for name in ("zones", "attributes")}
    schema = {"type": "object", "required": ["zones"], "properties": fields}
    version = {"name": "v1alpha2", "served": True, "storage": True, "schema": {"openAPIV3Schema": schema}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            **NAME,
            "annotations": {
                "api-approved.kubernetes.io": "https://github.com/kubernetes/enhancements/pull/1870"
            },
        },
        "spec": {
            "group": "topology.node.k8s.io",
            "scope": "Cluster",
            "names": {"kind": "NodeResourceTopology", "plural": "noderesourcetopologies"},
            "versions": [version],
        },
    }


def rights(helm) -> list[dict[str, Any]]:
    """Return the role that the chart adds, bound to the operator's account."""
    manifests = rendered(helm, "operator.nodeResourceTopologies=true")
    (rules,) = [
        [rule for rule in one["rules"] if rule["apiGroups"] == ["topology.node.k8s.io"]]
        for one in manifests
        if one["kind"] == "ClusterRole" and one["metadata"]["name"].endswith("podnuma-operator")
    ]
    assert rules
    kind = {"apiVersion": "rbac.authorization.k8s.io/v1", "metadata": {"name": "export"}}
    return [
        {**kind, "kind": "ClusterRole", "rules": rules},
        {
            **kind,
            "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "export"},
            "subjects": [{"kind": "ServiceAccount", "name": OPERATOR_ACCOUNT, "namespace": NAMESPACE}],
        },
    ]


def test_the_operator_exports_what_is_free_and_leaves_the_objects_of_others_alone(
    clean_cluster, namespace, helm, tmp_path
):
    api = clean_cluster.api
    with Site(clean_cluster, namespace, tmp_path) as site:
        site.install()
        for manifest in rights(helm):
            api.apply(manifest)
        crd = tmp_path / "crd.yaml"
        crd.write_text(yaml.safe_dump(definition()))
        clean_cluster.apply_crds(crd)
        theirs = {
            "apiVersion": "topology.node.k8s.io/v1alpha2",
            "kind": "NodeResourceTopology",
            "metadata": {"name": "n2"},
            "zones": [{"name": "node-0", "type": "Node"}],
        }
        api.create(theirs)
        site.start(None, "--export-node-resource-topologies")
        site.furnish("n1", "n2")
        site.report_hardware("n1", "n2")

        def free() -> list[str] | None:
            found = api.find(f"{EXPORT}/n1")
            return found and [zone["resources"][0]["available"] for zone in found["zones"]]

        until(lambda: free() == ["6", "8"], "the object of n1", SOON)
        site.create(pod("db", 4))
        until(lambda: free() == ["2", "8"], "four CPUs fewer", SOON)
        until(lambda: "NodeResourceTopology n2 is written by somebody else" in site.logs(), "the log", SOON)
        assert api.get(f"{EXPORT}/n2")["zones"] == theirs["zones"]
        api.delete("/apis/podnuma.dev/v1alpha1/nodeprofiles/main")
        until(lambda: api.find(f"{EXPORT}/n1") is None, "the object of n1 to go with the profile", SOON)
        assert api.find(f"{EXPORT}/n2") is not None
        left = clean_cluster.kubectl(
            "delete", "noderesourcetopologies", "-l", "app.kubernetes.io/managed-by=podnuma"
        )
        assert "n2" not in str(left)
    api.delete(f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{NAME['name']}")
