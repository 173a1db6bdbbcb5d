"""How the process ends, in which code, and what it loads on the way."""

import json
import os
import signal
import subprocess
import sys
from importlib import metadata
from typing import Any

import pytest
import typer
import yaml
from podnuma.cli import exits, main
from podnuma.cli.exits import Exit

from tests.unit.cli.builders import allocation_object, database, topology_object


def run(*words: str, stdin: str | None = None, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command line in a process of its own, with no cluster to find."""
    code = "from podnuma.cli.main import run; run()"
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        check=False,
        capture_output=True,
        text=True,
        input=stdin,
        timeout=50,
        env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", "COLUMNS": "100", **environment},
    )


@pytest.fixture
def saved(tmp_path) -> str:
    path = tmp_path / "cluster.yaml"
    path.write_text(
        yaml.safe_dump_all([topology_object("laptop-hybrid-6p8e"), allocation_object(database())])
    )
    return str(path)


def ending(arguments: list[str]) -> int | str | None:
    with pytest.raises(SystemExit) as end:
        main.run(arguments)
    return end.value.code


def test_every_code_is_in_the_table_of_the_module_and_once():
    table = {line.split("|")[2].strip(): int(line.split("|")[1]) for line in _rows(exits.__doc__ or "")}
    assert table == {code.name: code.value for code in Exit}


def _rows(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.startswith("| ") and line[2].isdigit()]


def test_version_is_that_of_the_package(capsys):
    assert ending(["version"]) == Exit.OK
    assert capsys.readouterr().out == f"podnuma {metadata.version('podnuma')}\n"


def test_version_is_an_option_too(capsys):
    assert ending(["--version"]) == Exit.OK
    assert capsys.readouterr().out == f"podnuma {metadata.version('podnuma')}\n"


LAZY = sorted(main._COMMANDS)


@pytest.mark.parametrize("name", LAZY)
def test_a_summary_in_the_table_is_the_commands_own(name):
    group: Any = typer.main.get_command(main.app)
    command = group.commands[name]
    assert main._COMMANDS[name].summary == (command.help or "").splitlines()[0]


@pytest.mark.parametrize(
    "words",
    [
        *([name] for name in LAZY if name not in ("agent", "profile")),
        ["agent", "run"],
        ["agent", "cleanup"],
        ["profile", "import"],
        ["profile", "suggest"],
    ],
)
def test_every_help_ends_with_examples_that_name_the_command(words, capsys):
    assert ending([*words, "--help"]) == Exit.OK
    _, examples = capsys.readouterr().out.split("\n  Examples:\n")
    assert all(
        " ".join(["podnuma", *words]) in line
        for line in examples.strip().splitlines()
        if "kubectl" not in line
    )


def test_summaries_are_not_cut_and_grouped(capsys):
    assert ending(["--help"]) == Exit.OK
    shown = capsys.readouterr().out
    assert "..." not in shown.replace("[ARGS]...", "")
    assert [line for line in shown.splitlines() if line.endswith(":") and not line.startswith(" ")] == [
        "Options:",
        "Questions:",
        "Changes to a cluster:",
        "Processes:",
        "About podnuma:",
    ]


def test_help_imports_no_command():
    code = (
        "import sys\nfrom podnuma.cli.main import run\n"
        "try:\n    run(['--help'])\nexcept SystemExit:\n    pass\n"
        "own = ('podnuma.cli.commands', 'podnuma.api', 'podnuma.allocator')\n"
        "print(sorted(name for name in sys.modules if name.startswith(own)), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=50
    )
    assert done.stderr == "[]\n"


@pytest.mark.parametrize(
    "words",
    [
        ["nonsense"],
        ["map", "--nonsense"],
        ["plan"],
        ["completion", "tcsh"],
        ["agent", "run", "--node-name", "n", "--runtime", "docker"],
        ["savings", "--sidecar-cpu", "much"],
        ["map", "-o", "xml"],
    ],
)
def test_a_wrong_command_line_is_usage(words, capsys):
    assert ending(words) == Exit.USAGE
    assert capsys.readouterr().err


def test_a_file_that_is_not_there_is_input(capsys):
    assert ending(["map", "--from", "/nonexistent.yaml"]) == Exit.INPUT
    assert capsys.readouterr().err == "/nonexistent.yaml: No such file or directory\n"


def test_an_object_that_is_not_there_is_not_found(saved, capsys):
    assert ending(["map", "nobody", "--from", saved]) == Exit.NOT_FOUND
    assert capsys.readouterr().err.startswith("there is no NodeTopology nobody in ")


@pytest.mark.parametrize("command", [["map"], ["nodes"], ["profile", "suggest"]])
def test_files_without_a_node_are_named_with_what_writes_one(saved, tmp_path, capsys, command):
    other = tmp_path / "pods.yaml"
    other.write_text("{apiVersion: v1, kind: Pod, metadata: {name: a}}")
    assert ending([*command, "--from", str(other)]) == Exit.NOT_FOUND
    assert f"there is no NodeTopology in {other}; `kubectl get nodetopologies" in capsys.readouterr().err
    assert ending([*command, "--from", saved, "-l", "pool=none"]) == Exit.NOT_FOUND
    assert "there is no NodeTopology of a node that pool=none selects in " in capsys.readouterr().err


@pytest.mark.parametrize("command", ["map", "nodes"])
def test_a_node_of_a_name_nearby_is_suggested(saved, capsys, command):
    assert ending([command, "node-a", "nod-a", "--from", saved]) == Exit.NOT_FOUND
    said = capsys.readouterr().err
    assert said.startswith("there is no NodeTopology nod-a in ")
    assert said.endswith("; did you mean node-a?\n")


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("explane", "No such command 'explane'. Did you mean 'explain'?"),
        ("node", "No such command 'node'. Did you mean 'nodes'?"),
        ("frobnicate", "No such command 'frobnicate'."),
        ("get", "No such command 'get': that is kubectl's own, as in `kubectl get podallocations`."),
        ("logs", "as in `kubectl logs -n podnuma-system deployment/podnuma-operator`."),
    ],
)
def test_a_command_that_does_not_exist_names_a_near_one_or_that_of_kubectl(capsys, typed, said):
    assert ending([typed]) == Exit.USAGE
    assert capsys.readouterr().err.splitlines()[-1].endswith(said)


def test_no_cluster_is_unreachable_with_the_next_step():
    done = run("map")
    assert done.returncode == Exit.UNREACHABLE
    (line,) = done.stderr.splitlines()
    assert line.startswith("no cluster: ")
    assert "--kubeconfig FILE" in line
    assert "--from FILE" in line


def test_a_server_that_does_not_answer_is_unreachable(tmp_path):
    kubeconfig = tmp_path / "config"
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    user = {"name": "u", "user": {}}
    content = {"clusters": [cluster], "contexts": [context], "users": [user], "current-context": "c"}
    kubeconfig.write_text(yaml.safe_dump(content))
    done = run("map", KUBECONFIG=str(kubeconfig))
    assert done.returncode == Exit.UNREACHABLE
    assert done.stderr.startswith("no answer from the API server about nodetopologies.podnuma.dev: ")


def test_the_cluster_of_a_context_may_be_in_another_kubeconfig(tmp_path):
    cluster = {"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}
    context = {"name": "c", "context": {"cluster": "c", "user": "u"}}
    parts = [
        {"contexts": [context], "current-context": "c"},
        {"clusters": [cluster], "users": [{"name": "u", "user": {}}], "current-context": "other"},
    ]
    files = []
    for number, part in enumerate(parts):
        files.append(tmp_path / f"config-{number}")
        files[-1].write_text(yaml.safe_dump(part))
    done = run("map", KUBECONFIG=":".join(map(str, files)))
    assert done.stderr.startswith("no answer from the API server about nodetopologies.podnuma.dev: ")


def test_a_bug_has_its_own_code_and_shows_the_trace(monkeypatch, capsys, saved):
    monkeypatch.setattr("podnuma.cli.commands.map.read_maps", lambda *_: 1 / 0)
    assert ending(["map", "--from", saved]) == Exit.FAULT
    shown = capsys.readouterr().err
    assert "ZeroDivisionError" in shown
    assert shown.endswith("this is a bug in podnuma: please report the lines above\n")


def test_ctrl_c_is_no_bug(monkeypatch, saved):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("podnuma.cli.commands.map.read_maps", interrupted)
    assert ending(["map", "--from", saved]) == Exit.INTERRUPTED


def test_the_first_process_of_a_container_heeds_sigterm_from_its_beginning(monkeypatch, saved):
    """The kernel discards it there unless it is handled; datahub-project/datahub#19402."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(os, "getpid", lambda: 1)
    monkeypatch.setattr("podnuma.cli.commands.map.read_maps", lambda *_: signal.raise_signal(signal.SIGTERM))
    try:
        assert ending(["map", "--from", saved]) == Exit.INTERRUPTED
    finally:
        signal.signal(signal.SIGTERM, before)


def test_a_closed_pipe_ends_quietly(saved):
    command = f"{sys.executable} -c 'from podnuma.cli.main import run; run()'"
    line = f"{command} map -o json --from {saved} | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line], check=False, capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "{\n", "")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_what_is_read_and_written_is_utf_8_whatever_the_locale(saved, encoding):
    """An ASCII or Latin-1 locale has no characters for bars and boxes; kubectl writes UTF-8 in any."""
    pod = "apiVersion: v1\nkind: Pod\nmetadata: {name: é}\nspec: {containers: [{name: a}]}\n"
    code = "import sys; from podnuma.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, "plan", "-f", "-", "--from", saved],
        check=False,
        capture_output=True,
        input=pod.encode(),
        timeout=50,
        env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", "PYTHONIOENCODING": encoding},
    )
    assert done.returncode != Exit.FAULT
    assert "metadata.name: 'é' is not a valid name" in done.stderr.decode()
    shown = run("nodes", "--from", saved, PYTHONIOENCODING=encoding)
    assert shown.returncode == Exit.OK, shown.stderr
    assert "▁" in shown.stdout


def test_an_answer_that_cannot_be_written_is_no_bug(saved):
    code = "from podnuma.cli.main import run; run()"
    words = [sys.executable, "-c", code, "nodes", "--from", saved]
    with open("/dev/full", "w") as full:  # noqa: PTH123 - not a path of ours
        done = subprocess.run(words, check=False, stdout=full, stderr=subprocess.PIPE, text=True, timeout=50)
    assert (done.returncode, done.stderr) == (
        Exit.INPUT,
        "the answer cannot be written: No space left on device\n",
    )
    closed = subprocess.run(
        ["/bin/sh", "-c", 'exec "$@" >&-', "sh", *words], check=False, capture_output=True, timeout=50
    )
    assert (closed.returncode, closed.stderr) == (Exit.OK, b"")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_is_printed_for_every_shell(shell):
    done = run("completion", shell)
    assert done.returncode == Exit.OK
    assert "_PODNUMA_COMPLETE=complete_" in done.stdout


def test_verbs_are_completed():
    done = run(_PODNUMA_COMPLETE="complete_bash", COMP_WORDS="podnuma agent r", COMP_CWORD="2")
    assert done.stdout.split() == ["run"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["agent", ""], ["run", "cleanup"]),
        (["ma"], ["map"]),
        (["map", "--sv"], ["--svg"]),
        (["nothing-so"], []),
    ],
)
def test_kubectl_completes_its_plugin(words, found):
    code = "from podnuma.cli.main import complete; complete()"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], check=False, capture_output=True, text=True, timeout=50
    )
    assert done.stdout.split() == [*found, ":0"]


