"""Fake nodes have the amounts of the machine they stand for."""

from __future__ import annotations

from testbed.kwok import is_ready, node_manifest


def test_node_has_what_it_was_given_and_the_mark_that_kwok_looks_for():
    node = node_manifest(
        "n", cpus=96, memory=64 * 2**30, labels={"pool": "a"}, extra={"hugepages-2Mi": "1Gi"}
    )
    assert node["metadata"]["annotations"] == {"kwok.x-k8s.io/node": "fake"}
    assert node["metadata"]["labels"]["pool"] == "a"
    expected = {"cpu": "96", "memory": "67108864Ki", "pods": "110", "hugepages-2Mi": "1Gi"}
    assert node["status"]["capacity"] == node["status"]["allocatable"] == expected


def test_a_node_is_ready_when_it_says_so_and_has_lost_the_taint():
    ready = {"status": {"conditions": [{"type": "Ready", "status": "True"}]}}
    assert is_ready(ready)
    assert not is_ready(ready | {"spec": {"taints": [{"key": "node.kubernetes.io/not-ready"}]}})
    assert not is_ready({"status": {"conditions": [{"type": "Ready", "status": "False"}]}})
    assert not is_ready({})
