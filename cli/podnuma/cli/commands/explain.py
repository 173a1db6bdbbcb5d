"""`podnuma explain`: one pod's decision, step by step, and what the kernel says now.

Two things are told apart. What *is* stands in the PodAllocation: what was decided, what the agent
wrote, what the kernel reports. What the allocator *would* decide now is worked out anew, on the node
as it is without this pod; for a pod that was refused, that is why, and what would make it fit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from podnuma.allocator import Pod
from podnuma.allocator.explain import Explanation, explain
from podnuma.api.pod import read_pod
from podnuma.api.pod_allocation import Phase, PodAllocation, Verdict, read_pod_allocation
from podnuma.api.pod_defaults import with_api_defaults
from podnuma.api.reading import ApiError
from podnuma.cli import documents, explain_report, output, reading, wanted
from podnuma.cli.candidates import Candidate, candidate
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.forms import Form
from podnuma.cli.sources import Json, Source
from podnuma.cli.workloads import first_pod


@dataclass(frozen=True, slots=True)
class Explained:
    """A pod, what is stored about it (None: nothing), the node, and what would be decided there now."""

    pod: Pod
    managed: bool
    stored: PodAllocation | None
    node: Candidate
    now: Explanation

    @property
    def well(self) -> bool:
        """Whether the pod fits and, if it is applied, the kernel has what was decided."""
        if self.stored is None:
            return not self.managed or explain_report.admitted(self.now)
        wrong = (Phase.REJECTED, Phase.DRIFTED)
        late = any(one.verdict is Verdict.NOT_PINNED for one in self.stored.status.containers)
        return self.stored.decision.admitted and self.stored.status.phase not in wrong and not late


def key_of(words: Sequence[str], namespace: str) -> tuple[str, str]:
    """Return namespace and name from "NAME", "NAMESPACE/NAME", "pod NAME" or "pod/NAME"."""
    rest = list(words)
    if len(rest) > 1 and rest[0] in ("pod", "pods", "po"):
        rest = rest[1:]
    if len(rest) != 1:
        raise Failure(Exit.USAGE, f"one pod is expected, this is {' '.join(words)!r}")
    first, slash, name = rest[0].removeprefix("pod/").partition("/")
    return (first, name) if slash else (namespace, first)


def from_manifests(files: Sequence[str], namespace: str) -> Json:
    """Return the first pod of some manifests: one that was refused may be gone already."""
    return first_pod(documents.read(files), namespace)


def answer(source: Source, key: tuple[str, str], node: str, form: Form, manifest: Json | None = None) -> Exit:
    """Explain one pod; NO if it is refused, drifted or not pinned. `node`: ask this one, not its own."""
    explained = gather(source, *key, node, manifest)
    for note in explained.node.notes:
        output.note(note)
    if form.for_programs:
        output.dump(explain_report.as_data(explained), form)
    else:
        output.write(explain_report.as_text(explained, wide=form is Form.WIDE))
    return Exit.OK if explained.well else Exit.NO


def gather(source: Source, namespace: str, name: str, node: str, manifest: Json | None = None) -> Explained:
    """Read everything about a pod and its node. Failure names what is missing."""
    value = manifest or source.find(wanted.pods(namespace, name))
    allocation = None if manifest else source.find(wanted.allocation(namespace, name))
    if value is None:
        raise Failure(
            Exit.NOT_FOUND,
            f"there is no pod {namespace}/{name}; "
            "if it was evicted, explain its manifest: -f FILE --node NODE",
        )
    where = node or _node_of(value, allocation)
    if not where:
        raise Failure(
            Exit.NOT_FOUND,
            f"pod {namespace}/{name} is on no node yet; name one with --node NODE to see what would happen",
        )
    topologies, allocations = source.fetch(wanted.topologies(where), wanted.allocations(where))
    topology = reading.topology_of(topologies[0])
    asked = candidate(topology, allocations, topology.node)
    pod = _read(_in_namespace(value, namespace))
    return Explained(
        pod=pod,
        managed=_managed(source, asked, value),
        stored=_stored(allocation) if not node or node == _node_of(value, allocation) else None,
        node=asked,
        now=explain(asked.node, pod),
    )


def _node_of(pod: Json, allocation: Json | None) -> str:
    bound: str = (pod.get("spec") or {}).get("nodeName") or ""
    return bound or ((allocation or {}).get("spec") or {}).get("nodeName", "")


def _in_namespace(pod: Json, namespace: str) -> Json:
    """Name the namespace, which a manifest that was never saved may leave out."""
    return {**pod, "metadata": {"namespace": namespace, **(pod.get("metadata") or {})}}


def _read(value: Mapping[str, Any]) -> Pod:
    try:
        return read_pod(with_api_defaults(value))
    except ApiError as error:
        raise Failure(Exit.INPUT, *(f"{error.subject}, {problem}" for problem in error.problems)) from error


def _stored(value: Json | None) -> PodAllocation | None:
    if value is None:
        return None
    try:
        return read_pod_allocation(value)
    except ApiError as error:
        raise Failure(Exit.INPUT, *(f"{error.subject}, {problem}" for problem in error.problems)) from error


def _managed(source: Source, node: Candidate, pod: Json) -> bool:
    metadata = pod.get("metadata") or {}
    space = source.find(wanted.namespaces(metadata.get("namespace", "default")))
    labels = ((space or {}).get("metadata") or {}).get("labels") or {}
    return node.settings.handling.manages(metadata.get("labels") or {}, labels)
