"""Nothing is written without leading, and every write has a deadline and a condition."""

import pytest
from podnuma.operator.cache.objects import ObjectKey
from podnuma.operator.write.leader_election import AlwaysLeader
from podnuma.operator.write.writer import ApiWriter, NotLeadingError
from podnuma.plumbing.kube import errors

KEY = ObjectKey("ns", "db")


class Recorder:
    """A client that notes what it is asked to write."""

    def __init__(self, error=None):
        self.writes = []
        self.error = error

    async def write(self, method, path, body, *, deadline, content_type="application/json", query=None):
        self.writes.append((method, path, body, deadline, content_type, query))
        if self.error is not None:
            raise self.error
        return {}


class Remaining:
    term = 3

    def __init__(self, seconds):
        self.seconds = seconds

    def remaining(self):
        return self.seconds


WRITES = {
    "create_allocation": (KEY, {}),
    "replace_allocation": (KEY, {}),
    "delete_allocation": (KEY, "u"),
    "set_allocation_finalizers": (KEY, "u", ()),
    "apply_allocation_status": (KEY, {}),
    "apply_topology": ("n1", {}),
    "delete_topology": ("n1", "uid-1"),
    "replace_topology_spec": ("n1", 7, {}),
    "apply_topology_status": ("n1", {}),
    "apply_resource_topology": ("n1", {}),
    "delete_resource_topology": ("n1", "u"),
    "apply_profile_status": ("p", {}),
    "post_event": ("ns", {}),
    "apply_event": ("ns", "e", {}),
    "apply_pod_status": (KEY, {}),
    "nominate": (KEY, {}),
    "lift_gate": (KEY, {}),
    "evict": (KEY, "u"),
}


def test_every_write_is_looked_at():
    public = {name for name in vars(ApiWriter) if not name.startswith("_")}
    assert public == WRITES.keys()


@pytest.mark.parametrize("name", WRITES)
async def test_nothing_is_written_without_leading(name):
    client = Recorder()
    for seconds in (0.0, -5.0, 0.4):
        with pytest.raises(NotLeadingError):
            await getattr(ApiWriter(client, Remaining(seconds), deadline=5.0), name)(*WRITES[name])
    assert client.writes == []


@pytest.mark.parametrize("name", WRITES)
async def test_no_write_lasts_longer_than_leading_does(name):
    client = Recorder()
    await getattr(ApiWriter(client, Remaining(2.0), deadline=5.0), name)(*WRITES[name])
    await getattr(ApiWriter(client, AlwaysLeader(), deadline=5.0), name)(*WRITES[name])
    assert [write[3] for write in client.writes] == [2.0, 5.0]


async def test_a_deletion_names_the_object_it_means():
    client = Recorder()
    await ApiWriter(client, AlwaysLeader(), deadline=5.0).delete_allocation(KEY, "uid-1")
    method, path, body, *_ = client.writes[0]
    assert (method, path) == ("DELETE", "/apis/podnuma.dev/v1alpha1/namespaces/ns/podallocations/db")
    assert body["preconditions"] == {"uid": "uid-1"}


@pytest.mark.parametrize(
    "name",
    [
        "delete_allocation",
        "set_allocation_finalizers",
        "delete_resource_topology",
        "evict",
    ],
)
async def test_what_is_gone_already_needs_no_deleting(name):
    client = Recorder(errors.NotFoundError(404, "NotFound", "gone"))
    await getattr(ApiWriter(client, AlwaysLeader(), deadline=5.0), name)(*WRITES[name])


@pytest.mark.parametrize("name", ["delete_allocation", "set_allocation_finalizers", "evict"])
async def test_a_conflict_is_no_proof_that_an_object_is_gone(name):
    client = Recorder(errors.ConflictError(409, "Conflict", "another uid"))
    with pytest.raises(errors.ConflictError):
        await getattr(ApiWriter(client, AlwaysLeader(), deadline=5.0), name)(*WRITES[name])


async def test_own_parts_are_applied_under_the_field_manager_of_the_operator():
    client = Recorder()
    await ApiWriter(client, AlwaysLeader(), deadline=5.0).apply_topology_status("n1", {})
    _, path, _, _, content_type, query = client.writes[0]
    assert path.endswith("/nodetopologies/n1/status")
    assert content_type == "application/apply-patch+yaml"
    assert query == {"fieldManager": "podnuma-operator", "force": "true"}


async def test_an_object_of_another_exporter_is_not_taken_from_it():
    client = Recorder()
    await ApiWriter(client, AlwaysLeader(), deadline=5.0).apply_resource_topology("n1", {})
    _, path, _, _, _, query = client.writes[0]
    assert path == "/apis/topology.node.k8s.io/v1alpha2/noderesourcetopologies/n1"
    assert query == {"fieldManager": "podnuma-operator", "force": "false"}
