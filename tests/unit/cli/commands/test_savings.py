"""What `podnuma savings` prints: a row per workload, the sum, and on what it rests."""

import json

import pytest
import yaml
from podnuma.cli import main
from podnuma.cli.exits import Exit


def guaranteed(name: str, cpu: str) -> dict[str, object]:
    amounts = {"cpu": cpu, "memory": "1Gi"}
    return {"name": name, "resources": {"requests": amounts, "limits": amounts}}


@pytest.fixture
def saved(tmp_path) -> str:
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "db-0", "namespace": "shop"},
        "spec": {"containers": [guaranteed("db", "8"), guaranteed("log", "1"), guaranteed("proxy", "2")]},
        "status": {"phase": "Running"},
    }
    path = tmp_path / "pods.yaml"
    path.write_text(yaml.safe_dump(pod))
    return str(path)


def savings(*words: str) -> None:
    with pytest.raises(SystemExit) as end:
        main.run(["savings", *words])
    assert end.value.code == Exit.OK


def test_the_table_has_what_sidecars_hold_and_what_would_be_freed(saved, capsys):
    savings("--from", saved)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "1 pod looked at, 0 with a budget already, 1 Guaranteed with sidecars"
    assert lines[3].split() == ["shop", "Pod/db-0", "1", "db", "8", "1+2", "=", "3", "1", "2", "2"]
    assert "sidecars hold 3 CPUs, shared pools would need 1; 2 CPUs would be free." in lines[5]


def test_programs_get_millicores(saved, capsys):
    savings("--from", saved, "-o", "json")
    found = json.loads(capsys.readouterr().out)
    assert (found["summary"]["freedCPU"], found["items"][0]["poolCPU"]) == ("2", "1")
