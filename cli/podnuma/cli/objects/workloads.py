"""The pods that manifests would create, as the API server would store them.

Each template of `pod_templates` becomes pods; admission (`api.pod_admission`) fills in what the cluster's
LimitRanges and classes say, and those in the same files count as well. What becomes of every object is
said: pods, none (a Service), or not understood, which is counted. Of objects that are there several times, or
made by others that are there (`object_relations`), one counts.
"""

import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from podnuma.allocator.request import PodRequest
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.pod import read_pod
from podnuma.api.pod_admission import AdmissionPolicies
from podnuma.api.resource_names import fractions_of_bytes
from podnuma.api.resource_types import LIMIT_RANGE, PRIORITY_CLASS, RESOURCE_QUOTA, RUNTIME_CLASS
from podnuma.api.scheduling import DAEMON_TOLERATIONS, PodConstraints, read_pod_constraints
from podnuma.api.stored_json import object_at
from podnuma.api.volumes import read_claim_names
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.autoscalers import scaled
from podnuma.cli.objects.devices_not_chosen import devices_not_chosen
from podnuma.cli.objects.documents import Document
from podnuma.cli.objects.manifest_fields import KINDS, field_problems
from podnuma.cli.objects.object_relations import last_of_each, with_templates, without_made
from podnuma.cli.objects.pod_templates import (
    COUNTS,
    PodTemplate,
    is_built_in,
    pod_templates,
    with_claims,
    wrong_type,
)
from podnuma.cli.objects.without_pods import made_elsewhere, open_count, placeholder

_DEFAULT_NAMESPACE = "default"
_PODS: Final = uuid.UUID("5d1c6d06-64a8-4c6f-9a3c-0f2b0c0b5a52")  # of the UIDs of pods that do not exist
NO_POLICIES = AdmissionPolicies()
_ADMITTING: Final = frozenset(
    one.kind for one in (LIMIT_RANGE, RESOURCE_QUOTA, RUNTIME_CLASS, PRIORITY_CLASS)
)
_FILL_IN: Final = "do that first, for example: flux envsubst --strict < FILE | podnuma plan -f -"
_HOOK: Final = "helm.sh/hook"
_ARGO_HOOK: Final = "argocd.argoproj.io/hook"
_SYNCING: Final = frozenset(("PreSync", "Sync", "PostSync"))
_INSTALLING: Final = frozenset(
    f"{when}-{what}" for when in ("pre", "post") for what in ("install", "upgrade")
)


class PodAdmission(Protocol):
    """What makes of a pod what is stored: computed (`AdmissionPolicies`), or asked of an API server."""

    def admit(self, pod: Any) -> Any:
        """Return the JSON of a pod as it would be stored."""
        ...

    def refusals(self, stored: Any) -> Iterator[str]:
        """Yield why the API server refuses a pod that `admit` returned."""
        ...


