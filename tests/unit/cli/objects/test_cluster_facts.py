"""What is found out of a cluster, each part by itself."""

import asyncio
import json
import time

from aiohttp import web
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import cluster_facts
from podnuma.cli.objects.cluster import ClusterSource
from podnuma.cli.objects.cluster_facts import KUBELETS_ASKED, ask_kubelets, kubelet_configuration_path
from podnuma.cli.objects.sources import FileSource

PINNING = {"cpuManagerPolicy": "static"}


class Kubelets:
    """A cluster whose API server says of each kubelet what it says here."""

    namespace = ""

    def __init__(self, **answers):
        self.answers = {kubelet_configuration_path(node): one for node, one in answers.items()}
        self.asked = []

    def fetch(self, *queries):
        return [[] for _ in queries]

    def find(self, query):  # noqa: ARG002 - the protocol
        return None

    def text(self, path):
        raise Failure(Exit.NOT_FOUND, path)

    def texts(self, paths, deadline):  # noqa: ARG002 - the protocol
        self.asked += paths
        return [self.answers[path] for path in paths]


def test_kubelets_that_answer_are_told_from_silent_and_from_forbidden_ones():
    source = Kubelets(
        a=Failure(Exit.UNREACHABLE, "503 ServiceUnavailable: error trying to reach service"),
        b=json.dumps({"kubeletconfig": PINNING}),
        c=Failure(Exit.FORBIDDEN, "403 Forbidden: nodes/proxy"),
        d="no JSON",
    )
    found = ask_kubelets(source, ["a", "b", "c", "d"])
    assert found == ({"b": PINNING}, {"a": "503 ServiceUnavailable: error trying to reach service"})


def test_of_many_nodes_a_few_are_asked():
    names = [f"n{number}" for number in range(KUBELETS_ASKED + 3)]
    source = Kubelets(**dict.fromkeys(names, "{}"))
    ask_kubelets(source, names)
    assert len(source.asked) == KUBELETS_ASKED


def test_saved_objects_have_no_kubelets(tmp_path):
    (tmp_path / "cluster.yaml").write_text("kind: Node\nmetadata: {name: a}\n")
    assert ask_kubelets(FileSource([str(tmp_path / "cluster.yaml")]), ["a"]) == ({}, {})


async def test_a_silent_kubelet_holds_up_no_other_and_nobody_for_long(tmp_path, monkeypatch):
    monkeypatch.setattr(cluster_facts, "_PATIENCE", 0.5)
    ended = asyncio.Event()

    async def configuration(request):
        if request.match_info["node"] == "silent":
            await ended.wait()
        return web.json_response({"kubeletconfig": PINNING})

    app = web.Application()
    app.router.add_get(kubelet_configuration_path("{node}"), configuration)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    named = {
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{runner.addresses[0][1]}"}}],
        "users": [{"name": "u", "user": {}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    (tmp_path / "config").write_text(json.dumps(named))
    began = time.monotonic()
    source = ClusterSource(tmp_path / "config")
    read, silent = await asyncio.to_thread(ask_kubelets, source, ["silent", "well"])
    took = time.monotonic() - began
    ended.set()
    await runner.cleanup()
    assert (read, list(silent)) == ({"well": PINNING}, ["silent"])
    assert silent["silent"]
    assert took < cluster_facts._PATIENCE + 20, "a request alone would have 30 seconds"
