"""Kubernetes objects in files: YAML or JSON as kubectl reads it, lists unfolded, folders read in order.

All problems are found in one pass, and each is one line that starts with the place:
"pods.yaml document 2 (line 14): ...". Sizes are bounded, so that naming a disk image by mistake ends
in such a line too.
"""

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.queries import group_of
from podnuma.plumbing.kube.kubectl_text import ManifestError, decode_manifest, load_values

STDIN = "-"
_LARGEST = 64 * 2**20
_URLS = ("http://", "https://")
_SUFFIXES = (".yaml", ".yml", ".json")

RENDER_KUSTOMIZE = "render it first: kubectl kustomize FOLDER | podnuma plan -f -"
_RENDER_HELM = "render the chart first: helm template FOLDER | podnuma plan -f -"
# Files without a kind beside manifests, and what makes manifests of them.
_RENDERED = {
    "kustomization.yaml": RENDER_KUSTOMIZE,
    "kustomization.yml": RENDER_KUSTOMIZE,
    "Kustomization": RENDER_KUSTOMIZE,
    "Chart.yaml": _RENDER_HELM,
    "values.yaml": _RENDER_HELM,
}


@dataclass(frozen=True, slots=True)
class Document:
    """One object, and its place in the files, which starts every error line about it."""

    place: str
    value: dict[str, Any]

    @property
    def kind(self) -> str:
        """The kind, empty if it has none."""
        kind = self.value.get("kind")
        return kind if isinstance(kind, str) else ""

    @property
    def name(self) -> str:
        """The object's name, empty if it has none."""
        metadata = self.value.get("metadata")
        name = metadata.get("name") if isinstance(metadata, dict) else None
        return name if isinstance(name, str) else ""

    def identity(self, namespace: str = "") -> tuple[str, str, str] | None:
        """Return what tells the object from others: kind, namespace and name; None if it has no name.

        `namespace`: that of an object which names none.
        """
        metadata = self.value.get("metadata")
        if not isinstance(metadata, dict) or not metadata.get("name"):
            return None
        kind = f"{group_of(self.value) or ''}/{self.kind}"
        return kind, str(metadata.get("namespace") or namespace), str(metadata["name"])


def read_documents(names: Iterable[str], *, kinds: bool = True) -> list[Document]:
    """Read files, folders (their YAML and JSON files by name) and "-" for standard input.

    Raises Failure(INPUT) with one line per problem. Without `kinds` an object may have none.
    """
    found: list[Document] = []
    problems: list[str] = []
    for name in names:
        for label, text in _texts(name, problems):
            found += _documents(label, text, problems, kinds=kinds)
    if problems:
        raise Failure(Exit.INPUT, *problems)
    return found


def read_texts(names: Iterable[str]) -> list[tuple[str, str]]:
    """Read what `read_documents` would read, with its names. Failure(INPUT): a line per problem."""
    problems: list[str] = []
    found = [text for name in names for text in _texts(name, problems)]
    if problems:
        raise Failure(Exit.INPUT, *problems)
    return found


def documents_in(label: str, text: str, *, kinds: bool = True) -> list[Document]:
    """Read one text; `label` is its name in places. Failure(INPUT): a line per problem."""
    problems: list[str] = []
    found = _documents(label, text, problems, kinds=kinds)
    if problems:
        raise Failure(Exit.INPUT, *problems)
    return found


def _texts(name: str, problems: list[str]) -> Iterator[tuple[str, str]]:
    if not name:
        problems.append("the name of a file is empty; is a variable not set?")
        return
    if name.startswith(_URLS):
        problems.append(f"{name}: addresses are not read; pass it on: curl -fsSL {name} | podnuma ... -f -")
        return
    path = Path(name)
    folder = name != STDIN and path.is_dir()
    inside = sorted(entry for entry in path.iterdir() if entry.suffix in _SUFFIXES) if folder else [path]
    if not inside:
        problems.append(f"{name}: this folder has no file ending in {', '.join(_SUFFIXES)}")
    for file in inside:
        label = "standard input" if name == STDIN else str(file)
        try:
            data = sys.stdin.buffer.read(_LARGEST + 1) if name == STDIN else _bytes(file)
            if len(data) > _LARGEST:
                problems.append(f"{label}: larger than {_LARGEST // 2**20} MiB; is this a manifest?")
                continue
            yield label, decode_manifest(data)
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "is not UTF-8 text"
            problems.append(f"{label}: {reason}")


