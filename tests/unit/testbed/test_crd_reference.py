"""The reference pages are what the schemas say now."""

import pytest
import yaml

from testbed import crd_reference


def test_the_pages_are_up_to_date(capsys):
    assert crd_reference.main(["--check"]) == 0, capsys.readouterr().out


def test_a_page_has_every_field_and_every_rule():
    definition = yaml.safe_load((crd_reference.CRDS / "nodeprofiles.yaml").read_text())
    page = crd_reference.page(definition)
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert [field for field in spec["properties"] if f"| `{field}`" not in page] == []
    messages = [rule["message"].replace("<", "&lt;") for rule in spec["x-kubernetes-validations"]]
    assert [message for message in messages if message not in page] == []
    assert "`reservedMemory[].limits` *required*" in page


@pytest.mark.parametrize("path", crd_reference.pages(), ids=lambda path: path.stem)
def test_tables_are_not_torn_by_their_cells(path):
    for block in crd_reference.pages()[path].split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("| ")]
        assert len({line.replace("\\|", "").count("|") for line in rows}) <= 1


def test_a_stale_page_is_named(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(crd_reference, "ROOT", tmp_path)
    monkeypatch.setattr(crd_reference, "PAGES", tmp_path / "docs")
    assert crd_reference.main(["--check"]) == 1
    assert "docs/nodeprofile.md: is out of date, run make docs-reference" in capsys.readouterr().out
    assert crd_reference.main([]) == 0
    assert crd_reference.main(["--check"]) == 0
