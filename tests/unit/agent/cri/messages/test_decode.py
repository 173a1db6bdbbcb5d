import pytest
from podnuma.agent.cri.messages import cri_pb2 as pb
from podnuma.agent.cri.messages import decode
from podnuma.agent.cri.values import CriContainer, CriContainerState, LinuxContainerResources

LABELS = {
    "io.kubernetes.pod.uid": "uid-1",
    "io.kubernetes.pod.namespace": "shop",
    "io.kubernetes.pod.name": "db-0",
}


def status_with(info):
    return decode.container_status(pb.ContainerStatusResponse(info=info))


def test_container_is_named_by_the_labels_of_the_kubelet():
    message = pb.Container(
        id="c1",
        pod_sandbox_id="p1",
        metadata=pb.ContainerMetadata(name="database", attempt=2),
        state=1,
        created_at=7,
        labels=LABELS,
    )
    assert decode.cri_container(message) == CriContainer(
        "c1", "p1", "uid-1", "shop", "db-0", "database", 2, CriContainerState.RUNNING, 7, labels=LABELS
    )


def test_container_that_no_kubelet_made_belongs_to_no_pod():
    container = decode.cri_container(pb.Container(id="c1", state=99))
    assert (container.pod_uid, container.pod_name, container.state) == ("", "", CriContainerState.UNKNOWN)


def test_zero_and_empty_are_not_set():
    message = pb.LinuxContainerResources(cpuset_cpus="0-1", cpu_quota=-1)
    assert decode.container_resources(message) == LinuxContainerResources(cpus="0-1", cpu_quota=-1)


def test_runtime_that_reports_no_resources_has_none():
    assert decode.container_status(pb.ContainerStatusResponse()).resources is None


def test_process_and_cgroup_come_from_the_runtimes_own_information():
    info = '{"pid": 42, "runtimeSpec": {"linux": {"cgroupsPath": "a.slice:cri-containerd:c1"}}}'
    seen = status_with({"info": info})
    assert (seen.pid, seen.cgroups_path) == (42, "a.slice:cri-containerd:c1")


@pytest.mark.parametrize(
    "info",
    [
        {},
        {"info": ""},
        {"info": "no json"},
        {"info": "[" * 100_000},
        {"info": "[1]"},
        {"info": '{"pid": "42", "runtimeSpec": []}'},
        {"info": '{"pid": true, "runtimeSpec": {"linux": {"cgroupsPath": 7}}}'},
        {"info": '{"pid": -1, "runtimeSpec": {"linux": null}}'},
        {"info": '{"pid": 0, "runtimeSpec": {"linux": {"cgroupsPath": ""}}}'},
    ],
)
def test_information_in_another_form_is_none(info):
    seen = status_with(info)
    assert (seen.pid, seen.cgroups_path) == (None, None)
