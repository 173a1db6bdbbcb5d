"""Whether a cluster can have podnuma: one line per question, with the next step."""

import datetime as dt
import io
import json
from dataclasses import replace
from typing import Any

import pytest
import yaml
from podnuma.cli import main
from podnuma.cli.commands.check import answers_for, results_text
from podnuma.cli.commands.check_result import CheckState
from podnuma.cli.exits import Exit
from podnuma.cli.objects.cluster_facts import ClusterFacts, leader_of, read_facts
from podnuma.cli.objects.sources import FileSource

NOW = dt.datetime(2026, 7, 1, 12, tzinfo=dt.UTC)
PART = {"app.kubernetes.io/part-of": "podnuma"}


def node(name: str = "n1", runtime: str = "containerd://2.4.2", system: str = "linux") -> dict[str, Any]:
    info = {"containerRuntimeVersion": runtime, "operatingSystem": system}
    return {"metadata": {"name": name}, "status": {"nodeInfo": info}}


def definition(plural: str, version: str = "v1alpha1") -> dict[str, Any]:
    return {
        "metadata": {"name": f"{plural}.podnuma.dev"},
        "spec": {"versions": [{"name": version, "served": True}]},
    }


DEFINITIONS = tuple(map(definition, ("nodeprofiles", "nodetopologies", "podallocations")))
EMPTY = ClusterFacts(
    namespace="podnuma-system",
    version="v1.36.3",
    nodes=(node(),),
    kubelets={"n1": {"cpuManagerPolicy": "none"}},
    namespace_object={},
    pods=(),
    definitions=(),
    policies=(),
    deployments=(),
    daemon_sets=(),
    profiles=(),
    topologies=(),
    lacking=(),
)


def workload(component: str, **status: int) -> dict[str, Any]:
    labels = {**PART, "app.kubernetes.io/component": component}
    return {"metadata": {"name": f"podnuma-{component}", "labels": labels}, "spec": {}, "status": status}


def ready(reason: str = "") -> dict[str, Any]:
    condition = {"type": "Ready", "status": "False" if reason else "True", "reason": reason or "Ready"}
    return {"metadata": {"name": "x"}, "status": {"conditions": [condition]}}


INSTALLED = replace(
    EMPTY,
    definitions=DEFINITIONS,
    policies=({"metadata": {"name": "podnuma-agent", "labels": PART}},),
    deployments=(workload("operator", readyReplicas=1),),
    daemon_sets=(workload("agent", numberReady=3, desiredNumberScheduled=3),),
    profiles=(ready(),),
    topologies=(ready(), ready()),
)


def answer(facts: ClusterFacts, check: str) -> tuple[CheckState, str, str]:
    (found,) = [one for one in answers_for(facts) if one.check == check]
    return found.state, found.found, found.next_step


@pytest.mark.parametrize("facts", [EMPTY, INSTALLED], ids=["before", "after"])
def test_a_cluster_that_is_as_it_should_be_has_no_next_step_but_for_the_namespace(facts):
    found = [one for one in answers_for(facts) if one.state is not CheckState.ABSENT]
    assert {one.state for one in found} == {CheckState.OK}
    assert [one.check for one in found if one.next_step] == ["pod-security"]


def test_what_is_installed_is_asked_for_only_where_it_is():
    before, after = ([one.check for one in answers_for(facts)] for facts in (EMPTY, INSTALLED))
    assert before == [
        "api-server",
        "definitions",
        "pod-security",
        "runtimes",
        "kubelets",
        "other-managers",
        "rights",
        "installed",
    ]
    assert after == [*before[:-2], "operator", "agents", "agent-policy", "profiles", "nodes"]


