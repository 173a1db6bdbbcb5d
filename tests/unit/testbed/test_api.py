"""Paths of the HTTP API as manifests name them, and whom a client trusts."""

from __future__ import annotations

import ssl

import pytest
import requests

from testbed.api import Api, ApiStatusError, path_of
from testbed.pki import Authority, client_context
from tests.unit.https_server import https_server, verify_as_python_3_13


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


def test_servers_of_an_authority_are_trusted_with_every_python(tmp_path, monkeypatch):
    verify_as_python_3_13(monkeypatch)
    authority, other = Authority(tmp_path / "a"), Authority(tmp_path / "b")
    with https_server(*authority.issue("serving", "server", hosts=["127.0.0.1"])) as address:
        with Api(address, authority.ca_file) as api:
            assert api.get("/version") == {}
        with Api(address, other.ca_file) as api, pytest.raises(requests.exceptions.SSLError):
            api.get("/version")
    assert not client_context(authority.ca_file).verify_flags & ssl.VERIFY_X509_STRICT
