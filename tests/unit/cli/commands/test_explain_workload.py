"""A workload is explained although its pods were evicted; a pod that is gone is told by what is kept."""

import datetime as dt
import json

import pytest
import yaml
from podnuma.api.events import Event, EventType, Involved, render_event
from podnuma.api.kept_refusals import refusal_event, refusal_message
from podnuma.cli.commands import explain
from podnuma.cli.commands.answer import print_answer
from podnuma.cli.commands.explain_workload import explain_workload
from podnuma.cli.commands.options import OutputFormat
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.asked_names import asked_object
from podnuma.cli.objects.sources import FileSource

NOW = dt.datetime(2026, 1, 1, 12, tzinfo=dt.UTC)
WORDS = "Resources cannot be allocated with Topology locality"


def print_explanation(source, key, node, form, manifest=None, **more):
    return print_answer(explain.explain_one(source, key, node, manifest, **more), form)


def print_workload(source, asked, form):
    return print_answer(explain_workload(source, asked), form)


def owned(kind: str, name: str, uid: str) -> list[dict[str, object]]:
    return [{"apiVersion": "apps/v1", "kind": kind, "name": name, "uid": uid, "controller": True}]


def deployment(replicas: int = 3) -> list[dict[str, object]]:
    within = {"namespace": "shop"}
    return [
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": "web", "uid": "d-1", **within},
            "spec": {"replicas": replicas},
        },
        {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": {
                "name": "web-1",
                "uid": "rs-1",
                "ownerReferences": owned("Deployment", "web", "d-1"),
                **within,
            },
            "spec": {},
        },
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": "web-1-b",
                "uid": "p-2",
                "ownerReferences": owned("ReplicaSet", "web-1", "rs-1"),
                **within,
            },
            "spec": {"containers": []},
        },
    ]


def refused(pod: str = "web-1-a", node: str = "node-a", uid: str = "rs-1") -> dict[str, object]:
    controller = Involved("apps/v1", "ReplicaSet", "shop", "web-1", uid)
    about = Involved("v1", "Pod", "shop", pod, "p-1")
    event = refusal_event(controller, about, node, "TopologyAffinityError", "needs 9 CPUs", WORDS)
    return render_event(event, NOW, count=4)


def source(tmp_path, *objects) -> FileSource:
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    return FileSource([str(path)])


def test_refusals_of_evicted_pods_are_told_with_the_words_of_the_kubelet(tmp_path, capsys):
    asked = asked_object(["deploy/web"], "shop")
    assert asked is not None
    code = print_workload(source(tmp_path, *deployment(), refused()), asked, OutputFormat.TEXT)
    assert code is Exit.NO
    assert capsys.readouterr().out.splitlines() == [
        "Deployment shop/web: 1 pod of 3, 1 on no node yet, 4 refused within the last hour",
        "",
        "POD       NODE   STATE            CPUS   NUMA",
        "web-1-b   -      on no node yet   -      -",
        "",
        "refused, and gone since",
        "  2026-01-01T12:00:00Z web-1-a on node-a, 4 times: TopologyAffinityError: needs 9 CPUs",
        f"    the kubelet would say: {WORDS}",
    ]


@pytest.mark.parametrize(
    ("spec", "status", "wanted"),
    [
        ({"parallelism": 3}, {}, 3),
        ({"parallelism": 3}, {"succeeded": 1}, 0),
        ({"parallelism": 3, "completions": 4}, {"succeeded": 2}, 2),
        ({}, {}, 1),
    ],
)
def test_a_job_without_completions_wants_all_its_pods_until_one_has_succeeded(
    tmp_path, capsys, spec, status, wanted
):
    metadata = {"name": "queue", "namespace": "shop", "uid": "j-1"}
    job = {"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": spec, "status": status}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": "queue-b",
            "namespace": "shop",
            "uid": "p-2",
            "ownerReferences": owned("Job", "queue", "j-1"),
        },
        "spec": {"containers": []},
    }
    asked = asked_object(["job/queue"], "shop")
    assert asked is not None
    found = source(tmp_path, job, pod, refused(pod="queue-a", uid="j-1"))
    code = print_workload(found, asked, OutputFormat.JSON)
    assert json.loads(capsys.readouterr().out)["items"][0]["wantedPods"] == wanted
    assert code is (Exit.NO if wanted > 1 else Exit.OK)


def test_refusals_of_other_workloads_are_not_told(tmp_path, capsys):
    asked = asked_object(["deploy/web"], "shop")
    assert asked is not None
    found = source(tmp_path, *deployment(1), refused(uid="rs-of-another"))
    assert print_workload(found, asked, OutputFormat.JSON) is Exit.OK
    assert json.loads(capsys.readouterr().out)["items"][0]["refusals"] == []


