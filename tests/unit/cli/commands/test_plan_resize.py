"""`podnuma plan resize`: what a running pod would hold."""

import json

import pytest
import yaml
from podnuma.allocator import cpuset
from podnuma.api.names import RESOURCES_ANNOTATION
from podnuma.api.pod_allocation import ResizeReason
from podnuma.cli import main
from podnuma.cli.commands.plan_resize import NewAmounts, parse_containers, plan_resize, resized
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.sources import FileSource

from tests.unit.cli.builders import PODS, allocation_object, container, grant, topology_object

POD = PODS / "01-postgres-native-sidecar.yaml"
KEY = ("payments", "ledger-db-0")


@pytest.fixture
def saved(tmp_path):
    running = yaml.safe_load(POD.read_text())
    running["metadata"]["uid"], running["spec"]["nodeName"] = "uid-ledger-db-0", "node-a"
    held = grant(
        "payments/ledger-db-0",
        "1-3,49-51",
        *(
            container(one["name"], "pod_exclusive", "1-2,49-50")
            if one["name"] == "postgres"
            else container(one["name"], "pod_shared", "3,51", kind)
            for kind, listed in (("sidecar", "initContainers"), ("app", "containers"))
            for one in running["spec"].get(listed, ())
        ),
    )
    path = tmp_path / "cluster.yaml"
    objects = [topology_object("epyc7401-2s-8numa-16l3", reserved="0,48"), running, allocation_object(held)]
    path.write_text(yaml.safe_dump_all(objects))
    return path


def test_a_budget_that_grows_says_what_the_pod_gets(saved, capsys):
    with pytest.raises(SystemExit) as end:
        main.run(["plan", "resize", "payments/ledger-db-0", "--cpu", "8", "--from", str(saved)])
    shown = capsys.readouterr()
    assert end.value.code == Exit.OK, shown.err
    lines = shown.out.splitlines()
    assert lines[0] == "pod payments/ledger-db-0 on node-a: followed"
    assert lines[2].split() == ["pod", "1-3,49-51", "1-4,49-52", "4,52", "-"]


def test_a_budget_that_does_not_fit_says_what_would(saved, capsys):
    with pytest.raises(SystemExit) as end:
        main.run(
            ["plan", "resize", "payments/ledger-db-0", "--cpu", "40", "--from", str(saved), "-o", "json"]
        )
    assert end.value.code == Exit.NO
    (item,) = json.loads(capsys.readouterr().out)["items"]
    assert (item["followed"], item["reason"], item["after"]) == (False, "Infeasible", None)
    assert "on NUMA node 0" in item["message"]
    assert "Fits with: " in item["message"]


@pytest.mark.parametrize(
    ("new", "words"),
    [
        (NewAmounts(containers={"nobody": "2"}), "has no container 'nobody'"),
        (NewAmounts(cpu="1"), "less than"),
        (NewAmounts(cpu="lots"), "lots"),
    ],
)
def test_what_the_api_server_would_refuse_is_refused_by_name(saved, new, words):
    with pytest.raises(Failure) as failure:
        plan_resize(FileSource([str(saved)]), KEY, new)
    assert failure.value.code is Exit.INPUT
    assert any(words in line for line in failure.value.lines), failure.value.lines


@pytest.mark.parametrize("selector", ["podSelector", "namespaceSelector"])
@pytest.mark.parametrize("holds", [True, False])
def test_a_pod_that_its_profile_does_not_manage_is_followed_only_in_what_it_holds(saved, selector, holds):
    objects = list(yaml.safe_load_all(saved.read_text()))
    for one in objects:
        if one["kind"] == "NodeTopology":
            one["spec"][selector] = {"matchLabels": {"pinned": "yes"}}
    kept = [one for one in objects if holds or one["kind"] != "PodAllocation"]
    kept.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": KEY[0]}})
    saved.write_text(yaml.safe_dump_all(kept))
    source = FileSource([str(saved)])
    if holds:
        assert plan_resize(source, KEY, NewAmounts(cpu="8")).after is not None
        return
    with pytest.raises(Failure, match="is not managed, by management and selectors") as failure:
        plan_resize(source, KEY, NewAmounts(cpu="8"))
    assert failure.value.code is Exit.NOT_FOUND


