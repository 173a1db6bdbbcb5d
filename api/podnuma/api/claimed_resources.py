"""CPU, memory and huge pages of the node that a pod has by its ResourceClaims, beside what its spec asks for.

    Pod  status.nodeAllocatableResourceClaimStatuses[]
           mapping[].{name,quantity}                  of the devices themselves
           overhead[].{name,perPod,perContainer}      of having them; `containers` use the claim
           resources{}                                v1.36: both together

The scheduler writes them where the gate DRANodeAllocatableResources is on (alpha in v1.36 and v1.37), as for
CPUs of a DRA driver, and counts them with what the pod requests; so does the kubelet in the pod's status.

Reading never fails: an amount that cannot be read counts as none.
"""

from collections.abc import Iterator
from typing import Any

from podnuma.api.quantity import read_quantity
from podnuma.api.stored_json import Json, object_at, objects_at, text_at


def claimed_resources(status: Json) -> dict[str, int]:
    """Return what the status of a pod says that its claims take of the node, in billionths."""
    found: dict[str, int] = {}
    for claim in objects_at(status, "nodeAllocatableResourceClaimStatuses"):
        for resource, amount in _amounts(claim):
            found[resource] = found.get(resource, 0) + amount
    return found


def _amounts(claim: Json) -> Iterator[tuple[str, int]]:
    for one in objects_at(claim, "mapping"):
        yield text_at(one, "name"), _nano(one.get("quantity"))
    containers = claim.get("containers")
    users = len(containers) if isinstance(containers, list) else 0
    for one in objects_at(claim, "overhead"):
        yield text_at(one, "name"), _nano(one.get("perPod")) + users * _nano(one.get("perContainer"))
    for resource, amount in object_at(claim, "resources").items():
        yield resource, _nano(amount)


def _nano(amount: Any) -> int:
    try:
        return read_quantity(amount).nano
    except ValueError:
        return 0
