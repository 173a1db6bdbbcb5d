"""Which programs of kubeconfigs may be run: what kubectl's preferences (kuberc) say, since v1.35.

A kubeconfig that somebody else has made may name any program. Who wants to run none of them, or only some,
says so in `credentialPluginPolicy`, and means each program that reads the same kubeconfigs:

    AllowAll, or nothing    each may be run
    DenyAll                 none
    Allowlist               those of `credentialPluginAllowlist`, by name or by path

The file is ~/.kube/kuberc, or what $KUBERC names; with `KUBERC=off`, or KUBECTL_KUBERC=false, there is none.
Always true: where a policy cannot be read or is not understood, nothing is run.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from podnuma.plumbing.kube.kubectl_text import decode_manifest, load_values

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

POLICY: Final = "credentialPluginPolicy"
ALLOWLIST: Final = "credentialPluginAllowlist"
_OFF: Final = ("0", "f", "false")
_ALL: Final = ("", "AllowAll")


def preferences_file(environment: Mapping[str, str]) -> Path | None:
    """Return the file of kubectl's preferences that counts; None if there is none."""
    named = environment.get("KUBERC", "")
    if named == "off" or environment.get("KUBECTL_KUBERC", "").lower() in _OFF:
        return None
    if named:
        return Path(named)
    home = environment.get("HOME", "")
    usual = Path(home) / ".kube" / "kuberc"
    return usual if home and usual.exists() else None


def why_not_run(file: Path | None, command: str, found: str) -> str:
    """Return why a program may not be run, with what to do; empty if it may.

    `command`: as the kubeconfig names it; `found`: the file that is run.
    """
    if file is None:
        return ""
    try:
        preferences = _preferences(file)
    except (OSError, ValueError, RecursionError) as error:
        said = error.strerror if isinstance(error, OSError) else error
        return f"{file}, which says what may be run, cannot be read: {said}"
    policy = preferences.get(POLICY) or ""
    if policy in _ALL and not preferences.get(ALLOWLIST):
        return ""
    if policy == "Allowlist" and any(_is_meant(name, command, found) for name in _names(preferences)):
        return ""
    add = f"add it to its {ALLOWLIST}" if policy == "Allowlist" else f"see its {POLICY} and {ALLOWLIST}"
    return f"may not be run: {POLICY} in {file} is {policy or 'missing'}; {add}"


def _preferences(file: Path) -> Mapping[str, Any]:
    """Return the first object of a file that says something about programs."""
    for _, value in load_values(decode_manifest(file.read_bytes())):
        if isinstance(value, dict) and (POLICY in value or ALLOWLIST in value):
            return value
    return {}


def _names(preferences: Mapping[str, Any]) -> Iterator[str]:
    entries = preferences.get(ALLOWLIST)
    for one in entries if isinstance(entries, list) else ():
        # `name` in v1.35, `command` since.
        name = (one.get("command") or one.get("name")) if isinstance(one, dict) else None
        if isinstance(name, str) and name:
            yield name


def _is_meant(name: str, command: str, found: str) -> bool:
    if name in (command, found):
        return True
    return os.sep not in name and shutil.which(name) == found