def test_another_qos_class_is_refused(saved):
    objects = list(yaml.safe_load_all(saved.read_text()))
    for one in objects:
        if one["kind"] == "Pod":
            del one["spec"]["resources"]
            amounts = {"cpu": "2", "memory": "1Gi"}
            for item in (*one["spec"].get("initContainers", ()), *one["spec"]["containers"]):
                item["resources"] = {"requests": dict(amounts), "limits": dict(amounts)}
    saved.write_text(yaml.safe_dump_all(objects))
    source = FileSource([str(saved)])
    with pytest.raises(Failure, match="no budget of its own"):
        plan_resize(source, KEY, NewAmounts(cpu="4"))


@pytest.mark.parametrize(("most", "refused"), [("7", True), ("8", False)])
def test_what_a_limit_range_refuses_is_refused(saved, most, refused):
    limit_range = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "team", "namespace": KEY[0]},
        "spec": {"limits": [{"type": "Pod", "max": {"cpu": most}}]},
    }
    saved.write_text(yaml.safe_dump_all([*yaml.safe_load_all(saved.read_text()), limit_range]))
    source = FileSource([str(saved)])
    if not refused:
        assert plan_resize(source, KEY, NewAmounts(cpu="8")).after is not None
        return
    with pytest.raises(Failure, match="LimitRange team for the pod as a whole: the request of 8") as failure:
        plan_resize(source, KEY, NewAmounts(cpu="8"))
    assert failure.value.code is Exit.INPUT


def with_container_range(saved, **limits):
    limit_range = {
        "apiVersion": "v1",
        "kind": "LimitRange",
        "metadata": {"name": "team", "namespace": KEY[0]},
        "spec": {"limits": [{"type": "Container", **limits}]},
    }
    saved.write_text(yaml.safe_dump_all([*yaml.safe_load_all(saved.read_text()), limit_range]))
    return FileSource([str(saved)])


def assignment(plan, name):
    return next(one.cpu_assignment for one in plan.after.containers if one.name == name)


def test_a_resize_gives_the_defaults_of_a_limit_range_to_all_containers(saved, capsys):
    source = with_container_range(saved, default={"cpu": "1", "memory": "1Gi"}, max={"cpu": "4"})
    plan = plan_resize(source, KEY, NewAmounts(cpu="8"))
    assert assignment(plan, "metrics") == assignment(plan, "postgres"), "1 CPU of its own"
    said = capsys.readouterr().err
    assert "LimitRange team gives its defaults to restore-from-backup, wal-shipper, metrics" in said


def test_a_budget_below_the_defaults_of_a_limit_range_is_refused(saved):
    source = with_container_range(saved, max={"cpu": "4"})
    with pytest.raises(Failure, match="less than") as failure:
        plan_resize(source, KEY, NewAmounts(cpu="8"))
    assert failure.value.code is Exit.INPUT


def test_a_pod_that_is_not_resized_gets_no_defaults(saved, capsys):
    source = with_container_range(saved, default={"cpu": "1"})
    plan = plan_resize(source, KEY, NewAmounts(cpu="6"))
    assert assignment(plan, "metrics") != assignment(plan, "postgres")
    assert "LimitRange" not in capsys.readouterr().err


def changed_objects(saved, kind, change):
    objects = list(yaml.safe_load_all(saved.read_text()))
    change(next(one for one in objects if one["kind"] == kind))
    saved.write_text(yaml.safe_dump_all(objects))
    return FileSource([str(saved)])


@pytest.mark.parametrize(
    ("policy", "new", "why"),
    [
        ("Ignore", NewAmounts(cpu="8"), "the NodeProfile says resize: Ignore"),
        (
            "WholeCPUsOnly",
            NewAmounts(containers={"postgres": "3500m"}),
            "container postgres does not request a whole",
        ),
        ("WholeCPUsOnly", NewAmounts(cpu="8"), ""),
    ],
)
def test_a_profile_that_ignores_a_resize_is_asked(saved, policy, new, why):
    source = changed_objects(saved, "NodeTopology", lambda one: one["spec"].update(resize=policy))
    plan = plan_resize(source, KEY, new)
    assert (plan.after is None) is bool(why)
    assert plan.reason is (ResizeReason.IGNORED if why else None)
    assert plan.message.startswith(why)


