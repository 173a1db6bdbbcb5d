"""How people ask, on a real API server: many nodes, several, chosen ones; again and again; programs; shells.

What the answers say is tested elsewhere; here are the ways to ask that hold for every question.
"""

from __future__ import annotations

import json
import signal
import subprocess
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from podnuma.api.names import RESOURCES_ANNOTATION
from podnuma.api.resource_types import NODE_PROFILE, NODE_TOPOLOGY
from podnuma.cli.commands.output import ANSWERS_VERSION
from podnuma.cli.exits import Exit

from tests.integration.cli_runs import PODNUMA, ROOT, podnuma
from tests.integration.test_walks import Shell, chapter
from tests.shown_commands import shown
from tests.unit.cli.builders import topology_object

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.control_plane import ControlPlane

SCHEMA = json.loads((ROOT / "docs" / "reference" / "cli-answers.schema.json").read_text())
SMALL = "laptop-hybrid-6p8e"
NODES = 200
LONGEST_LINE = 250
RESIZES_BUDGETS = "InPlacePodLevelResourcesVerticalScaling"
RUNNING = {"image": "x", "imageID": "", "ready": True, "restartCount": 0, "resources": {}}


def add_topology(cluster: ControlPlane, name: str) -> None:
    topology = topology_object(SMALL, reserved="0", name=name)
    cluster.api.create({**topology, "status": {}})
    cluster.api.apply({**topology, **NODE_TOPOLOGY.type_meta}, subresource="status")


def test_two_hundred_nodes_have_a_line_each_and_some_can_be_chosen(filled):
    for number in range(1, NODES):
        add_topology(filled, f"node-{number:03}")
    done = podnuma("nodes", kubeconfig=filled.kubeconfig)
    assert done.returncode == Exit.OK, done.stderr
    head, *lines = done.stdout.splitlines()
    names = [line.split()[0] for line in lines]
    assert head.split()[0] == "NODE"
    assert names == [*(f"node-{number:03}" for number in range(1, NODES)), "node-a"]
    assert max(map(len, done.stdout.splitlines())) < LONGEST_LINE
    chosen = podnuma(
        *("nodes", "-l", "node-pool=databases", "--no-headers"), kubeconfig=filled.kubeconfig
    ).stdout
    assert [line.split()[0] for line in chosen.splitlines()] == ["node-a"]
    drawn = podnuma("map", "node-002", "node-a", kubeconfig=filled.kubeconfig)
    heads = [line.split()[0] for line in drawn.stdout.splitlines() if line.startswith("node-")]
    assert heads == ["node-002", "node-a"], drawn.stderr


def test_an_answer_is_given_again_when_the_cluster_has_changed_until_ctrl_c(filled):
    (documented,) = [line for line in chapter("An administrator") if "--watch" in line]
    words = documented.removeprefix("kubectl podnuma ").split()
    command = [PODNUMA, *words, "--no-headers", "--kubeconfig", filled.kubeconfig]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("node-a ")
            add_topology(filled, "node-b")
            while not (line := process.stdout.readline()).startswith("node-b "):
                assert line, "it ended"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == Exit.INTERRUPTED
        finally:
            process.kill()


def test_programs_get_one_documented_envelope_in_a_stable_order(filled, namespace):
    questions = (
        ("map",),
        ("nodes",),
        ("explain", "database", "-n", namespace),
        ("plan", "-f", ROOT / "examples" / "pods"),
        ("top", "-A"),
        ("savings", "-A"),
        ("locality", "-A"),
        ("check",),
    )
    answers = {words[0]: asked(filled, *words, "-o", "json") for words in questions}
    for verb, answer in answers.items():
        jsonschema.Draft202012Validator(SCHEMA).validate(answer)
        assert answer["apiVersion"] == ANSWERS_VERSION, verb
        assert isinstance(answer["items"], list), verb
    (explained,) = answers["explain"]["items"]
    assert (explained["namespace"], explained["name"]) == (namespace, "database")
    for words in questions[:4]:
        assert asked(filled, *words, "-o", "yaml") == answers[words[0]]


def asked(cluster: ControlPlane, *words: object) -> Any:
    return yaml.safe_load(podnuma(*words, kubeconfig=cluster.kubeconfig).stdout)


def test_an_explanation_begins_with_the_answer_and_has_no_line_that_nobody_reads(filled, namespace):
    for words in ((), ("-o", "wide")):
        done = podnuma("explain", "database", "-n", namespace, *words, kubeconfig=filled.kubeconfig)
        lines = done.stdout.splitlines()
        assert lines[0] == f"pod {namespace}/database on node-a: Applied"
        assert max(map(len, lines)) < LONGEST_LINE