@pytest.mark.parametrize(
    ("facts", "check", "state", "step"),
    [
        (replace(EMPTY, version="v1.30.2"), "api-server", CheckState.FAILED, "v1.31"),
        (replace(EMPTY, version="v1.33.0+k3s1"), "api-server", CheckState.WARNING, "podnuma.dev/resources"),
        (
            replace(
                EMPTY,
                namespace_object={
                    "metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
                },
            ),
            "pod-security",
            CheckState.FAILED,
            "kubectl label namespace podnuma-system --overwrite pod-security.kubernetes.io/enforce=",
        ),
        (replace(EMPTY, nodes=(node(runtime="containerd://1.7.2"),)), "runtimes", CheckState.WARNING, "NRI"),
        (replace(EMPTY, nodes=(node(runtime="docker://28"),)), "runtimes", CheckState.WARNING, "CRI-O"),
        (replace(EMPTY, nodes=(node(system="windows"),)), "runtimes", CheckState.FAILED, "Linux"),
        (
            replace(EMPTY, kubelets={"n1": {"cpuManagerPolicy": "static"}}),
            "kubelets",
            CheckState.WARNING,
            "docs/moving.md",
        ),
        (
            replace(EMPTY, pods=({"metadata": {"name": "koordlet-x"}, "spec": {}, "status": {}},)),
            "other-managers",
            CheckState.FAILED,
            "remove",
        ),
        (replace(EMPTY, lacking=("create daemonsets.apps",)), "rights", CheckState.FAILED, "--context"),
        (replace(INSTALLED, definitions=DEFINITIONS[:2]), "definitions", CheckState.FAILED, "crds/"),
        (
            replace(INSTALLED, deployments=(workload("operator"),)),
            "operator",
            CheckState.FAILED,
            "describe deployment podnuma-operator",
        ),
        (
            replace(INSTALLED, daemon_sets=(workload("agent", numberReady=1, desiredNumberScheduled=3),)),
            "agents",
            CheckState.WARNING,
            "describe daemonset podnuma-agent",
        ),
        (replace(INSTALLED, daemon_sets=(workload("agent"),)), "agents", CheckState.FAILED, "excludedNodes"),
        (replace(INSTALLED, policies=()), "agent-policy", CheckState.WARNING, "agentPolicy.enabled"),
        (replace(INSTALLED, profiles=()), "profiles", CheckState.WARNING, "podnuma profile suggest"),
        (replace(INSTALLED, profiles=(ready("NoNodes"),)), "profiles", CheckState.WARNING, "describe"),
        (
            replace(INSTALLED, topologies=(ready(), ready("AgentMissing"))),
            "nodes",
            CheckState.WARNING,
            "describe",
        ),
    ],
)
def test_what_is_not_as_it_should_be_has_a_next_step(facts, check, state, step):
    found, _, next_step = answer(facts, check)
    assert found is state
    assert step in next_step


def test_nodes_that_are_not_ready_are_counted_by_reason():
    missing, paused = ready("AgentMissing"), ready("Paused")
    facts = replace(INSTALLED, topologies=(missing, missing, paused, ready()))
    assert answer(facts, "nodes")[1] == "3 of 4 not ready: 2 AgentMissing, 1 Paused"


@pytest.mark.parametrize(
    ("bindings", "state", "words"),
    [
        (({"metadata": {"name": "podnuma-operator-placement", "labels": PART}},), CheckState.OK, "gate"),
        ((), CheckState.WARNING, "placement.enabled=true"),
        (None, CheckState.UNKNOWN, "may not list"),
    ],
)
def test_whether_pods_get_the_gate_is_asked_where_a_profile_places(bindings, state, words):
    assert "placement" not in {one.check for one in answers_for(INSTALLED)}
    placing = ready() | {"spec": {"placement": "BeforeBinding"}}
    facts = replace(INSTALLED, profiles=(placing, ready()), mutating_bindings=bindings)
    found, text, step = answer(facts, "placement")
    assert found is state
    assert words in f"{text} {step}"


@pytest.mark.parametrize("field", ["nodes", "pods", "definitions", "namespace_object", "version", "lacking"])
def test_what_may_not_be_read_is_unknown_and_fails_nothing(field):
    unread: dict[str, Any] = {field: None}
    states = [one.state for one in answers_for(replace(EMPTY, **unread))]
    assert states.count(CheckState.UNKNOWN) == 1
    assert CheckState.FAILED not in states


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        (EMPTY, "there is no operator and no agent of podnuma in podnuma-system"),
        (
            replace(EMPTY, definitions=DEFINITIONS, profiles=(ready(),)),
            "there are objects of kind NodeProfile",
        ),
        (replace(EMPTY, definitions=DEFINITIONS, topologies=(ready(),)), "objects of kind NodeTopology"),
    ],
)
def test_podnuma_that_is_not_there_is_not_ok_and_the_next_step_is_to_install_it(facts, words):
    state, found, step = answer(facts, "installed")
    assert state is CheckState.ABSENT
    assert words in found
    assert "install" in step
    assert "--namespace" in step


def test_whether_podnuma_is_there_is_unknown_to_who_may_not_look():
    state, found, _ = answer(replace(EMPTY, deployments=None, daemon_sets=None), "installed")
    assert (state, "may not list" in found) == (CheckState.UNKNOWN, True)


def test_each_question_is_one_line():
    found = answers_for(INSTALLED)
    assert len(results_text(found).splitlines()) == len(found) + 1


def test_saved_objects_are_checked_too(monkeypatch, capsys):
    objects = [
        {"apiVersion": "v1", "kind": "Node", **node(runtime="cri-o://1.34.0")},
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "podnuma-system"}},
    ]
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(yaml.safe_dump_all(objects).encode())))
    with pytest.raises(SystemExit) as end:
        main.run(["check", "--from", "-", "-o", "json"])
    assert end.value.code == Exit.OK
    found = {one["check"]: one["state"] for one in json.loads(capsys.readouterr().out)["items"]}
    assert (found["runtimes"], found["pod-security"], found["api-server"]) == ("ok", "ok", "unknown")


