"""When all nodes are given back, and what their agents are told to run."""

import contextlib
import copy
from collections.abc import AsyncIterator
from typing import Any

import pytest
from podnuma.api import names
from podnuma.cli.commands import release_leftovers, release_nodes
from podnuma.cli.commands.release_nodes import all_released, cleanup_arguments
from podnuma.cli.exits import Failure
from podnuma.plumbing.kube import errors


def daemon_set(generation: int, **status: int) -> dict[str, object]:
    return {"metadata": {"generation": generation}, "status": status}


@pytest.mark.parametrize(
    ("found", "finished"),
    [
        (
            daemon_set(
                2, observedGeneration=2, desiredNumberScheduled=3, updatedNumberScheduled=3, numberReady=3
            ),
            True,
        ),
        (
            daemon_set(
                2, observedGeneration=1, desiredNumberScheduled=3, updatedNumberScheduled=3, numberReady=3
            ),
            False,
        ),
        (
            daemon_set(
                2, observedGeneration=2, desiredNumberScheduled=3, updatedNumberScheduled=2, numberReady=3
            ),
            False,
        ),
        (
            daemon_set(
                2, observedGeneration=2, desiredNumberScheduled=3, updatedNumberScheduled=3, numberReady=2
            ),
            False,
        ),
        (daemon_set(2, observedGeneration=2, desiredNumberScheduled=0), True),
        (daemon_set(1), False),
    ],
)
def test_done_is_when_every_node_has_the_new_pod_and_it_is_ready(found, finished):
    assert all_released(found) is finished


def test_cleaning_keeps_where_the_host_is_and_drops_the_rest():
    arguments = [
        "agent",
        "run",
        "--runtime=nri",
        "--cgroup-root=/c",
        "--metric-names=v1.37",
        "--metrics-port=1",
        "--metrics-secure",
        "--metrics-cert-dir=/t",
    ]
    assert cleanup_arguments(arguments) == [
        *("agent", "cleanup", "--hold", "--runtime=nri", "--cgroup-root=/c", "--metrics-port=1"),
        # The kubelet's probes speak TLS if the agent's port did.
        *("--metrics-secure", "--metrics-cert-dir=/t"),
    ]


def test_cleaning_twice_is_the_same():
    once = cleanup_arguments(["agent", "run", "--runtime=nri"])
    assert cleanup_arguments(once) == once


class FakeApi:
    """What is left of an installation: PodAllocations and NodeTopologies; no Deployment, no DaemonSet."""

    def __init__(self, *, heard: bool = False, retired: bool = False) -> None:
        reason = "Uninstalled" if retired else "Ready"
        condition = {
            "type": "Ready",
            "status": "True",
            "reason": reason,
            "message": "before",
            "lastTransitionTime": "2026-11-30T12:00:00Z",
        }
        metadata = {"name": "db", "namespace": "shop", "uid": "u", "finalizers": [names.CGROUP_FINALIZER]}
        decided = {"decision": {"admitted": True}}
        self.allocation: dict[str, Any] = {
            "metadata": metadata,
            "spec": decided,
            "status": {"conditions": [condition]},
        }
        status = {"heartbeatTime": "12:00", "conditions": [condition]}
        self.topology: dict[str, Any] = {"metadata": {"name": "n1", "uid": "t"}, "status": status}
        self.heard = heard
        self.messages: list[str] = []

    async def get(self, path: str, **_: Any) -> dict[str, Any]:
        raise errors.NotFoundError(404, "NotFound", path)

    async def pages(self, path: str, **_: Any) -> AsyncIterator[tuple[list[dict[str, Any]], str]]:
        yield [copy.deepcopy(self.allocation if "podallocations" in path else self.topology)], "1"
        if self.heard:
            self.topology["status"]["heartbeatTime"] += "1"

    async def write(self, _method: str, path: str, body: dict[str, Any], **_: Any) -> dict[str, Any]:
        if "/deployments/" in path:
            raise errors.NotFoundError(404, "NotFound", path)
        if path.endswith("/status"):
            self.messages += [one["message"] for one in body["status"]["conditions"]]
        else:
            self.allocation["metadata"] |= body["metadata"]
        return body


@pytest.fixture
def released(monkeypatch):
    """Have the command release what an API server has, without a pause to listen in."""

    async def heard_and_silent(client):
        return await release_leftovers.heard_and_silent(client, 0.0)

    def release(api: FakeApi) -> None:
        @contextlib.asynccontextmanager
        async def client(*_: object) -> AsyncIterator[FakeApi]:
            yield api

        monkeypatch.setattr(release_nodes, "writing_client", client)
        release_nodes.release_nodes(
            None, None, "podnuma-system", "podnuma-operator", "podnuma-agent", "", 1.0
        )

    monkeypatch.setattr(release_nodes, "heard_and_silent", heard_and_silent)
    return release


def test_where_the_agents_were_deleted_first_what_is_left_can_go(released, capsys):
    """Namespaces stayed Terminating, and the command said that there was nothing to release."""
    api = FakeApi()
    released(api)
    assert api.allocation["metadata"]["finalizers"] == []
    assert set(api.messages) == {release_leftovers.LEFT}
    assert "containers of 1 node keep what was set last" in capsys.readouterr().err


def test_agents_of_another_name_are_not_taken_for_gone(released):
    api = FakeApi(heard=True)
    with pytest.raises(Failure, match="agents still report, of n1: name their DaemonSet"):
        released(api)
    assert api.allocation["metadata"]["finalizers"] == [names.CGROUP_FINALIZER]
    assert api.messages == []


def test_what_was_said_of_nodes_that_were_given_back_stays(released, capsys):
    api = FakeApi(retired=True)
    released(api)
    assert api.allocation["metadata"]["finalizers"] == []
    assert api.messages == []
    assert "keep what was set last" not in capsys.readouterr().err
