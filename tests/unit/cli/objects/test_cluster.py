"""Objects are read page by page from an API server, and what goes wrong is said with the next step."""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.cluster import ClusterSource, exit_code
from podnuma.cli.objects.sources import read_if_allowed
from podnuma.plumbing.kube.errors import from_answer, no_answer


@pytest.fixture
def cluster(tmp_path):
    """Return a function that takes what answers a query by its parameters, and makes a source of it."""
    servers = []

    def make(answer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                parameters = {key: one for key, (one, *_) in parse_qs(urlsplit(self.path).query).items()}
                status, body = answer(parameters)
                data = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *_):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        content = {
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "contexts": [{"name": "x", "context": {"cluster": "c"}}],
            "current-context": "x",
        }
        (tmp_path / "config").write_text(yaml.safe_dump(content))
        return ClusterSource(tmp_path / "config")

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def nodes(*names, **metadata):
    return {"metadata": metadata, "items": [{"metadata": {"name": name}} for name in names]}


def test_a_list_of_which_later_pages_are_too_old_is_read_at_once(cluster):
    def answer(asked):
        if "continue" in asked:
            return 410, {"kind": "Status", "reason": "Expired", "message": "continue parameter is too old"}
        return 200, nodes("a", **{"continue": "t"}) if asked["limit"] != "0" else nodes("a", "b")

    found = cluster(answer).fetch(queries.nodes())[0]
    assert [one["metadata"]["name"] for one in found] == ["a", "b"]


def test_who_is_not_logged_in_is_told_so_and_not_what_rights_are_missing(cluster):
    source = cluster(lambda _: (401, {"kind": "Status", "reason": "Unauthorized", "message": "Unauthorized"}))
    with pytest.raises(Failure, match="log in again") as failure:
        read_if_allowed(source, queries.nodes())
    assert failure.value.code is Exit.FORBIDDEN


def test_of_what_may_not_be_read_it_is_said(cluster):
    source = cluster(lambda _: (403, {"kind": "Status", "reason": "Forbidden", "message": "no"}))
    assert read_if_allowed(source, queries.nodes()) == (None, "you may not list nodes")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (from_answer(401, "Unauthorized"), Exit.FORBIDDEN),
        (from_answer(422, "denied by an admission policy"), Exit.FORBIDDEN),
        (from_answer(409, "the object has been modified"), Exit.UNREACHABLE),
        (from_answer(429, "too many requests"), Exit.UNREACHABLE),
        (from_answer(503, "apiserver not ready"), Exit.UNREACHABLE),
        (no_answer(TimeoutError()), Exit.UNREACHABLE),
    ],
)
def test_a_server_that_is_not_ready_has_forbidden_nothing(error, code):
    assert exit_code(error) is code