@dataclass(frozen=True, slots=True)
class PlannedPod:
    """A pod that would be created: its manifest's place, what it asks for, and where it may go.

    `every_node`: the pod of a DaemonSet, one on each node that it may go to. `owner`: kind and name of the
    object that makes it; None for a pod by itself. `devices`: what is said of those that it asks for.
    `kept_ready`: an old pod of its object goes only while more than so many are ready. `left_alone`: one of
    its name that runs is not replaced. `claims`: the names of its PersistentVolumeClaims.
    """

    place: str
    pod: PodRequest
    labels: Mapping[str, str]
    constraints: PodConstraints = field(default_factory=PodConstraints)
    every_node: bool = False
    owner: tuple[str, str] | None = None
    devices: str = ""
    kept_ready: int = 0
    left_alone: bool = False
    claims: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The name with its namespace."""
        return f"{self.pod.namespace}/{self.pod.name}"


@dataclass(frozen=True, slots=True)
class ExpandedPods:
    """The pods, and one line for each problem, object without pods, guess, and kind not understood.

    `halted`: a line for each object whose pods are made later: by who resumes it, by Helm, by Argo CD;
    `autoscaled`: for each that has other replicas than it says; `warned`: for each amount of which the API
    server warns.
    """

    pods: tuple[PlannedPod, ...]
    problems: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()
    guessed: tuple[str, ...] = ()
    not_understood: tuple[str, ...] = ()
    halted: tuple[str, ...] = ()
    autoscaled: tuple[str, ...] = ()
    warned: tuple[str, ...] = ()


def expand(
    documents: Sequence[Document],
    namespace: str = _DEFAULT_NAMESPACE,
    policies: PodAdmission = NO_POLICIES,
) -> ExpandedPods:
    """Find all pods of these manifests. `namespace` is for objects that name none."""
    pods: list[PlannedPod] = []
    problems: list[str] = []
    skipped: list[str] = []
    guessed: list[str] = []
    not_understood: list[str] = []
    halted: list[str] = []
    warned: list[str] = []
    documents, replaced = last_of_each(documents, namespace)
    documents, without_template = with_templates(documents, namespace)
    documents, made = without_made(documents, namespace)
    skipped += (*replaced, *made)
    not_understood += without_template
    documents, autoscaled = scaled(documents, namespace)
    bases = _bases(documents)
    for document, base in zip(documents, bases, strict=True):
        if unknown := wrong_type(document):
            problems.append(f"{document.place}: {unknown}")
            continue
        templates = pod_templates(document)
        label = f"{document.place}: {document.kind} {document.name}"
        if templates is None:
            elsewhere = made_elsewhere(document.value)
            why = (
                f"not planned as it is: {elsewhere}"
                if elsewhere
                else "not understood: nothing in it looks like a pod"
            )
            not_understood.append(f"{label} is {why}; left out")
            continue
        if not templates:
            skipped.append(f"{label} {_without_pods(document.kind)}")
            continue
        if not any(template.names for template in templates):
            skipped.append(f"{label} makes no pods now: none are asked for; left out")
        halted += _made_later(document, label)
        if more := sum(template.more for template in templates):
            planned = sum(len(template.names) for template in templates)
            skipped.append(f"{label} asks for {planned + more} pods: {planned} of them are planned")
        if templates[0].guessed:
            where = ", ".join(f"{one.path} ({len(one.names)})" for one in templates)
            guessed.append(f"{label}: its pods are guessed from what looks like a pod template: {where}")
        if not base:
            problems.append(f"{document.place}: metadata.name: is missing")
        known = len(problems)
        wrong = _field_problems(document)
        problems += (f"{document.place}: {text}" for text in wrong)
        for template in templates:
            found, bad = _planned(document, template, base, namespace, policies)
            pods += found
            problems += (f"{document.place}: {line}" for line in bad if not _is_told(line, wrong))
            fractions = fractions_of_bytes(object_at(template.value, "spec"))
            warned += (f"{document.place}: {template.inside}{line}" for line in fractions)
        problems += _not_filled_in(document, templates[0], with_problems=len(problems) > known)
    lines = map(tuple, (problems, skipped, guessed, not_understood, halted, autoscaled, warned))
    return ExpandedPods(tuple(pods), *lines)


def _not_filled_in(document: Document, template: PodTemplate, *, with_problems: bool) -> Iterator[str]:
    """Yield the variable that explains the problems of an object, or stands for a number of pods."""
    found = placeholder(document.value) if with_problems else ""
    if template.guessed:  # of kinds of others no field is known to be wrong
        found = found or open_count(document.value, COUNTS)
    if found:
        yield f"{document.place}: {found} is not filled in yet; {_FILL_IN}"


def _bases(documents: Sequence[Document]) -> list[str]:
    """Return the name of each object; one that the API server completes (`generateName`) has a number."""
    seen: Counter[str] = Counter()
    bases = []
    for one in documents:
        prefix = object_at(one.value, "metadata").get("generateName")
        base = one.name
        if not base and isinstance(prefix, str) and prefix:
            seen[prefix] += 1
            base = f"{prefix}{seen[prefix]}"
        bases.append(base)
    return bases


def _without_pods(kind: str) -> str:
    """Say what is made of an object of a kind without pods."""
    if kind in _ADMITTING:
        return "makes no pods; it counts for those that it is about"
    return "makes no pods; left out"


def _halted(document: Document) -> str:
    """Return the word for an object that makes no pods until it is resumed; empty for others."""
    spec = object_at(document.value, "spec")
    if document.kind == "Deployment":
        return "paused" if spec.get("paused") is True else ""
    below = (object_at(spec, "runPolicy"), object_at(object_at(spec, "jobTemplate"), "spec"))
    return "suspended" if any(one.get("suspend") is True for one in (spec, *below)) else ""


def _made_later(document: Document, label: str) -> Iterator[str]:
    """Yield why pods of an object are not made yet, though they are planned."""
    if word := _halted(document):
        yield f"{label} is {word}: its pods are planned as if it were resumed"
    annotations = object_at(object_at(document.value, "metadata"), "annotations")
    hooks = _words(annotations.get(_HOOK))
    if hooks and not _INSTALLING.intersection(hooks):
        said = f"{label} is Helm's {', '.join(hooks)} hook, which it makes neither to install nor to upgrade"
        yield f"{said}; planned as if it were applied (helm template --no-hooks leaves it out)"
    hooks = _words(annotations.get(_ARGO_HOOK))
    if hooks and not _SYNCING.intersection(hooks):
        said = f"{label} is Argo CD's {', '.join(hooks)} hook, which no sync makes unless it fails"
        yield f"{said}; planned as if it were applied"


def _words(written: Any) -> list[str]:
    return list(filter(None, map(str.strip, written.split(",")))) if isinstance(written, str) else []


def first_pod(documents: Sequence[Document], namespace: str = _DEFAULT_NAMESPACE) -> dict[str, Any]:
    """Return the JSON of the first pod that the manifests would create. Failure(INPUT) if there is none."""
    for document in documents:
        if unknown := wrong_type(document):
            raise Failure(Exit.INPUT, f"{document.place}: {unknown}")
        for template in pod_templates(document) or ():
            for value in _pods(document, template, document.name, namespace):
                return value
    raise Failure(Exit.INPUT, "there is no pod in these manifests")


def _field_problems(document: Document) -> tuple[str, ...]:
    known = document.kind in KINDS and is_built_in(document)
    return tuple(field_problems(document.kind, document.value)) if known else ()


def _planned(
    document: Document, template: PodTemplate, base: str, namespace: str, policies: PodAdmission
) -> tuple[list[PlannedPod], list[str]]:
    """Return the pods of a template, or why there are none: its pods are alike, so one speaks for all."""
    found: list[PlannedPod] = []
    for number, value in enumerate(_pods(document, template, base, namespace)):
        stored = policies.admit(value)
        try:
            # Defaulting copies a bad value to other fields; report it where it was written if possible.
            read_pod(value)
            pod = read_pod(stored)
        except InvalidObjectError as error:
            return [], [f"{template.inside}{problem}" for problem in error.errors]
        if refused := [f"{template.inside}{line}" for line in policies.refusals(stored)]:
            return [], refused
        constraints = read_pod_constraints(stored)
        if template.every_node:
            constraints = constraints.tolerating(DAEMON_TOLERATIONS)
        owner = (document.kind, document.name) if template.path else None
        labels, devices = _labels(stored), devices_not_chosen(stored)
        found.append(
            PlannedPod(
                document.place,
                pod,
                labels,
                constraints,
                template.every_node,
                owner,
                devices,
                template.kept_ready,
                number < template.left_alone,
                read_claim_names(stored),
            )
        )
    return found, []


def _is_told(line: str, wrong: Sequence[str]) -> bool:
    """Whether a problem of a field has been told in other words; both start with the path."""
    return any(line.startswith(told.partition(": ")[0]) for told in wrong)


def _labels(pod: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels that are text; the API server refuses a pod with others, which is said by field."""
    return {key: text for key, text in object_at(pod["metadata"], "labels").items() if isinstance(text, str)}


def _pods(document: Document, template: PodTemplate, base: str, namespace: str) -> Iterator[dict[str, Any]]:
    owner = str(object_at(document.value, "metadata").get("namespace") or namespace)
    for suffix in template.names:
        name = (base or "unnamed") + suffix
        # Objects of several kinds may have one name, and so may the pods that stand for theirs.
        whose = f"{document.value.get('apiVersion')}/{document.kind}/{document.place if not base else ''}"
        uid = str(uuid.uuid5(_PODS, f"{whose}/{owner}/{name}"))
        metadata = {**object_at(template.value, "metadata"), "name": name, "namespace": owner, "uid": uid}
        # A manifest copied from a cluster may hold the status that the object had there.
        bare = {key: value for key, value in template.value.items() if key != "status"}
        yield with_claims(document, name, {**bare, "metadata": metadata})
