"""The pod templates of an object, and how many pods each makes.

    Pod                                    itself
    Deployment, ReplicaSet,
    ReplicationController, StatefulSet     one pod per replica
    Job, CronJob                           as many pods as run at once; of a CronJob one run
    DaemonSet                              one pod on every node that it may go to
    PodTemplate                            none: nothing makes pods of it by itself

Kinds of others (custom resources) are searched for what looks like a pod template: a `spec` with a list of
`containers`. That is a guess and marked as one: their controllers may change a template or make more pods
of it. The count is the product of the `replicas` above it, as replicas of a group have replicas themselves,
which may be called `instances`, `count`, `members` or `minReplicas`; of the `numOfHosts` of one (RayCluster),
and of a job's `parallelism`; one if nothing is said. It is within `minReplicas` and `maxReplicas` where these
stand beside it, and none for a group with `suspend` (RayCluster). A `leaderWorkerTemplate` (LeaderWorkerSet)
has a `size`: one pod is the leader, of a template of its own or of the workers'. Knative has the number in an
annotation of the template (`min-scale`), and its containers need no name. A DaemonSet of others, or what is
like one (OpenKruise's BroadcastJob), has a pod on every node. What only speaks of pods is in `without_pods`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from podnuma.api.names import GROUP
from podnuma.api.stored_json import object_at, objects_at, text_at
from podnuma.cli.objects.documents import RENDER_KUSTOMIZE, Document, other_spelling
from podnuma.cli.objects.rolling_updates import pods_kept_ready, pods_left_alone
from podnuma.cli.objects.without_pods import is_policy, made_elsewhere

# Of one template; more replicas of the same one would add nothing.
MOST_REPLICAS: Final = 1000
_DEEPEST: Final = 32

_KUSTOMIZE: Final = "kustomize.config.k8s.io"

# Other groups below k8s.io are of custom resources, too.
_GROUPS: Final = frozenset(
    f"{name}.k8s.io"
    for name in (
        "admissionregistration",
        "apiextensions",
        "apiregistration",
        "authentication",
        "authorization",
        "certificates",
        "coordination",
        "discovery",
        "events",
        "flowcontrol.apiserver",
        "internal.apiserver",
        "networking",
        "node",
        "rbac.authorization",
        "resource",
        "scheduling",
        "storage",
        "storagemigration",
    )
)
# Of other groups; those of OpenKruise and of Datadog.
_EVERY_NODE: Final = frozenset(("DaemonSet", "BroadcastJob", "ExtendedDaemonSet"))
_LEAST: Final = ("autoscaling.knative.dev/min-scale", "autoscaling.knative.dev/minScale")
COUNTS: Final = ("replicas", "instances", "count", "members", "minReplicas")

# Where the spec stands that holds the template. A Pod is its own template, at its root.
_BUILT_IN: Final = {
    "Deployment": ("spec",),
    "ReplicaSet": ("spec",),
    "ReplicationController": ("spec",),
    "StatefulSet": ("spec",),
    "DaemonSet": ("spec",),
    "Job": ("spec",),
    "CronJob": ("spec", "jobTemplate", "spec"),
}

_VERSIONS: Final = {
    "v1": ("Pod", "ReplicationController"),
    "apps/v1": ("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"),
    "batch/v1": ("Job", "CronJob"),
}
_SERVED: Final = {kind: version for version, kinds in _VERSIONS.items() for kind in kinds}
_SPELLED: Final = {kind.lower(): kind for kind in _SERVED}


@dataclass(frozen=True, slots=True)
class PodTemplate:
    """A template: where it stands (empty for a Pod), its JSON, and the pods that are made of it.

    `names` are what is appended to the object's name, one per pod. `guessed`: found by its shape.
    `kept_ready`: an old pod goes only while more than so many are ready; `left_alone`: so many of the first
    pods are not replaced by a rollout (`rolling_updates`). `more`: pods beyond those that have names.
    """

    path: str
    value: Mapping[str, Any]
    names: tuple[str, ...]
    guessed: bool = False
    every_node: bool = False
    kept_ready: int = 0
    left_alone: int = 0
    more: int = 0

    @property
    def inside(self) -> str:
        """What to put before the path of a field of the pod."""
        return f"{self.path}." if self.path else ""


def is_built_in(document: Document) -> bool:
    """Whether Kubernetes itself, or podnuma, defines the kind: then its pods are known for certain."""
    group = _group(document)
    return "." not in group or group in _GROUPS or group == GROUP


def wrong_type(document: Document) -> str:
    """Return why neither kubectl nor the API server knows the type of an object; empty if they do."""
    if _group(document) == _KUSTOMIZE:
        return f"kind: {document.kind} is for kustomize, no API server knows it; {RENDER_KUSTOMIZE}"
    if not is_built_in(document):
        return ""
    kind = _SPELLED.get(document.kind.lower(), document.kind)
    if kind != document.kind:
        return f"kind: there is no {document.kind}; did you mean {kind}?"
    version, served = document.value.get("apiVersion"), _SERVED.get(kind)
    if version is None:
        write = served or f"that of a {kind}, which `kubectl explain {kind.lower()}` tells"
        return f"apiVersion: is missing{other_spelling(document.value, 'apiVersion')}; write {write}"
    if served in (None, version):
        return ""
    return f"apiVersion: there is no {kind} in {version!r}; write {served}"


def _group(document: Document) -> str:
    version = document.value.get("apiVersion")
    group, slash, _ = version.partition("/") if isinstance(version, str) else ("", "", "")
    return group if slash else ""


def pod_templates(document: Document) -> tuple[PodTemplate, ...] | None:
    """Return the templates of an object; none if it makes no pods, None if its kind is not understood."""
    if is_policy(document.value):
        return ()
    if made_elsewhere(document.value):
        return None
    if not is_built_in(document):
        found = tuple(_search(document.value, "", 1, _DEEPEST))
        # What Kubernetes' own projects define makes pods only by templates (routes, snapshots).
        return _numbered(document, found) or (() if _group(document).endswith(".k8s.io") else None)
    if document.kind == "Pod":
        return (PodTemplate("", document.value, ("",)),)
    if document.kind not in _BUILT_IN:
        return ()
    spec: Mapping[str, Any] = document.value
    for part in _BUILT_IN[document.kind]:
        spec = object_at(spec, part)
    first = _number(object_at(spec, "ordinals"), "start", 0) if document.kind == "StatefulSet" else 1
    every_node = document.kind == "DaemonSet"
    count = 1 if every_node else _count(document.kind, spec)
    names = ("",) if every_node else _names(count, first)
    path = ".".join((*_BUILT_IN[document.kind], "template"))
    return (
        PodTemplate(
            path,
            object_at(spec, "template"),
            names,
            every_node=every_node,
            kept_ready=pods_kept_ready(document.kind, spec, len(names)),
            left_alone=pods_left_alone(document.kind, spec),
            more=max(0, count - len(names)),
        ),
    )


def with_claims(document: Document, name: str, pod: dict[str, Any]) -> dict[str, Any]:
    """Give a pod of a StatefulSet the volumes that its controller gives it, by the names of their claims."""
    templates = objects_at(object_at(document.value, "spec"), "volumeClaimTemplates")
    claims = [text_at(object_at(one, "metadata"), "name") for one in templates]
    if document.kind != "StatefulSet" or not is_built_in(document) or not claims:
        return pod
    spec = object_at(pod, "spec")
    others = [one for one in objects_at(spec, "volumes") if one.get("name") not in claims]
    own = [{"name": one, "persistentVolumeClaim": {"claimName": f"{one}-{name}"}} for one in claims]
    return {**pod, "spec": {**spec, "volumes": [*others, *own]}}


def _search(value: Any, path: str, replicas: int, depth: int) -> Iterator[tuple[str, Mapping[str, Any], int]]:
    """Yield each template below a value with its path and count; templates are not looked into."""
    if not depth:
        return
    if isinstance(value, Mapping):
        if path and _looks_like_a_template(value):
            yield path, value, replicas * _at_least(value)
            return
        replicas *= _replicas(value) * (_at_once(value) if "template" in value else 1)
        workers = _workers(value) if path.rpartition(".")[2] == "leaderWorkerTemplate" else 1
        for key, inner in value.items():
            if path or key not in ("metadata", "status"):
                each = replicas * (workers if key == "workerTemplate" else 1)
                yield from _search(inner, f"{path}.{key}" if path else str(key), each, depth - 1)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            off = isinstance(inner, Mapping) and inner.get("suspend") is True  # one group of several
            yield from _search(inner, f"{path}[{index}]", 0 if off else replicas, depth - 1)


def _replicas(group: Mapping[str, Any]) -> int:
    """Return how often what is below is made, by whatever its kind calls that."""
    count = next((_number(group, name, 1) for name in COUNTS if group.get(name) is not None), 1)
    count = min(max(count, _number(group, "minReplicas", count)), _number(group, "maxReplicas", count))
    return max(0, count) * max(1, _number(group, "numOfHosts", 1))


def _at_least(template: Mapping[str, Any]) -> int:
    """Return how many pods of a template there are at least, by its annotations."""
    annotations = object_at(object_at(template, "metadata"), "annotations")
    told = (annotations.get(name) for name in _LEAST)
    return max(1, *(int(one) for one in told if isinstance(one, str) and one.isdecimal()), 1)


def _workers(group: Mapping[str, Any]) -> int:
    """Return how many pods of a group are made of the template of its workers."""
    of_its_own = _looks_like_a_template(object_at(group, "leaderTemplate"))
    return max(1, _number(group, "size", 1)) - of_its_own


def _looks_like_a_template(value: Mapping[str, Any]) -> bool:
    containers = object_at(value, "spec").get("containers")
    return (
        isinstance(containers, list)
        and bool(containers)
        and all(isinstance(one, Mapping) and ("image" in one or "name" in one) for one in containers)
    )


def _kept_by_rollout(document: Document, found: Sequence[tuple[str, Mapping[str, Any], int]]) -> int:
    known = (_group(document), document.kind) == ("argoproj.io", "Rollout") or document.kind == "DaemonSet"
    return pods_kept_ready(document.kind, object_at(document.value, "spec"), found[0][2]) if known else 0


def _numbered(
    document: Document, found: Sequence[tuple[str, Mapping[str, Any], int]]
) -> tuple[PodTemplate, ...]:
    """Make templates of what was found; of several, each gets its number into the names of its pods."""
    made = []
    every_node = document.kind in _EVERY_NODE
    for index, (path, value, replicas) in enumerate(found, 1):
        prefix = f"-{index}" if len(found) > 1 else ""
        names = (prefix,) if every_node else tuple(prefix + suffix for suffix in _names(replicas, 1))
        made.append(
            PodTemplate(
                path,
                _with_names(value),
                names,
                guessed=True,
                every_node=every_node,
                kept_ready=_kept_by_rollout(document, found),
                more=0 if every_node else max(0, replicas - len(names)),
            )
        )
    return tuple(made)


def _with_names(template: Mapping[str, Any]) -> Mapping[str, Any]:
    """Name the containers that their controller will name."""
    spec = object_at(template, "spec")
    named = [
        one if "name" in one else {**one, "name": f"container-{number}"}
        for number, one in enumerate(spec["containers"], 1)
    ]
    return {**template, "spec": {**spec, "containers": named}}


def _names(count: int, first: int) -> tuple[str, ...]:
    return tuple(f"-{number}" for number in range(first, first + max(0, min(count, MOST_REPLICAS))))


def _count(kind: str, spec: Mapping[str, Any]) -> int:
    return _at_once(spec) if kind in ("Job", "CronJob") else max(0, _number(spec, "replicas", 1))


def _at_once(spec: Mapping[str, Any]) -> int:
    """Return how many pods of a job run at once."""
    at_once = _number(spec, "parallelism", 1)
    return max(0, min(at_once, _number(spec, "completions", at_once)))


def _number(spec: Mapping[str, Any], name: str, default: int) -> int:
    value = spec.get(name, default)
    return value if isinstance(value, int) and not isinstance(value, bool) else default
