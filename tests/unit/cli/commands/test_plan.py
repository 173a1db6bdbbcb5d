"""A plan is what the operator would decide, and changes nothing."""

import json
from typing import Any

import pytest
import yaml
from podnuma.cli.commands import plan
from podnuma.cli.commands.options import OutputFormat
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.documents import Document
from podnuma.cli.objects.nodes import candidate_nodes
from podnuma.cli.objects.sources import FileSource
from podnuma.cli.objects.workloads import expand

from tests.unit.cli.builders import allocation_object, database, topology_object

EPYC = "epyc7401-2s-8numa-16l3"


def pod(name: str, cpu: int, **metadata: object) -> dict[str, Any]:
    amounts = {"cpu": str(cpu), "memory": "1Gi"}
    resources = {"requests": amounts, "limits": amounts}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "a", **metadata},
        "spec": {"resources": resources, "containers": [{"name": "main"}]},
    }


def outcomes(pods, topologies, allocations=(), labels=None):
    nodes, problems = candidate_nodes(topologies, allocations)
    assert problems == []
    expanded = expand([Document(f"document {number}", one) for number, one in enumerate(pods)])
    return plan.plan_pods(expanded.pods, nodes, labels or {})


def test_what_an_earlier_pod_got_is_held_for_the_later_ones():
    found = outcomes([pod("one", 12), pod("two", 12)], [topology_object(EPYC, reserved="0,48")])
    grants = [one.grant for one in found]
    assert all(grants)
    assert grants[0].exclusive_cpus & grants[1].exclusive_cpus == 0


def test_pods_that_hold_something_already_are_in_the_way():
    topology = topology_object("laptop-hybrid-6p8e", reserved="0-1")
    held = database()
    assert outcomes([pod("one", 18)], [topology])[0].grant is not None
    assert outcomes([pod("one", 18)], [topology], [allocation_object(held)])[0].refused


def test_the_first_node_that_admits_gets_the_pod_and_refusals_before_it_are_kept():
    small, large = (
        topology_object("laptop-hybrid-6p8e", reserved="0", name="a"),
        topology_object("epyc9654-2s-384cpu-24l3", reserved="0", name="b"),
    )
    (found,) = outcomes([pod("one", 60)], [large, small])
    assert found.node == "b"
    assert [(one.node, one.reason) for one in found.refusals] == [("a", "TopologyAffinityError")]


def test_a_pod_that_no_node_admits_is_refused_with_every_reason():
    (found,) = outcomes([pod("one", 95)], [topology_object(EPYC, reserved="0,48")])
    assert found.refused
    assert [one.reason for one in found.refusals] == ["TopologyAffinityError"]


def test_pods_outside_the_profiles_selectors_are_not_managed():
    topology = topology_object(EPYC, reserved="0,48")
    topology["spec"]["management"] = "OptIn"
    plain, willing = pod("plain", 4), pod("willing", 4, labels={"podnuma.dev/managed": "true"})
    found = outcomes([plain, willing], [topology])
    assert [(one.managed, one.grant is not None) for one in found] == [(False, False), (True, True)]
    assert not found[0].refused


def test_labels_of_namespaces_count_where_a_profile_selects_by_them():
    topology = topology_object(EPYC, reserved="0,48")
    topology["spec"]["namespaceSelector"] = {"matchLabels": {"tier": "gold"}}
    assert not outcomes([pod("one", 4)], [topology])[0].managed
    assert outcomes([pod("one", 4)], [topology], labels={"a": {"tier": "gold"}})[0].managed


@pytest.fixture
def saved(tmp_path):
    """A saved cluster of one node, and a file name for manifests."""
    path = tmp_path / "cluster.yaml"
    path.write_text(
        yaml.safe_dump_all([topology_object(EPYC, reserved="0,48"), allocation_object(database())])
    )
    return FileSource([str(path)])


def manifest(tmp_path, *objects) -> list[str]:
    path = tmp_path / "pods.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    return [str(path)]


def test_the_answer_is_a_table_and_yes(saved, tmp_path, capsys):
    assert plan.print_plan(saved, manifest(tmp_path, pod("one", 6)), "", "", OutputFormat.TEXT) is Exit.OK
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["POD", "NODE", "RESULT", "CPUS", "NUMA", "EXCLUSIVE", "SHARED"]
    assert shown[1].split() == ["a/one", "node-a", "admitted", "6-8,54-56", "1", "-", "6-8,54-56"]


