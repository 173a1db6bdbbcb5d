"""What an agent costs at rest: 50 containers on a machine of 96 CPUs, a process of its own.

Its processor time is measured by `python -m benchmarks.agent`; here is what it must not do.
"""

import time
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from testbed.installation import Installation
from testbed.kwok import Kwok
from testbed.program import Program
from testbed.waiting import until

pytestmark = pytest.mark.timeout(180)

GROUP = "/apis/podnuma.dev/v1alpha1"
PODS = 17
CHECK_SECONDS = 0.5
PASSES = 8
MEMORY_MIB = 60


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


def total(agent: Program, name: str) -> float:
    """Return a counter of the agent, over all labels."""
    return sum(
        sample.value
        for family in text_string_to_metric_families(agent.metrics())
        for sample in family.samples
        if sample.name == name
    )


def resident_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0]) / 1024


def test_an_agent_at_rest_is_small_and_quiet(
    clean_cluster, kwok: Kwok, namespace, tmp_path, record_testsuite_property
):
    api = clean_cluster.api
    with Installation(clean_cluster, tmp_path) as installation:
        installation.install()
        installation.add_node(kwok, "node-1", "epyc7401-2s-8numa-16l3")
        api.create(PROFILE)
        operator = installation.start_operator()
        agent = installation.start_agent("node-1", f"--check-seconds={CHECK_SECONDS}")
        operator.wait_ready()
        agent.wait_ready()
        for number in range(PODS):
            api.create(pod(f"pod-{number}"), namespace)

        def versions():
            found = api.items(f"{GROUP}/namespaces/{namespace}/podallocations")
            applied = [each for each in found if each.get("status", {}).get("phase") == "Applied"]
            return {each["metadata"]["name"]: each["metadata"]["resourceVersion"] for each in applied}

        until(lambda: len(versions()) == PODS, f"{PODS} pods to be applied", 60)
        operator.stop()

        def passes():
            return total(agent, "podnuma_pass_seconds_count")

        first = passes()
        until(lambda: passes() > first, "what was still under way to be told", 30)
        stored, writes = versions(), total(agent, "podnuma_writes_total")
        assert writes > 0
        before, began = passes(), time.monotonic()
        until(lambda: passes() >= before + PASSES, f"{PASSES} passes", 60)
        made = passes() - before
        assert made <= (time.monotonic() - began) / CHECK_SECONDS + 1, "passes without a reason"
        assert total(agent, "podnuma_writes_total") == writes
        assert versions() == stored
        resident = resident_mib(agent.process.pid)
        record_testsuite_property("agent_resident_mib", f"{resident:.1f}")
        assert resident < MEMORY_MIB, f"{3 * PODS} containers: {resident:.1f} MiB resident"
