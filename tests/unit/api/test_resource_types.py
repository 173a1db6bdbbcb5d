"""Resource types are those of the custom resource definitions, and of Kubernetes."""

import pytest
from podnuma.api import names
from podnuma.api.resource_types import LEASE, NODE_PROFILE, NODE_TOPOLOGY, POD, POD_ALLOCATION

from tests.unit.api.objects import crd

SHORT_NAMES = {NODE_PROFILE: "np", NODE_TOPOLOGY: "nt", POD_ALLOCATION: "pa"}


@pytest.mark.parametrize("resource_type", SHORT_NAMES, ids=lambda resource_type: resource_type.kind)
def test_names_are_those_of_the_definition(resource_type):
    definition = crd(resource_type.plural)
    spec = definition["spec"]
    assert definition["metadata"]["name"] == resource_type.resource
    assert spec["group"] == names.GROUP
    assert [version["name"] for version in spec["versions"]] == [names.VERSION]
    assert spec["scope"] == ("Namespaced" if resource_type.namespaced else "Cluster")
    assert spec["names"] == {
        "kind": resource_type.kind,
        "listKind": f"{resource_type.kind}List",
        "plural": resource_type.plural,
        "singular": resource_type.kind.lower(),
        "shortNames": [SHORT_NAMES[resource_type]],
        "categories": ["podnuma"],
    }


def test_agents_can_select_their_own_allocations():
    (version,) = crd("podallocations")["spec"]["versions"]
    assert version["selectableFields"] == [{"jsonPath": f".{names.NODE_NAME_FIELD}"}]


def test_paths_are_those_of_the_api_server():
    assert POD.path() == "/api/v1/pods"
    assert POD.path("shop", "db", "eviction") == "/api/v1/namespaces/shop/pods/db/eviction"
    assert LEASE.path("shop") == "/apis/coordination.k8s.io/v1/namespaces/shop/leases"
    assert NODE_TOPOLOGY.path("", "n1", "status") == "/apis/podnuma.dev/v1alpha1/nodetopologies/n1/status"
    assert POD_ALLOCATION.path("shop", "db", "status") == (
        "/apis/podnuma.dev/v1alpha1/namespaces/shop/podallocations/db/status"
    )


def test_statuses_are_applied_to_one_object_by_its_uid():
    assert POD_ALLOCATION.status_patch("shop", "db", "uid-1", {"phase": "Applied"}) == {
        "apiVersion": "podnuma.dev/v1alpha1",
        "kind": "PodAllocation",
        "metadata": {"namespace": "shop", "name": "db", "uid": "uid-1"},
        "status": {"phase": "Applied"},
    }
    assert NODE_TOPOLOGY.status_patch("", "n1", "uid-2", {})["metadata"] == {"name": "n1", "uid": "uid-2"}
