"""The pods that manifests would create: workloads are expanded, objects without pods are skipped.

    Pod                        itself
    Deployment, ReplicaSet     one pod per replica, named NAME-1, NAME-2 ...
    StatefulSet                one pod per replica, named NAME-0, NAME-1 ...
    Job                        as many pods as run at once; CronJob likewise, one run
    DaemonSet                  one pod; it lands on every node

Pods get the API server's defaults before they are read, as if they had been stored.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podnuma.allocator.request import PodRequest
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.pod import read_pod
from podnuma.api.pod_defaults import with_api_defaults
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.documents import Document
from podnuma.cli.objects.manifest_fields import KINDS, field_problems

# Of one workload; more replicas of the same template would add nothing.
MOST_REPLICAS = 1000

_DEFAULT_NAMESPACE = "default"


@dataclass(frozen=True, slots=True)
class PlannedPod:
    """A pod that would be created, its labels, and the place of its manifest."""

    place: str
    pod: PodRequest
    labels: Mapping[str, str]

    @property
    def name(self) -> str:
        """The name with its namespace."""
        return f"{self.pod.namespace}/{self.pod.name}"


@dataclass(frozen=True, slots=True)
class ExpandedPods:
    """The pods, one line for each problem, and one for each object that was skipped."""

    pods: tuple[PlannedPod, ...]
    problems: tuple[str, ...]
    skipped: tuple[str, ...]


def expand(documents: Sequence[Document], namespace: str = _DEFAULT_NAMESPACE) -> ExpandedPods:
    """Find all pods of these manifests. `namespace` is for objects that name none."""
    pods: list[PlannedPod] = []
    problems: list[str] = []
    skipped: list[str] = []
    for document in documents:
        if document.kind not in KINDS:
            skipped.append(f"{document.place}: {document.kind} {document.name} has no pods; left out")
            continue
        wrong = tuple(field_problems(document.kind, document.value))
        problems += (f"{document.place}: {text}" for text in wrong)
        for value in _pods(document, namespace):
            try:
                pod = _read(value)
            except InvalidObjectError as error:
                problems += _lines(document, error, wrong)
                break
            pods.append(PlannedPod(document.place, pod, _labels(value)))
    return ExpandedPods(tuple(pods), tuple(problems), tuple(skipped))


def first_pod(documents: Sequence[Document], namespace: str = _DEFAULT_NAMESPACE) -> dict[str, Any]:
    """Return the JSON of the first pod that the manifests would create. Failure(INPUT) if there is none."""
    for document in documents:
        if document.kind in KINDS:
            for value in _pods(document, namespace):
                return value
    raise Failure(Exit.INPUT, "there is no pod in these manifests")


def _labels(pod: Mapping[str, Any]) -> dict[str, str]:
    """Return the labels that are text; the API server refuses a pod with others, which is said by field."""
    return {key: text for key, text in _object(pod["metadata"], "labels").items() if isinstance(text, str)}


def _read(value: Mapping[str, Any]) -> PodRequest:
    try:
        return read_pod(with_api_defaults(value))
    except InvalidObjectError:
        # Defaulting copies a bad value to other fields; report it where it was written, if that is enough.
        read_pod(value)
        raise


def _lines(document: Document, error: InvalidObjectError, told: Sequence[str]) -> Iterator[str]:
    inside = _TEMPLATES.get(document.kind, "")
    for problem in error.errors:
        # Paths are those of a pod; put the path of the pod template before them.
        if not any(line.startswith(f"{inside}{problem.path}: ") for line in told):
            yield f"{document.place}: {inside}{problem}"


_TEMPLATES = {
    "Deployment": "spec.template.",
    "ReplicaSet": "spec.template.",
    "StatefulSet": "spec.template.",
    "DaemonSet": "spec.template.",
    "Job": "spec.template.",
    "CronJob": "spec.jobTemplate.spec.template.",
}


def _pods(document: Document, namespace: str) -> Iterator[dict[str, Any]]:
    metadata = _object(document.value, "metadata")
    namespace = str(metadata.get("namespace") or namespace)
    name = document.name or "unnamed"
    if document.kind == "Pod":
        yield _pod(document.value, name, namespace)
        return
    spec = _object(document.value, "spec")
    if document.kind == "CronJob":
        spec = _object(_object(spec, "jobTemplate"), "spec")
    template = _object(spec, "template")
    first = 0 if document.kind == "StatefulSet" else 1
    for number in range(first, first + _count(document.kind, spec)):
        yield _pod(template, name if document.kind == "DaemonSet" else f"{name}-{number}", namespace)


def _pod(template: Mapping[str, Any], name: str, namespace: str) -> dict[str, Any]:
    metadata = _object(template, "metadata")
    named = {**metadata, "name": name, "namespace": namespace, "uid": f"{namespace}/{name}"}
    # A manifest copied from a cluster may hold the status that the object had there.
    bare = {key: value for key, value in template.items() if key != "status"}
    return {**bare, "metadata": named}


def _count(kind: str, spec: Mapping[str, Any]) -> int:
    if kind == "DaemonSet":
        return 1
    if kind in ("Job", "CronJob"):
        wanted = min(_number(spec, "parallelism"), _number(spec, "completions", MOST_REPLICAS))
    else:
        wanted = _number(spec, "replicas")
    return max(0, min(wanted, MOST_REPLICAS))


def _number(spec: Mapping[str, Any], name: str, default: int = 1) -> int:
    value = spec.get(name, default)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _object(parent: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = parent.get(name)
    return value if isinstance(value, Mapping) else {}
