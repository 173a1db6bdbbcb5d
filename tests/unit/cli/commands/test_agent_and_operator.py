"""Options reach the settings of their part, by command line or by environment."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest
from podnuma.agent.settings import AgentSettings, MetricNames, Runtime
from podnuma.cli import main
from podnuma.operator.settings import OperatorSettings
from podnuma.plumbing.serving_certificate import ServingCertificate


def started(monkeypatch, target: str, *words: str):
    """The settings that the part named `target` is started with."""
    given: list[Any] = []
    monkeypatch.setattr(target, given.append)
    monkeypatch.setattr("podnuma.plumbing.logs.start_logging", lambda *_: None)
    with pytest.raises(SystemExit) as end:
        main.run(list(words))
    assert end.value.code == 0
    (settings,) = given
    return settings


@pytest.fixture
def operator(monkeypatch):
    return lambda *words: started(monkeypatch, "podnuma.operator.app.main", "operator", *words)


@pytest.fixture
def agent(monkeypatch):
    return lambda *words: started(monkeypatch, "podnuma.agent.app.main", "agent", "run", *words)


def test_the_operators_defaults_are_those_of_its_settings(operator):
    assert operator("--identity", "me") == OperatorSettings(identity="me")


def test_the_operator_without_identity_is_its_host(operator, monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "host-1")
    assert operator().identity == "host-1"


def test_a_certificate_without_tls_is_a_usage_error(capsys):
    with pytest.raises(SystemExit) as end:
        main.run(["operator", "--metrics-cert-dir", "/t"])
    assert end.value.code == 2
    assert "--metrics-cert-dir: needs --metrics-secure" in capsys.readouterr().err


def test_the_operators_options_reach_it(operator):
    settings = operator(
        *("--kubeconfig", "/k", "--context", "c", "--namespace", "n", "--identity", "i", "--no-lease"),
        *("--metrics-host", "127.0.0.1", "--metrics-port", "0", "--resync", "7", "--metrics-secure"),
    )
    assert settings == OperatorSettings(
        kubeconfig=Path("/k"),
        context="c",
        namespace="n",
        identity="i",
        lease=None,
        metrics_host="127.0.0.1",
        metrics_port=0,
        metrics_certificate=ServingCertificate(),
        resync=7.0,
    )


def test_the_agents_defaults_are_those_of_its_settings(agent):
    assert agent("--node-name", "n") == AgentSettings("n")


def test_the_agents_options_reach_it(agent):
    settings = agent(
        *("--node-name", "n", "--kubeconfig", "/k", "--sys-root", "/s", "--proc-root", "/p"),
        *("--cgroup-root", "/c", "--kubelet-root", "/l", "--run-root", "/r", "--runtime", "cri"),
        *("--nri-socket", "/n", "--cri-socket", "/x", "--metrics-host", "h", "--metrics-port", "1"),
        *("--metrics-secure", "--metrics-cert-dir", "/t"),
        *("--metric-names", "v1.37", "--check-seconds", "2", "--heartbeat-seconds", "3"),
    )
    assert settings == AgentSettings(
        node_name="n",
        kubeconfig=Path("/k"),
        sys_root=Path("/s"),
        proc_root=Path("/p"),
        cgroup_root=Path("/c"),
        kubelet_root=Path("/l"),
        run_root=Path("/r"),
        runtime=Runtime.CRI,
        nri_socket=Path("/n"),
        cri_socket=Path("/x"),
        metrics_host="h",
        metrics_port=1,
        metrics_certificate=ServingCertificate(Path("/t")),
        metric_names=MetricNames.V1_37,
        check_seconds=2.0,
        heartbeat_seconds=3.0,
    )


def test_the_environment_says_the_same(agent, monkeypatch):
    monkeypatch.setenv("PODNUMA_NODE_NAME", "by-environment")
    monkeypatch.setenv("PODNUMA_RUNTIME", "nri")
    monkeypatch.setenv("PODNUMA_METRICS_PORT", "7")
    settings = agent()
    assert (settings.node_name, settings.runtime, settings.metrics_port) == (
        "by-environment",
        Runtime.NRI,
        7,
    )


def test_cleanup_cleans_the_same_node_and_holds_if_told(monkeypatch):
    held = []
    monkeypatch.setattr("podnuma.cli.commands.agent.stay_ready", lambda *where: held.append(where))
    words = (
        "agent",
        "cleanup",
        "--hold",
        "--cgroup-root",
        "/c",
        "--runtime",
        "simulated",
        "--metrics-port",
        "9",
        "--metrics-secure",
    )
    settings = started(monkeypatch, "podnuma.agent.cleanup.main", *words)
    assert (settings.cgroup_root, settings.runtime) == (Path("/c"), Runtime.SIMULATED)
    assert held == [("", 9, ServingCertificate())]


def test_cleanup_ends_when_it_is_done(monkeypatch):
    monkeypatch.setattr(
        "podnuma.cli.commands.agent.stay_ready", lambda *_: pytest.fail("it was not told to hold")
    )
    assert started(monkeypatch, "podnuma.agent.cleanup.main", "agent", "cleanup")


def test_a_wrong_setting_is_refused_by_the_part_that_knows():
    with pytest.raises(ValueError, match="node_name is empty"):
        dataclasses.replace(AgentSettings("n"), node_name="")
