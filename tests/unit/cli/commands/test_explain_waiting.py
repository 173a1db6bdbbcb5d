"""A pod on no node: its candidates, best first, and what excludes the other nodes."""

import json
from typing import Any

import yaml
from podnuma.cli.commands import explain
from podnuma.cli.commands.answer import print_answer
from podnuma.cli.commands.options import OutputFormat
from podnuma.cli.exits import Exit
from podnuma.cli.objects.sources import FileSource

from tests.unit.cli.builders import allocation_object, database, topology_object

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
    assert lines[-1] == "not considered: 1 node: cordoned 1"


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