def test_as_a_plugin_of_kubectl_it_says_so():
    code = "import sys; sys.argv[0] = 'kubectl-podnuma'; from podnuma.cli.main import run; run()"
    done = subprocess.run(
        [sys.executable, "-c", code, "map", "--help"], check=False, capture_output=True, text=True, timeout=50
    )
    assert done.stdout.startswith("Usage: kubectl podnuma map ")


@pytest.mark.parametrize(
    ("words", "foreign"),
    [
        (["agent", "run", "--help"], ["kopf", "grpc", "kubernetes", "pykube", "dbus_fast", "rich.console"]),
        (["operator", "--help"], ["grpc", "pykube", "kopf", "kubernetes"]),
        (["--help"], ["kopf", "grpc", "kubernetes", "pykube", "dbus_fast", "aiohttp"]),
        (["version"], ["kopf", "grpc", "kubernetes", "pykube", "yaml", "rich.console"]),
        (["map", "--help"], ["asyncio", "ssl", "http.client", "xml.sax"]),
    ],
)
def test_a_verb_loads_what_it_needs_only(words, foreign):
    assert loaded(words, foreign) == []


def test_a_map_of_saved_objects_loads_no_client_and_no_picture(saved):
    foreign = ["kopf", "grpc", "kubernetes", "pykube", "aiohttp", "asyncio", "ssl", "http.client", "xml.sax"]
    assert loaded(["map", "--from", saved], foreign) == []


