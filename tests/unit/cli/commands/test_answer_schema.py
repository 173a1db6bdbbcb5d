"""What programs read: every answer is the one envelope, and has the documented fields and no others."""

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
from podnuma.cli import main
from podnuma.cli.commands.output import ANSWERS_VERSION, AnswerKind

from tests.unit.cli.builders import PODS, ROOT, allocation_object, block, container, grant, topology_object
from tests.unit.cli.commands.test_explain_workload import deployment, refused

SCHEMA = json.loads((ROOT / "docs" / "reference" / "cli-answers.schema.json").read_text())
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
POD = PODS / "01-postgres-native-sidecar.yaml"


@pytest.fixture
def saved(tmp_path) -> Path:
    """A node, pods that hold something there, and a Deployment whose pods were evicted."""
    running = yaml.safe_load(POD.read_text())
    running["metadata"]["uid"], running["spec"]["nodeName"] = "uid-ledger-db-0", "node-a"
    held = grant(
        "payments/ledger-db-0",
        "1-3,49-51",
        container("postgres", "pod_exclusive", "1-2,49-50"),
        container("exporter", "pod_shared", "3,51"),
        memory=(block(12 * 2**30, "0"),),
    )
    amounts = {"cpu": "2", "memory": "1Gi"}
    resources = {"requests": amounts, "limits": amounts}
    without_budget = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "db", "namespace": "shop"},
        "spec": {"containers": [{"name": name, "resources": resources} for name in ("db", "log", "proxy")]},
        "status": {"phase": "Running"},
    }
    path: Path = tmp_path / "cluster.yaml"
    waiting = {**without_budget, "metadata": {"name": "waiting", "namespace": "shop", "uid": "uid-waiting"}}
    waiting["status"] = {"phase": "Pending"}
    objects = [
        waiting,
        topology_object("epyc7401-2s-8numa-16l3", reserved="0,48"),
        running,
        allocation_object(held),
        without_budget,
        with_plugin_device(),
    ]
    path.write_text(yaml.safe_dump_all([*objects, *deployment(), refused()]))
    return path


def with_plugin_device() -> dict[str, Any]:
    limits = {"cpu": "1", "example.com/gpu": "2"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "train", "namespace": "ml", "uid": "uid-train"},
        "spec": {
            "nodeName": "node-a",
            "containers": [{"name": "train", "resources": {"limits": limits, "requests": limits}}],
        },
        "status": {"phase": "Running"},
    }


def answer(capsys, *words: object) -> dict[str, Any]:
    with pytest.raises(SystemExit):
        main.run([str(word) for word in words])
    shown = capsys.readouterr()
    assert shown.out, shown.err
    found: dict[str, Any] = json.loads(shown.out)
    return found


QUESTIONS = {
    AnswerKind.NODE_MAP: ["map"],
    AnswerKind.NODE_SUMMARY: ["nodes"],
    AnswerKind.POD_EXPLANATION: ["explain", "payments/ledger-db-0"],
    AnswerKind.POD_REFUSAL: ["explain", "shop/web-1-a"],
    AnswerKind.WORKLOAD_EXPLANATION: ["explain", "deploy/web", "-n", "shop"],
    AnswerKind.POD_PLAN: ["plan", "-f", str(ROOT / "examples" / "pods")],
    AnswerKind.POD_RESIZE: ["plan", "resize", "payments/ledger-db-0", "--memory", "13Gi"],
    AnswerKind.CONTAINER_USE: ["top", "-A"],
    AnswerKind.SIDECAR_SAVING: ["savings", "-A"],
    AnswerKind.CHECK_RESULT: ["check"],
    AnswerKind.POD_DEVICES: ["locality", "-A"],
    AnswerKind.WAITING_POD: ["explain", "shop/waiting"],
}


def test_every_kind_of_answer_is_documented_and_asked_for_here():
    documented = {one["properties"]["kind"]["const"] for one in SCHEMA["oneOf"]}
    assert documented == {f"{kind.value}List" for kind in AnswerKind} == {f"{kind}List" for kind in QUESTIONS}
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@pytest.mark.parametrize("kind", QUESTIONS)
def test_an_answer_is_what_the_schema_says(saved, capsys, kind):
    found = answer(capsys, *QUESTIONS[kind], "--from", saved, "-o", "json")
    assert (found["apiVersion"], found["kind"]) == (ANSWERS_VERSION, f"{kind}List")
    VALIDATOR.validate(found)
    assert found["items"]


@pytest.mark.parametrize("kind", QUESTIONS)
def test_an_answer_is_the_same_twice_and_in_yaml(saved, capsys, kind):
    words = [*QUESTIONS[kind], "--from", saved]
    first = answer(capsys, *words, "-o", "json")
    assert answer(capsys, *words, "-o", "json") == first
    with pytest.raises(SystemExit):
        main.run([*map(str, words), "-o", "yaml"])
    assert yaml.safe_load(capsys.readouterr().out) == first


def test_a_field_that_is_not_documented_is_found(saved, capsys):
    found = answer(capsys, "nodes", "--from", saved, "-o", "json")
    found["items"][0]["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError):
        VALIDATOR.validate(found)
