"""The refusals of a decision, with the kubelet's reasons and words.

Inside the allocator a refusal travels as an exception to the one place that turns it into a
Rejected (node_allocator); nothing is changed on the way, so nothing has to be undone. `resource` and
`source` say which error counter the kubelet would raise, None for none.
"""

from podnuma.allocator.decision import Reason


class Refusal(Exception):  # noqa: N818 - an answer, not a fault
    """This pod does not fit here."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message


def unexpected(cause: str) -> Refusal:
    """Wrap an allocation error as the kubelet does."""
    return Refusal(Reason.UNEXPECTED_ADMISSION, f"Allocate failed due to {cause}, which is unexpected")


def not_enough_cpus(requested: int, available: int) -> Refusal:
    """Say that there are fewer CPUs than asked for."""
    return unexpected(
        f"not enough cpus available to satisfy request: requested={requested}, available={available}"
    )


def no_locality(*, pod_level: bool, pod_scope: bool) -> Refusal:
    """Say that the hints have no merge that the policy accepts."""
    if not pod_level:
        text = "Resources cannot be allocated with Topology locality"
    elif pod_scope:
        text = "Pod Scope pod with pod-level resources failed admission under pod-scope topology manager"
    else:
        text = (
            "Pod Scope pod with pod-level resources failed admission with a container-level topology manager"
        )
    return Refusal(Reason.TOPOLOGY_AFFINITY, text)


def uneven_smt(requested: int, per_core: int) -> Refusal:
    """Say that only whole cores are given, and the request is not a whole number of them."""
    return Refusal(
        Reason.SMT_ALIGNMENT,
        f"SMT Alignment Error: requested {requested} cpus not multiple cpus per core = {per_core}",
    )


def not_enough_cores(requested: int, available: int, per_core: int) -> Refusal:
    """Say that only whole cores are given, and too few are free."""
    return Refusal(
        Reason.SMT_ALIGNMENT,
        f"SMT Alignment Error: not enough free physical CPUs: available physical CPUs = {available}, "
        f"requested CPUs = {requested}, CPUs per core = {per_core}",
    )


def empty_pool(text: str) -> Refusal:
    """Say that containers would have to share what no one left over."""
    return Refusal(Reason.EMPTY_POD_SHARED_POOL, text)


def nothing_left_for_others(exclusive: int, left: int, *, strict: bool) -> Refusal:
    """Say that all other pods of the node would have only reserved CPUs left, which they cannot use."""
    why = "with strict-cpu-reservation" if strict else "since kubepods has none of the reserved ones"
    return Refusal(
        Reason.EMPTY_NODE_SHARED_POOL,
        f"the pod would take all {left} CPUs that are left ({exclusive} exclusively), and {why}"
        " no CPU would remain for the containers that share the node",
    )


def unexpected_resize(cause: str) -> Refusal:
    """Say in podnuma's own words why a running pod cannot be resized; the kubelet has none for that."""
    return Refusal(Reason.UNEXPECTED_ADMISSION, cause)


def memory(cause: str) -> Refusal:
    """Say that the memory side failed."""
    return unexpected(f"[memorymanager] {cause}")
