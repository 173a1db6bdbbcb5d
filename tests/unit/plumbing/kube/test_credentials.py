"""Which credentials a kubeconfig gives: tokens, files, programs, whom to impersonate, a proxy."""

import base64
import datetime as dt
import json
import stat
from pathlib import Path

import pytest
import yaml
from podnuma.plumbing.kube import errors
from podnuma.plumbing.kube.credentials import KubectlCredentials
from podnuma.plumbing.kube.exec_plugin import ExecPluginError, credential_of

V1 = "client.authentication.k8s.io/v1"
LISTED = "kind: Preference, credentialPluginPolicy: Allowlist, credentialPluginAllowlist"


@pytest.fixture
def source(tmp_path):
    """Return a function that makes a source of a user and a cluster."""

    def make(user, **cluster):
        content = {
            "clusters": [{"name": "c", "cluster": {"server": "http://api.example/", **cluster}}],
            "users": [{"name": "u", "user": user}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (tmp_path / "config").write_text(yaml.safe_dump(content))
        return KubectlCredentials(tmp_path / "config")

    return make


def jwt(expires):
    claims = base64.urlsafe_b64encode(json.dumps({"exp": expires}).encode()).decode().rstrip("=")
    return f"e30.{claims}.c2ln"


def basic(pair):
    return f"Basic {base64.b64encode(pair.encode()).decode()}"


@pytest.mark.parametrize(
    ("user", "header"),
    [
        ({}, None),
        ({"token": "t"}, "Bearer t"),
        ({"token": "t", "tokenFile": "token"}, "Bearer of the file"),
        ({"tokenFile": "token"}, "Bearer of the file"),
        ({"token": "t", "tokenFile": "gone"}, "Bearer t"),
        ({"username": "me", "password": "secret"}, basic("me:secret")),
        ({"token": "t", "username": "me", "exec": {"command": "false", "apiVersion": V1}}, "Bearer t"),
        ({"auth-provider": {"name": "oidc", "config": {"id-token": jwt(4e9)}}}, f"Bearer {jwt(4e9)}"),
    ],
)
async def test_the_header_is_what_kubectl_would_send(source, tmp_path, user, header):
    (tmp_path / "token").write_text("of the file\n")
    assert (await source(user).read()).authorization == header


async def test_a_rotated_token_file_is_read_anew(source, tmp_path):
    found = source({"tokenFile": "token"})
    for text in ("first", "second"):
        (tmp_path / "token").write_text(text)
        assert (await found.read()).authorization == f"Bearer {text}"


async def test_whom_to_impersonate_is_said_with_every_request(source):
    user = {
        "token": "t",
        "as": "other",
        "as-uid": "7",
        "as-groups": ["a", "b"],
        "as-user-extra": {"scopes": ["x"], "authentication.kubernetes.io/node-name": ["n%1"]},
    }
    assert (await source(user).read()).impersonation == (
        ("Impersonate-User", "other"),
        ("Impersonate-Uid", "7"),
        ("Impersonate-Group", "a"),
        ("Impersonate-Group", "b"),
        ("Impersonate-Extra-authentication.kubernetes.io%2Fnode-name", "n%1"),
        ("Impersonate-Extra-scopes", "x"),
    )


@pytest.mark.parametrize(
    ("cluster", "server"),
    [
        ({"server": "localhost:8080"}, "http://localhost:8080"),
        ({"server": "h:6443", "insecure-skip-tls-verify": True}, "https://h:6443"),
    ],
)
async def test_a_server_may_be_named_without_a_scheme(source, cluster, server):
    assert (await source({}, **cluster).read()).endpoint.server == server


async def test_the_clusters_own_fields_are_taken_and_its_proxy_before_the_environments(source, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://of-the-environment:1")
    found = await source({}, **{"insecure-skip-tls-verify": True, "tls-server-name": "api"}).read()
    assert (found.endpoint.server, found.endpoint.verify, found.endpoint.server_name) == (
        "http://api.example",
        False,
        "api",
    )
    assert found.endpoint.proxy == "http://of-the-environment:1"
    assert (await source({}, **{"proxy-url": "http://p:2"}).read()).endpoint.proxy == "http://p:2"


@pytest.mark.parametrize(
    ("user", "cluster", "said"),
    [
        ({}, {"server": ""}, "clusters[c].cluster.server must be set"),
        ({}, {"proxy-url": "socks4://p"}, "proxy-url is 'socks4://p'; podnuma knows http, https, socks5"),
        ({}, {"proxy-url": "p:3128"}, "proxy-url is 'p:3128'; podnuma knows http, https, socks5"),
        ({"token": "two\nlines"}, {}, "users[u].user.token has a line break in it"),
        ({"tokenFile": "missing"}, {}, "users[u].user.tokenFile cannot be read: No such file or directory"),
        ({"tokenFile": "config.empty"}, {}, "users[u].user.tokenFile names an empty file"),
        ({"auth-provider": {"name": "gcp"}}, {}, "name is 'gcp', which Kubernetes dropped; use exec"),
        (
            {"auth-provider": {"name": "oidc", "config": {"id-token": jwt(1)}}},
            {},
            "has expired; any kubectl command renews it",
        ),
        ({"exec": {"command": "x", "apiVersion": "v0"}}, {}, "apiVersion is 'v0'; podnuma knows"),
        (
            {"exec": {"command": "not-there", "apiVersion": V1, "installHint": "install it"}},
            {},
            "names not-there, which is not there; install it",
        ),
        ({"exec": {"command": "false", "apiVersion": V1}}, {}, "false of users[u].user ended with status 1"),
        (
            {"exec": {"command": "true", "apiVersion": V1, "interactiveMode": "Always"}},
            {},
            "interactiveMode is Always, and standard input is not a terminal",
        ),
    ],
)
async def test_what_cannot_be_used_is_said_in_one_sentence(
    source, tmp_path, monkeypatch, user, cluster, said
):
    monkeypatch.setattr("sys.stdin", None)
    (tmp_path / "config.empty").touch()
    with pytest.raises(errors.RefusedError) as caught:
        await source(user, **cluster).read()
    assert caught.value.reason == "NoCredentials"
    assert caught.value.message.startswith("cannot read credentials: ")
    assert said in caught.value.message


async def test_without_a_kubeconfig_outside_a_pod_it_is_said_so(monkeypatch):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    with pytest.raises(errors.RefusedError, match="there is no kubeconfig, and this is no pod"):
        await KubectlCredentials().read()


async def test_in_a_pod_the_service_account_counts(tmp_path, monkeypatch):
    monkeypatch.setattr("podnuma.plumbing.kube.credentials._ACCOUNT", tmp_path)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "443")
    (tmp_path / "token").write_text("t\n")
    (tmp_path / "ca.crt").write_text("ca")
    found = await KubectlCredentials().read()
    assert (found.endpoint.server, found.authorization) == ("https://[fd00::1]:443", "Bearer t")
    assert found.endpoint.authority == b"ca"


PLUGIN = """\
#!/bin/sh
echo run >> "$(dirname "$0")/runs"
cat "$(dirname "$0")/printed"
printf '%s %s' "$1" "$KUBERNETES_EXEC_INFO" > "$(dirname "$0")/asked"
"""


@pytest.fixture
def plugin(tmp_path):
    script = tmp_path / "plugin"
    script.write_text(PLUGIN)
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return {"command": "./plugin", "apiVersion": V1, "args": ["login"], "provideClusterInfo": True}


def printed(**status):
    return json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status})