def _bytes(file: Path) -> bytes:
    with file.open("rb") as content:
        return content.read(_LARGEST + 1)


def _documents(label: str, text: str, problems: list[str], *, kinds: bool = True) -> list[Document]:
    found: list[Document] = []
    number = 1
    try:
        for line, value in load_values(text):
            found += _expand_lists(f"{label} document {number} (line {line})", value, problems, kinds=kinds)
            number += 1
    except ManifestError as error:
        template = "; is this a template? then render it first: helm template CHART" if "{{" in text else ""
        where = f"line {error.line} column {error.column}: " if error.line else ""
        problems.append(f"{label} document {number}: {where}{error.problem}{template}")
    except (RecursionError, ValueError) as error:
        problems.append(f"{label} document {number}: {type(error).__name__}: {error}")
    return found


def _expand_lists(place: str, value: Any, problems: list[str], *, kinds: bool) -> Iterator[Document]:
    if value is None:
        return
    if not isinstance(value, dict):
        problems.append(f"{place}: expected an object, got a {type(value).__name__}")
        return
    if isinstance(value.get("kubeletconfig"), dict):
        # What a kubelet serves at /configz names no kind.
        value = {"kind": "KubeletConfiguration", **value["kubeletconfig"]}
    kind = value.get("kind")
    if not isinstance(kind, str):
        if kinds:
            hint = other_spelling(value, "kind") + (_likely_kind(value) or _renderer(place))
            problems.append(f"{place}: kind is missing{hint}")
        else:
            yield Document(place, value)
        return
    items = value.get("items")
    # A list without items may have null there: Go writes an empty list so.
    if kind.endswith("List") and "items" in value and isinstance(items, list | None):
        for index, item in enumerate(items or ()):
            inner = _with_type(item, value)
            yield from _expand_lists(f"{place} items[{index}]", inner, problems, kinds=kinds)
        return
    yield Document(place, value)


def other_spelling(value: Mapping[str, Any], field: str) -> str:
    """Name a field that is this one but for upper and lower case, which counts; empty if there is none."""
    others = (key for key in value if isinstance(key, str) and key != field)
    near = next((key for key in others if key.lower() == field.lower()), "")
    return f", as {near} is another field" if near else ""


def _likely_kind(value: dict[str, Any]) -> str:
    """Return what to write where the kind of an object with containers was left out; empty for others."""
    spec = value.get("spec")
    if isinstance(value.get("containers"), list):
        return "; containers belong below spec: of a pod, write apiVersion: v1, kind: Pod, metadata and spec"
    if isinstance(spec, dict) and isinstance(spec.get("containers"), list):
        return "; for a pod write apiVersion: v1 and kind: Pod"
    return ""


def _renderer(place: str) -> str:
    """Return what to do with a file that is no manifest, by its name; empty for others."""
    hint = _RENDERED.get(Path(place.partition(" document ")[0]).name)
    return f"; {hint}" if hint else ""


def _with_type(item: Any, of_list: dict[str, Any]) -> Any:
    """Items of a typed list (PodList) may leave out their type, as the API server's answers do."""
    kind = of_list["kind"]
    if not isinstance(item, dict) or "kind" in item or kind == "List":
        return item
    version = {"apiVersion": of_list["apiVersion"]} if "apiVersion" in of_list else {}
    return {**version, "kind": kind.removesuffix("List"), **item}
