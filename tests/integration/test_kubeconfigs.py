"""Whoever kubectl is with a kubeconfig, podnuma is too: asked of the API server, which has the last word."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from podnuma.plumbing.kube import errors
from podnuma.plumbing.kube.client import Client
from podnuma.plumbing.kube.credentials import KubectlCredentials

if TYPE_CHECKING:
    from testbed.control_plane import ControlPlane

REVIEW = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
V1 = "client.authentication.k8s.io/v1"


async def _ask(kubeconfig: str) -> Any:
    client = Client(KubectlCredentials(Path(kubeconfig)), user_agent="test")
    try:
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "SelfSubjectReview"}
        return (await client.write("POST", REVIEW, body, deadline=10.0))["status"]["userInfo"]
    finally:
        await client.close()


def by_kubectl(cluster: ControlPlane, kubeconfig: str) -> Any:
    done = subprocess.run(
        [cluster.tools["kubectl"], "auth", "whoami", "-o", "json"],
        env={**os.environ, "KUBECONFIG": kubeconfig},
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
    )
    return json.loads(done.stdout)["status"]["userInfo"] if done.returncode == 0 else None


def by_podnuma(kubeconfig: str) -> Any:
    try:
        return asyncio.run(_ask(kubeconfig))
    except errors.KubeError:
        return None


@pytest.fixture(scope="module")
def parts(control_plane, tmp_path_factory):
    """The admin's certificate and a service account's token, as files and as what a program prints."""
    folder = tmp_path_factory.mktemp("kubeconfigs")
    certificate, key = control_plane.admin_certificate
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "kubeconfigs"}}
    control_plane.api.apply(account, "kube-system")
    token = control_plane.token("kube-system", "kubeconfigs")
    (folder / "token").write_text(token)
    answers = {
        "token": {"token": token},
        "certificate": {
            "clientCertificateData": certificate.read_text(),
            "clientKeyData": key.read_text(),
        },
    }
    for name, status in answers.items():
        answer = {"apiVersion": V1, "kind": "ExecCredential", "status": status}
        (folder / f"{name}.json").write_text(json.dumps(answer))
    return folder, str(certificate), str(key), token


USERS = {
    "a certificate": lambda _, certificate, key, __: {"client-certificate": certificate, "client-key": key},
    "a token": lambda _, __, ___, token: {"token": token},
    "a token file": lambda *_: {"tokenFile": "token"},
    "a token file that is gone": lambda *_: {"tokenFile": "gone"},
    "a wrong token": lambda *_: {"token": "x"},
    "a program's token": lambda folder, *_: _program(folder, "token"),
    "a program's certificate": lambda folder, *_: _program(folder, "certificate"),
    "a program that fails": lambda *_: {
        "exec": {"command": "false", "apiVersion": V1, "interactiveMode": "Never"}
    },
    "a token before a program": lambda folder, _, __, token: {
        "token": token,
        **_program(folder, "certificate"),
    },
    "an impersonated user": lambda _, certificate, key, __: {
        "client-certificate": certificate,
        "client-key": key,
        "as": "somebody",
        "as-groups": ["one", "two"],
        "as-uid": "7",
        "as-user-extra": {"reason": ["test"]},
    },
    "nobody": lambda *_: {},
}


def _program(folder, name):
    command = {"command": "cat", "args": [str(folder / f"{name}.json")], "apiVersion": V1}
    return {"exec": {**command, "interactiveMode": "Never"}}


def write(path, cluster, user, context="x", **more):
    """Write a kubeconfig with one context."""
    server = {"server": cluster.server, "certificate-authority": str(cluster.ca_file), **more}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": server}],
        "users": [{"name": context, "user": user}],
        "contexts": [{"name": context, "context": {"cluster": "c", "user": context}}],
        "current-context": context,
    }
    path.write_text(yaml.safe_dump(content))


@pytest.mark.parametrize("user", USERS)
def test_podnuma_is_who_kubectl_is(control_plane, parts, user):
    kubeconfig = parts[0] / "config"
    write(kubeconfig, control_plane, USERS[user](*parts))
    expected = by_kubectl(control_plane, str(kubeconfig))
    assert by_podnuma(str(kubeconfig)) == expected
    assert (expected is None) == (
        user in {"a wrong token", "a program that fails", "a token file that is gone", "nobody"}
    )


def test_of_several_files_podnuma_takes_what_kubectl_takes(control_plane, parts):
    folder, certificate, key, token = parts
    write(folder / "first", control_plane, {"token": token}, "one")
    write(folder / "second", control_plane, {"client-certificate": certificate, "client-key": key}, "two")
    for order in (("first", "second"), ("second", "first")):
        named = ":".join(str(folder / one) for one in order)
        found = by_podnuma(named)
        assert found is not None
        assert found == by_kubectl(control_plane, named)


@pytest.mark.parametrize(
    "more",
    [
        {"tls-server-name": "kubernetes.default.svc"},
        {"tls-server-name": "other.example"},
        {"certificate-authority": "", "insecure-skip-tls-verify": True},
        {"certificate-authority": ""},
        {"proxy-url": "http://127.0.0.1:1"},
    ],
    ids=str,
)
def test_podnuma_trusts_whom_kubectl_trusts(control_plane, parts, more):
    folder, _, _, token = parts
    write(folder / "config", control_plane, {"token": token}, **more)
    found = by_podnuma(str(folder / "config"))
    assert found == by_kubectl(control_plane, str(folder / "config"))
    assert (found is not None) == (
        more
        in (
            {"tls-server-name": "kubernetes.default.svc"},
            {"certificate-authority": "", "insecure-skip-tls-verify": True},
        )
    )
