"""The file of fields is made of OpenAPI schemas: references, lists, maps, and what has no shape."""

from __future__ import annotations

import pytest

from testbed.manifest_fields import KINDS, fields_of


def schemas(**properties):
    """Return schemas in which every kind has these properties."""
    parts = {f"{group}.{kind}": {"type": "object", "properties": properties} for kind, group in KINDS.items()}
    core = "io.k8s.api.core.v1"
    return parts | {
        f"{core}.Part": {"type": "object", "properties": {"name": {"type": "string"}}},
        "io.k8s.apimachinery.pkg.api.resource.Quantity": {"oneOf": [{"type": "string"}, {"type": "number"}]},
        "io.k8s.apimachinery.pkg.apis.meta.v1.Time": {"type": "string", "format": "date-time"},
        "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": {"type": "object"},
        "other.Part": {"type": "object", "properties": {}},
    }


def reference(name):
    return {"default": {}, "allOf": [{"$ref": f"#/components/schemas/{name}"}]}


PART = "io.k8s.api.core.v1.Part"
META = "io.k8s.apimachinery.pkg.apis.meta.v1"


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string"}, "text"),
        ({"type": "integer", "format": "int64"}, "int"),
        ({"type": "boolean"}, "bool"),
        (reference(PART), "Part"),
        ({"$ref": f"#/components/schemas/{PART}"}, "Part"),
        ({"type": "array", "items": reference(PART)}, "[Part"),
        ({"type": "object", "additionalProperties": {"type": "string"}}, "{text"),
        (
            {
                "type": "object",
                "additionalProperties": {
                    "$ref": "#/components/schemas/io.k8s.apimachinery.pkg.api.resource.Quantity"
                },
            },
            "{any",
        ),
        ({"$ref": f"#/components/schemas/{META}.Time"}, "text"),
        ({"$ref": f"#/components/schemas/{META}.FieldsV1"}, "any"),
    ],
)
def test_a_type_is_written_in_one_word(schema, kind):
    found = fields_of(schemas(field=schema))
    assert found["Pod"] == {"field": kind}
    assert ("Part" in found) == kind.endswith("Part")


def test_two_objects_of_one_short_name_are_not_mixed_up():
    with pytest.raises(ValueError, match="have the same short name"):
        fields_of(schemas(a=reference(PART), b=reference("other.Part")))
