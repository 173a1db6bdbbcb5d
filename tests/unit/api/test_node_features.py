"""What a pod's spec rests on that not every kubelet and runtime has."""

import pytest
from podnuma.api.node_features import features_for_pod, features_of_node
from podnuma.api.scheduling import Obstacle, obstacle, read_pod_constraints, read_schedulable_node

STRICT = {"securityContext": {"supplementalGroupsPolicy": "Strict"}}
RESTART_ALL = {"containers": [{"name": "c", "restartPolicyRules": [{"action": "RestartAllContainers"}]}]}
HOST_NETWORK = {"hostNetwork": True, "hostUsers": False}


def node(version, *declared, groups=None):
    status = {"nodeInfo": {"kubeletVersion": version}, "declaredFeatures": list(declared)}
    if groups is not None:
        status["features"] = {"supplementalGroupsPolicy": groups}
    return status


@pytest.mark.parametrize(
    ("spec", "status", "goes"),
    [
        (STRICT, node("v1.36.3"), False),  # containerd 1 says nothing of it
        (STRICT, node("v1.36.3", groups=False), False),
        (STRICT, node("v1.36.3", groups=True), True),
        (STRICT, node("v1.32.9-eks-1a2b"), True),  # does not look
        (STRICT, {}, True),
        ({"securityContext": {"supplementalGroupsPolicy": "Merge"}}, node("v1.36.3"), True),
        (RESTART_ALL, node("v1.36.3"), False),
        (RESTART_ALL, node("v1.36.3", "RestartAllContainersOnContainerExits"), True),
        (HOST_NETWORK, node("v1.37.2"), False),
        (HOST_NETWORK, node("v1.37.2", "UserNamespacesHostNetworkSupport"), True),
        ({**HOST_NETWORK, "hostUsers": True}, node("v1.37.2"), True),
    ],
)
def test_a_pod_goes_where_kubelet_and_runtime_have_what_it_rests_on(spec, status, goes):
    """kubernetes/kubernetes#130210: kubelets refuse what schedulers do not look at."""
    found = obstacle(
        read_pod_constraints({"spec": spec}),
        read_schedulable_node({"metadata": {"name": "n"}, "status": status}),
        {},
    )
    assert found is (None if goes else Obstacle.FEATURE)


@pytest.mark.parametrize("junk", [{"declaredFeatures": 7}, {"nodeInfo": 3}, {"features": []}])
def test_what_cannot_be_read_says_nothing(junk):
    assert not features_of_node(junk)
    assert features_of_node({"nodeInfo": {"kubeletVersion": "v1.37.2"}, "declaredFeatures": 7}) == frozenset()
    assert features_for_pod({"securityContext": 7, "containers": "x"}) == frozenset()
