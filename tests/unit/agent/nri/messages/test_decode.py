import pytest
from podnuma.agent.nri.messages import decode
from podnuma.agent.nri.messages import nri_pb2 as pb
from podnuma.agent.nri.values import (
    ContainerUpdate,
    LinuxResources,
    NriContainer,
    NriContainerState,
    PodSandbox,
    RuntimeInfo,
)


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("v0.12.3", (0, 12, 3)),
        ("0.11.0", (0, 11, 0)),
        ("v0.12.1-0.20260714101530-0123456789ab", (0, 12, 0)),
        ("v0.12.0-rc.1", (0, 12, 0)),
        ("", None),
        ("(devel)", None),
        ("v9999999.0.0", None),
    ],
)
def test_version_is_the_release_that_the_runtime_has_at_least(text, version):
    assert decode.nri_version(text) == version


def test_timeouts_come_in_milliseconds():
    message = pb.ConfigureRequest(
        runtime_name="containerd", runtime_version="v2", registration_timeout=5000, request_timeout=1500
    )
    assert decode.runtime_info(message) == RuntimeInfo("containerd", "v2", None, 5.0, 1.5)


def test_runtime_that_tells_no_timeouts_has_those_of_the_go_library():
    assert decode.runtime_info(pb.ConfigureRequest(runtime_name="cri-o")) == RuntimeInfo(
        "cri-o", "", None, 5.0, 2.0
    )


def test_absent_resources_are_none_and_zero_is_zero():
    assert decode.linux_resources(pb.LinuxResources()) == LinuxResources()
    message = pb.LinuxResources()
    message.cpu.quota.value = 0
    message.cpu.shares.value = 2
    message.memory.limit.value = -1
    assert decode.linux_resources(message) == LinuxResources(cpu_quota=0, cpu_shares=2, memory_limit=-1)


def test_state_of_a_later_version_is_unknown():
    assert decode.nri_container(pb.Container(id="c", state=77)).state is NriContainerState.UNKNOWN


def test_label_of_the_kubelet_goes_before_the_pod_that_was_sent_along():
    labels = {"io.kubernetes.pod.uid": "from-label"}
    assert decode.nri_container(pb.Container(id="c", labels=labels), "from-pod").pod_uid == "from-label"
    assert decode.nri_container(pb.Container(id="c"), "from-pod").pod_uid == "from-pod"


def test_containers_of_a_list_get_the_uid_of_their_sandbox():
    pods = [PodSandbox("p1", "uid-1", "shop", "db-0")]
    containers = [
        NriContainer("c1", "p1", "", "db"),
        NriContainer("c2", "p2", "", "web"),
        NriContainer("c3", "p1", "own", "x"),
    ]
    assert [each.pod_uid for each in decode.with_pod_uids(containers, pods)] == ["uid-1", "", "own"]


def test_failed_update_is_read_as_it_was_sent():
    message = pb.ContainerUpdate(container_id="c1", ignore_failure=True)
    message.linux.resources.cpu.cpus = "1"
    assert decode.container_update(message) == ContainerUpdate(
        "c1", LinuxResources(cpus="1"), ignore_failure=True
    )