def test_a_namespace_that_is_not_there_is_told_from_one_that_may_not_be_read(tmp_path):
    path = tmp_path / "saved.yaml"
    path.write_text(yaml.safe_dump({"apiVersion": "v1", "kind": "Node", **node()}))
    assert read_facts(FileSource([str(path)]), "x", NOW).namespace_object == {}


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (5, "wait for it: kubectl -n podnuma-system rollout status "),
        (600, "kubectl -n podnuma-system describe "),
    ],
)
@pytest.mark.parametrize(
    ("check", "kind", "found"),
    [("operator", "deployment", "0 of 2 replicas"), ("agents", "daemonset", "0 of 0")],
)
def test_what_was_created_just_now_is_to_be_waited_for(seconds, words, check, kind, found):
    facts = replace(
        INSTALLED,
        deployments=(created(workload("operator"), seconds, replicas=2),),
        daemon_sets=(created(workload("agent", desiredNumberScheduled=int(seconds > 60)), seconds),),
        read_at=NOW,
    )
    state, text, step = answer(facts, check)
    assert state is CheckState.FAILED
    assert text.endswith(", created less than two minutes ago") == (seconds == 5)
    assert text.startswith(found) or seconds > 60
    assert step.startswith(f"{words}{kind} podnuma-")


def created(value: dict[str, Any], seconds: float, **spec: int) -> dict[str, Any]:
    at = (NOW - dt.timedelta(seconds=seconds)).isoformat(timespec="seconds").replace("+00:00", "Z")
    return value | {"metadata": value["metadata"] | {"creationTimestamp": at}, "spec": spec}


def test_what_the_cleanup_before_an_uninstall_stopped_is_not_called_unready():
    agent, operator = workload("agent", numberReady=2, desiredNumberScheduled=2), workload("operator")
    agent["spec"] = {"template": {"spec": {"containers": [{"args": ["agent", "cleanup", "--hold"]}]}}}
    operator["spec"] = {"replicas": 0}
    facts = replace(INSTALLED, deployments=(operator,), daemon_sets=(agent,))
    for check, words in (("operator", "scaled to zero"), ("agents", "give their nodes back")):
        state, found, step = answer(facts, check)
        assert (state, words in found, "install it again" in step) == (CheckState.FAILED, True, True)


def lease(seconds: float, **spec: str) -> dict[str, Any]:
    renewed = (NOW - dt.timedelta(seconds=seconds)).isoformat(timespec="microseconds")
    return {"metadata": {"name": "podnuma-operator"}, "spec": {"renewTime": renewed, **spec}}


@pytest.mark.parametrize(
    ("found", "leader"),
    [
        (lease(3, holderIdentity="operator-x"), "operator-x"),
        (lease(-3, holderIdentity="operator-x"), "operator-x"),
        (lease(100, holderIdentity="operator-x"), ""),
        (lease(3, holderIdentity=""), ""),
        ({"metadata": {"name": "podnuma-operator"}, "spec": {}}, ""),
        (lease(3, holderIdentity="other") | {"metadata": {"name": "other"}}, ""),
    ],
    ids=["leads", "its clock is ahead", "dead", "given back", "never held", "another"],
)
def test_an_operator_leads_while_it_renews_its_lease(found, leader):
    assert leader_of([found], NOW) == leader


def test_an_operator_that_is_no_deployment_is_seen_by_its_lease():
    state, found, step = answer(
        replace(INSTALLED, deployments=(), daemon_sets=(), leader="host_1"), "operator"
    )
    assert (state, step) == (CheckState.OK, "")
    assert found.startswith("host_1 leads (Lease podnuma-operator, ")
    assert found.endswith("; there is no Deployment of it in podnuma-system")


def test_what_kubelets_do_can_be_found_out_by_somebody_else():
    state, _, step = answer(replace(EMPTY, kubelets={}), "kubelets")
    assert state is CheckState.UNKNOWN
    assert "kubectl get --raw /api/v1/nodes/n1/proxy/configz" in step
    assert "--config" in step


def test_a_kubelet_that_does_not_answer_is_named_with_the_reason_and_the_next_step():
    why = "503 ServiceUnavailable: error trying to reach service: dial tcp 10.0.0.2:10250: i/o timeout"
    facts = replace(EMPTY, kubelets={}, silent={"n2": why})
    state, found, step = answer(facts, "kubelets")
    assert (state, found) == (
        CheckState.WARNING,
        f"the kubelet of node n2 does not answer the API server: {why}",
    )
    assert "kubectl describe node n2" in step
    assert "kubectl get --raw /api/v1/nodes/n2/proxy/configz" in step


def test_what_other_kubelets_do_is_told_beside_the_one_that_does_not_answer():
    facts = replace(EMPTY, silent={"n2": "no answer"})
    found = [
        (one.state, one.found.partition(":")[0]) for one in answers_for(facts) if one.check == "kubelets"
    ]
    assert found == [
        (CheckState.WARNING, "the kubelet of node n2 does not answer the API server"),
        (CheckState.OK, "none pins containers itself (1 of 1 node asked)"),
    ]
