"""Credentials from a program that a kubeconfig names (`user.exec`), as client-go runs it.

The program prints an ExecCredential, as JSON or YAML, with a token or a client certificate, and how long it
is good for; until then it is not run again, unless the server refuses what it gave. Its standard error is
this process's, so that a login can tell what to do; its standard input too if that is a terminal and the
plugin may use it. What kubectl's preferences forbid is not run (`plugin_policy`).
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime as dt
import json
import os
import shutil
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from podnuma.plumbing.kube.kubectl_text import decode_manifest, first_value
from podnuma.plumbing.kube.plugin_policy import preferences_file, why_not_run

if TYPE_CHECKING:
    from pathlib import Path

    from podnuma.plumbing.kube.kubeconfig import Entry

_VERSIONS: Final = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
_EXTENSION: Final = "client.authentication.k8s.io/exec"
_SECONDS: Final = 300.0  # a person may have to log in with a browser


class ExecPluginError(Exception):
    """The program did not give credentials."""


@dataclass(frozen=True, slots=True)
class ExecCredential:
    """What the program printed; PEM, and without an expiry good until the server refuses it."""

    token: str = ""
    certificate: bytes = b""
    key: bytes = b""
    expires: dt.datetime | None = None

    def is_good(self, now: dt.datetime) -> bool:
        """Whether it may still be used."""
        return self.expires is None or now < self.expires


async def run_plugin(user: Entry, plugin: Entry, cluster: Entry) -> ExecCredential:
    """Run the program and return what it printed. ExecPluginError or KubeconfigError."""
    version = plugin.text("apiVersion")
    if version not in _VERSIONS:
        raise plugin.wrong("apiVersion", f"is {version!r}; podnuma knows {' and '.join(_VERSIONS)}")
    interactive = _interactive(plugin)
    spec: dict[str, Any] = {"interactive": interactive}
    if plugin.flag("provideClusterInfo"):
        spec["cluster"] = _cluster_info(cluster)
    info = json.dumps({"apiVersion": version, "kind": "ExecCredential", "spec": spec})
    command = _command(plugin)
    process = await asyncio.create_subprocess_exec(
        command,
        *plugin.texts("args"),
        env={**os.environ, **_variables(plugin), "KUBERNETES_EXEC_INFO": info},
        stdin=None if interactive else asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(_SECONDS):
            printed, _ = await process.communicate()
    except TimeoutError as error:
        raise ExecPluginError(f"{command} gave no credentials within {_SECONDS:.0f} s") from error
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
    if process.returncode:
        raise ExecPluginError(f"{command} of {user.where} ended with status {process.returncode}")
    return credential_of(printed, version, command)


def credential_of(printed: bytes, version: str, command: str) -> ExecCredential:
    """Read what a program printed."""
    try:
        answer = first_value(decode_manifest(printed))
    except (RecursionError, ValueError) as error:
        raise ExecPluginError(f"{command} printed neither JSON nor YAML: {error}") from error
    status = answer.get("status") if isinstance(answer, dict) else None
    if not isinstance(status, dict) or answer.get("kind") != "ExecCredential":
        raise ExecPluginError(f"{command} printed no ExecCredential with a status")
    if answer.get("apiVersion") != version:
        raise ExecPluginError(
            f"{command} printed {answer.get('apiVersion')!r}; the kubeconfig says {version!r}"
        )
    token, certificate, key = (
        str(status.get(name) or "") for name in ("token", "clientCertificateData", "clientKeyData")
    )
    if bool(certificate) != bool(key):
        raise ExecPluginError(f"{command} printed only one of clientCertificateData and clientKeyData")
    if not token and not certificate:
        raise ExecPluginError(f"{command} printed neither a token nor a client certificate")
    return ExecCredential(token, certificate.encode(), key.encode(), _expiry(status, command))


def _expiry(status: dict[str, Any], command: str) -> dt.datetime | None:
    text = status.get("expirationTimestamp")
    if not text:
        return None
    try:
        found = dt.datetime.fromisoformat(str(text))
    except ValueError as error:
        raise ExecPluginError(f"{command} printed expirationTimestamp {text!r}: {error}") from error
    return found if found.tzinfo else found.replace(tzinfo=dt.UTC)


def _interactive(plugin: Entry) -> bool:
    mode = plugin.text("interactiveMode") or "IfAvailable"
    terminal = sys.stdin is not None and sys.stdin.isatty()
    if mode == "Always" and not terminal:
        raise plugin.wrong("interactiveMode", "is Always, and standard input is not a terminal")
    return terminal and mode != "Never"


def _command(plugin: Entry) -> str:
    named = plugin.text("command")
    if not named:
        raise plugin.wrong("command", "must be set")
    beside: Path = (plugin.file.parent / named).absolute()
    found = shutil.which(str(beside) if os.sep in named else named)
    if found is None:
        hint = plugin.text("installHint").strip()
        raise plugin.wrong("command", f"names {named}, which is not there" + (f"; {hint}" if hint else ""))
    if refused := why_not_run(preferences_file(os.environ), str(beside) if os.sep in named else named, found):
        raise plugin.wrong("command", f"names {named}: {refused}")
    return found


def _variables(plugin: Entry) -> dict[str, str]:
    named = plugin.values.get("env") or []
    try:
        return {str(one["name"]): str(one["value"]) for one in named}
    except (TypeError, KeyError) as error:
        raise plugin.wrong("env", "must be a list of {name, value}") from error


def _cluster_info(cluster: Entry) -> dict[str, Any]:
    kept = ("server", "tls-server-name", "insecure-skip-tls-verify", "proxy-url")
    found = {key: cluster.values[key] for key in kept if cluster.values.get(key)}
    if authority := cluster.content("certificate-authority"):
        found["certificate-authority-data"] = base64.b64encode(authority).decode()
    extensions = cluster.values.get("extensions")
    for one in extensions if isinstance(extensions, list) else ():
        if isinstance(one, dict) and one.get("name") == _EXTENSION:
            found["config"] = one.get("extension")
    return found
