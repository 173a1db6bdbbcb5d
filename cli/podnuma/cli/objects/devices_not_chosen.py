"""The remark on a pod's devices before they are chosen, while their NUMA nodes are unknown.

The scheduler chooses the devices of ResourceClaims, the kubelet those of device plugins, both later than a
plan is made. The operator waits for them; plans and explanations of pods without a decision do not.
"""

from collections.abc import Mapping
from typing import Any

from podnuma.api.device_claims import claims_in_use
from podnuma.api.device_plugins import read_extended_resources


def devices_not_chosen(pod: Mapping[str, Any]) -> str:
    """Return a remark on the devices that the JSON of a pod asks for; empty if there are none."""
    claims = claims_in_use(pod)
    extended = tuple(dict.fromkeys(one.resource for one in read_extended_resources(pod)))
    asked = [f"{', '.join(claims)} (chosen by the scheduler)"] if claims else []
    asked += [f"{', '.join(extended)} (chosen by the node's kubelet)"] if extended else []
    if not asked:
        return ""
    return (
        f"where its devices are is not considered: {', '.join(asked)}; CPUs and memory follow them once "
        "they are chosen, as far as topologyManagerPolicy says"
    )
