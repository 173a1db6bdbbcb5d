import pytest
from podnuma.agent.cri.values import LinuxContainerResources


@pytest.mark.parametrize(
    "change", [{"cpus": ""}, {"mems": ""}, {"cpu_quota": 0}, {"memory_limit": 0}, {"cpu_shares": 0}]
)
def test_empty_and_zero_are_refused_because_a_runtime_would_change_nothing(change):
    (name,) = change
    with pytest.raises(ValueError, match=f"{name} is empty or zero"):
        LinuxContainerResources(**change)


def test_quota_can_be_lifted():
    assert LinuxContainerResources(cpu_quota=-1).cpu_quota == -1
