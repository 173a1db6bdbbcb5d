"""The condition that a refused pod carries while it exists: ``podnuma.dev/Admitted`` False, and why.

It is the operator's only field of a pod, applied to its status under the operator's own field manager and
taken away when the pod is admitted after all. Pods that were admitted at once never get one.
"""

from collections.abc import Mapping
from typing import Any, Final

from podnuma.api import names
from podnuma.api.conditions import Status
from podnuma.api.resource_types import POD

ADMITTED_CONDITION: Final = f"{names.GROUP}/Admitted"


def told_refusal(pod: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return reason and message of the condition on a pod; None if it carries none."""
    status = pod.get("status")
    conditions = status.get("conditions") if isinstance(status, Mapping) else None
    for one in conditions if isinstance(conditions, list) else ():
        if isinstance(one, Mapping) and one.get("type") == ADMITTED_CONDITION:
            return str(one.get("reason") or ""), str(one.get("message") or "")
    return None


def render_pod_condition(
    namespace: str, name: str, uid: str, refusal: tuple[str, str] | None, moment: str
) -> dict[str, Any]:
    """Render what to apply to the status of a pod: its refusal since ``moment``, or none any more."""
    if refusal is None:
        patch = POD.status_patch(namespace, name, uid, {})
        del patch["status"]  # an empty one would leave the field manager behind
        return patch
    reason, message = refusal
    condition = {
        "type": ADMITTED_CONDITION,
        "status": Status.FALSE.value,
        "reason": reason,
        "message": message,
        "lastTransitionTime": moment,
    }
    return POD.status_patch(namespace, name, uid, {"conditions": [condition]})
