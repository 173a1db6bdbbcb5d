"""Kubeconfig files: which cluster and which user a context names. Reads text, decides nothing else.

Several files are merged as kubectl merges $KUBECONFIG: for a name that two of them have, the first counts. A
path inside a file is relative to that file's folder. What is not needed for the context that is asked for may
be wrong.

Whatever is missing or of the wrong kind is a KubeconfigError that names file and field.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podnuma.plumbing.kube.kubectl_text import ManifestError, decode_manifest, first_value

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class KubeconfigError(Exception):
    """A kubeconfig cannot be used; the text names the file and the field."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A cluster, user or context, or a part of one, and where it stands."""

    values: Mapping[str, Any]
    file: Path
    where: str

    def text(self, key: str) -> str:
        """Return a field that is text; empty if it is not there."""
        value = self.values.get(key)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise self.wrong(key, "must be text")
        return value

    def flag(self, key: str) -> bool:
        """Return a field that is true or false; false if it is not there."""
        value = self.values.get(key)
        if value is not None and not isinstance(value, bool):
            raise self.wrong(key, "must be true or false")
        return bool(value)

    def part(self, key: str) -> Entry | None:
        """Return a field that is an object, or None."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, dict):
            raise self.wrong(key, "must be an object")
        return Entry(value, self.file, f"{self.where}.{key}")

    def texts(self, key: str) -> list[str]:
        """Return a field that is a list of texts."""
        value = self.values.get(key)
        if value is None:
            return []
        if not isinstance(value, list) or not all(isinstance(one, str) for one in value):
            raise self.wrong(key, "must be a list of texts")
        return value

    def path(self, key: str) -> Path | None:
        """Return a field that names a file, or None."""
        named = self.text(key)
        return self.file.parent / Path(named).expanduser() if named else None

    def content(self, key: str) -> bytes:
        """Return what is in the field KEY-data, else in the file that the field KEY names; may be empty."""
        inline = self.text(f"{key}-data")
        if inline:
            try:
                return base64.b64decode(inline, validate=False)
            except (binascii.Error, ValueError) as error:
                raise self.wrong(f"{key}-data", f"is not base64: {error}") from error
        path = self.path(key)
        if path is None:
            return b""
        try:
            return path.read_bytes()
        except OSError as error:
            raise self.wrong(key, f"cannot be read: {error.strerror}") from error

    def wrong(self, key: str, problem: str) -> KubeconfigError:
        """Return an error about a field of this entry."""
        return KubeconfigError(f"{self.file}: {self.where}.{key} {problem}")


class Kubeconfig:
    """The content of some kubeconfig files, the first first."""

    def __init__(self, contents: Iterable[tuple[Path, Mapping[str, Any]]]) -> None:
        self._contents = tuple(contents)

    @classmethod
    def read(cls, files: Iterable[Path]) -> Kubeconfig:
        """Read files that exist, or raise; a file that is empty says nothing."""
        contents = []
        for file in files:
            try:
                content = first_value(decode_manifest(file.read_bytes()))
            except OSError as error:
                raise KubeconfigError(f"{file} cannot be read: {error.strerror}") from error
            except UnicodeDecodeError as error:
                raise KubeconfigError(f"{file} is not text: {error}") from error
            except (ManifestError, RecursionError) as error:
                raise KubeconfigError(f"{file} is not YAML: {error}") from error
            if not isinstance(content, dict | None):
                raise KubeconfigError(f"{file} is not a kubeconfig: it must be an object")
            contents.append((file, content or {}))
        return cls(contents)

    @property
    def current_context(self) -> str:
        """The context that is meant when none is named: that of the first file which names one."""
        named = (content.get("current-context") for _, content in self._contents)
        return next((str(one) for one in named if one), "")

    def namespace(self, context: str = "") -> str:
        """Return the namespace of a context; empty if it names none, or does not exist."""
        found = self._find("context", context or self.current_context)
        return found.text("namespace") if found else ""

    def cluster_and_user(self, context: str = "") -> tuple[Entry, Entry]:
        """Return cluster and user of a context, the current one if none is named."""
        name = context or self.current_context
        files = ", ".join(str(file) for file, _ in self._contents)
        if not name:
            raise KubeconfigError(f"{files} names no current-context; name one with --context")
        chosen = self._find("context", name)
        if chosen is None:
            raise KubeconfigError(f"{files} has no context {name!r}; see kubectl config get-contexts")
        cluster = self._find("cluster", chosen.text("cluster"))
        if cluster is None:
            raise chosen.wrong("cluster", f"names {chosen.text('cluster')!r}, which does not exist")
        user = self._find("user", chosen.text("user"))
        if user is None:
            if chosen.text("user"):
                raise chosen.wrong("user", f"names {chosen.text('user')!r}, which does not exist")
            user = Entry({}, chosen.file, "user")
        return cluster, user

    def _find(self, kind: str, name: str) -> Entry | None:
        for file, content in self._contents:
            entries = content.get(f"{kind}s")
            for one in entries if isinstance(entries, list) else ():
                if isinstance(one, dict) and one.get("name") == name:
                    return Entry(one, file, f"{kind}s[{name}]").part(kind) or Entry({}, file, kind)
        return None