async def test_a_program_is_asked_once_until_its_token_expires_or_is_refused(source, tmp_path, plugin):
    found = source({"exec": plugin}, **{"tls-server-name": "api"})
    (tmp_path / "printed").write_text(printed(token="one"))
    assert [(await found.read()).authorization for _ in range(2)] == ["Bearer one"] * 2
    (tmp_path / "printed").write_text(printed(token="two", expirationTimestamp="2000-01-01T00:00:00Z"))
    assert (await found.read(refused=True)).authorization == "Bearer two"
    assert (await found.read()).authorization == "Bearer two"
    assert (tmp_path / "runs").read_text().count("run") == 3
    argument, _, info = (tmp_path / "asked").read_text().partition(" ")
    assert argument == "login"
    assert json.loads(info)["spec"]["cluster"] == {"server": "http://api.example/", "tls-server-name": "api"}


@pytest.mark.parametrize(
    ("preferences", "runs"),
    [
        ("", True),
        ("{kind: Preference, credentialPluginPolicy: AllowAll}", True),
        ("{kind: Preference, credentialPluginPolicy: DenyAll}", False),
        ("{kind: Preference, credentialPluginPolicy: Allowlist}", False),
        ("{kind: Preference, credentialPluginAllowlist: [{name: other}]}", False),
        (f"{{{LISTED}: [{{name: x}}]}}", False),
        (f"{{{LISTED}: [{{name: x}}, {{name: HERE/plugin}}]}}", True),
        (f"{{{LISTED}: [{{command: HERE/plugin}}]}}", True),
        (f"{{{LISTED}: [{{command: plugin}}]}}", True),
        ("{credentialPluginPolicy: Sometimes}", False),
        ("{kind: Preference}\n---\n{credentialPluginPolicy: DenyAll}", False),
        ("{", False),
    ],
)
async def test_what_the_preferences_of_kubectl_forbid_is_not_run(
    source, tmp_path, plugin, monkeypatch, preferences, runs
):
    monkeypatch.setenv("KUBERC", str(tmp_path / "kuberc"))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    (tmp_path / "kuberc").write_text(preferences.replace("HERE", str(tmp_path)))
    (tmp_path / "printed").write_text(printed(token="one"))
    found = source({"exec": plugin})
    if runs:
        assert (await found.read()).authorization == "Bearer one"
        return
    with pytest.raises(errors.RefusedError, match="kuberc"):
        await found.read()
    assert not (tmp_path / "runs").exists()