def test_a_budget_in_the_annotation_is_one(saved):
    def move(pod):
        pod["metadata"]["annotations"] = {RESOURCES_ANNOTATION: json.dumps(pod["spec"].pop("resources"))}

    plan = plan_resize(changed_objects(saved, "Pod", move), KEY, NewAmounts(cpu="8"))
    assert plan.after is not None
    assert cpuset.render(plan.after.exclusive_cpus) == "1-4,49-52"


@pytest.mark.parametrize(
    ("amounts", "after"),
    [
        ({"requests": {"cpu": "1"}, "limits": {"cpu": "1000m"}}, ("2", "2")),
        ({"requests": {"cpu": "1"}, "limits": {"cpu": "4"}}, ("2", "4")),
        ({"requests": {"cpu": "500m"}, "limits": {"cpu": "1500m"}}, ("2", "2")),
        ({"requests": {"cpu": "1"}}, ("2", None)),
        ({"requests": {"memory": "1Gi"}, "limits": {"memory": "1Gi"}}, ("2", "2")),
        ({}, ("2", "2")),
    ],
)
def test_a_limit_follows_its_request_where_the_two_are_equal_or_it_has_to(amounts, after):
    pod = {"metadata": {}, "spec": {"containers": [{"name": "c", "resources": amounts}]}}
    changed = resized(pod, NewAmounts(containers={"c": "2"}))["spec"]["containers"][0]["resources"]
    assert (changed["requests"]["cpu"], changed["limits"].get("cpu")) == after


@pytest.mark.parametrize("word", ["db", "=4", "db="])
def test_a_container_is_named_with_its_cpus(word):
    with pytest.raises(Failure) as failure:
        parse_containers([word])
    assert failure.value.code is Exit.USAGE


def test_a_pod_or_manifests_have_to_be_named(saved, capsys):
    for words in (["plan"], ["plan", "grow", "db"], ["plan", "resize"]):
        with pytest.raises(SystemExit) as end:
            main.run([*words, "--from", str(saved)])
        assert end.value.code == Exit.USAGE
    assert "resize POD" in capsys.readouterr().err


def beside(saved, cpu, allocatable="95", **status):
    """Save the node itself too, and a Burstable pod on it that requests so many CPUs."""
    objects = list(yaml.safe_load_all(saved.read_text()))
    amounts = {"cpu": allocatable, "memory": "250Gi", "pods": "110"}
    node = {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": "node-a"},
        "status": {"allocatable": amounts},
    }
    other = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "batch", "namespace": "jobs", "uid": "u-batch"},
        "spec": {
            "nodeName": "node-a",
            "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}],
        },
        "status": status,
    }
    saved.write_text(yaml.safe_dump_all([*objects, node, other]))
    return FileSource([str(saved)])


def test_a_resize_that_the_kubelet_has_no_room_for_is_deferred(saved):
    """kubernetes/kubernetes#134581: CPUs that nobody has exclusively may be requested all the same."""
    plan = plan_resize(beside(saved, "88"), KEY, NewAmounts(cpu="8"))
    assert (plan.after, plan.reason) == (None, ResizeReason.DEFERRED)
    assert plan.message == (
        "its kubelet waits for room: node-a has cpu 95 for pods, the others request 88, and this one 8"
    )
    assert plan_resize(beside(saved, "88", phase="Succeeded"), KEY, NewAmounts(cpu="8")).after is not None


def test_a_resize_beyond_what_a_node_has_for_pods_is_infeasible(saved):
    plan = plan_resize(beside(saved, "1", allocatable="7500m"), KEY, NewAmounts(cpu="8"))
    assert (plan.after, plan.reason) == (None, ResizeReason.INFEASIBLE)
    assert plan.message == "its kubelet refuses it: node-a has cpu 7500m for pods, and this one requests 8"


def test_a_pod_that_shrinks_needs_no_room(saved):
    plan = plan_resize(beside(saved, "93"), KEY, NewAmounts(cpu="5"))
    assert plan.after is not None
