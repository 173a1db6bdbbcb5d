"""A plan is what the operator would decide, and changes nothing."""

import contextlib
import io
import json
from typing import Any

import pytest
import yaml
from podnuma.allocator.placement.packing import Packing
from podnuma.cli.commands import plan
from podnuma.cli.commands.answer import print_answer
from podnuma.cli.commands.options import OutputFormat
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.sources import FileSource

from tests.unit.cli.builders import ROOT, allocation_object, budgeted_pod, database, topology_object

EPYC = "epyc7401-2s-8numa-16l3"


def print_plan(source, files, node, profile, form, **more):
    return print_answer(plan.answer_plan(source, files, node, profile, **more), form)


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
    assert print_plan(saved, manifest(tmp_path, budgeted_pod("one", 6)), "", "", OutputFormat.TEXT) is Exit.OK
    shown = capsys.readouterr().out.splitlines()
    assert shown[0].split() == ["POD", "NODE", "RESULT", "CPUS", "NUMA", "EXCLUSIVE", "SHARED"]
    assert shown[1].split() == ["a/one", "node-a", "admitted", "6-8,54-56", "1", "-", "6-8,54-56"]


def test_of_a_pod_that_holds_something_and_is_not_known_to_run_a_second_one_is_planned(
    saved, tmp_path, capsys
):
    held = database()
    again = budgeted_pod(held.name, 2)
    again["metadata"]["namespace"] = held.namespace
    files = manifest(tmp_path, again, budgeted_pod("one", 2))
    assert print_plan(saved, files, "", "", OutputFormat.TEXT) is Exit.OK
    name = f"{held.namespace}/{held.name}"
    said = [line for line in capsys.readouterr().err.splitlines() if "beside" in line]
    assert said == [f"planned beside what a pod of the same name holds that is not known to run: {name}"]
    assert print_plan(saved, manifest(tmp_path, budgeted_pod("one", 2)), "", "", OutputFormat.TEXT) is Exit.OK
    assert "beside" not in capsys.readouterr().err


def test_a_refusal_is_no_and_names_the_kubelets_reason(saved, tmp_path, capsys):
    assert (
        print_plan(saved, manifest(tmp_path, budgeted_pod("one", 95)), "", "", OutputFormat.TEXT) is Exit.NO
    )
    assert "\na/one on node-a: TopologyAffinityError: " in capsys.readouterr().out


def test_problems_of_a_manifest_are_said_and_the_rest_is_planned(saved, tmp_path, capsys):
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "s"}}
    wrong = budgeted_pod("wrong", 2)
    wrong["spec"]["resources"]["limits"] = {"cpu": "1"}
    code = print_plan(
        saved, manifest(tmp_path, service, wrong, budgeted_pod("one", 2)), "", "", OutputFormat.TEXT
    )
    shown = capsys.readouterr()
    assert code is Exit.INPUT
    lines = [line.removeprefix(f"{tmp_path}/") for line in shown.err.splitlines() if "pods.yaml" in line]
    assert lines[0] == "pods.yaml document 1 (line 1): Service s makes no pods; left out"
    assert lines[1].startswith("pods.yaml document 2 (line 6): spec.resources")
    assert "a/one" in shown.out


def test_programs_get_the_spec_that_the_operator_would_write(saved, tmp_path, capsys):
    print_plan(saved, manifest(tmp_path, budgeted_pod("one", 2)), "", "", OutputFormat.JSON)
    (found,) = json.loads(capsys.readouterr().out)["items"]
    assert (found["namespace"], found["name"]) == ("a", "one")
    assert (found["node"], found["admitted"]) == ("node-a", True)
    assert found["allocation"]["cpus"] == "5,53"
    assert found["allocation"]["containers"][0]["assignment"]["cpu"] == "pod_shared"


def test_wide_shows_containers(saved, tmp_path, capsys):
    print_plan(saved, manifest(tmp_path, budgeted_pod("one", 2)), "", "", OutputFormat.WIDE)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.split() == ["a/one", "main", "app", "pod_shared", "5,53", "-", "200000/100000"]


