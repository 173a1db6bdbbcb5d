"""What `plan` knows of manifests is what the API server says of them."""

from __future__ import annotations

import json
from typing import Any

from podnuma.cli.objects.manifest_fields import FIELDS_FILE

from testbed.manifest_fields import GROUPS, fields_of, shipped_schemas


def test_every_field_that_the_api_server_serves_is_known_with_its_type(control_plane):
    schemas: dict[str, Any] = {}
    for group in GROUPS:
        served = control_plane.api.get(f"/openapi/v3/{group.replace('__', '/')}")
        schemas |= served["components"]["schemas"]
    known = json.loads(FIELDS_FILE.read_text())["fields"]
    for name, fields in fields_of(schemas).items():
        if name.endswith("Status"):  # nobody writes these into a manifest
            continue
        assert known[name].items() >= fields.items(), name


def test_the_file_is_that_of_the_newest_release_of_the_test_bed():
    version, schemas = shipped_schemas()
    assert json.loads(FIELDS_FILE.read_text()) == {"kubernetes": version, "fields": fields_of(schemas)}
