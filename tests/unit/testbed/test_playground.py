"""What the playground does for podnuma's pods: arguments, environment, status."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from testbed.installation import FakeNode
from testbed.machines import load
from testbed.playground.pods import environment_of, fitted, status_of

NODE = FakeNode("node-1", load("epyc7401-2s-8numa-16l3"), Path("/n"))


def pod(policy: str = "Always") -> dict[str, Any]:
    container = {"name": "agent", "image": "podnuma:1", "args": ["agent", "run"]}
    return {"metadata": {"name": "a-1"}, "spec": {"restartPolicy": policy, "containers": [container]}}


def test_only_paths_port_runtime_and_credentials_of_a_manifest_are_replaced():
    asked = ["agent", "run", "--runtime=auto", "--cgroup-root=/host/cgroup", "--metrics-port=9465"]
    assert fitted([*asked, "--check-seconds=5"], NODE, "/k", 7) == [
        "agent",
        "run",
        "--runtime=simulated",
        "--cgroup-root=/n/cgroup",
        "--metrics-port=7",
        "--check-seconds=5",
        "--kubeconfig=/k",
        "--metrics-host=127.0.0.1",
        "--sys-root=/n/sys",
        "--proc-root=/n/proc",
    ]


@pytest.mark.parametrize(
    ("arguments", "added"),
    [
        (["agent", "cleanup", "--hold"], ["--metrics-host=127.0.0.1"]),
        (["release-nodes", "--timeout=300"], ["--kubeconfig=/k"]),
        (["operator", "--resync=300"], ["--kubeconfig=/k", "--metrics-host=127.0.0.1"]),
    ],
)
def test_each_verb_gets_the_options_it_has(arguments, added):
    assert fitted(arguments, NODE, "/k", 7) == arguments + added


def test_fields_of_the_pod_are_put_into_the_environment():
    asked = yaml.safe_load(
        "env: [{name: A, value: b}, {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}]"
    )
    manifest = {"spec": {"nodeName": "node-1"}}
    assert environment_of(asked, manifest) == {"A": "b", "NODE": "node-1"}


@pytest.mark.parametrize(
    ("policy", "code", "phase"),
    [
        ("Always", None, "Running"),
        ("Always", 1, "Running"),
        ("Never", None, "Running"),
        ("Never", 0, "Succeeded"),
        ("Never", 3, "Failed"),
    ],
)
def test_a_pod_is_what_its_process_is(policy, code, phase):
    assert status_of(pod(policy), code, ready=False)["phase"] == phase


def test_a_pod_is_ready_when_its_process_is_and_stays_scheduled():
    manifest = pod() | {"status": {"conditions": [{"type": "PodScheduled", "status": "True"}]}}
    for ready, said in ((True, "True"), (False, "False")):
        conditions = {
            one["type"]: one["status"] for one in status_of(manifest, None, ready=ready)["conditions"]
        }
        assert conditions == {
            "PodScheduled": "True",
            "Initialized": "True",
            "ContainersReady": said,
            "Ready": said,
        }
