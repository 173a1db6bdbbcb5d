from podnuma.agent.cri.messages import decode, encode
from podnuma.agent.cri.values import LinuxContainerResources

FULL = LinuxContainerResources(
    cpus="2-3",
    mems="0",
    cpu_quota=-1,
    cpu_period=100000,
    cpu_shares=2048,
    memory_limit=2**30,
    unified={"cpu.max.burst": "1000"},
)


def test_resources_come_back_as_they_went():
    assert decode.container_resources(encode.encode_container_resources(FULL)) == FULL


def test_what_is_none_is_not_on_the_wire():
    assert (
        encode.encode_container_resources(LinuxContainerResources(cpus="2-3")).SerializeToString().hex()
        == "3203322d33"
    )