def test_kubectl_completes_names_of_the_cluster_and_shows_help_in_the_plugins_own_name(
    filled, namespace, tmp_path
):
    filled.kubectl("apply", "-f", str(ROOT / "examples" / "profiles" / "databases.yaml"))
    shell = Shell(filled, tmp_path, filled.kubeconfig)
    for words, found in (
        ("map no", "node-a"),
        (f"explain -n {namespace} da", "database"),
        ("plan --profile d", "databases"),
        (f"explain -n {namespace[:8]}", namespace),
    ):
        done = shell.types(f"kubectl __complete podnuma {words}")
        assert found in done.stdout.split(), (words, done.stdout, done.stderr)
    helped = shell.types("kubectl podnuma --help").stdout
    assert helped.startswith("Usage: kubectl podnuma [OPTIONS] COMMAND [ARGS]...\n")
    assert [line for line in helped.splitlines() if line.endswith(":")][-4:] == [
        "Questions:",
        "Changes to a cluster:",
        "Processes:",
        "About podnuma:",
    ]
    assert shell.types("podnuma nodes --help").stdout.startswith("Usage: podnuma nodes [OPTIONS]")
    assert shell.types("podnuma --version").stdout.startswith("podnuma 0.")


def test_commands_of_an_administrator_and_of_troubleshooting_answer(filled, namespace, tmp_path):
    """As the pages have them, but for the one that gives this machine back."""
    shell = Shell(filled, tmp_path, filled.kubeconfig)
    lines = [line for line in chapter("An administrator") if "--watch" not in line]
    lines += shown(ROOT / "docs" / "troubleshooting.md")
    lines.remove("podnuma agent cleanup")
    assert len(lines) == 6
    for line in lines:
        asked = line.replace("NAMESPACE", namespace).replace("NAME", "database").replace("NODE", "node-a")
        done = shell.types(asked)
        assert (done.returncode, "rror" in done.stderr) == (Exit.OK, False), (asked, done.stderr)


def test_a_resize_is_what_the_api_server_takes(filled, namespace, tmp_path):
    """The two of the page; what follows a resize is tested elsewhere."""
    shell = Shell(filled, tmp_path, filled.kubeconfig)
    resize, annotate = shown(ROOT / "docs" / "resize.md")
    # What a kubelet of today says of itself and of the containers that it runs.
    amounts = {"cpu": "96", "memory": "256Gi", "pods": "110"}
    node = {"declaredFeatures": [RESIZES_BUDGETS], "capacity": amounts, "allocatable": amounts}
    filled.api.merge("/api/v1/nodes/node-a/status", {"status": node})
    path = f"/api/v1/namespaces/{namespace}/pods/database"
    names = ("metrics-exporter", "backup-agent"), ("database",)
    init, main = ([{**RUNNING, "name": name} for name in listed] for listed in names)
    filled.api.merge(f"{path}/status", {"status": {"initContainerStatuses": init, "containerStatuses": main}})
    done = shell.types(f"{resize} -n {namespace}")
    assert done.returncode == 0, done.stderr
    assert filled.api.get(path)["spec"]["resources"]["limits"]["cpu"] == "10"
    done = shell.types(f"{annotate} -n {namespace}")
    assert done.returncode == 0, done.stderr
    annotations = filled.api.get(path)["metadata"]["annotations"]
    assert json.loads(annotations[RESOURCES_ANNOTATION])["limits"] == {"cpu": "10"}


def test_a_profile_is_checked_and_waited_for(filled, tmp_path):
    """As the page on GitOps has it: plan in the pull request, then wait until it is in force."""
    check, wait = shown(ROOT / "examples" / "gitops" / "README.md")
    (tmp_path / "manifests").symlink_to(ROOT / "examples" / "pods")
    (tmp_path / "profiles").symlink_to(ROOT / "examples" / "gitops" / "profiles")
    shell = Shell(filled, tmp_path, filled.kubeconfig)
    planned = shell.types(check)
    assert planned.returncode == Exit.NO, planned.stderr
    assert planned.stdout.splitlines()[1].split()[:3] == ["default/database", "node-a", "admitted"]
    filled.kubectl("apply", "-f", str(ROOT / "examples" / "profiles" / "databases.yaml"))
    at = "2026-01-01T00:00:00Z"
    ready = {"type": "Ready", "status": "True", "reason": "Applied", "message": "", "lastTransitionTime": at}
    body = {**NODE_PROFILE.type_meta, "metadata": {"name": "databases"}, "status": {"conditions": [ready]}}
    filled.api.apply(body, subresource="status")
    assert shell.types(wait).stdout == "nodeprofile.podnuma.dev/databases condition met\n"


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("KUBECONFIG=/none/such podnuma nodes", Exit.UNREACHABLE, "/none/such"),
        ('podnuma explain ""', Exit.USAGE, "empty"),
        ("echo '{' > broken.yaml; podnuma plan -f broken.yaml", Exit.INPUT, "broken.yaml"),
        ("podnuma nodes nobody", Exit.NOT_FOUND, "nobody"),
    ],
)
def test_what_cannot_be_asked_is_said_in_a_sentence(crds, tmp_path: Path, line, code, words):
    done = Shell(crds, tmp_path, crds.kubeconfig).types(line)
    assert (done.returncode, done.stdout) == (code, "")
    assert words in done.stderr
    assert len(done.stderr.splitlines()) <= 2
    assert "Traceback" not in done.stderr
