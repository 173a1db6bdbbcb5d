"""Names are completed from where the command would read them."""

import subprocess
import sys

import pytest
import yaml

from tests.unit.cli.builders import topology_object


@pytest.fixture
def saved(tmp_path) -> str:
    profile = {"kind": "NodeProfile", "metadata": {"name": "databases"}, "spec": {"nodeSelector": {}}}
    pods: list[dict[str, object]] = [
        {"kind": "Pod", "metadata": {"name": name, "namespace": namespace}}
        for name, namespace in (("one", "default"), ("two", "shop"))
    ]
    pods.append({"kind": "Namespace", "metadata": {"name": "shop"}})
    path = tmp_path / "cluster.yaml"
    path.write_text(yaml.safe_dump_all([topology_object("laptop-hybrid-6p8e"), profile, *pods]))
    return str(path)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["map", "--from", "SAVED", "no"], ["node-a"]),
        (["map", "--from", "SAVED", "x"], []),
        (["explain", "--from", "SAVED", "o"], ["one"]),
        (["explain", "--from", "SAVED", "-n", "shop", ""], ["two"]),
        (["explain", "--from", "SAVED", "shop/"], ["shop/two"]),
        (["plan", "--from", "SAVED", "--profile", ""], ["databases"]),
        (["explain", "--from", "SAVED", "-n", "s"], ["shop"]),
        (["map", "--from", "/nonexistent", ""], []),
        (["map", "no"], []),
    ],
)
def test_names_are_completed_and_nothing_is_an_error(saved, words, found):
    code = "from podnuma.cli.main import complete; complete()"
    done = subprocess.run(
        [sys.executable, "-c", code, *(saved if word == "SAVED" else word for word in words)],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
        env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
    )
    assert (done.stdout.split(), done.stderr) == ([*found, ":0"], "")
