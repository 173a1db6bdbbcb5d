"""A node without a NodeTopology is registered, once, and never against somebody's will."""

import asyncio
import random

import pytest
from podnuma.agent.apiserver.watch import Changed, Listed, WatchEventType
from podnuma.agent.desired.state import DesiredState
from podnuma.agent.status.registration import register
from podnuma.api.node_settings import Mode
from podnuma.api.node_topology import read_node_topology, registration
from podnuma.plumbing.backoff import Backoff
from podnuma.plumbing.kube import errors


class Server:
    """Answers with these errors in turn, then takes what comes."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def __call__(self, path, body):
        self.asked.append((path, body["metadata"]["name"]))
        if self.answers and (answer := self.answers.pop(0)) is not None:
            raise answer
        return body


@pytest.fixture
def desired():
    return DesiredState(lambda: None)


async def registered(desired, server):
    fast = Backoff(0.001, 0.002)
    await asyncio.wait_for(
        register("node-1", desired, server, rng=random.Random(1), backoff=fast), timeout=20
    )
    return len(server.asked)


def object_of_the_node():
    value = registration("node-1")
    return {**value, "metadata": {**value["metadata"], "uid": "u"}}


def test_what_is_registered_asks_for_nothing():
    topology = read_node_topology(object_of_the_node())
    assert not topology.has_settings
    assert topology.node.pod_policy.mode is Mode.AUDIT


async def test_nothing_is_made_before_it_is_known_that_there_is_none(desired):
    server = Server()
    task = asyncio.create_task(registered(desired, server))
    await asyncio.sleep(0)
    assert server.asked == []
    desired.take_topology(Listed(()))
    assert await task == 1
    assert server.asked == [("/apis/podnuma.dev/v1alpha1/nodetopologies", "node-1")]


async def test_a_node_that_has_one_keeps_it_and_one_that_is_deleted_stays_so(desired):
    desired.take_topology(Listed((object_of_the_node(),)))
    server = Server()
    assert await registered(desired, server) == 0
    desired.take_topology(Changed(WatchEventType.DELETED, object_of_the_node()))
    assert server.asked == []


async def test_the_operator_may_be_faster(desired):
    desired.take_topology(Listed(()))
    assert await registered(desired, Server(errors.AlreadyExistsError(409, "AlreadyExists", "there"))) == 1


async def test_it_is_tried_again_until_the_server_takes_it(desired):
    desired.take_topology(Listed(()))
    refused = errors.RefusedError(403, "Forbidden", "may not create")
    busy = errors.BusyError(429, "TooManyRequests", "later", retry_after=0.001)
    assert await registered(desired, Server(refused, busy, None)) == 3
