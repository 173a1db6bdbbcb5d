"""Pods, workloads and nodes as people name them: what kubectl takes, and a clear word for the rest.

    NAME, pod NAME, pod/NAME       a pod of the namespace that is meant
    NAMESPACE/NAME                 a pod of another one
    deploy/NAME, deploy NAME       a workload; every word of kubectl for its kind

A name that is empty or cannot be one never reaches a server, which would answer something else: an empty name
of a pod means all pods to it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from podnuma.api.resource_types import (
    CRON_JOB,
    DAEMON_SET,
    DEPLOYMENT,
    JOB,
    POD,
    REPLICA_SET,
    REPLICATION_CONTROLLER,
    STATEFUL_SET,
    ResourceType,
)
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.queries import ObjectQuery

_SHORT: Final = {
    POD: ("po",),
    DEPLOYMENT: ("deploy",),
    STATEFUL_SET: ("sts",),
    DAEMON_SET: ("ds",),
    REPLICA_SET: ("rs",),
    REPLICATION_CONTROLLER: ("rc",),
    JOB: (),
    CRON_JOB: ("cj",),
}
_KINDS: Final[Mapping[str, ResourceType]] = {
    word: kind for kind, short in _SHORT.items() for word in (kind.kind.lower(), kind.plural, *short)
}
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?", re.ASCII)
_LONGEST: Final = 253
_NAMESPACE: Final = "namespace"


def checked_name(what: str, name: str) -> str:
    """Return a name that an object can have; Failure(USAGE) for others. `what` it is the name of."""
    if not name:
        raise Failure(Exit.USAGE, f"the name of a {what} is empty; is a variable not set?")
    if len(name) > _LONGEST or not _NAME.fullmatch(name) or (what == _NAMESPACE and "." in name):
        raise Failure(
            Exit.USAGE,
            f"{name!r} is not the name of a {what}: names have lower case letters, digits, '-' and '.'",
        )
    return name


def asked_object(words: Sequence[str], namespace: str) -> ObjectQuery:
    """Return the query for one pod or one workload; Failure(USAGE) for words that name neither."""
    parts = [part for word in words for part in word.split("/")]
    kind = _kind(parts[0]) if len(parts) > 1 else None
    if kind is not None:
        parts = parts[1:]
    if len(parts) == 2 and "/" in "".join(words) and kind in (None, POD):  # noqa: PLR2004 - NAMESPACE/NAME
        namespace, parts = checked_name(_NAMESPACE, parts[0]), parts[1:]
    if len(parts) != 1:
        raise Failure(
            Exit.USAGE,
            f"expected one pod or workload, got {' '.join(words)!r}: "
            "NAME, NAMESPACE/NAME, or for example deploy/NAME",
        )
    asked = kind or POD
    return ObjectQuery(asked, namespace, checked_name(asked.kind.lower(), parts[0]))


def _kind(word: str) -> ResourceType | None:
    """Return the kind for a word of kubectl, also with version or group: deployments.v1.apps."""
    name, _, rest = word.lower().partition(".")
    found = _KINDS.get(name)
    if found is None or not rest:
        return found
    return found if rest in (found.group, found.version, f"{found.version}.{found.group}") else None
