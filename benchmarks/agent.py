"""What an agent costs at rest: `python -m benchmarks.agent [SECONDS]`.

A process of its own on a real API server, with the simulated runtime, 51 containers in 17 pods on a machine
of 96 CPUs. Memory is what is resident at the end; processor time is that of SECONDS (60) in which nothing
happens but the agent's own passes and heartbeats.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console

from testbed import build
from testbed.control_plane import ControlPlane
from testbed.installation import Installation
from testbed.kwok import Kwok
from testbed.waiting import until
from tests.integration import test_agent_figures as figures

GROUP = "/apis/podnuma.dev/v1alpha1"
NAMESPACE = "default"


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(cluster: ControlPlane, folder: Path, seconds: float) -> tuple[float, float]:
    """Return MiB resident and the share of one CPU in percent."""
    with Installation(cluster, folder) as installation, Kwok(cluster) as kwok:
        installation.install()
        installation.add_node(kwok, "node-1", "epyc7401-2s-8numa-16l3")
        cluster.api.create(figures.PROFILE)
        operator, agent = installation.start_operator(), installation.start_agent("node-1")
        operator.wait_ready()
        agent.wait_ready()
        for number in range(figures.PODS):
            cluster.api.create(figures.pod(f"pod-{number}"), NAMESPACE)

        def all_applied() -> bool:
            found = cluster.api.items(f"{GROUP}/namespaces/{NAMESPACE}/podallocations")
            applied = [each for each in found if each.get("status", {}).get("phase") == "Applied"]
            return len(applied) == figures.PODS

        until(all_applied, f"{figures.PODS} pods to be applied", 60)
        operator.stop()
        pid = agent.process.pid
        began, used = time.monotonic(), cpu_seconds(pid)
        time.sleep(seconds)
        percent = 100 * (cpu_seconds(pid) - used) / (time.monotonic() - began)
        return figures.resident_mib(pid), percent


def at_rest(seconds: float) -> tuple[float, float]:
    """Return MiB resident and percent of one CPU, with a control plane that ends with it."""
    build.ensure([*build.CONTROL_PLANE, "kwok"], sys.stderr)
    with (
        tempfile.TemporaryDirectory(prefix="podnuma-agent-") as folder,
        ControlPlane(Path(folder) / "control-plane") as cluster,
    ):
        return measure(cluster, Path(folder), seconds)


def main() -> int:
    """Measure and print."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    resident, percent = at_rest(seconds)
    containers = 3 * figures.PODS
    Console(width=100).print(
        f"{containers} containers, {seconds:g} s at rest: {resident:.1f} MiB, {percent:.2f} % of one CPU"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
