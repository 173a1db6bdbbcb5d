"""The configuration of a kubelet is found where installers keep it, and merged as the kubelet does."""

import json
import textwrap

import pytest
from podnuma.cli.exits import Failure
from podnuma.cli.objects.kubelet_files import merge_patched, read_kubelet

HEAD = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
STATIC = {"cpuManagerPolicy": "static", "reservedSystemCPUs": "0-1"}

CONFIG_MAP = """
apiVersion: v1
kind: ConfigMap
metadata: {name: kubelet-config, namespace: kube-system}
data:
  kubelet: |
    apiVersion: kubelet.config.k8s.io/v1beta1
    kind: KubeletConfiguration
    cpuManagerPolicy: static
    reservedSystemCPUs: 0-1
"""
OPENSHIFT = """
apiVersion: machineconfiguration.openshift.io/v1
kind: KubeletConfig
metadata: {name: static}
spec:
  machineConfigPoolSelector: {matchLabels: {custom-kubelet: static}}
  kubeletConfig: {cpuManagerPolicy: static, reservedSystemCPUs: 0-1}
"""
EKS = """
apiVersion: node.eks.aws/v1alpha1
kind: NodeConfig
spec:
  cluster: {name: c}
  kubelet:
    config: {cpuManagerPolicy: static, reservedSystemCPUs: "4"}
    flags: ["--node-labels=a=b", --reserved-cpus=0-1]
"""
TALOS = """
version: v1alpha1
machine:
  kubelet:
    extraArgs: {reserved-cpus: 0-1, rotate-server-certificates: true}
    extraConfig: {cpuManagerPolicy: static}
"""
K3S = """
write-kubeconfig-mode: "0644"
kubelet-arg: [cpu-manager-policy=static, "reserved-cpus=0-1"]
"""
KUBEADM = """
apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
nodeRegistration:
  kubeletExtraArgs: [{name: reserved-cpus, value: 0-1}]
---
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
cpuManagerPolicy: static
"""
KOPS = """
apiVersion: kops.k8s.io/v1alpha2
kind: InstanceGroup
spec: {role: Node, kubelet: {cpuManagerPolicy: static, reservedSystemCPUs: 0-1}}
"""
KIND = """
kind: Cluster
apiVersion: kind.x-k8s.io/v1alpha4
nodes:
- role: worker
  kubeadmConfigPatches:
  - |
    kind: KubeletConfiguration
    cpuManagerPolicy: static
    reservedSystemCPUs: 0-1
"""
KUBESPRAY = """
kubelet_cpu_manager_policy: static
kubelet_max_pods: 110
kubelet_config_extra_args: {reservedSystemCPUs: 0-1}
"""
KUBESPRAY_FLAGS = """
kubelet_custom_flags: [--cpu-manager-policy=static, --reserved-cpus=0-1]
"""
RKE = """
services:
  kubelet:
    extra_args: {cpu_manager_policy: static, reserved-cpus: 0-1}
"""
BOTTLEROCKET = """
[settings.kubernetes]
cpu-manager-policy = "static"
reserved-cpus = "0-1"
"""
NODE_CLASS = """
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
spec:
  userData: |
    [settings.kubernetes]
    cpu-manager-policy = "static"
    reserved-cpus = "0-1"
"""
ENVIRONMENT = """
# KUBELET_EXTRA_ARGS="--reserved-cpus=7"
KUBELET_KUBEADM_ARGS="--node-ip=10.0.0.1 --cpu-manager-policy=static --reserved-cpus 0-1"
"""
UNIT = """
[Service]
ExecStart=/usr/bin/kubelet \\
  --cpu-manager-policy=static \\
  --reserved-cpus='0-1'
"""
USER_DATA = """
#!/bin/bash
/etc/eks/bootstrap.sh cluster --kubelet-extra-args '--cpu-manager-policy=static --reserved-cpus=0-1'
"""
SERVED = json.dumps({"kubeletconfig": {**STATIC, "reservedMemory": None}})


