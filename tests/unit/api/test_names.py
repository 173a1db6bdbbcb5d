"""Names are those of the custom resource definitions."""

import pytest
from podnuma.api import names

from tests.unit.api.objects import crd


@pytest.mark.parametrize("resource", names.RESOURCES, ids=lambda resource: resource.kind)
def test_names_are_those_of_the_definition(resource):
    definition = crd(resource.plural)
    spec = definition["spec"]
    assert definition["metadata"]["name"] == resource.crd
    assert spec["group"] == names.GROUP
    assert [version["name"] for version in spec["versions"]] == [names.VERSION]
    assert spec["scope"] == ("Namespaced" if resource.namespaced else "Cluster")
    assert spec["names"] == {
        "kind": resource.kind,
        "listKind": f"{resource.kind}List",
        "plural": resource.plural,
        "singular": resource.singular,
        "shortNames": [resource.short],
        "categories": [names.CATEGORY],
    }


def test_agents_can_select_their_own_allocations():
    (version,) = crd("podallocations")["spec"]["versions"]
    assert version["selectableFields"] == [{"jsonPath": f".{names.NODE_NAME_FIELD}"}]
