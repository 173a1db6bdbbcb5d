"""Resource types: what podnuma reads and writes at an API server, and under which paths.

One ``ResourceType`` says all there is to know about a kind: its group and version, the word for it
in URLs and RBAC rules, and whether its objects live in namespaces. Every path, every
``apiVersion`` and ``kind`` of a written object, and every message that names a kind comes from here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from podnuma.api.names import GROUP, VERSION


@dataclass(frozen=True, slots=True)
class ResourceType:
    """A kind of object as an API server serves it; ``group`` is empty for the core group."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool

    @property
    def api_version(self) -> str:
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def type_meta(self) -> dict[str, str]:
        """The fields ``apiVersion`` and ``kind`` of an object."""
        return {"apiVersion": self.api_version, "kind": self.kind}

    @property
    def resource(self) -> str:
        """The resource as ``kubectl auth can-i`` and the names of definitions spell it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, namespace: str = "", name: str = "", subresource: str = "") -> str:
        """Return the path of one object, or of a subresource; without a name that of the collection.

        A collection without a namespace has the objects of all namespaces.
        """
        within = f"namespaces/{namespace}/" if namespace else ""
        root = f"/{'apis' if self.group else 'api'}/{self.api_version}/{within}{self.plural}"
        return "/".join(part for part in (root, name, subresource) if part)

    def status_patch(self, namespace: str, name: str, uid: str, status: Mapping[str, Any]) -> dict[str, Any]:
        """Return what to apply to the status of one object; the UID makes sure that it is that object."""
        place = {"namespace": namespace} if namespace else {}
        return {**self.type_meta, "metadata": {**place, "name": name, "uid": uid}, "status": dict(status)}


def _own(kind: str, plural: str, *, namespaced: bool) -> ResourceType:
    return ResourceType(GROUP, VERSION, kind, plural, namespaced)


NODE_PROFILE: Final = _own("NodeProfile", "nodeprofiles", namespaced=False)
NODE_TOPOLOGY: Final = _own("NodeTopology", "nodetopologies", namespaced=False)
POD_ALLOCATION: Final = _own("PodAllocation", "podallocations", namespaced=True)

POD: Final = ResourceType("", "v1", "Pod", "pods", namespaced=True)
NODE: Final = ResourceType("", "v1", "Node", "nodes", namespaced=False)
NAMESPACE: Final = ResourceType("", "v1", "Namespace", "namespaces", namespaced=False)
LIMIT_RANGE: Final = ResourceType("", "v1", "LimitRange", "limitranges", namespaced=True)
RESOURCE_QUOTA: Final = ResourceType("", "v1", "ResourceQuota", "resourcequotas", namespaced=True)
RUNTIME_CLASS: Final = ResourceType("node.k8s.io", "v1", "RuntimeClass", "runtimeclasses", namespaced=False)
PRIORITY_CLASS: Final = ResourceType(
    "scheduling.k8s.io", "v1", "PriorityClass", "priorityclasses", namespaced=False
)
EVENT: Final = ResourceType("", "v1", "Event", "events", namespaced=True)
LEASE: Final = ResourceType("coordination.k8s.io", "v1", "Lease", "leases", namespaced=True)
DEPLOYMENT: Final = ResourceType("apps", "v1", "Deployment", "deployments", namespaced=True)
DAEMON_SET: Final = ResourceType("apps", "v1", "DaemonSet", "daemonsets", namespaced=True)
REPLICA_SET: Final = ResourceType("apps", "v1", "ReplicaSet", "replicasets", namespaced=True)
STATEFUL_SET: Final = ResourceType("apps", "v1", "StatefulSet", "statefulsets", namespaced=True)
REPLICATION_CONTROLLER: Final = ResourceType(
    "", "v1", "ReplicationController", "replicationcontrollers", namespaced=True
)
JOB: Final = ResourceType("batch", "v1", "Job", "jobs", namespaced=True)
CRON_JOB: Final = ResourceType("batch", "v1", "CronJob", "cronjobs", namespaced=True)
RESOURCE_CLAIM: Final = ResourceType(
    "resource.k8s.io", "v1", "ResourceClaim", "resourceclaims", namespaced=True
)
RESOURCE_SLICE: Final = ResourceType(
    "resource.k8s.io", "v1", "ResourceSlice", "resourceslices", namespaced=False
)
PERSISTENT_VOLUME_CLAIM: Final = ResourceType(
    "", "v1", "PersistentVolumeClaim", "persistentvolumeclaims", namespaced=True
)
PERSISTENT_VOLUME: Final = ResourceType("", "v1", "PersistentVolume", "persistentvolumes", namespaced=False)
DEVICE_CLASS: Final = ResourceType("resource.k8s.io", "v1", "DeviceClass", "deviceclasses", namespaced=False)
NODE_RESOURCE_TOPOLOGY: Final = ResourceType(
    "topology.node.k8s.io", "v1alpha2", "NodeResourceTopology", "noderesourcetopologies", namespaced=False
)
MUTATING_ADMISSION_POLICY_BINDING: Final = ResourceType(
    "admissionregistration.k8s.io",
    "v1",
    "MutatingAdmissionPolicyBinding",
    "mutatingadmissionpolicybindings",
    namespaced=False,
)
SELF_SUBJECT_ACCESS_REVIEW: Final = ResourceType(
    "authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews", namespaced=False
)
POD_METRICS: Final = ResourceType("metrics.k8s.io", "v1beta1", "PodMetrics", "pods", namespaced=True)
