"""Where the page may be served, and what is asked for it."""

import pytest
import yaml
from podnuma.cli import main
from podnuma.cli.commands.ui import SourceQuestions
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.sources import FileSource

from tests.unit.cli.builders import allocation_object, database, topology_object

EPYC = "epyc7401-2s-8numa-16l3"


@pytest.fixture
def saved(tmp_path) -> str:
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump_all([topology_object(EPYC, reserved="0"), allocation_object(database())]))
    return str(path)


@pytest.mark.parametrize(
    ("address", "words"),
    [("0.0.0.0", "name the one address"), ("::", "name the one address"), ("localhost", "not an IP address")],
)
def test_all_addresses_at_once_and_names_are_refused(capsys, saved, address, words):
    with pytest.raises(SystemExit) as end:
        main.run(["ui", "--from", saved, "--no-browser", "--address", address])
    assert end.value.code == Exit.USAGE
    assert words in capsys.readouterr().err


def test_an_address_that_others_reach_is_said_before_it_fails(capsys, saved):
    with pytest.raises(SystemExit) as end:
        main.run(["ui", "--from", saved, "--no-browser", "--address", "192.0.2.1"])
    assert end.value.code == Exit.USAGE
    said = capsys.readouterr().err
    assert "can be reached by others" in said
    assert "must be one of this machine" in said


def test_a_plan_has_its_remarks_beside_it(saved):
    amounts = {"cpu": "4", "memory": "1Gi"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "new"},
        "spec": {
            "containers": [
                {"name": "app", "image": "x", "resources": {"requests": amounts, "limits": amounts}}
            ]
        },
    }
    found = SourceQuestions(FileSource([saved])).plan(yaml.safe_dump(pod))
    assert [(one["result"], one["node"]) for one in found["plans"]] == [("admitted", "node-a")]
    assert any("no Node objects are known here" in line for line in found["remarks"])


def test_a_manifest_that_cannot_be_read_is_a_failure_with_its_place(saved):
    with pytest.raises(Failure) as failure:
        SourceQuestions(FileSource([saved])).plan("kind: [")
    assert failure.value.lines[0].startswith("manifest document 1")
