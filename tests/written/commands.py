"""What the command line makes of any state: it reads what was written, and its answers can be read.

All objects of a state are saved as `kubectl get -o json` saves them; a command reads the file. Whatever the
state is, the command ends with a documented exit code; what it writes for programs is what its schema says,
in JSON as in YAML; what it writes for people holds nothing that a terminal obeys. The NodeTopology of
`discover` and the NodeProfile of `profile suggest` can be read back, and so can what `release-nodes` leaves.
"""

from __future__ import annotations

import contextlib
import io
import json
import random
from functools import cache
from typing import TYPE_CHECKING, Any

import jsonschema  # type: ignore[import-untyped]  # stubs are a package of their own
import typer
import yaml
from podnuma.api.resource_types import NODE_TOPOLOGY, POD_ALLOCATION
from podnuma.cli.commands import explain, nodes, plan, profile, release_leftovers, top
from podnuma.cli.commands.map import map_nodes
from podnuma.cli.commands.options import OutputFormat
from podnuma.cli.exits import Exit, Failure
from podnuma.plumbing.kube.kubectl_text import load_values

from tests.unit.cli.builders import ROOT
from tests.unit.operator.rig import node, pod
from tests.written.check import check
from tests.written.states import NOW, Written

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from tests.written.states import Json

RETIRED = {one.kind: one for one in (NODE_TOPOLOGY, POD_ALLOCATION)}
NAMES = (
    "waiting",
    "y",
    "12e5",
    "08",
    "0o17",
    "null",
    "1-2",
    "a.b",
)  # texts that YAML reads as something else
ANSWERED = {Exit.OK, Exit.NO, Exit.INPUT, Exit.NOT_FOUND}


def saved(objects: Sequence[Written], name: str) -> Json:
    """Return the objects of a state as a list; a pod of that name is on no node yet."""
    topology: Json = {}
    items: list[Json] = [{"kind": "Node", **node()}]
    for one in objects:
        body = one.body
        if body["kind"] == "PodAllocation":
            items += [body, {"kind": "Pod", **pod(body["metadata"]["name"], 2, "1Gi")}]
        elif body["kind"] == "NodeTopology":
            status = topology.get("status", {})
            conditions = [*status.get("conditions", ()), *body["status"].get("conditions", ())]
            topology = {**body, "status": {**status, **body["status"], "conditions": conditions}}
    waiting = {"kind": "Pod", **pod(name, 3, "1Gi", "")}
    return {"apiVersion": "v1", "kind": "List", "items": [*items, topology, waiting]}


def save(file: Path, everything: Json) -> None:
    """Write objects as kubectl prints them: what they hold went through a server, which has UTF-8 only."""
    text = json.dumps(everything, ensure_ascii=False)
    stored = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    file.write_text(stored, encoding="utf-8")


def check_commands(number: int, objects: Sequence[Written], folder: Path) -> None:
    """Raise AssertionError if one of the commands that this number stands for does not answer."""
    rng = random.Random(number)
    waiting = rng.choice(NAMES)
    everything = saved(objects, waiting)
    file = folder / "cluster.json"
    save(file, everything)
    names = sorted(QUESTIONS)
    question = names[number % len(names)]
    form = rng.choice(list(OutputFormat))
    code, said = asked(lambda: QUESTIONS[question](str(file), waiting, form))
    assert code in ANSWERED, f"{question} ends with {code!r}"
    if said:
        _check_answer(question, form, said)
    check_released(everything)


def asked(command: Callable[[], object]) -> tuple[Exit, str]:
    """Return how a command ends, and what it has written."""
    out, notes = io.StringIO(), io.StringIO()
    code = Exit.OK
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(notes):
        try:
            command()
        except typer.Exit as end:
            code = Exit(end.exit_code)
        except Failure as failure:
            code = failure.code
            notes.write("\n".join(failure.lines))
    assert code not in {Exit.INPUT, Exit.NOT_FOUND} or notes.getvalue(), f"{code!r} without a word"
    _check_text("its notes", notes.getvalue())
    return code, out.getvalue()


def check_released(everything: Json) -> None:
    """Raise AssertionError if what `release-nodes` makes of an object cannot be read."""
    for body in everything["items"]:
        if body["kind"] in RETIRED:
            status = release_leftovers.retired_status(
                RETIRED[body["kind"]], body, release_leftovers.GIVEN_BACK, NOW
            )
            check(Written("release-nodes", {**body, "status": status}, {}))


def _check_answer(question: str, form: OutputFormat, said: str) -> None:
    if not form.structured:
        _check_text(question, said)
        return
    ((_, read),) = load_values(said)
    answer = json.loads(said) if form is OutputFormat.JSON else yaml.load(said, yaml.CSafeLoader)
    assert read == answer, f"{question} -o {form} reads differently with kubectl's rules"
    if question == "profile suggest":
        check(Written(question, answer, {}))
    else:
        refused = jsonschema.exceptions.best_match(_schema().iter_errors(answer))
        assert refused is None, f"{question}: {refused.json_path}: {refused.message[:300]}"


def _check_text(what: str, said: str) -> None:
    odd = {char for char in said if char != "\n" and (ord(char) < ord(" ") or "\u202a" <= char <= "\u202e")}
    assert not odd, f"{what}: {odd} would be obeyed by a terminal"


def _ask(command: Callable[..., object]) -> Callable[..., object]:
    """Return the command with the options that say where objects are: in a file."""

    def ask(file: str, form: OutputFormat, **own: object) -> object:
        return command(files=[file], kubeconfig=None, context=None, form=form, **own)

    return ask


EXAMPLES = [str(ROOT / "examples" / "pods")]
QUESTIONS: dict[str, Callable[[str, str, OutputFormat], object]] = {
    "map": lambda file, _, form: _ask(map_nodes)(file, form),
    "nodes": lambda file, _, form: _ask(nodes.list_nodes)(file, form),
    "plan": lambda file, _, form: _ask(plan.plan_manifests)(file, form, manifests=EXAMPLES),
    "explain": lambda file, _, form: _ask(explain.explain_pod)(file, form, pod=["p0"]),
    "explain waiting": lambda file, pod, form: _ask(explain.explain_pod)(file, form, pod=[f"default/{pod}"]),
    "top": lambda file, _, form: _ask(top.top_containers)(file, form, everywhere=True),
    "profile suggest": lambda file, _, form: _ask(profile.suggest_profile)(file, form, node="n1"),
}


@cache
def _schema() -> Any:
    text = (ROOT / "docs" / "reference" / "cli-answers.schema.json").read_text()
    return jsonschema.Draft202012Validator(json.loads(text))
