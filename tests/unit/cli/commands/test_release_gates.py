"""Which pods are released, and what is said where no API server answers."""

import pytest
import yaml
from podnuma.cli import main
from podnuma.cli.commands.release_gates import gated_pods
from podnuma.cli.exits import Exit

NOBODY_ANSWERS = {
    "current-context": "c",
    "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:9"}}],
    "users": [{"name": "u", "user": {}}],
}


def pod(*gates: str) -> dict[str, object]:
    return {"spec": {"schedulingGates": [{"name": gate} for gate in gates]}}


def test_only_pods_with_our_gate_are_let_go():
    ours, both = pod("podnuma.dev/placement"), pod("example.com/quota", "podnuma.dev/placement")
    assert gated_pods([pod(), pod("example.com/quota"), ours, both, {"spec": {}}]) == [ours, both]


def test_a_list_of_gates_that_is_none_is_no_gate():
    assert gated_pods([{"spec": {"schedulingGates": "podnuma.dev/placement"}}, {"spec": None}]) == []


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dry-run"], "cannot list the pods with the gate podnuma.dev/placement: "),
        ([], "cannot take the gate podnuma.dev/placement off: "),
    ],
)
def test_what_is_in_vain_is_what_was_asked_for(tmp_path, capsys, words, said):
    config = tmp_path / "config"
    config.write_text(yaml.safe_dump(NOBODY_ANSWERS))
    with pytest.raises(SystemExit) as end:
        main.run(["release-gates", "--kubeconfig", str(config), *words])
    assert end.value.code == Exit.UNREACHABLE
    assert capsys.readouterr().err.startswith(said)


@pytest.mark.parametrize("command", ["release-gates", "release-nodes"])
@pytest.mark.parametrize("where", ["$KUBECONFIG", "~/.kube/config"])
def test_the_cluster_is_that_of_kubectl(tmp_path, capsys, monkeypatch, command, where):
    config = tmp_path / ".kube" / "config"
    config.parent.mkdir()
    config.write_text(yaml.safe_dump(NOBODY_ANSWERS))
    monkeypatch.delenv("KUBECONFIG", raising=False)
    if where == "$KUBECONFIG":
        monkeypatch.setenv("KUBECONFIG", f"{tmp_path / 'missing'}:{config}")
    else:
        monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SystemExit) as end:
        main.run([command])
    assert end.value.code == Exit.UNREACHABLE
    assert "127.0.0.1:9" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["release-gates", "release-nodes"])
def test_without_a_cluster_the_next_step_is_named(tmp_path, capsys, monkeypatch, command):
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(SystemExit) as end:
        main.run([command])
    assert end.value.code == Exit.UNREACHABLE
    assert "pass --kubeconfig FILE or set KUBECONFIG" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["release-gates", "release-nodes"])
def test_a_person_is_told_that_kubectls_own_kubeconfig_is_used(capsys, command):
    with pytest.raises(SystemExit):
        main.run([command, "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "$KUBECONFIG or ~/.kube/config if left out" in said
    assert "service account" not in said
