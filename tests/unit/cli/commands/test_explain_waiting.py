"""A pod on no node: its candidates, best first, and what excludes the other nodes."""

import json
from dataclasses import replace
from typing import Any

import yaml
from podnuma.cli.commands import explain
from podnuma.cli.commands.answer import print_answer
from podnuma.cli.commands.options import OutputFormat
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.sources import FileSource

from tests.unit.cli.builders import allocation_object, container, database, grant, topology_object

EPYC = "epyc7401-2s-8numa-16l3"
KEY = ("a", "waiting")


def print_explanation(source, key, node, form, manifest=None, **more):
    return print_answer(explain.explain_one(source, key, node, manifest, **more), form)


def waiting(cpus: int, **spec: Any) -> dict[str, Any]:
    amounts = {"cpu": str(cpus), "memory": "1Gi"}
    message = "0/3 nodes are available: 3 Insufficient cpu."
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message}
    return {
        "kind": "Pod",
        "metadata": {"name": KEY[1], "namespace": KEY[0], "uid": "u"},
        "spec": {
            "resources": {"requests": amounts, "limits": amounts},
            "containers": [{"name": "main"}],
            **spec,
        },
        "status": {"phase": "Pending", "qosClass": "Guaranteed", "conditions": [condition]},
    }


def cluster(tmp_path, pod: dict[str, Any]) -> FileSource:
    """Three equal machines, of which node-a holds a pod and z-node is cordoned."""
    objects = [topology_object(EPYC, reserved="0,48", name=name) for name in ("a-node", "node-a", "z-node")]
    objects += [
        {"kind": "Node", "metadata": {"name": name}, "spec": {"unschedulable": name == "z-node"}}
        for name in ("a-node", "node-a", "z-node")
    ]
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump_all([*objects, allocation_object(database()), pod]))
    return FileSource([str(path)])


def test_nodes_that_would_admit_it_are_named_best_first_and_the_others_counted(tmp_path, capsys):
    gates = [{"name": "example.com/quota"}]
    source = cluster(tmp_path, waiting(4, schedulingGates=gates))
    assert print_explanation(source, KEY, "", OutputFormat.TEXT) is Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "pod a/waiting is on no node yet; 2 nodes would admit it now",
        "held by scheduling gates: example.com/quota",
        "the scheduler says: 0/3 nodes are available: 3 Insufficient cpu.",
    ]
    assert [line.split()[0] for line in lines[4:7]] == ["NODE", "node-a", "a-node"]
    assert lines[-1] == "not considered: 1 node: 1 by cordon"


def test_a_pod_that_no_node_admits_has_the_reason_once_with_what_would_fit(tmp_path, capsys):
    source = cluster(tmp_path, waiting(40))
    assert print_explanation(source, KEY, "", OutputFormat.TEXT) is Exit.NO
    shown = capsys.readouterr().out
    assert shown.startswith("pod a/waiting is on no node yet; no node would admit it now\n")
    assert "\n2 nodes would refuse it: TopologyAffinityError, on a-node: needs 40 CPUs on one NUMA" in shown
    assert "Fits with: " in shown


def test_programs_get_the_same(tmp_path, capsys):
    print_explanation(cluster(tmp_path, waiting(4)), KEY, "", OutputFormat.JSON)
    found = json.loads(capsys.readouterr().out)
    assert found["kind"] == "WaitingPodList"
    (item,) = found["items"]
    assert [one["node"] for one in item["candidates"]] == ["node-a", "a-node"]
    assert (item["candidateNodes"], item["notConsidered"], item["refusals"]) == (2, {"cordoned": 1}, [])


def test_a_node_that_is_named_is_asked_alone(tmp_path, capsys):
    print_explanation(cluster(tmp_path, waiting(4)), KEY, "a-node", OutputFormat.TEXT)
    assert capsys.readouterr().out.startswith("pod a/waiting on a-node: not decided; it would be admitted\n")


def reserved_cluster(tmp_path, node: str) -> FileSource:
    """Two equal machines and a pod that one of them keeps CPUs for."""
    held = grant("a/waiting", "1-2,49-50", container("main", "pod_exclusive", "1-2,49-50"))
    kept = allocation_object(replace(held, uid="u"), node, reason="Admitted")
    kept["spec"]["decision"]["reason"] = "Reserved"
    kept["spec"]["decision"].pop("checksum", None)
    kept["spec"]["summary"]["numa"] = "0"
    objects = [topology_object(EPYC, reserved="0,48", name=name) for name in ("n1", "n2")]
    objects += [{"kind": "Node", "metadata": {"name": name}, "spec": {}} for name in ("n1", "n2")]
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump_all([*objects, kept, waiting(4)]))
    return FileSource([str(path)])


def test_a_pod_with_a_reservation_has_its_candidates_as_they_are_without_it(tmp_path, capsys):
    source = reserved_cluster(tmp_path, "n2")
    assert print_explanation(source, KEY, "", OutputFormat.TEXT) is Exit.OK
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "pod a/waiting is not bound yet; reserved for it on n2: CPUs 1-2,49-50 of NUMA node 0"
    rows = [line.split() for line in lines[3:6]]
    assert [row[0] for row in rows] == ["NODE", "n1", "n2"]
    assert rows[1][1:] == rows[2][1:]  # what is reserved counts on neither
    print_explanation(source, KEY, "", OutputFormat.JSON)
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert item["reservation"] == {"node": "n2", "cpus": "1-2,49-50", "numa": "0"}
    assert item["candidateNodes"] == 2


def test_the_steps_of_a_reservation_are_shown_of_its_node(tmp_path, capsys):
    print_explanation(reserved_cluster(tmp_path, "n2"), KEY, "n2", OutputFormat.TEXT)
    assert "\ndecided\n" in capsys.readouterr().out


def test_who_may_not_read_all_nodes_is_told_of_the_reservation(tmp_path, capsys, monkeypatch):
    source = reserved_cluster(tmp_path, "n2")

    def fetch(*_asked):
        raise Failure(Exit.FORBIDDEN, "you may not list podallocations")

    monkeypatch.setattr(source, "fetch", fetch)
    print_explanation(source, KEY, "", OutputFormat.TEXT)
    shown = capsys.readouterr()
    assert shown.out.startswith("pod a/waiting on n2: ")
    assert "you may not list podallocations" in shown.err
