"""A pod as podnuma reads it: who and where it is, and what the allocator decides about.

``read_pod_facts`` is cheap and meant for every pod of a cluster; ``read_pod`` gives the
allocator's request and is called for the few that are decided. Both read what the API server
has stored, defaults filled in; ``pod_defaults`` does that for manifests that were never saved.

What a pod asks for is in its spec, or its budget in an annotation (``asked_resources``).

``status.resources`` is never read: what the kubelet reports there may lack keys after a resize.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from podnuma.allocator import PodRequest, Qos
from podnuma.api import names
from podnuma.api.asked_resources import read_asked_resources
from podnuma.api.decoding import FieldErrors, Fields, choice, text
from podnuma.api.object_metadata import Metadata, read_metadata, subject
from podnuma.api.selector import read_labels

LONGEST_STATIC_UID: Final = 128

POD: Final = "Pod"


class PodPhase(enum.Enum):
    """The phase in a pod's status."""

    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class PodFacts:
    """Who a pod is and where it stands; ``node_name`` is empty until it is bound."""

    metadata: Metadata
    node_name: str
    phase: PodPhase
    labels: Mapping[str, str]
    static_uid: str

    @property
    def uid(self) -> str:
        """The UID of the API object."""
        return self.metadata.uid

    @property
    def uid_on_node(self) -> str:
        """The UID that names the pod's cgroup: a static pod's differs from its mirror's."""
        return self.static_uid or self.metadata.uid

    @property
    def finished(self) -> bool:
        """Whether all containers have ended for good, so that the pod holds nothing."""
        return self.phase in (PodPhase.SUCCEEDED, PodPhase.FAILED)

    @property
    def terminating(self) -> bool:
        """Whether the pod has been deleted; it holds what it has until it is finished or gone."""
        return self.metadata.deleted

    @property
    def bound(self) -> bool:
        return bool(self.node_name)


def read_pod_facts(value: Any) -> PodFacts:
    """Read who a pod is and where it stands. Raises ``InvalidObjectError``."""
    errors = FieldErrors()
    fields = Fields.of(value, "", errors)
    metadata = fields.fields("metadata")
    facts = PodFacts(
        metadata=read_metadata(fields),
        node_name=fields.fields("spec").optional("nodeName", text(253), ""),
        phase=fields.fields("status").optional("phase", choice(PodPhase), PodPhase.PENDING),
        labels=read_labels(metadata),
        static_uid=read_mirror(
            metadata.content, fields.fields("spec").optional("nodeName", text(253), "")
        ).uid,
    )
    errors.check(subject(POD, value))
    return facts


def read_pod(value: Any) -> PodRequest:
    """Read what a pod asks for. Raises ``InvalidObjectError`` with everything wrong with it.

    Refused are also pods that the API server would not have stored: static pods and annotations
    bypass its checks, and the allocator relies on them.
    """
    errors = FieldErrors()
    fields = Fields.of(value, "", errors)
    metadata = read_metadata(fields)
    annotations = fields.fields("metadata").fields("annotations")
    asked = read_asked_resources(fields.fields("spec"), annotations)
    qos = fields.fields("status").maybe("qosClass", choice(Qos))
    if asked.annotated or annotations.has(names.STATIC_POD_MIRROR_ANNOTATION):
        # The stored class knows nothing of an annotation, and the kubelet may have made the mirror of a
        # static pod before the API server knew pod-level resources.
        qos = None
    pod = PodRequest(
        uid=metadata.uid,
        namespace=metadata.namespace,
        name=metadata.name,
        containers=asked.containers,
        pod_requests=asked.pod_requests,
        pod_limits=asked.pod_limits,
        qos=qos,
        overhead=asked.overhead,
    )
    if errors.found:
        errors.check(subject(POD, value))
    return pod


@dataclass(frozen=True, slots=True)
class Mirror:
    """Of which static pod a pod is the mirror: its UID on the node, and the UID of the Node that made it."""

    uid: str = ""
    node_uid: str = ""


NO_MIRROR: Final = Mirror()


def read_mirror(metadata: Any, node: str) -> Mirror:
    """Return what a pod on a node says of a static pod; empty for any other pod. Never raises.

    Whoever may create pods can write the annotations, while the kubelet's mirrors are controlled by their
    Node (since v1.17; the API server lets a node make no others). Whether that Node has this UID is not
    looked at here.
    """
    annotations = metadata.get("annotations") if isinstance(metadata, Mapping) else None
    if not isinstance(annotations, Mapping) or names.STATIC_POD_MIRROR_ANNOTATION not in annotations:
        return NO_MIRROR
    uid = annotations.get(names.STATIC_POD_HASH_ANNOTATION)
    owners = metadata.get("ownerReferences")
    made_by = [
        str(owner.get("uid") or "")
        for owner in (owners if isinstance(owners, list) else ())
        if isinstance(owner, Mapping)
        and (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) == ("v1", "Node", node)
        and owner.get("controller") is True
    ]
    if not made_by or not isinstance(uid, str) or len(uid) > LONGEST_STATIC_UID:
        return NO_MIRROR
    return Mirror(uid, made_by[0])
