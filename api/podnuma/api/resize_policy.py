"""Which resizes podnuma does not follow, by the profile's `resize`.

Always true: with `Follow` it follows all; with `WholeCPUsOnly` all but those in which a fraction of a CPU
would cost a pod or container its exclusive CPUs.
"""

from podnuma.allocator.counts import AssignmentType
from podnuma.allocator.decision import PodGrant
from podnuma.allocator.request import CPU, Amounts, PodRequest
from podnuma.api.node_settings import ResizePolicy

_OWN = (AssignmentType.NODE_EXCLUSIVE, AssignmentType.POD_EXCLUSIVE)


def why_ignored(policy: ResizePolicy, held: PodGrant, request: PodRequest) -> str:
    """Return why a profile does not let a resize be followed; empty if it does."""
    match policy:
        case ResizePolicy.FOLLOW:
            return ""
        case ResizePolicy.IGNORE:
            return "the NodeProfile says resize: Ignore; the pod keeps what was decided when it started"
        case ResizePolicy.WHOLE_CPUS_ONLY:
            return _fraction(held, request)


def _fraction(held: PodGrant, request: PodRequest) -> str:
    """Say who would lose exclusive CPUs because it requests a fraction now."""
    keeps = "it keeps its CPUs, since the NodeProfile says resize: WholeCPUsOnly"
    if held.cpus is not None and not _whole(request.pod_requests or {}):
        return f"the budget is not a whole number of CPUs; {keeps}"
    for own, container in zip(held.containers, request.containers, strict=False):
        if own.cpu_assignment in _OWN and not _whole(container.requests):
            return f"container {container.name} does not request a whole number of CPUs; {keeps}"
    return ""


def _whole(requests: Amounts) -> bool:
    amount = requests.get(CPU)
    return amount is not None and amount.integral
