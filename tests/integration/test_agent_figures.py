"""What an agent costs at rest: 50 containers on a machine of 96 CPUs, a process of its own."""

import os
import time
from pathlib import Path

import pytest

from testbed.installation import Installation
from testbed.kwok import Kwok
from testbed.waiting import until

pytestmark = pytest.mark.timeout(180)

GROUP = "/apis/podnuma.dev/v1alpha1"
PODS = 17
SECONDS = 20
MEMORY_MIB = 60
CPU_PERCENT = 0.5


def pod(name: str):
    amounts = {"cpu": "3", "memory": "256Mi"}
    own = {"cpu": "2", "memory": "128Mi"}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "nodeName": "node-1",
            "tolerations": [{"operator": "Exists"}],
            "resources": {"requests": amounts, "limits": amounts},
            "containers": [
                {"name": "app", "image": "x", "resources": {"requests": own, "limits": own}},
                {"name": "log", "image": "x"},
                {"name": "mesh", "image": "x"},
            ],
        },
    }


PROFILE = {
    "apiVersion": "podnuma.dev/v1alpha1",
    "kind": "NodeProfile",
    "metadata": {"name": "figures"},
    "spec": {
        "nodeSelector": {},
        "cpuManagerPolicy": "static",
        "reservedSystemCPUs": "0,48",
        "topologyManagerPolicy": "best-effort",
        "topologyManagerScope": "pod",
    },
}


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def test_an_agent_at_rest_is_small_and_quiet(
    clean_cluster, kwok: Kwok, namespace, tmp_path, record_testsuite_property
):
    with Installation(clean_cluster, tmp_path) as installation:
        installation.install()
        installation.add_node(kwok, "node-1", "epyc7401-2s-8numa-16l3")
        clean_cluster.api.create(PROFILE)
        operator, agent = installation.start_operator(), installation.start_agent("node-1")
        operator.wait_ready()
        agent.wait_ready()
        for number in range(PODS):
            clean_cluster.api.create(pod(f"pod-{number}"), namespace)

        def all_applied():
            found = clean_cluster.api.items(f"{GROUP}/namespaces/{namespace}/podallocations")
            return sum(each.get("status", {}).get("phase") == "Applied" for each in found) == PODS

        until(all_applied, f"{PODS} pods to be applied", 60)
        operator.stop()
        pid = agent.process.pid
        began, used = time.monotonic(), cpu_seconds(pid)
        until(lambda: time.monotonic() - began > SECONDS, "the time to pass", SECONDS + 5, 1)
        percent = 100 * (cpu_seconds(pid) - used) / (time.monotonic() - began)
        resident = resident_mib(pid)
        record_testsuite_property("agent_resident_mib", f"{resident:.1f}")
        record_testsuite_property("agent_cpu_percent", f"{percent:.2f}")
        figures = f"{3 * PODS} containers: {resident:.1f} MiB resident, {percent:.2f} % of one CPU"
        assert resident < MEMORY_MIB, figures
        assert percent < CPU_PERCENT, figures
