import contextlib
import http.server
import json
import threading

import pytest
import yaml
from podnuma.agent.apiserver.client import ApiClient, CredentialFiles, TokenFile
from podnuma.plumbing.kube import errors

from testbed.pki import DAY, Authority
from tests.unit.https_server import https_server, verify_as_python_3_13


@pytest.fixture
def authorities(tmp_path):
    root = Authority(tmp_path / "root", DAY)
    return {
        "root": root,
        "intermediate": Authority(tmp_path / "intermediate", DAY, above=root),
        "another": Authority(tmp_path / "another", DAY),
    }


@pytest.fixture
def client(authorities, tmp_path):
    """A client that trusts one authority, of a server whose certificate another one signed."""
    with contextlib.ExitStack() as servers:

        def of(trusted, signed_by, **cluster):
            pair = authorities[signed_by].issue("serving", "server", hosts=["127.0.0.1"])
            cluster["server"] = servers.enter_context(https_server(*pair))
            if trusted:
                cluster["certificate-authority"] = str(authorities[trusted].ca_file)
            config = {
                "clusters": [{"name": "c", "cluster": cluster}],
                "users": [{"name": "u", "user": {"token": "t"}}],
                "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
                "current-context": "x",
            }
            (tmp_path / "config").write_text(yaml.safe_dump(config))
            return ApiClient(CredentialFiles(tmp_path / "config", tmp_path), "test", lambda _: None)

        yield of


@pytest.mark.parametrize("authority", ["root", "intermediate"])
def test_the_certificates_that_kubectl_trusts_are_trusted(client, authority, monkeypatch):
    verify_as_python_3_13(monkeypatch)
    assert client(authority, authority).get("/version") == {}


@pytest.mark.parametrize("trusted", ["another", None])
def test_other_certificates_are_refused(client, trusted):
    with pytest.raises(errors.KubeError, match="certificate verify failed"):
        client(trusted, "root").get("/version")


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_any_certificate_will_do_if_the_kubeconfig_says_so(client):
    assert client(None, "root", **{"insecure-skip-tls-verify": True}).get("/version") == {}


def test_a_watch_that_falls_silent_is_given_up_long_before_its_end(tmp_path):
    """Load balancers drop connections without a word to either end."""
    event = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "7"}}}
    over = threading.Event()

    class Silent(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(event).encode() + b"\n")
            over.wait(60)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        config = {
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (tmp_path / "config").write_text(yaml.safe_dump(config))
        access = CredentialFiles(tmp_path / "config", tmp_path)
        client = ApiClient(access, "test", lambda _: None, silence=0.2)
        try:
            with pytest.raises(errors.KubeError):
                list(client.watch("/api/v1/pods", {}, 240))
            assert not over.is_set()
        finally:
            over.set()
            client.close()
            server.shutdown()


def test_a_replaced_token_is_used_from_the_next_request_on(tmp_path):
    path = tmp_path / "token"
    path.write_text("first\n")
    token = TokenFile(path)
    assert token.current() == "first"
    new = tmp_path / "new"
    new.write_text("second\n")
    new.replace(path)
    assert token.current() == "second"


def test_a_projected_token_is_followed_through_its_links(tmp_path):
    # As the kubelet does it: ..data points to a folder, and is pointed to another one.
    for name in ("1", "2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "token").write_text(f"token-{name}")
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "token").symlink_to("..data/token")
    token = TokenFile(tmp_path / "token")
    assert token.current() == "token-1"
    (tmp_path / "..new").symlink_to("2")
    (tmp_path / "..new").replace(tmp_path / "..data")
    assert token.current() == "token-2"


def test_the_last_token_stays_while_the_file_is_away(tmp_path):
    path = tmp_path / "token"
    path.write_text("first")
    token = TokenFile(path)
    assert token.current() == "first"
    path.unlink()
    assert token.current() == "first"


def test_the_token_file_of_a_kubeconfig_is_found(tmp_path):
    config = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {"tokenFile": "token"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (tmp_path / "config").write_text(yaml.safe_dump(config))
    _, token_file = CredentialFiles(tmp_path / "config", tmp_path).read()
    assert token_file == tmp_path / "token"


@pytest.mark.parametrize("content", [None, "not: [a, kubeconfig", "[]", "{}"])
def test_missing_credentials_are_one_clear_error(tmp_path, content):
    path = tmp_path / "config"
    if content is not None:
        path.write_text(content)
    with pytest.raises(errors.RefusedError, match=f"cannot read credentials from {path}"):
        CredentialFiles(path, tmp_path).read()


def test_a_missing_service_account_is_named(tmp_path):
    with pytest.raises(errors.RefusedError, match=f"cannot read credentials from {tmp_path}"):
        CredentialFiles(None, tmp_path).read()
