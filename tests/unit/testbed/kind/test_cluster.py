"""The cluster in the emulated machine is the one of `make e2e-kind`, with an image, a port, and patience."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import yaml

from testbed.kind.cluster import for_machine

CLUSTER = Path(__file__).resolve().parents[4] / "deploy" / "kind" / "cluster.yaml"


def made():
    return for_machine(yaml.safe_load(CLUSTER.read_text()), "localhost/node:1", 40123)


def test_what_the_file_says_stays():
    shipped, changed = yaml.safe_load(CLUSTER.read_text()), made()
    for key in ("kind", "apiVersion", "name", "featureGates"):
        assert changed[key] == shipped[key]
    assert [{**node, "image": "localhost/node:1"} for node in shipped["nodes"]] == changed["nodes"]
    assert changed["containerdConfigPatches"][:1] == shipped["containerdConfigPatches"]


def test_the_api_server_is_where_the_machines_port_leads():
    assert made()["networking"] == {"apiServerAddress": "0.0.0.0", "apiServerPort": 40123}


def test_kubeadm_waits_and_nobody_is_elected():
    changed = made()
    patches = {patch["kind"]: patch for patch in map(yaml.safe_load, changed["kubeadmConfigPatches"])}
    for kind in ("InitConfiguration", "JoinConfiguration"):
        assert set(patches[kind]["timeouts"].values()) == {"30m0s"}
    assert patches["ClusterConfiguration"]["encryptionAlgorithm"] == "ECDSA-P256"
    # kind's own, and what the node image does not have.
    assert patches["InitConfiguration"]["skipPhases"] == ["preflight", "addon/coredns"]
    elected = [json.loads(entry["patch"]) for entry in changed["kubeadmConfigPatchesJSON6902"]]
    assert [patch[0]["path"] for patch in elected] == [
        "/controllerManager/extraArgs/-",
        "/scheduler/extraArgs/-",
    ]
    assert all(patch[0]["value"] == {"name": "leader-elect", "value": "false"} for patch in elected)


def test_the_runtime_waits_for_the_agent():
    nri = tomllib.loads(made()["containerdConfigPatches"][-1])["plugins"]["io.containerd.nri.v1.nri"]
    assert nri == {"plugin_registration_timeout": "30s", "plugin_request_timeout": "10s"}
