"""The misbehaving API server does what it is told, once, and nothing else."""

from __future__ import annotations

import gc
import socket
import ssl
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import requests

from testbed import faults
from testbed.api import Api, ApiStatusError
from testbed.faults import FaultyApiServer
from testbed.pki import client_context
from testbed.waiting import until


@pytest.fixture(scope="module")
def token(control_plane):
    control_plane.kubectl("create", "serviceaccount", "tester")
    control_plane.kubectl(
        *("create", "clusterrolebinding", "tester", "--clusterrole=cluster-admin"),
        "--serviceaccount=default:tester",
    )
    return control_plane.token("default", "tester")


@pytest.fixture
def faulty(control_plane):
    with FaultyApiServer(control_plane) as running:
        yield running


@pytest.fixture
def client(control_plane, faulty, token):
    with Api(faulty.server, control_plane.ca_file, token=token) as api:
        yield api


def secret(namespace, name):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": namespace}}


def test_without_rules_everything_passes(client, faulty, namespace):
    client.create(secret(namespace, "a"))
    stored = client.items(f"/api/v1/namespaces/{namespace}/secrets")
    assert [found["metadata"]["name"] for found in stored] == ["a"]
    assert faulty.count(faults.writes("secrets")) == 1
    assert faulty.count(faults.reads("secrets")) == 1


def test_refusal_is_given_as_often_as_asked_and_not_passed_on(client, faulty, namespace, api):
    faulty.next(faults.writes("secrets"), faults.Refuse(409, "Conflict"), times=2)
    for _ in range(2):
        with pytest.raises(ApiStatusError, match="409 Conflict"):
            client.create(secret(namespace, "a"))
    assert api.items(f"/api/v1/namespaces/{namespace}/secrets") == []
    client.create(secret(namespace, "a"))


def test_cut_before_and_after_the_write_differ_in_what_is_stored(client, faulty, namespace, api):
    faulty.next(faults.writes("secrets"), faults.Cut())
    with pytest.raises(requests.ConnectionError):
        client.create(secret(namespace, "before"))
    faulty.next(faults.writes("secrets"), faults.Cut(done=True))
    with pytest.raises(requests.ConnectionError):
        client.create(secret(namespace, "after"))
    stored = api.items(f"/api/v1/namespaces/{namespace}/secrets")
    assert [found["metadata"]["name"] for found in stored] == ["after"]


def test_delay_passes_the_request_on_later(client, faulty):
    faulty.next(faults.anything, faults.Delay(0.3))
    began = time.monotonic()
    client.get("/version")
    assert time.monotonic() - began >= 0.3


def test_watch_is_cut_in_the_middle_of_an_event(client, faulty, namespace):
    for name in "abc":
        client.create(secret(namespace, name))
    faulty.next(faults.watches("secrets"), faults.CutWatch(events=2))
    watch = client.watch(f"/api/v1/namespaces/{namespace}/secrets", timeout=10)
    assert [next(watch)[1]["metadata"]["name"] for _ in "ab"] == ["a", "b"]
    with pytest.raises((requests.RequestException, ValueError)):
        next(watch)


def test_events_come_twice_and_out_of_order(client, faulty, namespace):
    for name in "abc":
        client.create(secret(namespace, name))
    faulty.next(faults.watches("secrets"), faults.DuplicateEvents())
    watch = client.watch(f"/api/v1/namespaces/{namespace}/secrets", timeout=1)
    assert [found["metadata"]["name"] for _, found in watch] == ["a", "b", "a", "c", "b"]


def test_watch_ends_with_gone(client, faulty, namespace):
    faulty.next(faults.watches("secrets"), faults.EndWatch())
    with pytest.raises(ApiStatusError, match="410 Expired"):
        next(client.watch(f"/api/v1/namespaces/{namespace}/secrets"))


def test_callback_comes_after_the_write_and_before_the_answer(client, faulty, namespace, api):
    stored = []

    def look(call: faults.Call) -> None:
        stored.append((call.method, len(api.items(f"/api/v1/namespaces/{namespace}/secrets"))))

    faulty.next(faults.writes("secrets"), faults.Notify(look))
    faulty.next(faults.writes("secrets"), faults.Notify(look, done=True))
    client.create(secret(namespace, "a"))
    assert stored == [("POST", 0), ("POST", 1)]


def test_nothing_is_left_open_however_clients_connect_while_it_stops(control_plane):
    trust = client_context(control_plane.ca_file)
    clients: list[ssl.SSLSocket] = []

    def hammer(port: int) -> None:
        """Connect for as long as somebody listens; never say goodbye, nor hear it."""
        with suppress(ConnectionRefusedError):
            while True:
                clients.append(client := trust.wrap_socket(socket.socket(), server_hostname="127.0.0.1"))
                client.settimeout(1)
                with suppress(ConnectionResetError, ssl.SSLError, TimeoutError):
                    client.connect(("127.0.0.1", port))

    with ThreadPoolExecutor(4) as threads:
        with FaultyApiServer(control_plane) as running:
            hammers = [threads.submit(hammer, running.port) for _ in range(4)]
            until(lambda: len(clients) > 20, "clients are connected", 30)
        for each in hammers:
            each.result(10)
    for client in clients:
        client.close()
    gc.collect()  # what is left open is an error of this test
