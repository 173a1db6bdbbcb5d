import pytest
from podnuma.agent.nri.values import LinuxResources, RuntimeInfo


def test_empty_list_is_never_sent():
    with pytest.raises(ValueError, match="cpus is empty"):
        LinuxResources(cpus="")
    with pytest.raises(ValueError, match="mems is empty"):
        LinuxResources(mems="")


@pytest.mark.parametrize(
    ("version", "safe"),
    [(None, False), ((0, 11, 0), False), ((0, 12, 0), False), ((0, 12, 1), True), ((1, 0, 0), True)],
)
def test_updates_outside_hooks_are_safe_since_nri_0_12_1(version, safe):
    assert RuntimeInfo("containerd", "v2", nri_version=version).unsolicited_updates_are_safe is safe