async def test_preferences_may_be_switched_off_and_those_that_are_named_have_to_be_there(
    source, tmp_path, plugin, monkeypatch
):
    (tmp_path / ".kube").mkdir()
    (tmp_path / ".kube" / "kuberc").write_text("{credentialPluginPolicy: DenyAll}")
    (tmp_path / "printed").write_text(printed(token="one"))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("KUBERC", raising=False)
    with pytest.raises(errors.RefusedError, match="DenyAll"):
        await source({"exec": plugin}).read()
    monkeypatch.setenv("KUBERC", "off")
    assert (await source({"exec": plugin}).read()).authorization == "Bearer one"
    monkeypatch.setenv("KUBERC", str(tmp_path / "gone"))
    with pytest.raises(errors.RefusedError, match="cannot be read"):
        await source({"exec": plugin}).read()


async def test_a_program_may_give_a_certificate(source, tmp_path, plugin):
    (tmp_path / "printed").write_text(printed(clientCertificateData="c", clientKeyData="k"))
    found = await source({"exec": plugin}).read()
    assert (found.authorization, found.endpoint.certificate, found.endpoint.key) == (None, b"c", b"k")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "printed no ExecCredential"),
        ("{", "printed neither JSON nor YAML"),
        ("[]", "printed no ExecCredential"),
        (json.dumps({"kind": "ExecCredential", "status": {}, "apiVersion": "v0"}), "printed 'v0'"),
        (printed(), "neither a token nor a client certificate"),
        (printed(clientKeyData="k"), "only one of"),
        (printed(token="t", expirationTimestamp="soon"), "expirationTimestamp 'soon'"),
    ],
)
def test_what_a_program_prints_is_checked(text, said):
    with pytest.raises(ExecPluginError, match=said):
        credential_of(text.encode(), V1, "plugin")


def test_a_program_may_print_yaml():
    """kubectl decodes what it prints as it decodes manifests."""
    text = yaml.safe_dump(json.loads(printed(token="t", expirationTimestamp="2099-01-01T00:00:00Z")))
    found = credential_of(text.encode(), V1, "plugin")
    assert (found.token, found.expires) == ("t", dt.datetime(2099, 1, 1, tzinfo=dt.UTC))


async def test_a_program_is_beside_the_kubeconfig_however_that_is_named(
    source, tmp_path, plugin, monkeypatch
):
    (tmp_path / "printed").write_text(printed(token="one"))
    source({"exec": plugin})
    monkeypatch.chdir(tmp_path)
    assert (await KubectlCredentials(Path("config")).read()).authorization == "Bearer one"


def test_a_credential_is_good_until_it_expires():
    now = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    found = credential_of(printed(token="t", expirationTimestamp="2026-01-01T00:00:01Z").encode(), V1, "p")
    assert found.is_good(now)
    assert not found.is_good(now + dt.timedelta(seconds=1))
