"""Kinds of others that hold pod templates, and of which no pod comes here: not as they are, or not at all.

    policies     say what pods are to look like (`validate.pattern.spec.containers`)
    envelopes    what is in them is made in another cluster
    sources      something renders them before they are applied, or makes objects of them for each instance

A template in one of these would be guessed to make pods.
"""

from collections.abc import Container
from typing import Final

from podnuma.api.stored_json import Json, as_object
from podnuma.cli.objects.queries import group_of

_POLICIES: Final = ("kyverno.io", "gatekeeper.sh", "kubewarden.io")
_RENDER_HELM: Final = "render its chart first: helm template CHART --values VALUES | podnuma plan -f -"
_RENDER_FOLDER: Final = "render what it names first: kubectl kustomize FOLDER | podnuma plan -f -"
_ARGO: Final = "ask for what it makes: argocd app manifests NAME | podnuma plan -f -"
_PROCESS: Final = "process it first: oc process -f FILE | podnuma plan -f -"
_INSTANCES: Final = "it makes objects for each of its instances; plan those"
_SHELLS: Final = frozenset(("command", "args", "data", "env", "annotations"))
_OTHER_CLUSTER: Final = "what is in it is made in another cluster; plan it there"
_SOURCES: Final = {
    ("helm.toolkit.fluxcd.io", "HelmRelease"): _RENDER_HELM,
    ("helm.cattle.io", "HelmChart"): _RENDER_HELM,
    ("kustomize.toolkit.fluxcd.io", "Kustomization"): _RENDER_FOLDER,
    ("fluxcd.controlplane.io", "ResourceSet"): (
        "build it first: flux-operator build rset -f FILE | podnuma plan -f -"
    ),
    ("argoproj.io", "Application"): _ARGO,
    ("argoproj.io", "ApplicationSet"): _ARGO,
    ("template.openshift.io", "Template"): _PROCESS,
    ("", "Template"): _PROCESS,  # its version was v1 once
    ("kro.run", "ResourceGraphDefinition"): _INSTANCES,
    ("apiextensions.crossplane.io", "Composition"): _INSTANCES,
    ("work.open-cluster-management.io", "ManifestWork"): _OTHER_CLUSTER,
    ("work.open-cluster-management.io", "ManifestWorkReplicaSet"): _OTHER_CLUSTER,
    ("work.karmada.io", "Work"): _OTHER_CLUSTER,
}


def is_policy(value: Json) -> bool:
    """Whether an object only says what pods, or other objects, are to look like."""
    group = group_of(value) or ""
    return any(group == one or group.endswith(f".{one}") for one in _POLICIES)


def made_elsewhere(value: Json) -> str:
    """Return what to plan in the place of an object of which other objects are made; empty for others."""
    return _SOURCES.get((group_of(value) or "", str(value.get("kind"))), "")


def placeholder(value: object, depth: int = 32) -> str:
    """Return the first `${NAME}` below a value that is yet to be filled in; empty without one.

    Not of commands and the like, where shells know the same form.
    """
    if not depth:
        return ""
    if isinstance(value, str):
        start = value.find("${")
        end = value.find("}", start)
        return value[start : end + 1] if 0 <= start < end else ""
    inner = [one for key, one in as_object(value).items() if key not in _SHELLS]
    inner += value if isinstance(value, list) else ()
    return next(filter(None, (placeholder(one, depth - 1) for one in inner)), "")


def open_count(value: object, names: Container[str], depth: int = 32) -> str:
    """Return the first `${NAME}` below a value that stands where a field of these names has a number."""
    if not depth:
        return ""
    for name, one in as_object(value).items():
        found = placeholder(one) if name in names and isinstance(one, str) else ""
        if found := found or open_count(one, names, depth - 1):
            return found
    inner = value if isinstance(value, list) else ()
    return next(filter(None, (open_count(one, names, depth - 1) for one in inner)), "")
