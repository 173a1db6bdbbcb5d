"""A line per node, a bar per NUMA node."""

import json
from typing import Any

import pytest
import yaml
from podnuma.cli import main
from podnuma.cli.commands import nodes
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.sources import FileSource

from tests.unit.cli.builders import topology_object

EPYC = "epyc7401-2s-8numa-16l3"


def used(name: str = "node-a") -> dict[str, Any]:
    """Eight NUMA nodes of 12 CPUs; pods hold all 12 of node 1, and 6 of node 2."""
    topology = topology_object(EPYC, reserved="0,48", name=name)
    topology["spec"]["profile"] = {"name": "databases", "generation": 1}
    topology["status"]["allocation"] = {
        "reservedCPUs": "0,48",
        "exclusiveCPUs": "6-14,54-62",
        "sharedPool": "0-5,15-53,63-95",
        "pods": 2,
        "rejected": 1,
        "numaNodes": [
            {"id": 0, "freeCPUs": "1-5,49-53"},
            {"id": 1, "freeCPUs": ""},
            {"id": 2, "freeCPUs": "15-17,63-65"},
        ],
    }
    topology["status"]["conditions"] = [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Ready",
            "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
    ]
    return topology


@pytest.fixture
def saved(tmp_path) -> str:
    labelled = {"kind": "Node", "metadata": {"name": "node-a", "labels": {"pool": "db"}}}
    plain = {"kind": "Node", "metadata": {"name": "node-b"}}
    path = tmp_path / "cluster.yaml"
    path.write_text(
        yaml.safe_dump_all([topology_object(EPYC, reserved="0", name="node-b"), used(), labelled, plain])
    )
    return str(path)


def run(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as end:
        main.run(["nodes", *words])
    assert end.value.code == Exit.OK
    out: str = capsys.readouterr().out
    return out


def test_wide_lines_say_how_many_cpus_there_are_and_what_is_free_where(saved, capsys):
    plain = run(capsys, "--from", saved).splitlines()
    wide = run(capsys, "--from", saved, "-o", "wide").splitlines()
    added = [line.removeprefix(short).split() for line, short in zip(wide, plain, strict=True)]
    assert added == [
        ["CPUS", "HELD", "FREE", "FREE-PER-NUMA"],
        ["96", "18", "16", "10,0,6,0,0,0,0,0"],
        ["96", "0", "-", "-"],
    ]


def test_a_line_says_who_holds_how_much_and_what_is_free_on_one_numa_node(saved, capsys):
    lines = run(capsys, "--from", saved).splitlines()
    assert lines[0].split() == [
        "NODE",
        "PROFILE",
        "POLICY",
        "PODS",
        "REJECTED",
        "NUMA",
        "USE",
        "LARGEST-FREE",
        "READY",
    ]
    assert lines[1].split() == [
        "node-a", "databases", "single-numa-node", "2", "1", "8", "▁█▅▁▁▁▁▁", "10", "True",
    ]  # fmt: skip
    assert lines[2].split()[:1] == ["node-b"]


def test_nodes_are_chosen_by_name_or_label_and_headings_can_go(saved, capsys):
    assert run(capsys, "--from", saved, "--no-headers", "-l", "pool=db").split()[0] == "node-a"
    assert len(run(capsys, "--from", saved, "node-b", "node-a").splitlines()) == 3
    with pytest.raises(Failure) as failure:
        nodes.read_lines(FileSource([saved]), [], "pool=ml")
    assert failure.value.code is Exit.NOT_FOUND


def test_programs_get_numbers(saved, capsys):
    (found,) = json.loads(run(capsys, "--from", saved, "node-a", "-o", "json"))["items"]
    assert found["numaNodes"][1] == {"id": 1, "cpus": 12, "heldCPUs": 12, "freeCPUs": 0}
