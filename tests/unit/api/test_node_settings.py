"""Settings are those of KubeletConfiguration, and nothing of them gets lost on the way."""

import pytest
from hypothesis import given
from podnuma.allocator import (
    CpuManagerPolicy,
    KubeletRelease,
    ManagerSettings,
    MemoryManagerPolicy,
    Quantity,
    ReservedMemory,
    TopologyManagerPolicy,
    TopologyManagerScope,
    cpuset,
)
from podnuma.api.decoding import FieldErrors, Fields, InvalidObjectError
from podnuma.api.node_settings import (
    Management,
    NodeSettings,
    PodPolicy,
    read_node_settings,
    render_node_settings,
)
from podnuma.api.selector import LabelSelector

from tests.unit.api.objects import node_settings

# A kubelet configuration file, as kubelets with these managers have it.
KUBELET = {
    "kind": "KubeletConfiguration",
    "cpuManagerPolicy": "static",
    "cpuManagerPolicyOptions": {"full-pcpus-only": "true"},
    "cpuManagerReconcilePeriod": "10s",
    "cpuCFSQuota": True,
    "cpuCFSQuotaPeriod": "100ms",
    "memoryManagerPolicy": "Static",
    "reservedMemory": [{"numaNode": 0, "limits": {"memory": "1Gi", "hugepages-1Gi": 2147483648}}],
    "reservedSystemCPUs": "0-1,64-65",
    "kubeReserved": {"cpu": "500m", "memory": "1Gi"},
    "topologyManagerPolicy": "single-numa-node",
    "topologyManagerScope": "pod",
    "topologyManagerPolicyOptions": {"prefer-closest-numa-nodes": "true"},
}


def read(spec, release=KubeletRelease.V1_38) -> NodeSettings:
    fields = Fields.of(spec, "spec", FieldErrors())
    found = read_node_settings(fields, release)
    fields.errors.check("NodeProfile a")
    return found


def test_a_kubelet_configuration_can_be_pasted():
    assert read(KUBELET).managers == ManagerSettings(
        cpu_manager_policy=CpuManagerPolicy.STATIC,
        cpu_manager_policy_options={"full-pcpus-only": "true"},
        reserved_system_cpus=cpuset.of([0, 1, 64, 65]),
        reserved_cpu=None,
        memory_manager_policy=MemoryManagerPolicy.STATIC,
        reserved_memory=(ReservedMemory(0, {"memory": 2**30, "hugepages-1Gi": 2**31}),),
        topology_manager_policy=TopologyManagerPolicy.SINGLE_NUMA_NODE,
        topology_manager_scope=TopologyManagerScope.POD,
        topology_manager_policy_options={"prefer-closest-numa-nodes": "true"},
        cfs_quota=True,
        cfs_quota_period=100_000,
    )


def test_nothing_set_is_what_the_kubelet_does_by_default():
    assert read({}) == NodeSettings(ManagerSettings(), PodPolicy())


def test_reserved_amounts_add_up_unless_cpus_are_listed():
    amounts = {"kubeReserved": {"cpu": "500m"}, "systemReserved": {"cpu": "1.5", "memory": "1Gi"}}
    assert read(amounts).managers.reserved_cpu == Quantity(2 * 10**9)
    listed = read({**amounts, "reservedSystemCPUs": "3"}).managers
    assert (listed.reserved_cpu, listed.reserved_system_cpus) == (None, cpuset.of([3]))
    assert read({**amounts, "reservedSystemCPUs": ""}).managers.reserved_cpu == Quantity(2 * 10**9)


@pytest.mark.parametrize(
    ("period", "micros"), [("5ms", 5_000), ("1s", 1_000_000), ("2500us", 2_500), ("100ms", 100_000)]
)
def test_the_quota_period_is_a_go_duration(period, micros):
    assert read({"cpuCFSQuotaPeriod": period}).managers.cfs_quota_period == micros


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"cpuManagerPolicy": "Static"}, 'spec.cpuManagerPolicy "Static": must be one of none, static'),
        ({"topologyManagerPolicy": "strict"}, "must be one of none, best-effort, restricted, single-numa"),
        ({"memoryManagerPolicy": "static"}, "must be one of None, Static"),
        ({"reservedSystemCPUs": "9-3"}, 'spec.reservedSystemCPUs "9-3": .*write 3-9'),
        ({"reservedSystemCPUs": "0, 1"}, "is not an id or a range"),
        ({"reservedSystemCPUs": 0}, "spec.reservedSystemCPUs 0: must be a string"),
        ({"kubeReserved": {"cpu": "one"}}, r"spec.kubeReserved\[cpu\] \"one\": .*is not a quantity"),
        ({"reservedMemory": [{"limits": {}}]}, r"spec.reservedMemory\[0\].numaNode: is required"),
        ({"cpuCFSQuotaPeriod": "0.1s"}, "write a whole number with us, ms or s, for example 100ms"),
        ({"mode": "Dry"}, "must be one of Enforce, Audit"),
    ],
)
def test_a_bad_value_is_named_with_what_to_write(spec, words):
    with pytest.raises(InvalidObjectError, match=words):
        read(spec)


def test_all_bad_values_are_named_at_once():
    with pytest.raises(InvalidObjectError) as caught:
        read({"mode": "Dry", "onRejection": "Kill", "reservedMemory": [{"numaNode": -1}]})
    assert [problem.path for problem in caught.value.errors] == [
        "spec.reservedMemory[0].numaNode",
        "spec.onRejection",
        "spec.mode",
    ]


@given(node_settings())
def test_settings_are_read_as_they_were_rendered(node):
    assert read(render_node_settings(node), node.managers.kubelet_release) == node


def test_all_pods_are_managed_unless_they_have_to_ask():
    asks = {"podnuma.dev/managed": "true"}
    assert PodPolicy().manages({}, {})
    opt_in = PodPolicy(management=Management.OPT_IN)
    assert opt_in.manages(asks, {})
    assert not opt_in.manages({}, {})
    assert not opt_in.manages({"podnuma.dev/managed": "yes"}, {})


def test_pod_and_namespace_must_both_be_selected():
    pod_policy = PodPolicy(
        pod_selector=LabelSelector({"app": "db"}), namespace_selector=LabelSelector({"team": "a"})
    )
    assert pod_policy.manages({"app": "db"}, {"team": "a"})
    assert not pod_policy.manages({"app": "db"}, {"team": "b"})
    assert not pod_policy.manages({"app": "web"}, {"team": "a"})
