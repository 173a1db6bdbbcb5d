"""What the cgroup of all pods lacks, told by an agent to a real API server."""

from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet

from testbed.waiting import until
from tests.integration.test_agent import AgentThread, database, node, rights  # noqa: F401 - fixtures


def _condition(found, kind):
    conditions = found.get("status", {}).get("conditions", [])
    return next((each for each in conditions if each["type"] == kind), None)


def test_cpus_that_kubepods_loses_are_told_and_come_back(node, namespace):  # noqa: F811
    with AgentThread(node.settings()) as agent:
        agent.ready()
        grant = node.decide(node.run_pod(namespace, database()))
        node.wait_phase(namespace, "db", "Applied")
        lost = next(cpuset.ids(grant.exclusive_cpus))
        left = cpuset.render(CpuSet(node.machine_cpus & ~(1 << lost)))
        file = node.folder / "cgroup" / "kubepods.slice" / "cpuset.cpus"
        file.write_text(left)
        until(lambda: node.hardware().topology.outside == 1 << lost, "the hardware without a CPU", 30)
        told = until(
            lambda: (found := _condition(node.topology(), "OutsideKubepods"))["status"] == "True" and found,
            "the node's condition",
            30,
        )
        assert f"cpuset.cpus.effective of kubepods.slice lacks CPUs {lost}," in told["message"]
        found = until(
            lambda: (one := node.allocation(namespace, "db")) and _condition(one, "OutsideKubepods") and one,
            "the pod's condition",
            30,
        )
        assert found["status"]["phase"] == "Applied"
        file.write_text("")
        until(lambda: node.hardware().topology.outside == 0, "the hardware as it was", 30)
        until(
            lambda: _condition(node.allocation(namespace, "db"), "OutsideKubepods") is None,
            "the pod's condition to go",
            30,
        )
        assert node.wait_phase(namespace, "db", "Applied")