def test_a_profile_in_a_file_is_tried(saved, tmp_path, capsys):
    profile = tmp_path / "profile.yaml"
    spec = {"nodeSelector": {}, "cpuManagerPolicy": "none"}
    profile.write_text(yaml.safe_dump({"kind": "NodeProfile", "metadata": {"name": "p"}, "spec": spec}))
    print_plan(saved, manifest(tmp_path, budgeted_pod("one", 95)), "", str(profile), OutputFormat.TEXT)
    assert capsys.readouterr().out.splitlines()[1].split()[2:] == ["admitted", "-", "-", "-", "node"]


def test_settings_that_do_not_fit_the_hardware_are_named(tmp_path, capsys):
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(topology_object("laptop-hybrid-6p8e", reserved="0,500")))
    with pytest.raises(Failure) as failure:
        print_plan(
            FileSource([str(path)]), manifest(tmp_path, budgeted_pod("one", 2)), "", "", OutputFormat.TEXT
        )
    assert failure.value.code is Exit.NOT_FOUND
    assert "cannot be used on node node-a: spec.reservedSystemCPUs '0,500': " in capsys.readouterr().err


def test_a_profile_that_no_node_has_is_named(saved, tmp_path):
    with pytest.raises(Failure) as failure:
        print_plan(saved, manifest(tmp_path, budgeted_pod("one", 2)), "", "nobody", OutputFormat.TEXT)
    assert failure.value.code is Exit.NOT_FOUND
    assert failure.value.lines[0].startswith("there is no NodeProfile nobody in ")
    assert failure.value.lines[0].endswith(", nor a file of that name")


@pytest.mark.parametrize("text", ["", "---\n---\n", "# a chart without output\n"])
def test_manifests_of_which_there_are_none_are_no_plan(saved, tmp_path, text):
    (tmp_path / "rendered.yaml").write_text(text)
    with pytest.raises(Failure) as failure:
        print_plan(saved, [str(tmp_path / "rendered.yaml")], "", "", OutputFormat.TEXT)
    assert failure.value.code is Exit.INPUT
    assert failure.value.lines[0].endswith("rendered.yaml: no manifest is there; see what was to write it")


def test_labels_are_what_kubectl_would_send(tmp_path, capsys):
    """A date is text, so that a profile's selector matches it; and "=" is text, not the end of the file."""
    topology = topology_object(EPYC, reserved="0,48")
    topology["spec"]["podSelector"] = {"matchLabels": {"released": "2026-04-01"}}
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(topology))
    released = budgeted_pod("one", 2, labels={"released": "DATE"}, annotations={"op": "EQUALS"})
    file = tmp_path / "pods.yaml"
    file.write_text(yaml.safe_dump(released).replace("DATE", "2026-04-01").replace("EQUALS", "="))
    assert print_plan(FileSource([str(path)]), [str(file)], "", "", OutputFormat.TEXT) is Exit.OK
    assert capsys.readouterr().out.splitlines()[1].split()[:3] == ["a/one", "node-a", "admitted"]


def node(name: str, cpus: int, labels: dict[str, str] | None = None, **spec: object) -> dict[str, Any]:
    allocatable = {"cpu": str(cpus), "memory": "200Gi", "pods": "110"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels or {}},
        "spec": spec,
        "status": {"allocatable": allocatable},
    }


def cluster(tmp_path, *objects, **changes: dict[str, object]) -> FileSource:
    """The demo's nodes: node-1 for databases, node-2 for training; `changes` to the specs of Nodes."""
    xeon = "xeon-2s-snc2-irregular"
    training = topology_object(xeon, reserved="0-1", name="node-2")
    training["spec"] |= {"topologyManagerPolicy": "best-effort", "topologyManagerScope": "container"}
    path = tmp_path / "cluster.yaml"
    path.write_text(
        yaml.safe_dump_all(
            [
                topology_object(EPYC, reserved="0-1", name="node-1"),
                training,
                node("node-1", 96, {"node-pool": "databases"}, **changes.get("node_1", {})),
                node("node-2", 80, {"node-pool": "training"}, **changes.get("node_2", {})),
                *objects,
            ]
        )
    )
    return FileSource([str(path)])


