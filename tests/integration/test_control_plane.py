"""The control plane of the tests is a real one, and leaves nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import requests

from testbed.api import ApiStatusError
from testbed.control_plane import ControlPlane
from testbed.processes import hear_ctrl_c
from testbed.waiting import until

GIB = 2**30


def children_of(folder: Path) -> list[int]:
    """Return the processes whose command line names a folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if str(folder).encode() in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:  # ended meanwhile
                continue
    return found


def test_two_control_planes_run_side_by_side(control_plane):
    with ControlPlane() as other:
        other.api.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "only-here"}})
        assert control_plane.api.find("/api/v1/namespaces/only-here") is None
        assert other.port != control_plane.port
        folder = other.folder
        assert children_of(folder)
    assert not folder.exists()
    assert children_of(folder) == []


def test_pod_level_resources_are_kept_by_the_api_server(control_plane, namespace):
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "budget", "namespace": namespace},
        "spec": {
            "containers": [{"name": "main", "image": "none"}],
            "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
        },
    }
    created = control_plane.api.create(pod)
    assert created["spec"]["resources"]["requests"] == {"cpu": "2", "memory": "1Gi"}
    assert created["status"]["qosClass"] == "Guaranteed"


def test_a_service_account_has_the_rights_of_its_roles_and_no_more(control_plane, namespace):
    control_plane.kubectl("-n", namespace, "create", "serviceaccount", "reader")
    control_plane.kubectl("-n", namespace, "create", "role", "read", "--verb=list", "--resource=pods")
    control_plane.kubectl(
        "-n",
        namespace,
        "create",
        "rolebinding",
        "read",
        "--role=read",
        f"--serviceaccount={namespace}:reader",
    )
    with control_plane.api_for(namespace, "reader") as api:
        assert api.items(f"/api/v1/namespaces/{namespace}/pods") == []
        with pytest.raises(ApiStatusError, match=r"cannot list resource .*secrets"):
            api.items(f"/api/v1/namespaces/{namespace}/secrets")
    kubeconfig = control_plane.kubeconfig_for(namespace, "reader")
    assert "No resources found" in control_plane.kubectl(
        "-n", namespace, "get", "pods", kubeconfig=kubeconfig, check=False
    )


def test_data_outlives_an_api_server_that_goes_and_comes_back(control_plane, namespace):
    with control_plane.apiserver_gone(), pytest.raises(requests.ConnectionError):
        control_plane.api.get("/readyz")
    assert control_plane.api.get(f"/api/v1/namespaces/{namespace}")["status"]["phase"] == "Active"


@pytest.mark.usefixtures("clean_cluster")
def test_scheduler_binds_to_a_kwok_node_and_kwok_runs_the_pod(control_plane, kwok, namespace):
    node = kwok.add_node("fake-1", cpus=4, memory=8 * GIB, labels={"for": namespace})
    assert node["status"]["allocatable"]["cpu"] == "4"
    sidecar = {"name": "side", "image": "none", "restartPolicy": "Always"}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "scheduled", "namespace": namespace},
        "spec": {
            "nodeSelector": {"for": namespace},
            "initContainers": [sidecar],
            "containers": [{"name": "main", "image": "none"}],
            "resources": {"limits": {"cpu": "2", "memory": "1Gi"}},
        },
    }
    control_plane.api.create(pod)
    running = control_plane.api.wait_for(
        f"/api/v1/namespaces/{namespace}/pods",
        lambda found: found["status"]["phase"] == "Running",
        "the pod to run",
    )
    assert running["spec"]["nodeName"] == "fake-1"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_outlives_a_control_plane_that_is_stopped_by_a_signal(tmp_path, number):
    folder = tmp_path / "cluster"
    argv = [sys.executable, "-m", "testbed.control_plane", "--folder", str(folder)]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, preexec_fn=hear_ctrl_c) as process:
        try:
            assert process.stdout is not None
            assert "ready" in process.stdout.readline()
            assert len(children_of(folder)) >= 4
        finally:
            process.send_signal(number)
            process.wait(30)
    until(lambda: not children_of(folder), "every child to be gone", 30)


def test_a_part_that_cannot_start_is_named_with_the_end_of_its_log(tmp_path):
    began = time.monotonic()
    with pytest.raises(Exception, match=r"kube-apiserver ended with status 1(?s:.*)last lines of"):
        ControlPlane(tmp_path / "cluster", feature_gates={"NoSuchGate": True}).start()
    assert time.monotonic() - began < 20
    assert children_of(tmp_path) == []
