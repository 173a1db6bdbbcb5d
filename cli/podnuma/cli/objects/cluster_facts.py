"""What `podnuma check` looks at: version, nodes, kubelets, namespace, rights, and what of podnuma is there.

Read once, each part by itself: a part that this user may not read, or that saved objects do not have, is
None, and the check that needs it says so. Of kubelets the configuration of a few is asked for, through the
API server's node proxy, which only administrators may use.
"""

import datetime as dt
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from podnuma.api.names import OPERATOR_LEASE
from podnuma.api.resource_types import DAEMON_SET, DEPLOYMENT, LEASE, NODE, ResourceType
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.queries import Json, ObjectQuery
from podnuma.cli.objects.sources import AccessReviewer, ManyTexts, ObjectSource, read_if_allowed

KUBELETS_ASKED: Final = 5
_PATIENCE: Final = 5.0  # seconds for all of them; one that is well answers in milliseconds
_OF_LATE: Final = dt.timedelta(minutes=1)
_AT_NO_TIME: Final = dt.datetime.min.replace(tzinfo=dt.UTC)

DEFINITION: Final = ResourceType(
    "apiextensions.k8s.io", "v1", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False
)
ADMISSION_POLICY: Final = ResourceType(
    "admissionregistration.k8s.io",
    "v1",
    "ValidatingAdmissionPolicy",
    "validatingadmissionpolicies",
    namespaced=False,
)


MUTATING_POLICY_BINDING: Final = ResourceType(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingAdmissionPolicyBinding",
    "mutatingadmissionpolicybindings",
    namespaced=False,
)
_CLUSTER_ROLE: Final = ResourceType(
    "rbac.authorization.k8s.io", "v1", "ClusterRole", "clusterroles", namespaced=False
)
_CLUSTER_ROLE_BINDING: Final = ResourceType(
    "rbac.authorization.k8s.io", "v1", "ClusterRoleBinding", "clusterrolebindings", namespaced=False
)
_INSTALLED: Final = (
    DEFINITION,
    ADMISSION_POLICY,
    _CLUSTER_ROLE,
    _CLUSTER_ROLE_BINDING,
    DEPLOYMENT,
    DAEMON_SET,
)


@dataclass(frozen=True, slots=True)
class ClusterFacts:
    """A cluster as one user sees it; None is what could not be read.

    `namespace_object`: empty if there is no such namespace. `kubelets`: the configuration of some, by node;
    `silent`: why others did not answer.
    `lacking`: what of an installation this user may not create, as "create RESOURCE". `read_at`: by this
    machine's clock. `leader`: the operator that renewed its Lease less than a minute before; empty if none.
    """

    namespace: str
    version: str | None
    nodes: tuple[Json, ...] | None
    kubelets: Mapping[str, Json]
    namespace_object: Json | None
    pods: tuple[Json, ...] | None
    definitions: tuple[Json, ...] | None
    policies: tuple[Json, ...] | None
    deployments: tuple[Json, ...] | None
    daemon_sets: tuple[Json, ...] | None
    profiles: tuple[Json, ...] | None
    topologies: tuple[Json, ...] | None
    lacking: tuple[str, ...] | None = None
    mutating_bindings: tuple[Json, ...] | None = None
    read_at: dt.datetime = _AT_NO_TIME
    leader: str = ""
    silent: Mapping[str, str] = field(default_factory=dict)

    @property
    def installed(self) -> bool:
        """Whether an agent or an operator is installed in the namespace, or an operator leads there."""
        return bool(self.leader) or any(
            is_part_of_podnuma(one) for one in (*(self.deployments or ()), *(self.daemon_sets or ()))
        )


def is_part_of_podnuma(value: Mapping[str, Any]) -> bool:
    """Whether the chart, or the manifests rendered from it, made an object."""
    labels = (value.get("metadata") or {}).get("labels") or {}
    return labels.get("app.kubernetes.io/part-of") == "podnuma"


def component_of(value: Mapping[str, Any]) -> str:
    """Return which part of podnuma an object is: "operator" or "agent"."""
    labels = (value.get("metadata") or {}).get("labels") or {}
    return str(labels.get("app.kubernetes.io/component") or "")