def planned(source, files, profile: str = "", **options) -> tuple[Exit, dict[str, tuple[str, str | None]]]:
    """The exit code, and for each pod its result and node."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        code = print_plan(source, files, "", profile, OutputFormat.JSON, **options)
    found = json.loads(out.getvalue())["items"]
    return code, {f"{one['namespace']}/{one['name']}": (one["result"], one["node"]) for one in found}


EXAMPLES = [str(ROOT / "examples" / "pods")]


def test_the_examples_go_where_their_selectors_let_them_and_the_large_one_is_refused(tmp_path):
    assert planned(cluster(tmp_path), EXAMPLES) == (
        Exit.NO,
        {
            "default/database": ("admitted", "node-1"),
            "default/ml-training": ("admitted", "node-2"),
            "default/too-large": ("refused", None),
        },
    )


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"unschedulable": True}, "cordon"),
        ({"taints": [{"key": "a", "effect": "NoSchedule"}]}, "taints"),
    ],
)
def test_a_cordon_or_a_taint_leaves_a_pod_pending_and_is_counted(tmp_path, capsys, change, why):
    source = cluster(tmp_path, node_1=change)
    database = [str(ROOT / "examples" / "pods" / "database.yaml")]
    assert print_plan(source, database, "", "", OutputFormat.TEXT) is Exit.NO
    shown = capsys.readouterr().out
    assert shown.splitlines()[1].split()[:2] == ["default/database", "-"]
    assert "pending" in shown
    assert f"\nnot considered: 2 nodes: 1 by nodeSelector, 1 by {why}\n" in shown


def deployment(replicas: int, cpu: int, **spec: object) -> dict[str, Any]:
    one = budgeted_pod("x", cpu)["spec"] | spec
    template = {"metadata": {"labels": {"app": "w"}}, "spec": one}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "w", "namespace": "a"},
        "spec": {"replicas": replicas, "template": template},
    }


def test_of_nine_replicas_of_which_seven_fit_two_are_refused(tmp_path, capsys):
    """Eight NUMA nodes with 12 CPUs; the first has 10, so that seven pods of 12 fit."""
    files = manifest(tmp_path, deployment(9, 12, nodeSelector={"node-pool": "databases"}))
    code = print_plan(cluster(tmp_path), files, "", "", OutputFormat.TEXT)
    shown = capsys.readouterr().out
    assert code is Exit.NO
    assert shown.count(" admitted ") == 7
    assert shown.endswith("\nDeployment a/w: 7 of 9 pods fit, 2 refused\n\n7 admitted, 2 refused\n")
    assert shown.count("a/w-8 and 1 more on node-1: TopologyAffinityError: ") == 1
    print_plan(cluster(tmp_path), files, "", "", OutputFormat.JSON)
    summary = json.loads(capsys.readouterr().out)["summary"]
    counts = {"running": 0, "admitted": 7, "refused": 2, "pending": 0, "notManaged": 0}
    workload = {"kind": "Deployment", "namespace": "a", "name": "w", **counts}
    assert summary == {**counts, "workloads": [workload]}


def test_what_other_pods_request_is_not_free(tmp_path):
    busy: dict[str, Any] = {
        "kind": "Pod",
        "metadata": {"name": "busy", "namespace": "b"},
        "spec": {"nodeName": "node-1", "containers": [{"resources": {"requests": {"cpu": "93"}}}]},
        "status": {"phase": "Running"},
    }
    files = manifest(
        tmp_path, budgeted_pod("one", 4) | {"spec": budgeted_pod("one", 4)["spec"] | {"nodeName": "node-1"}}
    )
    assert planned(cluster(tmp_path, busy), files) == (Exit.NO, {"a/one": ("pending", None)})
    busy["status"]["phase"] = "Succeeded"
    assert planned(cluster(tmp_path, busy), files) == (Exit.OK, {"a/one": ("admitted", "node-1")})


def test_a_daemon_set_has_a_pod_on_every_node_that_it_may_go_to(tmp_path, capsys):
    daemons = deployment(1, 2) | {"kind": "DaemonSet"}
    print_plan(cluster(tmp_path), manifest(tmp_path, daemons), "", "", OutputFormat.TEXT)
    rows = [line.split()[:3] for line in capsys.readouterr().out.splitlines()[1:]]
    assert rows == [["a/w", "node-1", "admitted"], ["a/w", "node-2", "admitted"]]


def test_a_profile_in_a_file_judges_only_the_nodes_that_it_selects(tmp_path, capsys):
    profile = tmp_path / "profile.yaml"
    spec = {"nodeSelector": {"matchLabels": {"node-pool": "training"}}, "cpuManagerPolicy": "none"}
    profile.write_text(yaml.safe_dump({"kind": "NodeProfile", "metadata": {"name": "p"}, "spec": spec}))
    files = manifest(tmp_path, budgeted_pod("one", 2))
    assert planned(cluster(tmp_path), files, str(profile)) == (Exit.OK, {"a/one": ("admitted", "node-2")})
    assert "not considered: 1 node that " in capsys.readouterr().err


def unset(name: str = "node-a") -> dict[str, Any]:
    topology = topology_object(EPYC, name=name)
    return {**topology, "spec": {}}


def test_a_node_without_settings_pins_nothing_and_is_no_yes(tmp_path, capsys):
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump(unset()))
    with pytest.raises(Failure) as failure:
        print_plan(
            FileSource([str(path)]), manifest(tmp_path, budgeted_pod("one", 2)), "", "", OutputFormat.TEXT
        )
    assert failure.value.code is Exit.NOT_FOUND
    assert "no settings are known for this node: nothing would be pinned" in capsys.readouterr().err


def test_nodes_without_settings_are_named_once_and_only_where_a_pod_may_go(tmp_path, capsys):
    pools = {"bare-1": "databases", "bare-2": "databases", "other": "training"}
    more = [node(name, 96, {"node-pool": pool}) for name, pool in pools.items()]
    source = cluster(tmp_path, *map(unset, pools), *more)
    database = [str(ROOT / "examples" / "pods" / "database.yaml")]
    assert print_plan(source, database, "", "", OutputFormat.TEXT) is Exit.OK
    said = [line for line in capsys.readouterr().err.splitlines() if "no settings" in line]
    (line,) = said
    assert line.startswith("no settings are known for 2 nodes (bare-1, bare-2): nothing would be pinned; ")
    assert "apply a NodeProfile that selects them" in line


def test_a_profile_that_selects_a_node_and_does_not_fit_it_is_named(tmp_path, capsys):
    spec = {"nodeSelector": {"matchLabels": {"pool": "x"}}, "cpuManagerPolicy": "static"}
    spec |= {"reservedSystemCPUs": "0-200"}
    profile = {"kind": "NodeProfile", "metadata": {"name": "p"}, "spec": spec}
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump_all([unset(), profile, node("node-a", 96, {"pool": "x"})]))
    with pytest.raises(Failure) as failure:
        planned(FileSource([str(path)]), manifest(tmp_path, budgeted_pod("one", 2)))
    assert failure.value.lines == ("no node can be planned on: what they lack is said above",)
    said = capsys.readouterr().err
    assert "InvalidSettings: NodeProfile p cannot be used on node node-a: spec.reservedSystemCPUs" in said
    assert "no settings are known" not in said


def test_a_saved_profile_that_selects_a_node_settles_it(tmp_path):
    spec = {"nodeSelector": {"matchLabels": {"pool": "x"}}, "cpuManagerPolicy": "static"}
    spec |= {"reservedSystemCPUs": "0"}
    profile = {"kind": "NodeProfile", "metadata": {"name": "p"}, "spec": spec}
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump_all([unset(), profile, node("node-a", 96, {"pool": "x"})]))
    found = planned(FileSource([str(path)]), manifest(tmp_path, budgeted_pod("one", 2)))
    assert found == (Exit.OK, {"a/one": ("admitted", "node-a")})


def test_a_limit_range_makes_a_sidecar_exclusive(saved, tmp_path, capsys):
    """M08: with a default of 1 CPU the sidecar has resources of its own, so it gets a CPU of its own."""
    amounts = {"cpu": "1", "memory": "512Mi"}
    limits = {"type": "Container", "default": amounts, "defaultRequest": amounts}
    ranges = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "l", "namespace": "a"},
        "spec": {"limits": [limits]},
    }
    kafka = budgeted_pod("kafka", 4)
    main = {"cpu": "3", "memory": "256Mi"}
    kafka["spec"]["containers"] = [
        {"name": "kafka", "resources": {"requests": main, "limits": main}},
        {"name": "side"},
    ]
    for files, kind in (([kafka], "pod_shared"), ([ranges, kafka], "pod_exclusive")):
        print_plan(saved, manifest(tmp_path, *files), "", "", OutputFormat.JSON)
        (found,) = json.loads(capsys.readouterr().out)["items"]
        assert found["allocation"]["containers"][1]["assignment"]["cpu"] == kind


def test_strict_fails_on_what_is_not_understood(saved, tmp_path, capsys):
    thing = {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": "t"}}
    files = manifest(tmp_path, thing, budgeted_pod("one", 2))
    assert print_plan(saved, files, "", "", OutputFormat.TEXT) is Exit.OK
    assert "1 object not understood; --strict fails on them" in capsys.readouterr().err
    assert print_plan(saved, files, "", "", OutputFormat.TEXT, strict=True) is Exit.INPUT


def test_a_refusal_is_one_line_with_the_cause_and_what_fits(tmp_path, capsys):
    source = cluster(tmp_path)
    large = [str(ROOT / "examples" / "pods" / "too-large.yaml")]
    assert print_plan(source, large, "", "", OutputFormat.TEXT) is Exit.NO
    assert (
        "\ndefault/too-large on node-1: TopologyAffinityError: needs 64 CPUs on one NUMA node; "
        "the largest has 12 free. Fits with: pod cpu 12\n"
    ) in capsys.readouterr().out


def test_the_sidecar_that_makes_a_pod_burstable_is_named(saved, tmp_path, capsys):
    """M11: the pod is admitted and gets nothing, and its author is told why and the way out."""
    amounts = {"cpu": "4", "memory": "1Gi"}
    postgres = budgeted_pod("postgres", 1)
    del postgres["spec"]["resources"]
    main = {"name": "postgres", "resources": {"requests": amounts, "limits": amounts}}
    postgres["spec"]["containers"] = [main, {"name": "plugin"}]
    assert print_plan(saved, manifest(tmp_path, postgres), "", "", OutputFormat.TEXT) is Exit.OK
    shown = capsys.readouterr().out
    assert "\na/postgres: plugin without requests equal to limits for CPU and memory makes the pod " in shown
    assert "a pod-level budget (spec.resources) makes it Guaranteed" in shown


def two_nodes(tmp_path) -> FileSource:
    """Two equal machines; the second one, by name, holds a pod."""
    path = tmp_path / "cluster.yaml"
    used = topology_object(EPYC, reserved="0,48", name="node-a")
    empty = topology_object(EPYC, reserved="0,48", name="a-node")
    path.write_text(yaml.safe_dump_all([empty, used, allocation_object(database())]))
    return FileSource([str(path)])


@pytest.mark.parametrize(
    ("packing", "node"), [(None, "a-node"), (Packing.COMPACT, "node-a"), (Packing.SPREAD, "a-node")]
)
def test_compact_takes_the_node_in_use_and_spread_the_empty_one(tmp_path, packing, node):
    files = manifest(tmp_path, budgeted_pod("one", 4))
    assert planned(two_nodes(tmp_path), files, packing=packing) == (Exit.OK, {"a/one": ("admitted", node)})


def test_a_packing_shows_the_candidates_and_what_the_pod_would_leave_there(tmp_path, capsys):
    files = manifest(tmp_path, budgeted_pod("one", 4))
    print_plan(two_nodes(tmp_path), files, "", "", OutputFormat.JSON, packing=Packing.COMPACT)
    (found,) = json.loads(capsys.readouterr().out)["items"]
    assert [one["node"] for one in found["candidates"]] == ["node-a", "a-node"]
    assert found["candidates"][1] | {"gapCPUs": 0} == {
        "node": "a-node",
        "numaNodes": 1,
        "breaksNumaNodes": 1,
        "gapCPUs": 0,
        "freeCPUs": 94 - 4,
    }
    print_plan(two_nodes(tmp_path), files, "", "", OutputFormat.WIDE, packing=Packing.COMPACT)
    shown = capsys.readouterr().out
    assert [line.split()[:2] for line in shown.splitlines()[-3:]] == [
        ["POD", "CANDIDATE"],
        ["a/one", "node-a"],
        ["a/one", "a-node"],
    ]


def test_where_no_node_admits_a_pod_a_packing_changes_nothing(tmp_path):
    files = manifest(tmp_path, budgeted_pod("one", 95))
    for packing in (None, Packing.COMPACT):
        assert planned(two_nodes(tmp_path), files, packing=packing) == (
            Exit.NO,
            {"a/one": ("refused", None)},
        )
