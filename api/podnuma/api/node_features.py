"""What the spec of a pod rests on that not every kubelet and runtime has.

    SupplementalGroupsPolicy                securityContext.supplementalGroupsPolicy: Strict
    RestartAllContainersOnContainerExits    restartPolicyRules with the action RestartAllContainers
    UserNamespacesHostNetworkSupport        hostNetwork with hostUsers: false

A node says the first in status.features: kubelets since v1.33 refuse the pod where it is not there, as with
containerd 1, and the scheduler does not look. The last two are in status.declaredFeatures; schedulers since
v1.36 and kubelets look (component-helpers' `nodedeclaredfeatures`, v1.37). What
only resizes need is none of these.

Nothing is known of a node that does not say the version of its kubelet.
"""

import re
from typing import Any, Final

from podnuma.api.stored_json import Json, object_at, objects_at, text_at

GROUPS: Final = "SupplementalGroupsPolicy"
_RESTART_ALL: Final = "RestartAllContainersOnContainerExits"
_HOST_NETWORK: Final = "UserNamespacesHostNetworkSupport"

_VERSION: Final = re.compile(r"v?1\.([0-9]{1,3})\D.*", re.ASCII | re.DOTALL)
_LOOKS_AT_GROUPS: Final = 33


def features_for_pod(spec: Json) -> frozenset[str]:
    """Return what a pod's node has to have. Never raises."""
    found = set()
    if object_at(spec, "securityContext").get("supplementalGroupsPolicy") == "Strict":
        found.add(GROUPS)
    if spec.get("hostNetwork") is True and spec.get("hostUsers") is False:
        found.add(_HOST_NETWORK)
    containers = [one for part in ("initContainers", "containers") for one in objects_at(spec, part)]
    rules = [rule for one in containers for rule in objects_at(one, "restartPolicyRules")]
    if any(rule.get("action") == "RestartAllContainers" for rule in rules):
        found.add(_RESTART_ALL)
    return frozenset(found)


def features_of_node(status: Json) -> frozenset[str] | None:
    """Return what a node has by its status; None if nothing is known. Never raises."""
    version = _VERSION.fullmatch(text_at(object_at(status, "nodeInfo"), "kubeletVersion"))
    if version is None:
        return None
    declared: Any = status.get("declaredFeatures")
    found = {one for one in declared if isinstance(one, str)} if isinstance(declared, list) else set()
    told = object_at(status, "features").get("supplementalGroupsPolicy")
    if told is True or int(version[1]) < _LOOKS_AT_GROUPS:
        found.add(GROUPS)
    return frozenset(found)
