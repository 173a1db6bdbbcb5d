"""Where the configuration of a kubelet stands: in files of its own, and within those of installers.

    KubeletConfiguration   by itself, as a kubelet serves it (/configz), or as text in another object: the
                           ConfigMap of kubeadm, the patches of kind
    fields of it           spec.kubeletConfig (OpenShift), spec.kubelet.config (EKS), spec.kubelet (kops),
                           machine.kubelet.extraConfig (Talos), kubeletConfig (GKE), the whole file (AKS)
    flags                  kubelet-arg (k3s, RKE2), kubeletExtraArgs (kubeadm), extraArgs (Talos), flags (EKS)

Several files are one, merged in their order as the kubelet merges its drop-in files: objects by field,
anything else is replaced, and null takes a field away. Of a folder those files count that end in .conf, also
in folders in it. Flags win over files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.documents import STDIN, Document, read_documents
from podnuma.cli.objects.kubelet_configuration import CONFIGURED
from podnuma.cli.objects.kubelet_flags import fields_of_flags
from podnuma.plumbing.kube.kubectl_text import load_values

KUBELET_CONFIGURATION: Final = "KubeletConfiguration"
_DROP_IN: Final = ".conf"
_DEEPEST: Final = 32
_FLAGS: Final = ("kubelet-arg", "kubeletExtraArgs")
_FLAGS_OF_KUBELET: Final = ("flags", "extraArgs")
# GKE has objects in the place of some fields, and AKS other capital letters.
_PARTS: Final = {
    ("topologyManager", "policy"): "topologyManagerPolicy",
    ("topologyManager", "scope"): "topologyManagerScope",
    ("memoryManager", "policy"): "memoryManagerPolicy",
}
_NAMES: Final = {field.lower(): field for field in CONFIGURED}
_RECOGNIZED: Final = frozenset((*_NAMES, *(whole.lower() for whole, _ in _PARTS)))
_OPENSHIFT: Final = "PerformanceProfile"


@dataclass(frozen=True, slots=True)
class KubeletFields:
    """Fields of a kubelet's configuration, and where they stand; empty `where`: a file of their own."""

    fields: Mapping[str, Any]
    where: str = ""
    flags: bool = False


def read_kubelet(names: Sequence[str]) -> KubeletFields:
    """Return what some files say together. Failure(INPUT): a line per problem."""
    problems: list[str] = []
    told: list[str] = []
    configuration: dict[str, Any] = {}
    flags: dict[str, Any] = {}
    for name in _files(names, problems):
        documents = read_documents([name], kinds=False)
        found = [one for document in documents for one in _search(document.value, "", _DEEPEST)]
        whole = [one for one in found if not one.flags]
        if not found:
            problems.append(f"{name}: no configuration of a kubelet is in it{_hint(documents)}")
        if len(whole) > 1:
            places = ", ".join(one.where or KUBELET_CONFIGURATION for one in whole)
            problems.append(f"{name}: expected one {KUBELET_CONFIGURATION}, found {len(whole)}: {places}")
        for one in found:
            told += [f"{name}: {one.where}"] if one.where else []
            if one.flags:
                flags |= one.fields
            else:
                configuration = merge_patched(configuration, one.fields)
    if problems:
        raise Failure(Exit.INPUT, *problems)
    return KubeletFields({**configuration, **flags}, "; ".join(told))


def merge_patched(base: Mapping[str, Any], patch: Mapping[str, Any]) -> dict[str, Any]:
    """Return an object with a patch, as RFC 7386 merges them."""
    found = dict(base)
    for key, value in patch.items():
        if value is None:
            found.pop(key, None)
        elif isinstance(value, Mapping):
            below = found.get(key)
            found[key] = merge_patched(below if isinstance(below, Mapping) else {}, value)
        else:
            found[key] = value
    return found


def _files(names: Sequence[str], problems: list[str]) -> Iterator[str]:
    for name in names:
        folder = Path(name)
        if name == STDIN or not folder.is_dir():
            yield name
            continue
        inside = sorted(folder.rglob(f"*{_DROP_IN}"), key=lambda file: file.parts)
        if not inside:
            problems.append(
                f"{name}: this folder has no file ending in {_DROP_IN}, as the kubelet reads them"
            )
        yield from (str(file) for file in inside if file.is_file())


def _hint(documents: Sequence[Document]) -> str:
    if any(one.kind == _OPENSHIFT for one in documents):
        return "; the operator makes a KubeletConfig of it: oc get kubeletconfig -o yaml"
    return "; that of a running one is at /api/v1/nodes/NODE/proxy/configz"


def _search(value: Any, path: str, depth: int) -> Iterator[KubeletFields]:
    if not depth:
        return
    if isinstance(value, str) and KUBELET_CONFIGURATION in value:
        yield from _in_text(value, path, depth)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _search(inner, f"{path}[{index}]", depth - 1)
    elif isinstance(value, Mapping):
        if value.get("kind") == KUBELET_CONFIGURATION:
            yield KubeletFields(value, path)
            return
        if any(str(key).lower() in _RECOGNIZED for key in value):
            yield KubeletFields(_renamed(value), path or "the fields at its top")
            return
        for key, inner in value.items():
            where = f"{path}.{key}" if path else str(key)
            of_kubelet = key in _FLAGS_OF_KUBELET and path.rpartition(".")[2] == "kubelet"
            if key in _FLAGS or of_kubelet:
                yield KubeletFields(fields_of_flags(inner), where, flags=True)
            else:
                yield from _search(inner, where, depth - 1)


def _in_text(text: str, path: str, depth: int) -> Iterator[KubeletFields]:
    try:
        values = [value for _, value in load_values(text)]
    except (yaml.YAMLError, RecursionError, ValueError):
        return
    for value in values:
        if isinstance(value, Mapping):
            yield from _search(value, path, depth - 1)


def _renamed(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields with the kubelet's own names."""
    found: dict[str, Any] = {}
    for key, value in fields.items():
        parts = {part: field for (whole, part), field in _PARTS.items() if whole == key}
        if parts and isinstance(value, Mapping):
            found |= {parts.get(str(part), f"{key}.{part}"): inner for part, inner in value.items()}
        else:
            found[_NAMES.get(str(key).lower(), key)] = value
    return found
