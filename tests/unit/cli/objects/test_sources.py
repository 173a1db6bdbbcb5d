"""Which namespace is meant, and what is said of what may not be read: as with kubectl."""

import json
from pathlib import Path
from typing import Any

import yaml
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries, sources
from podnuma.cli.objects.cluster import ClusterSource
from podnuma.cli.objects.sources import FileSource

KUBECONFIG = yaml.safe_dump(
    {
        "current-context": "a",
        "contexts": [
            {"name": "a", "context": {"cluster": "c", "user": "u", "namespace": "team-a"}},
            {"name": "b", "context": {"cluster": "c", "user": "u"}},
        ],
    }
)


class Asked:
    """A source of a context of team-a, whose user may read nothing that is named in `forbidden`."""

    namespace = "team-a"

    def __init__(self, *forbidden: str) -> None:
        self.forbidden = forbidden

    def fetch(self, *asked):
        for query in asked:
            if query.label in self.forbidden:
                raise Failure(Exit.FORBIDDEN, f"not allowed to list {query.label}")
        return [[] for _ in asked]

    def find(self, query):  # noqa: ARG002 - the protocol
        return None

    def text(self, path):  # noqa: ARG002 - the protocol
        return ""


def test_a_cluster_knows_the_namespace_of_its_context(tmp_path):
    (tmp_path / "config").write_text(KUBECONFIG)
    assert ClusterSource(tmp_path / "config").namespace == "team-a"
    assert ClusterSource(tmp_path / "config", "b").namespace == ""
    assert ClusterSource(tmp_path / "config", "c").namespace == ""
    assert ClusterSource(Path("/nonexistent")).namespace == ""


def test_several_kubeconfigs_are_merged_as_kubectl_does(tmp_path, monkeypatch):
    """The first file counts where two name the same, files that do not exist are passed over."""
    other = {
        "current-context": "b",
        "contexts": [
            {"name": "a", "context": {"namespace": "wrong"}},
            {"name": "c", "context": {"namespace": "team-c"}},
        ],
    }
    (tmp_path / "first").write_text(KUBECONFIG)
    (tmp_path / "second").write_text(yaml.safe_dump(other))
    files = [tmp_path / "missing", tmp_path / "first", tmp_path / "second"]
    monkeypatch.setenv("KUBECONFIG", ":".join(map(str, files)))
    assert ClusterSource().namespace == "team-a"
    assert ClusterSource(context="c").namespace == "team-c"
    monkeypatch.setenv("KUBECONFIG", ":".join(map(str, reversed(files))))
    assert ClusterSource().namespace == ""
    assert ClusterSource(context="a").namespace == "wrong"


def test_one_object_is_in_the_namespace_that_is_named_else_the_contexts_else_default(tmp_path):
    (tmp_path / "saved.yaml").write_text("")
    assert sources.one_namespace(Asked(), "team-b") == "team-b"
    assert sources.one_namespace(Asked(), "") == "team-a"
    assert sources.one_namespace(FileSource([str(tmp_path / "saved.yaml")]), "") == "default"


def test_lists_are_of_that_namespace_too_and_of_files_whole(tmp_path):
    (tmp_path / "saved.yaml").write_text("")
    saved = FileSource([str(tmp_path / "saved.yaml")])
    assert sources.listed_namespace(Asked(), "", everywhere=False) == "team-a"
    assert sources.listed_namespace(Asked(), "team-b", everywhere=False) == "team-b"
    assert sources.listed_namespace(Asked(), "", everywhere=True) == ""
    assert sources.listed_namespace(saved, "", everywhere=False) == ""
    assert sources.listed_namespace(saved, "team-b", everywhere=False) == "team-b"


def test_what_may_not_be_read_is_named_and_other_failures_stay():
    found = sources.read_if_allowed(Asked("NodeTopology n"), queries.node_topologies("n"))
    assert found == (None, "you may not get NodeTopology n")
    assert sources.read_if_allowed(Asked(), queries.node_topologies("n")) == ([], "")


def saved(tmp_path, *objects) -> FileSource:
    files = []
    for number, value in enumerate(objects):
        file = tmp_path / f"{number}.json"
        file.write_text(json.dumps(value))
        files.append(str(file))
    return FileSource(files)


def named(kind: str, value: int, **metadata: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": "n", **metadata}, "spec": {"x": value}}


def test_an_object_that_was_saved_twice_counts_once_and_the_later_one(tmp_path):
    """`kubectl get` of several kinds, and of one of them again later: its pods requested twice as much."""
    objects = [named("Node", 1), named("Pod", 2), named("Node", 3), named("Pod", 4, namespace="other")]
    source = saved(tmp_path, *objects)
    nodes, pods = source.fetch(queries.nodes(), queries.pods())
    assert [one["spec"]["x"] for one in nodes] == [3]
    assert [one["spec"]["x"] for one in pods] == [2, 4]
    found = source.find(queries.nodes("n"))
    assert found is not None
    assert found["spec"]["x"] == 3


def test_a_kind_of_another_group_is_another_kind(tmp_path):
    """Longhorn has a Node, too, of the same names."""
    source = saved(tmp_path, named("Node", 1), named("Node", 2) | {"apiVersion": "longhorn.io/v1beta2"})
    (nodes,) = source.fetch(queries.nodes())
    assert [one["spec"]["x"] for one in nodes] == [1]
