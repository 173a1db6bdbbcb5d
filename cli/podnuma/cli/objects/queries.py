"""Queries for objects: one object or a collection, the same for a cluster and for files."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from podnuma.api import names
from podnuma.api.resource_types import (
    DEVICE_CLASS,
    EVENT,
    LIMIT_RANGE,
    NAMESPACE,
    NODE,
    NODE_PROFILE,
    NODE_TOPOLOGY,
    POD,
    POD_ALLOCATION,
    POD_METRICS,
    PRIORITY_CLASS,
    RESOURCE_CLAIM,
    RESOURCE_QUOTA,
    RESOURCE_SLICE,
    RUNTIME_CLASS,
    ResourceType,
)
from podnuma.cli.objects.label_selector import parse_selector

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class ObjectQuery:
    """A query for objects of one kind. `name` empty: all of them.

    `node`: only those on that node; `reporter`: only events that this program has recorded; `labels`: only
    those that this selector matches, written as kubectl's -l takes it.
    """

    type: ResourceType
    namespace: str = ""
    name: str = ""
    node: str = ""
    reporter: str = ""
    labels: str = ""

    @property
    def path(self) -> str:
        """The path at the API server."""
        return self.type.path(self.namespace, self.name)

    @property
    def query(self) -> Mapping[str, str]:
        """The query string: the server selects."""
        wanted = {"spec.nodeName": self.node, "reportingComponent": self.reporter}
        fields = ",".join(f"{field}={text}" for field, text in wanted.items() if text)
        selectors = {"fieldSelector": fields, "labelSelector": self.labels}
        return {name: text for name, text in selectors.items() if text}

    @property
    def label(self) -> str:
        """What to call it in a message."""
        if not self.name:
            return self.type.resource
        within = f"{self.namespace}/" if self.namespace else ""
        return f"{self.type.kind} {within}{self.name}"

    def matches(self, value: Mapping[str, Any]) -> bool:
        """Whether a saved object is an answer."""
        metadata, spec = value.get("metadata") or {}, value.get("spec") or {}
        return (
            value.get("kind") == self.type.kind
            and group_of(value) in (self.type.group, None)
            and self.name in ("", metadata.get("name"))
            and self.namespace in ("", metadata.get("namespace", "default"))
            and self.node in ("", spec.get("nodeName"))
            and self.reporter in ("", value.get("reportingComponent"))
            and (not self.labels or parse_selector(self.labels).matches(metadata.get("labels") or {}))
        )


def group_of(value: Mapping[str, Any]) -> str | None:
    """Return the API group of a saved object, None if it does not say."""
    version = value.get("apiVersion")
    return version.rpartition("/")[0] if isinstance(version, str) else None


def node_topologies(node: str = "") -> ObjectQuery:
    """Query all NodeTopologies, or that of a node."""
    return ObjectQuery(NODE_TOPOLOGY, name=node)


def pod_allocations(node: str = "", namespace: str = "") -> ObjectQuery:
    """Query all PodAllocations, or those of one node, of one namespace."""
    return ObjectQuery(POD_ALLOCATION, namespace, node=node)


def pod_allocation(namespace: str, pod: str) -> ObjectQuery:
    """Query the PodAllocation of a pod."""
    return ObjectQuery(POD_ALLOCATION, namespace, pod)


def pods(namespace: str = "", name: str = "", node: str = "", labels: str = "") -> ObjectQuery:
    """Query all pods, those of a namespace, of a node, with labels, or one."""
    return ObjectQuery(POD, namespace, name, node, labels=labels)


def operator_events(namespace: str) -> ObjectQuery:
    """Query the events of a namespace that the operator has recorded."""
    return ObjectQuery(EVENT, namespace, reporter=names.OPERATOR_MANAGER)


def pod_metrics(namespace: str = "") -> ObjectQuery:
    """Query the current usage of pods, which a metrics server serves."""
    return ObjectQuery(POD_METRICS, namespace)


def resource_claims(namespace: str = "") -> ObjectQuery:
    """Query all ResourceClaims, or those of a namespace."""
    return ObjectQuery(RESOURCE_CLAIM, namespace)


def resource_slices() -> ObjectQuery:
    """Query all ResourceSlices."""
    return ObjectQuery(RESOURCE_SLICE)


def device_classes() -> ObjectQuery:
    """Query all DeviceClasses."""
    return ObjectQuery(DEVICE_CLASS)


def nodes(name: str = "", labels: str = "") -> ObjectQuery:
    """Query all nodes, those with labels, or one."""
    return ObjectQuery(NODE, name=name, labels=labels)


def node_profiles(name: str = "") -> ObjectQuery:
    """Query all NodeProfiles, or one."""
    return ObjectQuery(NODE_PROFILE, name=name)


def limit_ranges(namespace: str) -> ObjectQuery:
    """Query the LimitRanges of a namespace."""
    return ObjectQuery(LIMIT_RANGE, namespace)


def resource_quotas(namespace: str) -> ObjectQuery:
    """Query the ResourceQuotas of a namespace."""
    return ObjectQuery(RESOURCE_QUOTA, namespace)


def runtime_classes() -> ObjectQuery:
    """Query all RuntimeClasses."""
    return ObjectQuery(RUNTIME_CLASS)


def priority_classes() -> ObjectQuery:
    """Query all PriorityClasses."""
    return ObjectQuery(PRIORITY_CLASS)


def namespaces(name: str = "") -> ObjectQuery:
    """Query all namespaces, or one."""
    return ObjectQuery(NAMESPACE, name=name)
