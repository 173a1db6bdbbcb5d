from podnuma.agent.apiserver import paths


def test_every_stream_is_narrowed_by_the_server():
    assert dict(paths.allocations_source("n1").query) == {"fieldSelector": "spec.nodeName=n1"}
    assert dict(paths.topology_source("n1").query) == {"fieldSelector": "metadata.name=n1"}
    assert dict(paths.pods_source("n1").query) == {"fieldSelector": "spec.nodeName=n1"}


def test_statuses_are_applied_to_one_object_by_its_uid():
    assert paths.allocation_status_path("shop", "db") == (
        "/apis/podnuma.dev/v1alpha1/namespaces/shop/podallocations/db/status"
    )
    body = paths.allocation_patch("shop", "db", "uid-1", {"phase": "Applied"})
    assert body["metadata"] == {"namespace": "shop", "name": "db", "uid": "uid-1"}
    assert paths.topology_status_path("n1") == "/apis/podnuma.dev/v1alpha1/nodetopologies/n1/status"
    assert paths.topology_patch("n1", "uid-2", {})["metadata"] == {"name": "n1", "uid": "uid-2"}
