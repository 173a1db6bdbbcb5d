"""Why a pod was refused, in at most 250 characters: the cause first, then what would fit.

For events, conditions and tables, where there is one line: "needs 64 CPUs on one NUMA node; the largest
has 12 free. Fits with: pod cpu 12". The kubelet's own words (`Rejected.message`) say which check failed,
this says what is short. Amounts are rounded for people, but for those to fit with: these are exact.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from podnuma.allocator.decision import Admitted, Rejected
from podnuma.allocator.eligibility import Bytes, ExclusiveRequests, empty_cpu_pool, exclusive_requests
from podnuma.allocator.explain.explanation import Explanation
from podnuma.allocator.explain.free import most_grantable
from podnuma.allocator.explain.remarks import AdmissionPath, MergeStep
from podnuma.allocator.explain.suggestions import Suggestion, suggest
from podnuma.allocator.manager_settings import TopologyManagerPolicy
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.quantities import format_rounded
from podnuma.allocator.request import CPU, PodRequest
from podnuma.allocator.resize.decide import ResizeRefused

LONGEST: Final = 250
_FITS_SHOWN: Final = 3


def brief(node: NodeAllocator, pod: PodRequest, found: Explanation) -> str:
    """Return the cause of a refusal on a node and what would fit there; empty for a pod that is admitted."""
    decision = found.decision
    if not isinstance(decision, Rejected):
        return ""
    wanted = exclusive_requests(pod, pod_level_managers=True)
    single = node.settings.topology_manager_policy is TopologyManagerPolicy.SINGLE_NUMA_NODE
    short = _short(wanted, found, single=single)
    causes = (*_empty_pool(wanted, found), *short, *found.remarks, decision.message)
    return _bounded(causes[0], _fits(found.suggestions, found.together))


def brief_resize(node: NodeAllocator, pod: PodRequest, refused: ResizeRefused) -> str:
    """Return why a running pod cannot be resized, and the nearest resizes that would fit."""
    found = suggest(pod, lambda other: isinstance(node.resize(other), Admitted), most_grantable(node))
    return _bounded(refused.message, _fits(found.single, found.together))


def _bounded(cause: str, fits: str) -> str:
    room = LONGEST - len(fits) - (2 if fits else 0)
    if len(cause) > room:
        cause = cause[: room - 3] + "..."
    return f"{cause}. {fits}" if fits else cause


def _fits(single: Sequence[Suggestion], together: Sequence[Suggestion]) -> str:
    """Write the smallest changes, as many as are short."""
    texts = [_change(one) for one in single[:_FITS_SHOWN]]
    if together:
        texts = [" and ".join(map(_change, together))]
    while texts:
        line = "Fits with: " + " or ".join(texts)
        if len(line) <= LONGEST // 2:
            return line
        texts.pop()
    return ""


def _change(one: Suggestion) -> str:
    return f"{one.where} {one.resource} {one.needed}"


def _empty_pool(wanted: ExclusiveRequests, found: Explanation) -> Iterator[str]:
    """Yield the cause that the kubelet hides behind its affinity error: the budget is used up by slices."""
    if found.path is not AdmissionPath.BUBBLE or not wanted.pod_cpus or not empty_cpu_pool(wanted):
        return
    sharing = [one.name for one, cpus in zip(wanted.pod.containers, wanted.cpus, strict=True) if not cpus]
    yield (
        f"containers with CPUs of their own take all {wanted.pod_cpus} CPUs of the budget; "
        f"none is left for {', '.join(sharing)}"
    )


def _short(wanted: ExclusiveRequests, found: Explanation, *, single: bool) -> Iterator[str]:
    """Yield what is short, of the first merge that failed or, without merges, of the whole node."""
    failed = next((step for step in found.steps if step.merged is None), None)
    subject, cpus, memory = _asked(wanted, found, failed)
    needs: dict[str, int] = ({CPU: cpus} if cpus else {}) | dict(memory or {})
    rows = {resource: [row for row in found.free if row.resource == resource] for resource in needs}
    whole = {
        resource: (sum(max(row.free, 0) for row in of_it), sum(row.others for row in of_it))
        for resource, of_it in rows.items()
        if of_it
    }
    if lacking := {one: has for one, has in whole.items() if needs[one] > has[0]}:
        yield f"{subject}needs {_list(needs, lacking)}; the node has {_have(lacking)}"
    if failed is None:
        return
    largest = {}
    for resource, of_it in rows.items():
        best = max(of_it, key=lambda row: row.free, default=None)
        # Several nodes are no way out where only one is allowed, or would be enough if it were empty.
        if best is not None and (single or any(row.grantable >= needs[resource] for row in of_it)):
            largest[resource] = max(best.free, 0), best.others
    if lacking := {one: has for one, has in largest.items() if needs[one] > has[0]}:
        yield f"{subject}needs {_list(needs, lacking)} on one NUMA node; the largest has {_have(lacking)}"


def _list(needs: Mapping[str, int], lacking: Iterable[str]) -> str:
    return " and ".join(_text(resource, needs[resource]) for resource in lacking)


def _have(lacking: Mapping[str, tuple[int, int]]) -> str:
    """Write what is free of what is short, and what others use of it; units where there are several."""
    write = _free if len(lacking) == 1 else _text
    free = " and ".join(write(resource, amount) for resource, (amount, _) in lacking.items())
    return f"{free} free" + "".join(_others(resource, used) for resource, (_, used) in lacking.items())


def _asked(
    wanted: ExclusiveRequests, found: Explanation, failed: MergeStep | None
) -> tuple[str, int, Bytes | None]:
    """Return whose request failed ("" for the pod's), and its CPUs and memory."""
    names = [one.name for one in wanted.pod.containers]
    if found.path is AdmissionPath.CONTAINERS and failed is not None and failed.subject in names:
        place = names.index(failed.subject)
        return f"container {failed.subject} ", wanted.cpus[place], wanted.memory[place]
    if found.path is AdmissionPath.SHARED:
        return "", 0, None
    return "", wanted.pod_cpus, wanted.pod_memory


def _text(resource: str, amount: int) -> str:
    if resource == CPU:
        return "1 CPU" if amount == 1 else f"{amount} CPUs"
    return f"{format_rounded(amount)} {resource}"


def _free(resource: str, amount: int) -> str:
    return str(amount) if resource == CPU else format_rounded(amount)


def _others(resource: str, size: int) -> str:
    return f", {format_rounded(size)} {resource} are in use without a grant" if size else ""
