"""Metrics over TLS, for those whom the real API server lets read them.

Operator and agent run with the rights that the chart gives with `monitoring.secure`.
"""

from __future__ import annotations

import contextlib
import http.client
import ssl
from typing import TYPE_CHECKING

import pytest

from testbed.cleanup import wipe
from testbed.installation import NAMESPACE, Installation
from testbed.pki import Authority, client_context
from testbed.waiting import until
from tests.integration import helm_chart

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from testbed.control_plane import ControlPlane
    from testbed.kwok import Kwok
    from testbed.program import Program

READER, STRANGER = "prometheus", "stranger"
SOON = 60


class Secured:
    """podnuma at work with `monitoring.secure`: the operator has a certificate, the agent makes its own."""

    def __init__(self, cluster: ControlPlane, site: Installation, kwok: Kwok, helm: Path) -> None:
        self.cluster = cluster
        site.install()
        for one in helm_chart.rendered(helm, "monitoring.secure.enabled=true"):
            if one["kind"] in {"ClusterRole", "ClusterRoleBinding"} and "metrics" in one["metadata"]["name"]:
                cluster.api.apply(one)
        for account in (READER, STRANGER):
            metadata = {"name": account, "namespace": NAMESPACE}
            cluster.api.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata})
        subject = {"kind": "ServiceAccount", "name": READER, "namespace": NAMESPACE}
        group = "rbac.authorization.k8s.io"
        role = {"apiGroup": group, "kind": "ClusterRole", "name": "podnuma-metrics-reader"}
        cluster.api.apply(
            {
                "apiVersion": f"{group}/v1",
                "kind": "ClusterRoleBinding",
                "metadata": {"name": "test-metrics-reader"},
                "roleRef": role,
                "subjects": [subject],
            }
        )
        authority = Authority(site.folder / "serving")
        certificate, key = authority.issue("tls", "podnuma", hosts=["127.0.0.1"])
        assert (certificate.name, key.name) == ("tls.crt", "tls.key")
        site.add_node(kwok, "node-1", "epyc7401-2s-8numa-16l3", {"node-pool": "databases"})
        folder = f"--metrics-cert-dir={certificate.parent}"
        self.programs = {
            "operator": site.start_operator("--metrics-secure", folder),
            "agent": site.start_agent("node-1", "--metrics-secure"),
        }
        self.trust = {
            "operator": client_context(authority.ca_file),
            "agent": ssl._create_unverified_context(),
        }
        for name in self.programs:
            self.wait(200, name, "/readyz")

    def ask(self, name: str, path: str, token: str | None = None) -> tuple[int, str]:
        """Return status and body; 0 if nothing answers."""
        program: Program = self.programs[name]
        program.process.check()
        connection = http.client.HTTPSConnection(
            "127.0.0.1", program.port, timeout=10, context=self.trust[name]
        )
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        with contextlib.closing(connection):
            try:
                connection.request("GET", path, headers=headers)
                answer = connection.getresponse()
                return answer.status, answer.read().decode()
            except OSError as error:
                return 0, str(error)

    def wait(self, status: int, name: str, path: str, token: str | None = None) -> None:
        """Ask until the status is this one: an API server that is slow to answer makes others."""
        until(lambda: self.ask(name, path, token)[0] == status, f"{status} of the {name}'s {path}", SOON)

    def token(self, account: str) -> str:
        return self.cluster.token(NAMESPACE, account)


@pytest.fixture(scope="module")
def secured(
    control_plane: ControlPlane, kwok: Kwok, helm: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Secured]:
    with Installation(control_plane, tmp_path_factory.mktemp("secured")) as site:
        yield Secured(control_plane, site, kwok, helm)
    for kind, name in (
        ("clusterrolebinding", "test-metrics-reader"),
        ("clusterrolebinding", "podnuma-metrics-access"),
        ("clusterrole", "podnuma-metrics-access"),
        ("clusterrole", "podnuma-metrics-reader"),
    ):
        control_plane.kubectl("delete", kind, name, "--ignore-not-found")
    wipe(control_plane.api)


both = pytest.mark.parametrize("name", ["operator", "agent"])


@both
def test_who_is_bound_to_the_reader_role_reads(secured, name):
    token = secured.token(READER)
    # The API server's authorizer hears of a binding a moment later, and a refusal is kept for ten seconds.
    secured.wait(200, name, "/metrics", token)
    assert "podnuma_" in secured.ask(name, "/metrics", token)[1]


@both
def test_an_account_without_the_role_is_told_what_it_lacks(secured, name):
    token = secured.token(STRANGER)
    secured.wait(403, name, "/metrics", token)
    _, body = secured.ask(name, "/metrics", token)
    assert body.startswith(f"system:serviceaccount:{NAMESPACE}:{STRANGER} may not get /metrics")


@both
def test_without_a_token_or_with_a_forged_one_nobody_reads(secured, name):
    head, claims, signature = secured.token(READER).split(".")
    forged = ".".join((head, claims, signature[::-1]))
    for token in (None, "x", forged):
        secured.wait(401, name, "/metrics", token)


@both
def test_nothing_is_answered_in_plain_text(secured, name):
    connection = http.client.HTTPConnection("127.0.0.1", secured.programs[name].port, timeout=10)
    with contextlib.closing(connection):
        connection.connect()
        connection.request("GET", "/healthz")
        with pytest.raises((OSError, http.client.HTTPException)):
            connection.getresponse()


def test_without_an_api_server_probes_answer_and_nobody_new_reads(secured):
    # No process has seen this token.
    token = secured.token(READER)
    with secured.cluster.apiserver_gone():
        for name in secured.programs:
            secured.wait(503, name, "/metrics", token)
            secured.wait(200, name, "/healthz")
    for name in secured.programs:
        secured.wait(200, name, "/metrics", token)