def test_past_refusals_of_a_workload_that_has_all_its_pods_are_told_and_no_fault(tmp_path, capsys):
    asked = asked_object(["deploy/web"], "shop")
    assert asked is not None
    assert print_workload(source(tmp_path, *deployment(1), refused()), asked, OutputFormat.TEXT) is Exit.OK
    assert "web-1-a on node-a" in capsys.readouterr().out


def test_a_refusal_is_told_although_the_next_pod_of_that_name_is_there(tmp_path, capsys):
    """A StatefulSet names its pods anew as before; what the new one waits for is not known yet."""
    *workload, successor = deployment(1)
    asked = asked_object(["deploy/web"], "shop")
    assert asked is not None
    found = source(tmp_path, *workload, successor, refused(pod="web-1-b"))
    assert print_workload(found, asked, OutputFormat.TEXT) is Exit.OK
    assert "refused, and gone since\n  2026-01-01T12:00:00Z web-1-b on node-a" in capsys.readouterr().out
    same = refused(pod="web-1-b") | {"related": {"name": "web-1-b", "uid": "p-2"}}
    assert print_workload(source(tmp_path, *workload, successor, same), asked, OutputFormat.TEXT) is Exit.OK
    assert "refused" not in capsys.readouterr().out


def test_a_workload_that_does_not_exist_is_said_so(tmp_path):
    asked = asked_object(["deploy/other"], "shop")
    assert asked is not None
    with pytest.raises(Failure) as failure:
        print_workload(source(tmp_path, *deployment()), asked, OutputFormat.TEXT)
    assert failure.value.code is Exit.NOT_FOUND


def test_a_pod_that_is_gone_is_told_by_what_is_kept_of_it(tmp_path, capsys):
    found = source(tmp_path, *deployment(), refused())
    assert print_explanation(found, ("shop", "web-1-a"), "", OutputFormat.TEXT) is Exit.NO
    text = capsys.readouterr().out
    assert text.startswith(
        "pod shop/web-1-a is gone; it was refused\n  2026-01-01T12:00:00Z web-1-a on node-a"
    )


def about_pod(reason: str, message: str, *, pod: str = "too-large") -> dict[str, object]:
    about = Involved("v1", "Pod", "shop", pod, "p-9")
    return render_event(Event(about, EventType.WARNING, reason, message, "podnuma-operator"), NOW)


ALONE = about_pod("TopologyAffinityError", refusal_message("needs 60 CPUs on one NUMA node", "node-a"))
EVICTED = about_pod("Evicted", "Evicted from node node-a: the pod was refused there")


def test_an_evicted_pod_without_a_controller_is_told_by_its_own_events(tmp_path, capsys):
    found = source(tmp_path, ALONE, EVICTED)
    assert print_explanation(found, ("shop", "too-large"), "", OutputFormat.TEXT) is Exit.NO
    assert capsys.readouterr().out == (
        "pod shop/too-large is gone; it was refused\n"
        "  2026-01-01T12:00:00Z too-large on node-a: TopologyAffinityError: needs 60 CPUs on one NUMA node\n"
    )
    assert print_explanation(found, ("shop", "too-large"), "", OutputFormat.JSON) is Exit.NO
    assert json.loads(capsys.readouterr().out)["items"] == [
        {
            "namespace": "shop",
            "name": "too-large",
            "node": "node-a",
            "reason": "TopologyAffinityError",
            "explanation": "needs 60 CPUs on one NUMA node",
            "message": "",
            "count": 1,
            "lastSeen": "2026-01-01T12:00:00Z",
        }
    ]


def test_a_cause_that_left_no_room_for_the_node_is_told_without_one(tmp_path, capsys):
    found = source(tmp_path, about_pod("SMTAlignmentError", refusal_message("x" * 250, "node-a")))
    assert print_explanation(found, ("shop", "too-large"), "", OutputFormat.TEXT) is Exit.NO
    assert f"Z too-large: SMTAlignmentError: {'x' * 250}\n" in capsys.readouterr().out


def test_a_pod_that_is_gone_and_was_never_refused_is_no_refusal(tmp_path):
    other = about_pod("TopologyAffinityError", "needs 60 CPUs (node node-a)", pod="another")
    found = source(tmp_path, EVICTED, about_pod("ResizePending", "needs more (node node-a)"), other)
    with pytest.raises(Failure) as failure:
        print_explanation(found, ("shop", "too-large"), "", OutputFormat.TEXT)
    assert failure.value.code is Exit.NOT_FOUND