def read_facts(source: ObjectSource, namespace: str, now: dt.datetime) -> ClusterFacts:
    """Read everything that this user may read."""
    nodes = _all(source, queries.nodes())
    kubelets, silent = ask_kubelets(source, [str(one["metadata"]["name"]) for one in nodes or ()])
    return ClusterFacts(
        namespace=namespace,
        version=server_version(source),
        nodes=nodes,
        kubelets=kubelets,
        namespace_object=_namespace(source, namespace),
        pods=_all(source, queries.pods()),
        definitions=_all(source, ObjectQuery(DEFINITION)),
        policies=_all(source, ObjectQuery(ADMISSION_POLICY)),
        deployments=_all(source, ObjectQuery(DEPLOYMENT, namespace)),
        daemon_sets=_all(source, ObjectQuery(DAEMON_SET, namespace)),
        profiles=_all(source, queries.node_profiles()),
        topologies=_all(source, queries.node_topologies()),
        lacking=_lacking(source, namespace),
        mutating_bindings=_all(source, ObjectQuery(MUTATING_POLICY_BINDING)),
        read_at=now,
        leader=leader_of(_all(source, ObjectQuery(LEASE, namespace)) or (), now),
        silent=silent,
    )


def leader_of(leases: Iterable[Json], now: dt.datetime) -> str:
    """Return who holds the operator's Lease, if it was renewed of late; clocks may differ by some seconds."""
    for one in leases:
        spec = one.get("spec") or {}
        renewed = read_time(spec.get("renewTime"))
        if one["metadata"]["name"] == OPERATOR_LEASE and renewed and now - renewed < _OF_LATE:
            return str(spec.get("holderIdentity") or "")
    return ""


def read_time(written: object) -> dt.datetime | None:
    """Return a time as the API server writes it; None for anything else."""
    try:
        found = dt.datetime.fromisoformat(str(written))
    except ValueError:
        return None
    return found if found.tzinfo else None


def _lacking(source: ObjectSource, namespace: str) -> tuple[str, ...] | None:
    if not isinstance(source, AccessReviewer):
        return None
    asked = [(kind, namespace if kind.namespaced else "") for kind in _INSTALLED]
    answers = source.may_create(asked)
    return tuple(
        f"create {kind.resource}" for (kind, _), allowed in zip(asked, answers, strict=True) if not allowed
    )


def _all(source: ObjectSource, query: ObjectQuery) -> tuple[Json, ...] | None:
    try:
        found, _ = read_if_allowed(source, query)
    except Failure as failure:
        if failure.code is Exit.NOT_SERVED:
            return ()
        if failure.code is Exit.NOT_FOUND:
            return None
        raise
    return None if found is None else tuple(found)


def _namespace(source: ObjectSource, name: str) -> Json | None:
    try:
        found, _ = read_if_allowed(source, queries.namespaces(name))
    except Failure as failure:
        if failure.code is not Exit.NOT_FOUND:
            raise
        return {}
    return None if found is None else found[0]


def release_of(version: str) -> tuple[int, int] | None:
    """Return the minor release of a version of Kubernetes, ("v1.37.2", "1.37+") as (1, 37)."""
    found = re.match(r"v?(\d{1,4})\.(\d{1,4})", version)
    return (int(found[1]), int(found[2])) if found else None


def server_version(source: ObjectSource) -> str | None:
    """Return the version that the API server states; None for files, or if it may not be read."""
    found = _served(source, "/version")
    version = found.get("gitVersion") if found else None
    return version if isinstance(version, str) else None


def kubelet_configuration_path(node: str) -> str:
    """Return where the API server serves the configuration of a node's kubelet."""
    return NODE.path("", node, "proxy/configz")


def ask_kubelets(source: ObjectSource, nodes: Sequence[str]) -> tuple[dict[str, Json], dict[str, str]]:
    """Return the configuration of the kubelets of a few of these nodes, and why others do not answer.

    Those that this user may not ask are in neither. All are asked at once: a silent one delays no other.
    """
    asked = nodes[:KUBELETS_ASKED]
    if not isinstance(source, ManyTexts) or not asked:
        return {}, {}
    found: dict[str, Json] = {}
    silent: dict[str, str] = {}
    answers = source.texts([kubelet_configuration_path(one) for one in asked], _PATIENCE)
    for node, answer in zip(asked, answers, strict=True):
        if isinstance(answer, Failure):
            if answer.code is not Exit.FORBIDDEN:
                silent[node] = answer.lines[0]
            continue
        config = (_read_json(answer) or {}).get("kubeletconfig")
        if isinstance(config, dict):
            found[node] = config
    return found, silent


def _served(source: ObjectSource, path: str) -> Json | None:
    try:
        return _read_json(source.text(path))
    except Failure:
        return None


def _read_json(text: str) -> Json | None:
    try:
        content = json.loads(text)
    except ValueError:
        return None
    return content if isinstance(content, dict) else None
