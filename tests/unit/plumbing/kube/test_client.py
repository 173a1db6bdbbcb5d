"""Requests against a small HTTP server: deadlines, pages, rotated tokens, one class per failure."""

import asyncio
import contextlib
import json

import pytest
import yaml
from aiohttp import web
from podnuma.plumbing.kube import errors
from podnuma.plumbing.kube.client import Client, CompletedRequest
from podnuma.plumbing.kube.credentials import KubectlCredentials


class Server:
    """Answers as told and remembers what it was asked."""

    def __init__(self, folder):
        self.folder = folder
        self.requests = []
        self.url = ""
        self.answer = lambda _: web.json_response({"ok": True})
        self.token_file = folder / "token"
        self.token_file.write_text("first")

    async def handle(self, request):
        self.requests.append((request, await request.text()))
        answer = self.answer(request)
        return await answer if asyncio.iscoroutine(answer) else answer

    def access(self, url):
        content = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {"tokenFile": str(self.token_file)}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        path = self.folder / "kubeconfig"
        path.write_text(yaml.safe_dump(content))
        return KubectlCredentials(path)


@contextlib.asynccontextmanager
async def serving(folder):
    server = Server(folder)
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    outcomes: list[CompletedRequest] = []
    client = Client(server.access(server.url), user_agent="test", observe=outcomes.append)
    try:
        yield server, client, outcomes
    finally:
        await client.close()
        await runner.cleanup()


async def test_a_write_tells_its_deadline_to_the_server_too(tmp_path):
    async with serving(tmp_path) as (server, client, outcomes):
        answer = await client.write("POST", "/api/v1/namespaces/a/events", {"x": 1}, deadline=2.5)
        assert answer == {"ok": True}
        request, body = server.requests[0]
        assert request.query["timeout"] == "2.500s"
        assert request.headers["Authorization"].lower() == "bearer first"
        assert json.loads(body) == {"x": 1}
        assert (outcomes[0].verb, outcomes[0].resource, outcomes[0].outcome) == ("POST", "events", "200")


async def test_an_answer_that_does_not_come_leaves_the_outcome_open(tmp_path):
    async with serving(tmp_path) as (server, client, outcomes):

        async def never(_):
            await asyncio.sleep(5)
            return web.json_response({})

        server.answer = never
        with pytest.raises(errors.UncertainError):
            await client.write("POST", "/api/v1/namespaces", {}, deadline=0.1)
        assert outcomes[0].outcome == "error"


async def test_a_cut_connection_leaves_the_outcome_open(tmp_path):
    async with serving(tmp_path) as (server, client, _):

        def cut(request):
            request.transport.abort()
            return web.Response()

        server.answer = cut
        with pytest.raises(errors.UncertainError):
            await client.write("POST", "/api/v1/namespaces", {}, deadline=1.0)


def busy_until(number: int, status: int = 429):
    """Answer so many requests with the wish to come back later."""
    seen = []

    def answer(_):
        seen.append(1)
        if len(seen) > number:
            return web.json_response({"ok": True})
        return web.Response(status=status, headers={"Retry-After": "0.01"})

    return answer


@pytest.mark.parametrize("status", [429, 503])
async def test_a_read_waits_for_a_server_that_says_how_long(tmp_path, status):
    """Priority and fairness refuses requests while a server is busy, for a second each."""
    async with serving(tmp_path) as (server, client, outcomes):
        server.answer = busy_until(3, status)
        assert await client.get("/api/v1/pods") == {"ok": True}
        assert [one.outcome for one in outcomes] == ["200"]
        server.answer = busy_until(100, status)
        with pytest.raises(errors.KubeError):
            await client.get("/api/v1/pods")
        assert len(server.requests) == 4 + 11


async def test_nobody_waits_longer_than_the_deadline_and_no_write_waits(tmp_path):
    async with serving(tmp_path) as (server, client, _):
        server.answer = lambda _: web.Response(status=429, headers={"Retry-After": "5"})
        with pytest.raises(errors.BusyError) as caught:
            await client.get("/api/v1/pods", deadline=5.0)
        assert caught.value.retry_after == 5.0
        with pytest.raises(errors.BusyError):
            await client.write("POST", "/api/v1/pods", {}, deadline=30.0)
        assert len(server.requests) == 2


async def test_something_that_is_no_json_object_is_no_answer(tmp_path):
    async with serving(tmp_path) as (server, client, _):
        for text in ("<html>", "[1]", '"x"'):
            server.answer = lambda _, text=text: web.Response(text=text)
            with pytest.raises(errors.UncertainError):
                await client.get("/api/v1/pods")


async def test_a_rotated_token_is_read_after_a_401(tmp_path):
    async with serving(tmp_path) as (server, client, _):
        await client.get("/api/v1/pods")
        server.token_file.write_text("second")

        def only_second(request):
            good = request.headers["Authorization"].lower() == "bearer second"
            return web.json_response({} if good else {"reason": "Unauthorized"}, status=200 if good else 401)

        server.answer = only_second
        assert await client.get("/api/v1/pods") == {}


