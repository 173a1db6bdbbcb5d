"""The objects that stand between pods and the object of a manifest: a JobSet's Jobs, a CronJob's Job.

Some chains are long, and a pod may be in one: a worker of a LeaderWorkerSet belongs to a StatefulSet, that to
the leader's pod, this to another StatefulSet. The objects between are read only for kinds that have such; of
saved objects those count that were saved, too.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from podnuma.api.resource_types import DEPLOYMENT, JOB, REPLICA_SET, STATEFUL_SET, ResourceType
from podnuma.api.stored_json import as_object, as_objects
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.queries import Json, ObjectQuery
from podnuma.cli.objects.running_pods import Owner
from podnuma.cli.objects.sources import FileSource, ObjectSource, read_or_note

_NOTHING_BETWEEN: Final = frozenset(
    ("Pod", "Deployment", "ReplicaSet", "ReplicationController", "StatefulSet", "DaemonSet", "Job", "Rollout")
)
_KNOWN: Final = {one.kind: one for one in (REPLICA_SET, STATEFUL_SET, JOB, DEPLOYMENT)}
_NOT_READ: Final = ("Pod", "Node")
_DEEPEST: Final = 6


def controllers_between(
    source: ObjectSource, pods: Iterable[Json], planned: Iterable[Owner], note: Callable[[str], None]
) -> dict[Owner, Owner]:
    """Return what controls pods, and what controls that, in the namespaces of planned objects."""
    objects = {owner for owner in planned if owner[1] not in _NOTHING_BETWEEN}
    namespaces, kinds = ({owner[part] for owner in objects} for part in (0, 1))
    found: dict[Owner, Owner] = {}
    asked: set[tuple[str, str, str]] = set()
    level = [("Pod", pod) for pod in pods if _namespace(pod) in namespaces]
    for _ in range(_DEEPEST):
        wanted: set[tuple[str, str, str]] = set()
        for kind, value in level:
            namespace, metadata = _namespace(value), as_object(value.get("metadata"))
            for one in _controllers(metadata):
                above = str(one.get("kind") or "")
                own = (namespace, kind, str(metadata.get("name") or ""))
                found[own] = (namespace, above, str(one.get("name") or ""))
                if above not in kinds and above not in _NOT_READ:
                    wanted.add((namespace, str(one.get("apiVersion") or ""), above))
        level = [each for one in sorted(wanted - asked) for each in _read(source, one, note)]
        asked |= wanted
    return found


def _controllers(metadata: Mapping[str, object]) -> Iterator[Mapping[str, object]]:
    yield from (one for one in as_objects(metadata.get("ownerReferences")) if one.get("controller") is True)


def _namespace(value: Json) -> str:
    return str(as_object(value.get("metadata")).get("namespace") or "default")


def _read(
    source: ObjectSource, asked: tuple[str, str, str], note: Callable[[str], None]
) -> Iterator[tuple[str, Json]]:
    namespace, api_version, kind = asked
    served = _type(source, api_version, kind)
    if served is None:
        return
    try:
        values = read_or_note(source, ObjectQuery(served, namespace), note)
    except Failure as failure:
        if failure.code is not Exit.NOT_FOUND:
            raise
        return  # the kind is gone, and its objects with it
    yield from ((kind, value) for value in values or ())


def _type(source: ObjectSource, api_version: str, kind: str) -> ResourceType | None:
    """Return a kind as the API server serves it; None if it does not."""
    known = _KNOWN.get(kind)
    if known is not None and api_version in ("", known.api_version):
        return known
    group, _, version = api_version.rpartition("/")
    if isinstance(source, FileSource):
        return ResourceType(group, version, kind, f"{kind.lower()}s", namespaced=True)
    try:
        served = as_object(json.loads(source.text(f"/apis/{api_version}")))
    except (Failure, ValueError):
        return None
    for one in as_objects(served.get("resources")):
        plural = str(one.get("name") or "")
        if one.get("kind") == kind and one.get("namespaced") is True and "/" not in plural:
            return ResourceType(group, version, kind, plural, namespaced=True)
    return None
