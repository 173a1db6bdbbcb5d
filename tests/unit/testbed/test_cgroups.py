"""What an agent wrote is read from the files, found by container id and pod UID."""

from __future__ import annotations

import pytest

from testbed import cgroups

UID = "0f4e3d2c-1111-2222-3333-444455556666"
SLICE = "kubepods.slice/kubepods-pod0f4e3d2c_1111_2222_3333_444455556666.slice"


def group(root, path, cpus, mems, cpu_max):
    folder = root / path
    folder.mkdir(parents=True)
    for name, text in (("cpuset.cpus", cpus), ("cpuset.mems", mems), ("cpu.max", cpu_max)):
        (folder / name).write_text(text + "\n")


def allocation(*ids):
    containers = [
        {"name": f"c{place}", "containerID": f"podnuma://{number}"} for place, number in enumerate(ids)
    ]
    return {"metadata": {"name": "db"}, "spec": {"podUID": UID}, "status": {"containers": containers}}


def test_containers_and_pod_are_found_and_read(tmp_path):
    group(tmp_path, SLICE, "2-9", "", "800000 100000")
    group(tmp_path, f"{SLICE}/cri-containerd-{'a' * 64}.scope", "2-7", "0", "max 100000")
    found = cgroups.containers_of(tmp_path, allocation("a" * 64))
    assert found["c0"].cpus == frozenset(range(2, 8))
    assert (found["c0"].cpu_list, found["c0"].mem_list, found["c0"].cpu_max) == ("2-7", "0", "max 100000")
    pod = cgroups.pod_group(tmp_path, allocation())
    assert (pod.cpu_list, pod.mem_list, pod.cpu_max) == ("2-9", "-", "800000 100000")


def test_container_without_a_group_is_named(tmp_path):
    with pytest.raises(
        cgroups.NoGroupError, match="container c0 of pod db: 0 control groups for id " + "b" * 64
    ):
        cgroups.containers_of(tmp_path, allocation("b" * 64))
    with pytest.raises(cgroups.NoGroupError, match=f"pod db: no control group for UID {UID}"):
        cgroups.pod_group(tmp_path, allocation())
