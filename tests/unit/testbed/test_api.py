"""Paths of the HTTP API as manifests name them."""

from __future__ import annotations

import pytest

from testbed.api import ApiStatusError, path_of


@pytest.mark.parametrize(
    ("api_version", "kind", "namespace", "path"),
    [
        ("v1", "Node", None, "/api/v1/nodes/x"),
        ("v1", "Pod", None, "/api/v1/namespaces/default/pods/x"),
        ("v1", "Pod", "shop", "/api/v1/namespaces/shop/pods/x"),
        (
            "rbac.authorization.k8s.io/v1",
            "ClusterRole",
            None,
            "/apis/rbac.authorization.k8s.io/v1/clusterroles/x",
        ),
        ("podnuma.dev/v1alpha1", "NodeTopology", None, "/apis/podnuma.dev/v1alpha1/nodetopologies/x"),
        (
            "podnuma.dev/v1alpha1",
            "PodAllocation",
            "shop",
            "/apis/podnuma.dev/v1alpha1/namespaces/shop/podallocations/x",
        ),
        (
            "networking.k8s.io/v1",
            "NetworkPolicy",
            "shop",
            "/apis/networking.k8s.io/v1/namespaces/shop/networkpolicies/x",
        ),
        (
            "policy/v1",
            "PodDisruptionBudget",
            "shop",
            "/apis/policy/v1/namespaces/shop/poddisruptionbudgets/x",
        ),
    ],
)
def test_path_of_a_manifest(api_version, kind, namespace, path):
    metadata = {"name": "x"} | ({"namespace": namespace} if namespace else {})
    assert path_of({"apiVersion": api_version, "kind": kind, "metadata": metadata}) == path


def test_a_refusal_tells_code_reason_and_message():
    error = ApiStatusError(403, {"reason": "Forbidden", "message": "pods is forbidden"})
    assert (error.code, error.reason, str(error)) == (403, "Forbidden", "403 Forbidden: pods is forbidden")
