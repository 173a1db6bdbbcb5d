"""What the demo does: start everything, let pods be scheduled, show and check what they got."""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from podnuma.cli.commands import output
from podnuma.cli.commands.map import render_node
from rich.console import Console
from rich.table import Table

from testbed import build, cgroups
from testbed.cleanup import GROUP
from testbed.control_plane import ControlPlane
from testbed.demo import expectations, placement
from testbed.demo.failure import DemoFailedError
from testbed.installation import ROOT, Installation
from testbed.kwok import Kwok

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from testbed.api import Json

EXAMPLES = ROOT / "examples"
PODS = ("database", "ml-training")
# Node name -> (recorded machine, value of the label that the example profiles and pods select).
NODES = {
    "node-1": ("epyc7401-2s-8numa-16l3", "databases"),
    "node-2": ("xeon-2s-snc2-irregular", "training"),
}
WAIT_SECONDS = 45
# Wide enough for a line of the map; logs and pipes have no width of their own.
PLAIN_WIDTH = 120
MEANING = "CPUs per container, and the whole pod's quota for those that share CPUs"
TOPOLOGIES = f"{GROUP}/nodetopologies"
NODE_PROFILES = f"{GROUP}/nodeprofiles"


class Demo:
    """One run. `play` raises DemoFailedError; everything stops when the `with` block ends."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._stack = ExitStack()
        console = Console()
        self._console = console if console.is_terminal else Console(width=PLAIN_WIDTH)
        self.cluster = ControlPlane()

    @contextmanager
    def running(self) -> Iterator[Demo]:
        """Play, then keep everything running inside the `with` block."""
        with self._stack:
            self.play()
            yield self

    def play(self) -> None:
        """Do everything in order."""
        build.ensure([*build.CONTROL_PLANE, "kwok"])
        self._began = time.monotonic()
        installation, kwok = self._start_cluster()
        self._start_podnuma(installation)
        self._create_pods(installation)
        allocations = self._wait_applied(installation)
        try:
            self._wait_reported(installation)
        except TimeoutError as error:
            raise DemoFailedError(f"{error}\n{installation.logs()}") from error
        self._show_resources()
        self._show_map(allocations)
        found = {name: installation.written(allocation) for name, allocation in allocations.items()}
        self._show_written(installation, allocations, found)
        self._check(installation, allocations, found)
        self._place(installation, kwok)

    def check_alive(self) -> None:
        """Raise ProcessFailedError if some part has died."""
        self.cluster.check()

    def _say(self, text: str) -> None:
        self._console.print(f"[dim]{time.monotonic() - self._began:5.1f} s[/dim]  {text}", highlight=False)

    def _head(self, text: str) -> None:
        self._console.print(f"\n[bold]{text}[/bold]", highlight=False)

    def _start_cluster(self) -> tuple[Installation, Kwok]:
        self._say("starting etcd, API server, controller manager and scheduler")
        self._stack.enter_context(self.cluster)
        self._say(f"control plane ready ({self.cluster.kubectl('version').splitlines()[-1].lower()})")
        kwok = self._stack.enter_context(Kwok(self.cluster))
        installation = self._stack.enter_context(Installation(self.cluster))
        installation.install()
        for manifest in placement.RIGHTS:
            self.cluster.api.apply(manifest)
        self.cluster.apply_files(EXAMPLES / "profiles")
        for name, (machine, pool) in NODES.items():
            node = installation.add_node(kwok, name, machine, {"node-pool": pool})
            self._say(
                f"{name} is Ready: {len(node.machine.online)} CPUs, {len(node.machine.nodes)} NUMA nodes "
                f"({machine}), pool {pool}"
            )
        return installation, kwok

    def _start_podnuma(self, installation: Installation) -> None:
        programs = [
            installation.start_operator("--placement"),
            *(installation.start_agent(name) for name in NODES),
        ]
        for program in programs:
            program.wait_ready()
        self._say(
            f"podnuma and the example profiles are installed; operator and {len(NODES)} agents are ready"
        )

    def _create_pods(self, installation: Installation) -> None:
        for name in PODS:
            pod = installation.create_example("default", name)
            self._say(f"pod {name} created: {_budget(pod)}")

    def _wait_applied(self, installation: Installation) -> dict[str, Json]:
        applied = {}
        for name in PODS:
            applied[name] = installation.wait_applied("default", name, WAIT_SECONDS)
            phase = applied[name]["status"]["phase"]
            if phase != "Applied":
                raise DemoFailedError(f"pod {name} was rejected: {applied[name]['spec']['decision']}")
        return applied

    def _wait_reported(self, installation: Installation) -> None:
        """Wait until nodes and profiles report it too: their status is written at a bounded rate."""
        waits = [
            *((TOPOLOGIES, name, _reports_one_pod) for name in installation.nodes),
            *((NODE_PROFILES, name, _is_applied) for _, name in NODES.values()),
        ]
        for collection, name, fact in waits:
            self.cluster.api.wait_for(
                collection, fact, f"the status of {name}", fieldSelector=f"metadata.name={name}"
            )

    def _show_resources(self) -> None:
        what = ("get", "podallocations")
        self._head(f"$ kubectl {' '.join(what)}")
        self._console.file.write(self.cluster.kubectl(*what))

    def _show_map(self, allocations: Mapping[str, Json]) -> None:
        name = next(iter(NODES))
        self._head(f"$ kubectl podnuma map {name} --in-use")
        topology = self.cluster.api.get(f"{TOPOLOGIES}/{name}")
        output.show(render_node(topology, list(allocations.values()), in_use=True))

    def _show_written(
        self,
        installation: Installation,
        allocations: Mapping[str, Json],
        found: Mapping[str, expectations.Containers],
    ) -> None:
        self._head(f"What the agents wrote into the cgroups: {MEANING}")
        table = Table(box=None, pad_edge=False)
        for title in ("POD", "CONTAINER", "CPUSET.CPUS", "CPUSET.MEMS", "CPU.MAX"):
            table.add_column(title, header_style="", overflow="fold")
        for name, allocation in allocations.items():
            pod = cgroups.pod_group(installation.node_of(allocation).cgroup_root, allocation)
            for group in (pod, *found[name].values()):
                table.add_row(
                    name, group.container, _set(group.cpu_list), _set(group.mem_list), group.cpu_max
                )
        output.show(table)

    def _check(
        self,
        installation: Installation,
        allocations: Mapping[str, Json],
        found: Mapping[str, expectations.Containers],
    ) -> None:
        rules = {"database": expectations.database, "ml-training": expectations.training}
        problems = []
        for name, rule in rules.items():
            machine = installation.node_of(allocations[name]).machine
            problems += [f"pod {name}: {text}" for text in rule(machine, found[name])]
            problems += [
                f"pod {name}: {text}" for text in expectations.agreement(allocations[name], found[name])
            ]
        if problems:
            raise DemoFailedError("\n".join(["the result is not what was promised:", *problems]))
        self._console.print()
        self._say(
            "checked: database has 6 CPUs of its own, both sidecars share 2 others, all in one NUMA node"
        )
        self._say("checked: training has 3 CPUs of one NUMA node, its sidecar runs in the node shared pool")

    def _place(self, installation: Installation, kwok: Kwok) -> None:
        self._head("Pods for which a node has CPUs enough, and none of its NUMA nodes has")
        for line in placement.Scene(self.cluster, installation).play(kwok):
            self._say(line)


def _reports_one_pod(topology: Json) -> bool:
    status = topology.get("status", {})
    return bool(status.get("summary", {}).get("pods") == "1" and _is_ready(status))


def _is_applied(profile: Json) -> bool:
    status = profile.get("status", {})
    return bool(status.get("nodesApplied") == 1 and _is_ready(status))


def _is_ready(status: Json) -> bool:
    conditions = status.get("conditions", [])
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def _budget(pod: Json) -> str:
    limits = pod["spec"]["resources"]["limits"]
    count = len(pod["spec"].get("initContainers", [])) + len(pod["spec"]["containers"])
    return f"{limits['cpu']} CPUs and {limits['memory']} for {count} containers"


def _set(listed: str) -> str:
    """Format a set for the table; an empty file means what the parent cgroup allows."""
    return "(not set)" if listed == "-" else listed