def test_a_cluster_without_a_socks_proxy_is_asked_without_the_library_for_one(tmp_path):
    path = tmp_path / "kubeconfig"
    clusters = [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}]
    contexts = [{"name": "c", "context": {"cluster": "c"}}]
    path.write_text(json.dumps({"clusters": clusters, "contexts": contexts, "current-context": "c"}))
    words = ["map", "--kubeconfig", str(path)]
    assert loaded(words, ["aiohttp.client", "aiohttp_socks", "python_socks"]) == ["aiohttp.client"]


def test_a_map_loads_nothing_that_decides(saved):
    deciding = [
        "allocator.node_allocator",
        "allocator.merge",
        "allocator.explain.explanation",
        "api.scheduling",
    ]
    assert loaded(["map", "--from", saved], [f"podnuma.{name}" for name in deciding]) == []


def test_saved_json_is_drawn_without_yaml_and_no_text_is_searched_for_emoji(tmp_path):
    path = tmp_path / "cluster.json"
    items = [topology_object("laptop-hybrid-6p8e"), allocation_object(database())]
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
    assert loaded(["map", "--from", str(path)], ["yaml", "rich._emoji_codes"]) == []


@pytest.mark.parametrize("words", [["version"], ["agent", "run", "--help"], ["map", "--from", "{saved}"]])
def test_reading_options_loads_no_pydantic(words, saved):
    """It takes nine MiB in every agent: see docs/dependencies.md."""
    assert loaded([word.format(saved=saved) for word in words], ["pydantic"]) == []


def loaded(words: list[str], foreign: list[str]) -> list[str]:
    """Which of these modules a command has loaded when it ends."""
    code = (
        "import json, sys\nfrom podnuma.cli.main import run\n"
        f"try:\n    run({words!r})\nexcept SystemExit:\n    pass\n"
        f"print(json.dumps(sorted(set({foreign!r}) & set(sys.modules))), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=50
    )
    found: list[str] = json.loads(done.stderr.splitlines()[-1])  # after what the command says itself
    return found


def test_a_running_agent_never_loads_kopf_nor_the_operator():
    code = (
        "import sys\nfrom podnuma.agent import app\n"
        "app.main = lambda settings: None\n"
        "from podnuma.cli.main import run\n"
        "try:\n    run(['agent', 'run', '--node-name', 'n'])\nexcept SystemExit:\n    pass\n"
        "never = ('kopf', 'podnuma.operator', 'kubernetes', 'pydantic')\n"
        "print([name for name in sys.modules if name.startswith(never)])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=False, capture_output=True, text=True, timeout=50
    )
    assert done.stdout == "[]\n", done.stderr
