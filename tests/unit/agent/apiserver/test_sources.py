from podnuma.agent.apiserver import sources


def test_every_stream_is_narrowed_by_the_server():
    assert dict(sources.allocations_source("n1").query) == {"fieldSelector": "spec.nodeName=n1"}
    assert dict(sources.topology_source("n1").query) == {"fieldSelector": "metadata.name=n1"}
    assert dict(sources.pods_source("n1").query) == {"fieldSelector": "spec.nodeName=n1"}
