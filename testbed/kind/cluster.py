"""What kind is told about a cluster in the emulated machine, on top of `deploy/kind/cluster.yaml`.

The nodes' image, the port of the API server, and patience: everything takes about ten times as long. What
the cluster is, the file says; nothing of that changes.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from collections.abc import Mapping

# How long kubeadm waits for each; its defaults are up to five minutes.
_PATIENCE = "30m0s"
_TIMEOUTS = dict.fromkeys(
    (
        "controlPlaneComponentHealthCheck",
        "kubeletHealthCheck",
        "kubernetesAPICall",
        "tlsBootstrap",
        "discovery",
    ),
    _PATIENCE,
)
# Handshakes of the API server with itself took longer than the ten seconds it gives them. Elliptic curves are
# far cheaper than RSA, and the classic exchange of keys than ML-KEM.
_CHEAP_TLS = {
    "encryptionAlgorithm": "ECDSA-P256",
    "apiServer": {
        "extraEnvs": [{"name": "GODEBUG", "value": "tlsmlkem=0"}, {"name": "GOMAXPROCS", "value": "4"}]
    },
}
# A patch takes the place of the list that kind has, which is the first of these.
_LEFT_OUT = ["preflight", "addon/coredns"]
_RUNTIME = {"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration"}
# The runtime waits longer for the agent; the default is 2 s, and a plugin that is late once is dropped.
_NRI = """\
[plugins."io.containerd.nri.v1.nri"]
  plugin_registration_timeout = "30s"
  plugin_request_timeout = "10s"
"""


def for_machine(cluster: Mapping[str, Any], image: str, port: int) -> dict[str, Any]:
    """Return the cluster as kind shall make it in the machine: its API server is there on `port`."""
    patches = [
        _patch("ClusterConfiguration", _CHEAP_TLS),
        _patch("InitConfiguration", {"timeouts": _TIMEOUTS, "skipPhases": _LEFT_OUT}),
        _patch("JoinConfiguration", {"timeouts": _TIMEOUTS}),
        yaml.safe_dump(_RUNTIME | {"runtimeRequestTimeout": "5m0s"}),
    ]
    # Without a lease nobody loses it: a single control plane needs none.
    alone = [_no_election(component) for component in ("controllerManager", "scheduler")]
    network = {"apiServerAddress": "0.0.0.0", "apiServerPort": port}
    return {
        **cluster,
        "nodes": [{**node, "image": image} for node in cluster["nodes"]],
        "networking": {**cluster.get("networking", {}), **network},
        "kubeadmConfigPatches": [*cluster.get("kubeadmConfigPatches", ()), *patches],
        "kubeadmConfigPatchesJSON6902": [*cluster.get("kubeadmConfigPatchesJSON6902", ()), *alone],
        "containerdConfigPatches": [*cluster.get("containerdConfigPatches", ()), _NRI],
    }


def _patch(kind: str, content: Mapping[str, Any]) -> str:
    return yaml.safe_dump({"apiVersion": "kubeadm.k8s.io/v1beta4", "kind": kind, **content})


def _no_election(component: str) -> dict[str, str]:
    argument = {"name": "leader-elect", "value": "false"}
    patch = [{"op": "add", "path": f"/{component}/extraArgs/-", "value": argument}]
    group = {"group": "kubeadm.k8s.io", "version": "v1beta4", "kind": "ClusterConfiguration"}
    return {**group, "patch": json.dumps(patch)}
