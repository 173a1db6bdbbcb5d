import pytest
from podnuma.agent.cgroups.layout import CgroupDriver, CgroupLayout, container_of, detect
from podnuma.agent.model.cgroup_ref import ContainerCgroup, PodCgroup, QosCgroup
from podnuma.allocator.request import Qos

UID = "0f3a-11-aa"


@pytest.mark.parametrize(
    ("layout", "qos", "folder"),
    [
        (CgroupLayout(CgroupDriver.SYSTEMD), Qos.GUARANTEED, "kubepods.slice/kubepods-pod0f3a_11_aa.slice"),
        (
            CgroupLayout(CgroupDriver.SYSTEMD),
            Qos.BURSTABLE,
            "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f3a_11_aa.slice",
        ),
        (CgroupLayout(CgroupDriver.CGROUPFS), Qos.GUARANTEED, "kubepods/pod0f3a-11-aa"),
        (CgroupLayout(CgroupDriver.CGROUPFS), Qos.BEST_EFFORT, "kubepods/besteffort/pod0f3a-11-aa"),
        (
            CgroupLayout(CgroupDriver.SYSTEMD, "kubelet"),
            Qos.BURSTABLE,
            (
                "kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice"
                "/kubelet-kubepods-burstable-pod0f3a_11_aa.slice"
            ),
        ),
        (CgroupLayout(CgroupDriver.CGROUPFS, "kubelet"), Qos.GUARANTEED, "kubelet/kubepods/pod0f3a-11-aa"),
        (CgroupLayout(CgroupDriver.CGROUPFS, "a/b"), Qos.GUARANTEED, "a/b/kubepods/pod0f3a-11-aa"),
        (
            CgroupLayout(CgroupDriver.SYSTEMD, "a/b"),
            Qos.BURSTABLE,
            (
                "a.slice/a-b.slice/a-b-kubepods.slice/a-b-kubepods-burstable.slice"
                "/a-b-kubepods-burstable-pod0f3a_11_aa.slice"
            ),
        ),
    ],
)
def test_pod_folders_of_each_driver_and_nesting(layout, qos, folder):
    pod = PodCgroup(UID, qos)
    assert str(layout.folder(pod)) == folder
    assert layout.pod_of(folder.rsplit("/", 1)[1], qos) == pod


def test_slices_are_units():
    assert CgroupLayout(CgroupDriver.SYSTEMD).unit(QosCgroup(Qos.BURSTABLE)) == "kubepods-burstable.slice"


@pytest.mark.parametrize(
    ("name", "container_id"),
    [
        ("cri-containerd-0123456789abcdef.scope", "0123456789abcdef"),
        ("crio-0123456789abcdef.scope", "0123456789abcdef"),
        ("docker-0123456789abcdef.scope", "0123456789abcdef"),
        ("0123456789abcdef", "0123456789abcdef"),
        ("crio-0123456789abcdef", "0123456789abcdef"),
        ("crio-conmon-0123456789abcdef.scope", None),
        # falcosecurity/plugins#1378: each runtime has a prefix of its own.
        ("isulad-0123456789abcdef.scope", "0123456789abcdef"),
        ("another-cri_x-0123456789abcdef.scope", "0123456789abcdef"),
        ("-0123456789abcdef.scope", None),
        ("0123456789abcdef.scope", None),
        ("init.scope", None),
        ("cri-containerd-../../x.scope", None),
    ],
)
def test_container_folders_of_each_runtime(name, container_id):
    assert container_of(name) == container_id


def test_a_folder_that_is_no_pods_is_nobody():
    layout = CgroupLayout(CgroupDriver.SYSTEMD)
    for name in ("kubepods-burstable.slice", "kubepods-pod.slice", "kubepods-podx/y.slice", "x"):
        assert layout.pod_of(name, Qos.GUARANTEED) is None


@pytest.mark.parametrize(
    "layout",
    [
        CgroupLayout(CgroupDriver.SYSTEMD),
        CgroupLayout(CgroupDriver.CGROUPFS),
        CgroupLayout(CgroupDriver.SYSTEMD, "kubelet"),
        CgroupLayout(CgroupDriver.CGROUPFS, "kubelet"),
        CgroupLayout(CgroupDriver.SYSTEMD, "a/b"),
        CgroupLayout(CgroupDriver.CGROUPFS, "a/b"),
        CgroupLayout(CgroupDriver.SYSTEMD, "a/b/c"),
        CgroupLayout(CgroupDriver.CGROUPFS, "system.slice/b"),
    ],
)
def test_the_layout_is_detected_by_looking(layout, tmp_path):
    (tmp_path / "system.slice" / "docker.service").mkdir(parents=True)
    (tmp_path / "docker" / ("0a" * 32) / "kubepods").mkdir(parents=True)
    (tmp_path / "a.slice" / "kubelet-kubepods.slice").mkdir(parents=True)
    assert detect(tmp_path) is None
    (tmp_path / layout.kubepods).mkdir(parents=True)
    assert detect(tmp_path) == layout


def test_a_container_lies_below_its_pod():
    cgroup = ContainerCgroup(PodCgroup(UID, Qos.GUARANTEED), "db", "0123456789ab")
    assert str(CgroupLayout(CgroupDriver.SYSTEMD).folder(cgroup)) == (
        "kubepods.slice/kubepods-pod0f3a_11_aa.slice/cri-containerd-0123456789ab.scope"
    )


@pytest.mark.parametrize("alive", [CgroupLayout(driver) for driver in CgroupDriver])
def test_of_two_trees_the_one_with_processes_counts(alive, tmp_path):
    """A kubelet with another driver leaves the former tree behind; rancher-sandbox/rancher-desktop#8648."""
    for driver in CgroupDriver:
        (tmp_path / CgroupLayout(driver).kubepods).mkdir()
        (tmp_path / CgroupLayout(driver).kubepods / "cgroup.events").write_text("populated 0\nfrozen 0\n")
    assert detect(tmp_path) is not None, "after a start of the machine no tree has processes yet"
    (tmp_path / alive.kubepods / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    assert detect(tmp_path) == alive


@pytest.mark.parametrize("former", [CgroupLayout(driver) for driver in CgroupDriver])
def test_of_two_trees_with_processes_the_one_with_most_pods_counts(former, tmp_path):
    """A kubelet that has got another driver kills its pods there and starts them in the new tree."""
    new = next(CgroupLayout(driver) for driver in CgroupDriver if driver is not former.driver)
    for layout, pods in ((former, 1), (new, 2)):
        for number in range(3):
            folder = tmp_path / layout.pod(PodCgroup(f"pod-{number}", Qos.BURSTABLE))
            folder.mkdir(parents=True)
            (folder / "cgroup.events").write_text(f"populated {int(number < pods)}\nfrozen 0\n")
        (tmp_path / layout.kubepods / "cgroup.events").write_text("populated 1\nfrozen 0\n")
    assert detect(tmp_path) == new


@pytest.mark.parametrize(
    "layout",
    [CgroupLayout(CgroupDriver.SYSTEMD, "my_root"), CgroupLayout(CgroupDriver.CGROUPFS, "my-root")],
)
def test_a_cgroup_root_may_have_any_name(layout, tmp_path):
    """koordinator-sh/koordinator#820: `cgroupRoot` of the kubelet."""
    (tmp_path / layout.kubepods).mkdir(parents=True)
    assert detect(tmp_path) == layout
