"""Equal questions are answered once: the same request, put to nodes of the same rules in the same state.

A decision depends on these three and not on who the pod is, so what is remembered is an answer without a
name. The replicas of a workload, which equal nodes are filled with, so share one answer, and the parts of
their grants are in memory once.

Requests are the same here when their containers and amounts are the same objects, as those of pods are that
were read from equal manifests: to compare what is in them takes as long as to decide. A request that is
remembered is kept, so that no other object can have the id of one of its parts.

Always true: what is remembered is bounded, and forgotten all at once when there is too much of it.
"""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from podnuma.allocator.decision import PodGrant, Rejected
from podnuma.allocator.request import PodRequest
from podnuma.allocator.topology_hint import TopologyHint

MOST = 256
"""Answers that are remembered, of all nodes of this process."""


@dataclass(frozen=True, slots=True)
class Fits:
    """The pod fits: the grant of the first pod that asked, and the hints by container name."""

    grant: PodGrant
    hints: Mapping[str, TopologyHint]

    def grant_to(self, pod: PodRequest) -> PodGrant:
        """Return the grant of another pod that asks for the same."""
        first = self.grant
        return PodGrant(
            pod.uid,
            pod.namespace,
            pod.name,
            first.scope,
            first.pod_level,
            first.cpus,
            first.memory,
            first.containers,
            first.pod_quota,
            first.pod_shares,
        )


Answer = Fits | Rejected
Question = Hashable


class Answers:
    """What was answered before."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: dict[Question, tuple[Answer, PodRequest]] = {}

    def __len__(self) -> int:
        return len(self._known)

    def get(self, question: Question) -> Answer | None:
        """Return what was answered to a question; None if it is new."""
        known = self._known.get(question)
        return None if known is None else known[0]

    def keep(self, question: Question, answer: Answer, pod: PodRequest) -> None:
        """Remember what was answered to a question about a pod."""
        if len(self._known) >= MOST:
            self._known.clear()
        self._known[question] = answer, pod


def question(state: Hashable, pod: PodRequest) -> Question:
    """Return what an answer depends on; `state` is that of the node (`NodeAllocator.state`)."""
    return (
        state,
        id(pod.containers),
        id(pod.pod_requests),
        id(pod.pod_limits),
        id(pod.overhead),
        pod.qos,
    )
