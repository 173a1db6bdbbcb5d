"""What stands between pods and the objects of manifests is read from where it is served."""

import json

from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.controllers import controllers_between


def controlled(name, api_version, kind, by):
    owner = {"apiVersion": api_version, "kind": kind, "name": by, "controller": True}
    return {"metadata": {"name": name, "namespace": "a", "ownerReferences": [owner]}}


RAY = "ray.io/v1"
SERVED = {
    "resources": [
        {"name": "rayclusters/status", "kind": "RayCluster", "namespaced": True},
        {"name": "rayclusters", "kind": "RayCluster", "namespaced": True},
    ]
}
POD = controlled("p", RAY, "RayCluster", "c")


class Cluster:
    """A cluster with one RayCluster, which a RayJob made."""

    namespace = "a"

    def __init__(self, failure=None):
        self.asked, self._failure = [], failure

    def fetch(self, *queries):
        self.asked += [query.path for query in queries]
        if self._failure:
            raise self._failure
        return [[controlled("c", RAY, "RayJob", "w")] for _ in queries]

    def find(self, query):
        raise AssertionError(query)

    def text(self, path):
        if path != f"/apis/{RAY}":
            raise Failure(Exit.NOT_FOUND, path)
        return json.dumps(SERVED)


def test_a_kind_of_others_is_looked_for_where_the_api_server_says():
    cluster = Cluster()
    found = controllers_between(cluster, [POD], [("a", "RayJob", "w")], print)
    assert found == {
        ("a", "Pod", "p"): ("a", "RayCluster", "c"),
        ("a", "RayCluster", "c"): ("a", "RayJob", "w"),
    }
    assert cluster.asked == ["/apis/ray.io/v1/namespaces/a/rayclusters"]


def test_nothing_is_read_where_nothing_stands_between():
    cluster = Cluster()
    assert controllers_between(cluster, [POD], [("a", "Deployment", "w"), ("a", "Pod", "p")], print) == {}
    assert controllers_between(cluster, [POD], [("b", "RayJob", "w")], print) == {}
    controllers_between(cluster, [POD], [("a", "RayCluster", "c")], print)
    assert cluster.asked == []


def test_what_is_not_served_or_may_not_be_read_is_not_counted():
    direct = {("a", "Pod", "p"): ("a", "RayCluster", "c")}
    said: list[str] = []
    for failure in (
        Failure(Exit.NOT_FOUND, "no"),
        Failure(Exit.FORBIDDEN, "not allowed to list rayclusters"),
    ):
        found = controllers_between(Cluster(failure), [POD], [("a", "RayJob", "w")], said.append)
        assert found == direct
    assert said == ["you may not list rayclusters.ray.io: what depends on it is left out"]
    unknown = controlled("p", "other.io/v1", "Other", "c")
    assert list(controllers_between(Cluster(), [unknown], [("a", "RayJob", "w")], print)) == [
        ("a", "Pod", "p")
    ]