def test_a_refusal_is_no_and_names_the_kubelets_reason(saved, tmp_path, capsys):
    assert plan.print_plan(saved, manifest(tmp_path, pod("one", 95)), "", "", OutputFormat.TEXT) is Exit.NO
    assert "\na/one on node-a: TopologyAffinityError: " in capsys.readouterr().out


def test_problems_of_a_manifest_are_said_and_the_rest_is_planned(saved, tmp_path, capsys):
    service = {"kind": "Service", "metadata": {"name": "s"}}
    wrong = pod("wrong", 2)
    wrong["spec"]["resources"]["limits"] = {"cpu": "1"}
    code = plan.print_plan(
        saved, manifest(tmp_path, service, wrong, pod("one", 2)), "", "", OutputFormat.TEXT
    )
    shown = capsys.readouterr()
    assert code is Exit.INPUT
    lines = [line.removeprefix(f"{tmp_path}/") for line in shown.err.splitlines() if "pods.yaml" in line]
    assert lines[0] == "pods.yaml document 1 (line 1): Service s makes no pods; left out"
    assert lines[1].startswith("pods.yaml document 2 (line 5): spec.resources")
    assert "a/one" in shown.out


def test_programs_get_the_spec_that_the_operator_would_write(saved, tmp_path, capsys):
    plan.print_plan(saved, manifest(tmp_path, pod("one", 2)), "", "", OutputFormat.JSON)
    (found,) = json.loads(capsys.readouterr().out)
    assert (found["pod"], found["node"], found["admitted"]) == ("a/one", "node-a", True)
    assert found["allocation"]["cpus"] == "5,53"
    assert found["allocation"]["containers"][0]["assignment"]["cpu"] == "pod_shared"


def test_wide_shows_containers(saved, tmp_path, capsys):
    plan.print_plan(saved, manifest(tmp_path, pod("one", 2)), "", "", OutputFormat.WIDE)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.split() == ["a/one", "main", "app", "pod_shared", "5,53", "-", "200000/100000"]


def test_a_profile_in_a_file_is_tried_on_all_nodes(saved, tmp_path, capsys):
    profile = tmp_path / "profile.yaml"
    spec = {"nodeSelector": {}, "cpuManagerPolicy": "none"}
    profile.write_text(yaml.safe_dump({"kind": "NodeProfile", "metadata": {"name": "p"}, "spec": spec}))
    plan.print_plan(saved, manifest(tmp_path, pod("one", 95)), "", str(profile), OutputFormat.TEXT)
    assert capsys.readouterr().out.splitlines()[1].split()[2:] == ["admitted", "-", "-", "-", "node"]


def test_settings_that_do_not_fit_the_hardware_are_named(tmp_path, capsys):
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(topology_object("laptop-hybrid-6p8e", reserved="0,500")))
    with pytest.raises(Failure) as failure:
        plan.print_plan(FileSource([str(path)]), manifest(tmp_path, pod("one", 2)), "", "", OutputFormat.TEXT)
    assert failure.value.code is Exit.NOT_FOUND
    assert "node node-a: reservedSystemCPUs" in capsys.readouterr().err


def test_a_profile_that_no_node_has_is_named(saved, tmp_path):
    with pytest.raises(Failure) as failure:
        plan.print_plan(saved, manifest(tmp_path, pod("one", 2)), "", "nobody", OutputFormat.TEXT)
    assert failure.value.lines[0].startswith("no node with profile nobody can be planned on: ")


def test_labels_are_what_kubectl_would_send(tmp_path, capsys):
    """A date is text, so that a profile's selector matches it; and "=" is text, not the end of the file."""
    topology = topology_object(EPYC, reserved="0,48")
    topology["spec"]["podSelector"] = {"matchLabels": {"released": "2026-04-01"}}
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(topology))
    released = pod("one", 2, labels={"released": "DATE"}, annotations={"op": "EQUALS"})
    file = tmp_path / "pods.yaml"
    file.write_text(yaml.safe_dump(released).replace("DATE", "2026-04-01").replace("EQUALS", "="))
    assert plan.print_plan(FileSource([str(path)]), [str(file)], "", "", OutputFormat.TEXT) is Exit.OK
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["a/one", "node-a", "admitted"]
