"""How an agent ends: at once, whatever it waits for. Until it has, nobody answers this node's runtime."""

import asyncio
import contextlib
import json
import socket
import threading
from dataclasses import replace

import pytest
import yaml
from podnuma.agent import app
from podnuma.agent.runtimes.backend import NodeNotReady
from podnuma.agent.settings import AgentSettings, Runtime

EMPTY = json.dumps({"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": []})


class SilentServer:
    """An API server that has nothing, and never answers what is to be written. `wrote`: it was asked to."""

    def __init__(self):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self._taken = []
        self.port = self._listening.getsockname()[1]
        self.wrote = threading.Event()
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        with contextlib.suppress(OSError):
            while True:
                taken, _ = self._listening.accept()
                self._taken.append(taken)
                threading.Thread(target=self._answer, args=(taken,), daemon=True).start()

    def _answer(self, taken):
        with contextlib.suppress(OSError):
            while request := taken.recv(65536):
                if not request.startswith(b"GET "):
                    self.wrote.set()
                elif b"watch=1" not in request.split(b"\r\n", 1)[0]:
                    head = (
                        f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(EMPTY)}"
                    )
                    taken.sendall(f"{head}\r\n\r\n{EMPTY}".encode())

    def close(self):
        for each in (self._listening, *self._taken):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@pytest.fixture
def server():
    with contextlib.closing(SilentServer()) as server:
        yield server


@pytest.fixture
def settings(tmp_path, server):
    cpu = tmp_path / "devices/system/cpu"
    (cpu / "cpu0").mkdir(parents=True)
    (cpu / "online").write_text("0\n")
    named = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.port}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    (tmp_path / "kubeconfig").write_text(yaml.safe_dump(named))
    return AgentSettings(
        "node",
        kubeconfig=tmp_path / "kubeconfig",
        sys_root=tmp_path,
        proc_root=tmp_path / "proc",
        cgroup_root=tmp_path / "cgroup",
        kubelet_root=tmp_path / "kubelet",
        runtime=Runtime.SIMULATED,
        metrics_port=None,
    )


def test_an_agent_ends_while_the_api_server_answers_nothing(settings, server, monkeypatch):
    """python/cpython#111358: asyncio and concurrent.futures wait for their threads before a process ends."""
    monkeypatch.setattr("podnuma.agent.apiserver.client._DEADLINE", 3600.0)

    async def life():
        async with app.running(settings):
            async with asyncio.timeout(120):
                while not server.wrote.is_set():  # noqa: ASYNC110 - set by a thread
                    await asyncio.sleep(0.01)

    asyncio.run(life())


def test_a_port_that_is_taken_is_told_in_a_line(settings, server):
    """rancher/rke2#10640: the node has it, or an agent that has not ended yet."""

    async def life():
        async with app.running(replace(settings, metrics_host="127.0.0.1", metrics_port=server.port)):
            pass

    with pytest.raises(SystemExit, match=f"port {server.port}: .*; choose another --metrics-port"):
        asyncio.run(life())


async def test_a_backend_that_is_not_the_nodes_any_more_is_made_anew(settings, monkeypatch, reached, caplog):
    """The kubelet has moved its pods to another cgroup tree; nothing else of the agent ends."""
    made = []
    make = app.node_backend

    async def moved():
        raise NodeNotReady("the kubelet has its pods in kubepods.slice now")

    def once(*args):
        backend = make(*args)
        made.append(backend.reader)
        return backend if len(made) > 1 else replace(backend, until_moved=moved)

    monkeypatch.setattr(app, "node_backend", once)
    async with app.running(settings) as run:
        await reached(lambda: len(made) > 1)
        await reached(lambda: run.agent is not None and run.agent.reconciler.reader is made[1])
    assert "the kubelet has its pods in kubepods.slice now" in caplog.messages


async def test_a_second_agent_of_a_node_does_nothing_until_the_first_ends(settings, monkeypatch, reached):
    """A runtime starts no container to which two plugins give CPUs; they would undo each other's values."""
    monkeypatch.setattr(app, "_RETRY", 0.01)
    settings.cgroup_root.mkdir()
    with_probes = replace(settings, metrics_host="127.0.0.1", metrics_port=0)
    async with contextlib.AsyncExitStack() as first:
        one = await first.enter_async_context(app.running(settings))
        await reached(lambda: one.agent is not None)
        async with app.running(with_probes) as two:
            await reached(lambda: "another podnuma agent" in two.waits)
            assert two.agent is None
            reader, writer = await asyncio.open_connection("127.0.0.1", two.port)
            writer.write(b"GET /readyz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            answer = await reader.read(4096)
            writer.close()
            assert answer.startswith(b"HTTP/1.1 503")
            assert b"another podnuma agent or cleanup runs on this node" in answer
            await first.aclose()
            await reached(lambda: two.agent is not None)
