"""Where the configuration of a kubelet stands: in files of its own, and within those of installers.

    KubeletConfiguration   by itself, as a kubelet serves it (/configz), or as text in another object: the
                           ConfigMap of kubeadm, the patches of kind
    fields of it           spec.kubeletConfig (OpenShift), spec.kubelet.config (EKS), spec.kubelet (kops),
                           machine.kubelet.extraConfig (Talos), kubeletConfig (GKE), the whole file (AKS),
                           variables that begin with kubelet_ (Kubespray)
    flags                  kubelet-arg (k3s, RKE2), kubeletExtraArgs (kubeadm), extraArgs (Talos), flags
                           (EKS), extra_args (RKE), kubelet_custom_flags (Kubespray), settings.kubernetes
                           (Bottlerocket, also as TOML); in a text: a command line, a unit of systemd or its
                           environment (kubeadm-flags.env), the user data of a node

Several files are one, merged in their order as the kubelet merges its drop-in files: objects by field,
anything else is replaced, and null takes a field away; in drop-in files upper and lower case of a field are
the same to it. Of a folder those files count that end in .conf, also in folders in it. Flags win over files.
"""

import contextlib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.documents import STDIN, Document, documents_in, read_texts
from podnuma.cli.objects.kubelet_configuration import CONFIGURED
from podnuma.cli.objects.kubelet_flags import configuration_file, fields_of_flags, fields_of_text, pairs
from podnuma.plumbing.kube.kubectl_text import load_values

KUBELET_CONFIGURATION: Final = "KubeletConfiguration"
_DROP_IN: Final = ".conf"
_DEEPEST: Final = 32
_FLAGS: Final = ("kubelet-arg", "kubeletExtraArgs", "kubelet_custom_flags", "kubelet_node_custom_flags")
_FLAGS_BELOW: Final = {
    "kubelet": ("flags", "extraArgs", "extra_args"),
    "settings": ("kubernetes",),
}
_BOTTLEROCKET: Final = "[settings.kubernetes"
# GKE has objects in the place of some fields, and AKS other capital letters.
_PARTS: Final = {
    ("topologyManager", "policy"): "topologyManagerPolicy",
    ("topologyManager", "scope"): "topologyManagerScope",
    ("memoryManager", "policy"): "memoryManagerPolicy",
}
_NAMES: Final = {field.lower(): field for field in CONFIGURED}
_VARIABLES: Final = "kubelet_"
_MORE_VARIABLES: Final = "kubelet_config_extra_args"
_VARIABLE_NAMES: Final = {field.lower(): field for field in CONFIGURED if "Reserved" not in field}
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
        try:
            found, hint = _found_in(name)
        except Failure as failure:
            problems += failure.lines
            continue
        whole = [one for one in found if not one.flags]
        if not found:
            problems.append(f"{name}: no configuration of a kubelet is in it{hint}")
        if len(whole) > 1:
            places = ", ".join(one.where or KUBELET_CONFIGURATION for one in whole)
            problems.append(f"{name}: expected one {KUBELET_CONFIGURATION}, found {len(whole)}: {places}")
        for one in found:
            told += [f"{name}: {one.where}"] if one.where else []
            if one.flags:
                flags |= one.fields
            else:
                again = _renamed(one.fields) if configuration else one.fields
                configuration = merge_patched(configuration, again)
    if problems:
        raise Failure(Exit.INPUT, *problems)
    return KubeletFields({**configuration, **flags}, "; ".join(told))


def _found_in(name: str) -> tuple[list[KubeletFields], str]:
    """Return what is found in a file, and what to say if that is nothing."""
    found: list[KubeletFields] = []
    hint = ""
    for label, text in read_texts([name]):
        try:
            documents = documents_in(label, text, kinds=False)
        except Failure:
            in_text = list(_in_text(text, "", _DEEPEST))
            if not in_text:
                raise
            found += in_text
        else:
            found += (one for document in documents for one in _search(document.value, "", _DEEPEST))
            hint = _hint(documents)
    return found, hint


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
    if isinstance(value, str):
        yield from _in_text(value, path, depth)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _search(inner, f"{path}[{index}]", depth - 1)
    elif isinstance(value, Mapping):
        if value.get("kind") == KUBELET_CONFIGURATION:
            yield KubeletFields(value, path)
        elif any(str(key).lower() in _RECOGNIZED for key in value):
            yield KubeletFields(_renamed(value), path or "the fields at its top")
        else:
            yield from _in_object(value, path, depth)


def _in_object(value: Mapping[str, Any], path: str, depth: int) -> Iterator[KubeletFields]:
    if variables := _variables(value):
        yield KubeletFields(variables, path or "the variables at its top")
    for key, inner in value.items():
        where = f"{path}.{key}" if path else str(key)
        if key in _FLAGS or key in _FLAGS_BELOW.get(path.rpartition(".")[2], ()):
            if flags := fields_of_flags(inner):
                yield KubeletFields(flags, where, flags=True)
        elif key != _MORE_VARIABLES:
            yield from _search(inner, where, depth - 1)


def _in_text(text: str, path: str, depth: int) -> Iterator[KubeletFields]:
    if KUBELET_CONFIGURATION in text and path:
        yield from (found for value in _objects_in(text) for found in _search(value, path, depth - 1))
    elif _BOTTLEROCKET in text:
        with contextlib.suppress(tomllib.TOMLDecodeError, RecursionError):
            yield from _search(tomllib.loads(text), path, depth - 1)
    elif flags := fields_of_text(text):
        named = configuration_file(text)
        beside = f" ({named}, which it names, is another file of the kubelet)" if named else ""
        yield KubeletFields(flags, f"{path or 'the flags in it'}{beside}", flags=True)


def _objects_in(text: str) -> list[Mapping[str, Any]]:
    try:
        return [value for _, value in load_values(text) if isinstance(value, Mapping)]
    except (RecursionError, ValueError):
        return []


def _variables(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return what variables of an installer say that are named after fields (kubelet_cpu_manager_policy)."""
    found: dict[str, Any] = {}
    for key, inner in value.items():
        name = str(key).removeprefix(_VARIABLES)
        field = _VARIABLE_NAMES.get(name.replace("_", ""))
        if field is not None and name != key:
            found[field] = pairs(",".join(map(str, inner))) if isinstance(inner, list) else inner
    more = value.get(_MORE_VARIABLES)
    return found | (_renamed(more) if isinstance(more, Mapping) else {})


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