async def test_a_token_that_stays_wrong_is_refused_without_a_loop(tmp_path):
    async with serving(tmp_path) as (server, client, _):
        server.answer = lambda _: web.json_response({"reason": "Unauthorized"}, status=401)
        with pytest.raises(errors.RefusedError):
            await client.get("/api/v1/pods")
        assert len(server.requests) == 2


async def test_pages_are_followed_to_the_end_and_share_a_version(tmp_path):
    async with serving(tmp_path) as (server, client, _):

        def page(request):
            last = "continue" in request.query
            metadata = {"resourceVersion": "7", **({} if last else {"continue": "more"})}
            return web.json_response({"items": [{"n": 2 if last else 1}], "metadata": metadata})

        server.answer = page
        found = [item async for item in client.pages("/api/v1/pods", size=1, query={"fieldSelector": "a"})]
        assert found == [([{"n": 1}], "7"), ([{"n": 2}], "7")]
        assert all(request.query["fieldSelector"] == "a" for request, _ in server.requests)


@pytest.mark.parametrize(
    ("path", "resource"),
    [
        ("/api/v1/pods", "pods"),
        ("/api/v1/namespaces/a/pods/b/eviction", "pods/eviction"),
        ("/api/v1/namespaces", "namespaces"),
        ("/apis/podnuma.dev/v1alpha1/nodetopologies/n1/status", "nodetopologies/status"),
        ("/apis/podnuma.dev/v1alpha1/namespaces/a/podallocations/b", "podallocations"),
        ("/apis/coordination.k8s.io/v1/namespaces/a/leases/b", "leases"),
    ],
)
async def test_requests_are_counted_by_resource_never_by_name(tmp_path, path, resource):
    async with serving(tmp_path) as (_, client, outcomes):
        await client.get(path)
        assert outcomes[0].resource == resource


async def test_missing_credentials_are_told_in_one_sentence(tmp_path):
    client = Client(KubectlCredentials(tmp_path / "missing"), user_agent="test")
    with pytest.raises(
        errors.RefusedError, match=r"cannot read credentials: .*missing cannot be read: No such file"
    ):
        await client.get("/api/v1/pods")


async def test_requests_go_through_the_proxy_that_the_environment_names(tmp_path, monkeypatch):
    async with serving(tmp_path) as (proxy, _, _):
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "other.invalid")
        client = Client(proxy.access("http://api.invalid"), user_agent="test")
        try:
            assert await client.get("/version") == {"ok": True}
        finally:
            await client.close()
        assert proxy.requests[0][0].url.host == "api.invalid"


async def test_no_proxy_is_used_for_a_server_that_the_environment_excepts(tmp_path, monkeypatch):
    async with serving(tmp_path) as (server, client, _):
        monkeypatch.setenv("http_proxy", "http://proxy.invalid:3128")
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        assert await client.get("/version") == {"ok": True}
        assert len(server.requests) == 1


def streaming(*chunks):
    async def answer(request):
        response = web.StreamResponse()
        await response.prepare(request)
        for chunk in chunks:
            await response.write(chunk)
        return response

    return answer


async def test_events_of_a_watch_come_however_the_bytes_are_cut(tmp_path):
    large = {"type": "ADDED", "object": {"text": "x" * 300_000}}
    small = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "9"}}}
    text = "".join(json.dumps(one) + "\n" for one in (large, small)).encode()
    async with serving(tmp_path) as (server, client, _):
        server.answer = streaming(text[:7], text[7:200_000], text[200_000:])
        found = [
            one async for one in client.watch("/api/v1/pods", version="5", query={"fieldSelector": "a=b"})
        ]
        assert found == [large, small]
        asked = server.requests[0][0].query
        assert (asked["watch"], asked["resourceVersion"], asked["fieldSelector"]) == ("1", "5", "a=b")


async def test_a_watch_that_starts_too_early_is_gone(tmp_path):
    gone = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "old"}}
    async with serving(tmp_path) as (server, client, _):
        for answer in (
            streaming(json.dumps(gone).encode() + b"\n"),
            lambda _: web.json_response(gone["object"], status=410),
        ):
            server.answer = answer
            with pytest.raises(errors.GoneError):
                [one async for one in client.watch("/api/v1/pods", version="5")]


async def test_a_silent_or_broken_watch_is_no_answer(tmp_path):
    async with serving(tmp_path) as (server, client, _):
        given_up = asyncio.Event()

        async def silent(request):
            response = web.StreamResponse()
            await response.prepare(request)
            await given_up.wait()
            return response

        for answer in (silent, streaming(b"[1]\n"), streaming(b"{\n"), streaming(b'{"object": 1}\n')):
            server.answer = answer
            with pytest.raises(errors.UncertainError):
                [one async for one in client.watch("/api/v1/pods", version="5", silence=0.2)]
        given_up.set()
