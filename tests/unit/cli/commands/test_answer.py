"""One mechanism gives every answer: its options, its form, and again when it is another one."""

import json
from typing import Any

import pytest
import typer
import yaml
from podnuma.cli import main
from podnuma.cli.commands import output
from podnuma.cli.commands.answer import Answer, follow, print_answer
from podnuma.cli.commands.options import OutputFormat
from podnuma.cli.exits import Exit, Failure

from tests.unit.cli.builders import allocation_object, database, topology_object

ASKING = ("check", "explain", "locality", "map", "nodes", "plan", "savings", "top")
WATCHED = {"check", "explain", "map", "nodes", "top"}
TABLES = {"check", "locality", "nodes", "plan", "savings", "top"}
SELECTING = {"locality", "map", "nodes", "savings", "top"}


def options(name):
    group: Any = typer.main.get_command(main.app)
    return {text for one in group.commands[name].params for text in one.opts}


@pytest.mark.parametrize("name", ASKING)
def test_every_command_that_asks_has_the_same_options(name):
    found = options(name)
    assert {"--output", "-o", "--from", "--kubeconfig", "--context"} <= found
    assert ("--watch" in found) == (name in WATCHED)
    assert ("--no-headers" in found) == (name in TABLES)
    assert ("-l" in found) == (name in SELECTING)


def answer(number, code=Exit.OK):
    items = [{"number": number}]
    kind = output.AnswerKind.NODE_SUMMARY
    return Answer(kind, items, lambda style: f"{number} {style.headers}\n", code=code)


class Cluster:
    """Answers in turn; then somebody presses Ctrl-C."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.pauses = []

    def ask(self):
        found = self.answers.pop(0)
        if isinstance(found, Exception):
            raise found
        number, remark = found
        output.note(remark)
        return answer(number)

    def pause(self, seconds):
        self.pauses.append(seconds)
        if not self.answers:
            raise KeyboardInterrupt

    def followed(self, form=OutputFormat.TEXT):
        with pytest.raises(KeyboardInterrupt):
            follow(self.ask, lambda found: print_answer(found, form), form, self.pause)


def test_an_answer_is_printed_again_when_it_is_another_one_and_a_remark_once(capsys):
    Cluster((1, "a"), (1, "a"), (2, "a"), (2, "b"), (1, "b")).followed()
    shown = capsys.readouterr()
    assert shown.out == "1 True\n\n2 True\n\n1 True\n"
    assert shown.err == "a\nb\n"


def test_programs_get_one_document_after_the_other(capsys):
    Cluster((1, "a"), (2, "a")).followed(OutputFormat.YAML)
    documents = list(yaml.safe_load_all(capsys.readouterr().out))
    assert [one["items"] for one in documents] == [[{"number": 1}], [{"number": 2}]]
    Cluster((1, "a")).followed(OutputFormat.JSON)
    assert json.loads(capsys.readouterr().out)["items"] == [{"number": 1}]


def test_a_cluster_that_is_silent_for_a_while_is_asked_again_at_growing_pauses(capsys):
    silent = Failure(Exit.UNREACHABLE, "no answer", "more")
    cluster = Cluster((1, "a"), *[silent] * 5, (2, "a"), silent)
    cluster.followed()
    shown = capsys.readouterr()
    assert shown.out == "1 True\n\n2 True\n"
    assert shown.err == "a\nno answer\nno answer\n"
    assert cluster.pauses[5] > 3 * cluster.pauses[0]
    assert max(cluster.pauses) <= 60


@pytest.mark.parametrize("failure", [Failure(Exit.FORBIDDEN, "no"), Failure(Exit.NOT_FOUND, "gone")])
def test_what_will_not_become_better_ends_it(failure):
    cluster = Cluster((1, "a"), failure)
    with pytest.raises(Failure):
        follow(cluster.ask, lambda _: Exit.OK, OutputFormat.TEXT, cluster.pause)


def test_who_cannot_be_asked_at_first_is_not_waited_for():
    cluster = Cluster(Failure(Exit.UNREACHABLE, "no answer"))
    with pytest.raises(Failure):
        follow(cluster.ask, lambda _: Exit.OK, OutputFormat.TEXT, cluster.pause)


@pytest.fixture
def saved(tmp_path):
    labels = {"metadata": {"name": "node-a", "labels": {"pool": "db"}}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "database", "namespace": "shop", "labels": {"app": "db"}},
    }
    objects = [
        {"apiVersion": "v1", "kind": "Node", **labels},
        topology_object("epyc7401-2s-8numa-16l3", reserved="0,48"),
        topology_object("laptop-hybrid-6p8e", name="node-b"),
        allocation_object(database()),
        {**pod, "spec": {"nodeName": "node-a", "containers": []}},
    ]
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump_all(objects))
    return path


def run(*words):
    with pytest.raises(SystemExit) as end:
        main.run([str(word) for word in words])
    return end.value.code


def test_saved_objects_are_not_watched(saved):
    assert run("nodes", "--watch", "--from", saved) == Exit.USAGE


@pytest.mark.parametrize("name", ["nodes", "top"])
def test_headings_can_be_left_out(saved, capsys, name):
    run(name, "--from", saved)
    whole = capsys.readouterr().out.splitlines()
    run(name, "--no-headers", "--from", saved)
    without = capsys.readouterr().out.splitlines()
    assert [line.split() for line in without] == [line.split() for line in whole[1:]]


def names(capsys, *words):
    code = run(*words, "-o", "json")
    shown = capsys.readouterr()
    if code == Exit.NOT_FOUND:
        return []
    return sorted({one.get("name") or one["pod"] for one in json.loads(shown.out)["items"]})


def test_selectors_are_those_of_nodes_or_of_pods(saved, capsys):
    for name in ("nodes", "map"):
        assert names(capsys, name, "--from", saved) == ["node-a", "node-b"]
        assert names(capsys, name, "-l", "pool=db", "--from", saved) == ["node-a"]
        assert names(capsys, name, "-l", "pool=ml", "--from", saved) == []
    assert names(capsys, "map", "node-a", "node-b", "--from", saved) == ["node-a", "node-b"]
    assert names(capsys, "top", "-l", "app in (db)", "--from", saved) == ["database"]
    assert names(capsys, "top", "-l", "app!=db", "--from", saved) == []
    assert run("top", "-l", "a=(", "--from", saved) == Exit.USAGE


def test_what_a_terminal_would_obey_is_not_printed(capsys):
    answer = Answer(output.AnswerKind.POD_EXPLANATION, (), lambda _: "a \x1b[31m\u202eb\nc\n")
    print_answer(answer, OutputFormat.TEXT)
    assert capsys.readouterr().out == "a ?[31m?b\nc\n"


def test_nor_is_it_said_beside_an_answer(tmp_path, capsys):
    """Remarks and failures name what is in manifests of others, and what servers answer."""
    output.note("a \x1b[31m\u202eb\nc")
    assert capsys.readouterr().err == "a ?[31m?b\nc\n"
    manifest = tmp_path / "pods.yaml"
    manifest.write_text(json.dumps({"apiVersion": "v1", "kind": "\x1b[2J", "metadata": {"name": "\x9b2J"}}))
    assert run("plan", "-f", manifest, "--from", tmp_path) != Exit.OK
    assert run("explain", "\x1b[2J", "--from", manifest) != Exit.OK
    assert not {"\x1b", "\x9b"} & set(capsys.readouterr().err)