@pytest.fixture
def file(tmp_path):
    def write(text, name="kubelet.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return str(path)

    return write


@pytest.mark.parametrize(
    ("text", "where"),
    [
        (f"{HEAD}cpuManagerPolicy: static\nreservedSystemCPUs: 0-1\n", ""),
        (SERVED, ""),
        (CONFIG_MAP, "data.kubelet"),
        (OPENSHIFT, "spec.kubeletConfig"),
        (EKS, "spec.kubelet.config; spec.kubelet.flags"),
        (TALOS, "machine.kubelet.extraArgs; machine.kubelet.extraConfig"),
        (K3S, "kubelet-arg"),
        (KUBEADM, "nodeRegistration.kubeletExtraArgs"),
        (KOPS, "spec.kubelet"),
        (KIND, "nodes[0].kubeadmConfigPatches[0]"),
        (KUBESPRAY, "the variables at its top"),
        (KUBESPRAY_FLAGS, "kubelet_custom_flags"),
        (RKE, "services.kubelet.extra_args"),
        (BOTTLEROCKET, "settings.kubernetes"),
        (NODE_CLASS, "spec.userData.settings.kubernetes"),
        (ENVIRONMENT, "the flags in it"),
        (UNIT, "the flags in it"),
        (USER_DATA, "the flags in it"),
        (json.dumps(STATIC), "the fields at its top"),
        (json.dumps({"kubeletConfig": STATIC}), "kubeletConfig"),
    ],
)
def test_it_is_found_where_installers_keep_it(file, text, where):
    path = file(text)
    found = read_kubelet([path])
    assert {field: found.fields.get(field) for field in STATIC} == STATIC
    assert found.where == "; ".join(f"{path}: {one}" for one in where.split("; ") if one)


def test_managed_nodes_write_some_names_otherwise(file):
    aks = json.dumps({"cpuManagerPolicy": "static", "cpuCfsQuota": True, "cpuCfsQuotaPeriod": "200ms"})
    assert read_kubelet([file(aks)]).fields == {
        "cpuManagerPolicy": "static",
        "cpuCFSQuota": True,
        "cpuCFSQuotaPeriod": "200ms",
    }
    gke = (
        "kubeletConfig: {topologyManager: {policy: restricted, scope: pod}, memoryManager: {policy: Static}}"
    )
    assert read_kubelet([file(gke)]).fields == {
        "topologyManagerPolicy": "restricted",
        "topologyManagerScope": "pod",
        "memoryManagerPolicy": "Static",
    }


def test_flags_are_read_as_the_kubelet_reads_them(file):
    flags = """
    kubelet-arg:
    - cpu-manager-policy-options=full-pcpus-only=true,strict-cpu-reservation=true
    - --reserved-memory=0:memory=1Gi,hugepages-2Mi=4Mi;1:memory=512Mi
    - kube-reserved=cpu=500m,memory=1Gi
    - cpu-cfs-quota=false
    - node-ip=10.0.0.1
    """
    assert read_kubelet([file(flags)]).fields == {
        "cpuManagerPolicyOptions": {"full-pcpus-only": "true", "strict-cpu-reservation": "true"},
        "reservedMemory": [
            {"numaNode": 0, "limits": {"memory": "1Gi", "hugepages-2Mi": "4Mi"}},
            {"numaNode": 1, "limits": {"memory": "512Mi"}},
        ],
        "kubeReserved": {"cpu": "500m", "memory": "1Gi"},
        "cpuCFSQuota": False,
    }


def test_bottlerocket_writes_options_as_lists_and_amounts_as_objects(file):
    text = """
    [settings.kubernetes]
    cpu-manager-policy-options = ["full-pcpus-only", "strict-cpu-reservation"]
    topology-manager-policy-options = {max-allowable-numa-nodes = "16"}
    cpu-cfs-quota-enforced = false
    kube-reserved = {cpu = "500m", memory = "1Gi"}
    """
    assert read_kubelet([file(text)]).fields == {
        "cpuManagerPolicyOptions": {"full-pcpus-only": "true", "strict-cpu-reservation": "true"},
        "topologyManagerPolicyOptions": {"max-allowable-numa-nodes": "16"},
        "cpuCFSQuota": False,
        "kubeReserved": {"cpu": "500m", "memory": "1Gi"},
    }


def test_kubespray_writes_options_as_pairs(file):
    text = "kubelet_cpu_manager_policy_options: [full-pcpus-only=true, align-by-socket=false]"
    options = {"full-pcpus-only": "true", "align-by-socket": "false"}
    assert read_kubelet([file(text)]).fields == {"cpuManagerPolicyOptions": options}


def test_a_command_line_that_names_a_configuration_says_so(file):
    path = file("/usr/bin/kubelet --config=/var/lib/kubelet/config.yaml --cpu-manager-policy=static")
    named = "(/var/lib/kubelet/config.yaml, which it names, is another file of the kubelet)"
    assert read_kubelet([path]).where == f"{path}: the flags in it {named}"


def test_flags_win_over_files_wherever_they_are_named(file):
    flags = file("--cpu-manager-policy=static", "kubelet.args")
    base = file(f"{HEAD}cpuManagerPolicy: none\n")
    for names in ([flags, base], [base, flags]):
        assert read_kubelet(names).fields["cpuManagerPolicy"] == "static"


def test_a_text_without_flags_of_a_kubelet_is_none(file):
    with pytest.raises(Failure) as failed:
        read_kubelet([file("ExecStart=/usr/bin/kubelet --v=2")])
    assert "expected an object" in failed.value.lines[0]


def test_in_drop_in_files_upper_and_lower_case_of_a_field_are_the_same(file, tmp_path):
    """The kubelet merges them as JSON, which Go reads so; its own file it reads by the letter."""
    base = file(f"{HEAD}cpuManagerPolicy: none\ncpucfsquota: false\n")
    file(f"{HEAD}cpumanagerpolicy: static\n", "kubelet.conf.d/10-cpu.conf")
    fields = read_kubelet([base, str(tmp_path / "kubelet.conf.d")]).fields
    assert (fields["cpuManagerPolicy"], "cpuCFSQuota" in fields) == ("static", False)


def test_drop_in_files_are_merged_in_the_order_of_their_names(file, tmp_path):
    """As the kubelet does: also of folders within, and nothing that does not end in .conf."""
    base = file(
        f"{HEAD}cpuManagerPolicy: none\nmaxPods: 110\nsystemReserved: {{cpu: '1', memory: 1Gi}}\n"
        "reservedMemory: [{numaNode: 0, limits: {memory: 1Gi}}]\n"
    )
    file(f"{HEAD}cpuManagerPolicy: static\nmaxPods: null\n", "kubelet.conf.d/10-cpu.conf")
    file(f"{HEAD}systemReserved: {{cpu: '2'}}\nreservedMemory: []\n", "kubelet.conf.d/20/a.conf")
    file(f"{HEAD}cpuManagerPolicy: broken\n", "kubelet.conf.d/30-cpu.conf.bak")
    fields = read_kubelet([base, str(tmp_path / "kubelet.conf.d")]).fields
    assert {key: value for key, value in fields.items() if key not in ("apiVersion", "kind")} == {
        "cpuManagerPolicy": "static",
        "systemReserved": {"cpu": "2", "memory": "1Gi"},
        "reservedMemory": [],
    }


@pytest.mark.parametrize(
    ("base", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": "foo"}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ],
)
def test_objects_are_merged_as_rfc_7386_says(base, patch, result):
    assert merge_patched(base, patch) == result


def test_files_without_one_or_with_several_are_named(file, tmp_path):
    (tmp_path / "empty").mkdir()
    nothing, several = file("kind: Pod", "pod.yaml"), file(f"{HEAD}---\n{HEAD}", "two.yaml")
    with pytest.raises(Failure) as failed:
        read_kubelet([nothing, several, str(tmp_path / "empty")])
    assert [line.partition(": ")[2][:40] for line in failed.value.lines] == [
        "no configuration of a kubelet is in it; ",
        "expected one KubeletConfiguration, found",
        "this folder has no file ending in .conf,",
    ]
