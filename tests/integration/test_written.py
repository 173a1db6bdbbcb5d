"""The real API server stores what operator and agent write in any state, and gives it back as it was."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from podnuma.agent.apiserver.client import ApiClient, CredentialFiles
from podnuma.api import names
from podnuma.plumbing.kube import client as kube
from podnuma.plumbing.kube import content_types
from podnuma.plumbing.kube.credentials import KubectlCredentials

from testbed.api import path_of
from testbed.cleanup import delete, let_go
from tests.written.check import compare
from tests.written.states import written

if TYPE_CHECKING:
    from pathlib import Path

    from testbed.control_plane import ControlPlane
    from tests.written.states import Json, Written

STATES = 60
PART = 15
MANAGERS = {"agent": names.AGENT_MANAGER, "operator": names.OPERATOR_MANAGER}


def store(cluster: ControlPlane, agent: ApiClient, one: Written) -> Any:
    """Write an object, its status apart from the rest, and return what the server has then."""
    body, manager = dict(one.body), MANAGERS[one.writer]
    status = body.pop("status", None)
    if body["kind"] == "Event":
        return cluster.api.create(body, dryRun="All")
    # Its owner does not exist: the garbage collector would take it away in between.
    body["metadata"] = {**body["metadata"], "finalizers": ["podnuma.dev/test"]}
    agent.apply(path_of(body), body, manager)
    if status is not None:
        meta = {key: body["metadata"][key] for key in ("name", "namespace") if key in body["metadata"]}
        part = {"apiVersion": body["apiVersion"], "kind": body["kind"], "metadata": meta, "status": status}
        agent.apply(f"{path_of(body)}/status", part, manager)
    return cluster.api.get(path_of(body))


@pytest.mark.parametrize("first", range(10_000, 10_000 + STATES, PART))
def test_what_is_written_is_stored_and_read_back(clean_cluster, tmp_path, first):
    agent = ApiClient(CredentialFiles(clean_cluster.kubeconfig, tmp_path), "podnuma-tests", print)
    for number in range(first, first + PART):
        for one in written(number):
            try:
                compare(one, store(clean_cluster, agent, one))
            except Exception as error:
                raise AssertionError(f"state {number}, {one.body['kind']}: {error}") from error
            if one.body["kind"] != "Event":
                let_go(clean_cluster.api, path_of(one.body))
                delete(clean_cluster.api, path_of(one.body))


async def test_the_operator_writes_any_text(clean_cluster):
    text = "naïve ☃ \U0001d54f \u2028 \x1b \ufeff"
    body: Json = {
        "apiVersion": "podnuma.dev/v1alpha1",
        "kind": "NodeTopology",
        "metadata": {"name": "w1"},
        "spec": {},
    }
    clean_cluster.api.apply(body)
    condition = {
        "type": "Odd",
        "status": "True",
        "reason": "Odd",
        "message": text,
        "lastTransitionTime": "2026-11-29T00:00:00Z",
    }
    client = _client(clean_cluster.kubeconfig)
    try:
        stored = await client.write(
            "PATCH",
            f"{path_of(body)}/status",
            {**body, "status": {"conditions": [condition]}},
            deadline=10.0,
            content_type=content_types.APPLY,
            query={"fieldManager": names.OPERATOR_MANAGER},
        )
    finally:
        await client.close()
    assert text in [found["message"] for found in stored["status"]["conditions"]]


def _client(kubeconfig: Path) -> kube.Client:
    return kube.Client(KubectlCredentials(kubeconfig), user_agent="podnuma-tests")
