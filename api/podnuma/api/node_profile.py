"""NodeProfile: how the nodes it selects give CPUs and memory to pods. What people keep in git.

Of the profiles that select a node the one with the highest priority wins, then the first by
name. The operator renders the winner's settings into the NodeTopology of the node.
"""

import enum
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Final

from podnuma.api.conditions import Condition, read_conditions, render_conditions
from podnuma.api.decoding import ABSENT, FieldError, FieldErrors, Fields, choice, integer
from podnuma.api.node_settings import KubeletVersion, NodeSettings, read_node_settings
from podnuma.api.object_metadata import Metadata, read_metadata, subject
from podnuma.api.resource_types import NODE_PROFILE
from podnuma.api.selector import LabelSelector, read_selector

MAX_NODES: Final = 256
"""Nodes that a status lists; its counts are complete."""

HIGHEST_PRIORITY: Final = 1_000_000_000


class MatchState(enum.Enum):
    """How a matched node stands to the profile."""

    APPLIED = "Applied"
    PENDING = "Pending"
    REFUSED = "Refused"
    OVERRIDDEN = "Overridden"


@dataclass(frozen=True, slots=True)
class NodeProfile:
    """A profile as stored. ``conditions`` are those of its status, for transition times.

    ``node_kubelet``: CPUs are taken as the kubelet of each node would; ``node`` says as the newest.
    ``unreadable`` are the errors in the status, which decides nothing.
    """

    metadata: Metadata
    node_selector: LabelSelector
    priority: int
    node: NodeSettings
    conditions: tuple[Condition, ...] = ()
    node_kubelet: bool = False
    unreadable: tuple[FieldError, ...] = ()

    @property
    def name(self) -> str:
        return self.metadata.name

    def settings_on(self, kubelet_version: str) -> NodeSettings:
        """Return the settings for a node whose kubelet has this version; "" if it is not known."""
        if not self.node_kubelet:
            return self.node
        release = KubeletVersion.NODE.release(kubelet_version)
        return replace(self.node, managers=replace(self.node.managers, kubelet_release=release))

    @property
    def rank(self) -> tuple[int, str]:
        """The winner of several profiles on a node is the one with the smallest rank."""
        return (-self.priority, self.name)


@dataclass(frozen=True, slots=True)
class MatchedNode:
    """A node in the status of a profile. ``rejected``: pods that are refused there by its settings."""

    name: str
    state: MatchState
    reason: str = ""
    message: str = ""
    rejected: int = 0


@dataclass(frozen=True, slots=True)
class NodeProfileStatus:
    """What the operator found about a profile."""

    observed_generation: int
    nodes: tuple[MatchedNode, ...]
    conditions: tuple[Condition, ...]


def read_node_profile(value: Any) -> NodeProfile:
    """Read the profile in a JSON object.

    Raises ``InvalidObjectError`` with everything wrong with its spec. What is wrong with its status stands
    in ``unreadable``.
    """
    errors, unreadable = FieldErrors(), FieldErrors()
    fields = Fields.of(value, "", errors)
    spec = fields.fields("spec")
    if not spec.has("nodeSelector"):
        errors.add("spec.nodeSelector", ABSENT, "is required; write {} to select all nodes")
    version = spec.optional("kubeletVersion", choice(KubeletVersion), KubeletVersion.NEWEST)
    profile = NodeProfile(
        metadata=read_metadata(fields),
        node_selector=read_selector(spec, "nodeSelector"),
        priority=spec.optional("priority", integer(-HIGHEST_PRIORITY, HIGHEST_PRIORITY), 0),
        node=read_node_settings(spec, version.release("")),
        conditions=read_conditions(fields.tolerant("status", unreadable)),
        node_kubelet=version is KubeletVersion.NODE,
        unreadable=tuple(unreadable.found),
    )
    errors.check(subject(NODE_PROFILE.kind, value))
    return profile


def render_node_profile_status(status: NodeProfileStatus) -> dict[str, Any]:
    """Render the JSON of a status: counts of all nodes, and the nodes most in need of attention."""
    by_need = sorted(status.nodes, key=lambda node: (_NEED.index(node.state), node.name))
    return {
        "observedGeneration": status.observed_generation,
        "nodesMatched": len(status.nodes),
        "nodesApplied": _count(status.nodes, MatchState.APPLIED),
        "nodesRefused": _count(status.nodes, MatchState.REFUSED),
        "podsRejected": sum(node.rejected for node in status.nodes),
        "nodes": [_render_node(node) for node in by_need[:MAX_NODES]],
        "conditions": render_conditions(status.conditions),
    }


_NEED: Final = (MatchState.REFUSED, MatchState.PENDING, MatchState.OVERRIDDEN, MatchState.APPLIED)


def _count(nodes: Iterable[MatchedNode], state: MatchState) -> int:
    return sum(node.state is state for node in nodes)


def _render_node(node: MatchedNode) -> dict[str, Any]:
    body = {"name": node.name, "state": node.state.value}
    if node.reason:
        body["reason"] = node.reason[:1024]
    if node.message:
        body["message"] = node.message[:1024]
    return body
