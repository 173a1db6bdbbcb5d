"""How much code a pod passes through, and which names mean two things: `python -m benchmarks.structure`.

Three walks are taken with the product's own parts and counted with the interpreter's profile hook. Each
function counts once, at its first call:

    pod          from its watch event, decoded, to the request that stores its PodAllocation
    allocation   from a PodAllocation's watch event to the kernel's files and back into its status
    start        from the runtime's request to create a container to the answer

    functions, files   distinct ones of the product (no lambdas, comprehensions, double-underscore methods)
    visits back        first calls in a module of the operator or the agent that was entered before, and left

A name counts as shared when public classes or functions of that name are defined in two modules.
`-v` lists the functions of each walk and the shared names.
"""

from __future__ import annotations

import argparse
import ast
import asyncio
import collections
import datetime as dt
import itertools
import random
import sys
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podnuma.agent.apiserver.status_writer import StatusWriter
from podnuma.agent.devices.waiting import WaitingDevices
from podnuma.agent.discover.machine import Discovered
from podnuma.agent.loop import AgentLoop
from podnuma.agent.model.containers import RuntimeDescription
from podnuma.agent.nri import values as nri
from podnuma.agent.reconcile.pages_in_use import HugePageUse
from podnuma.agent.runtimes.container_cache import ContainerCache
from podnuma.agent.runtimes.nri_plugin import NriPlugin
from podnuma.agent.runtimes.start_priority import StartPriority
from podnuma.agent.status.metrics import AdmissionCounts
from podnuma.agent.status.node_status import AgentIdentity, NodeStatus
from podnuma.agent.status.reporter import StatusReporter
from rich.console import Console
from rich.table import Table

from benchmarks import one_pod
from testbed.ports import free_port
from tests.unit.agent.conftest import Bench, container_grant, pod_grant

if TYPE_CHECKING:
    from types import FrameType

ROOT = Path(__file__).resolve().parents[1]
PARTS = [
    ROOT / folder / "podnuma" / part
    for part, folder in (
        ("allocator", "allocator"),
        ("api", "api"),
        ("plumbing", "plumbing"),
        ("operator", "operator"),
        ("agent", "node-agent"),
        ("cli", "cli"),
    )
]
SMALL = 60  # lines


@dataclass
class Walk:
    """The functions of the product in the order of their first call, while enabled."""

    name: str
    functions: dict[tuple[str, str], None] = field(default_factory=dict)

    def enable(self) -> None:
        """Begin, in this thread and in those started from now on."""
        threading.setprofile(self._called)
        sys.setprofile(self._called)

    def disable(self) -> None:
        """End."""
        sys.setprofile(None)
        threading.setprofile(None)

    def _called(self, frame: FrameType, event: str, _argument: object) -> None:
        code = frame.f_code
        if event != "call" or code.co_name.startswith(("<", "__")):
            return
        module = module_of(Path(code.co_filename))
        if module is not None:
            self.functions.setdefault((module, code.co_qualname))

    @property
    def files(self) -> set[str]:
        """The modules passed."""
        return {module for module, _ in self.functions}

    @property
    def visits_back(self) -> int:
        """How often a module of a process was entered again by a first call."""
        own = [module for module, _ in self.functions if module.split(".")[1] in {"operator", "agent"}]
        entered = own[:1] + [new for old, new in itertools.pairwise(own) if old != new]
        return len(entered) - len(set(entered))


def module_of(path: Path) -> str | None:
    """Return the dotted name of a module of the product, None for any other file."""
    if path.name.endswith("_pb2.py"):
        return None
    folder = next((folder for folder in PARTS if path.is_relative_to(folder)), None)
    if folder is None:
        return None
    return ".".join(("podnuma", folder.name, *path.relative_to(folder).with_suffix("").parts))


def shared_names() -> tuple[dict[str, list[str]], int, int]:
    """Return public names with the modules that define them, if several; small modules; all modules."""
    names: dict[str, list[str]] = collections.defaultdict(list)
    small = modules = 0
    for path in (path for folder in PARTS for path in sorted(folder.rglob("*.py"))):
        module = module_of(path)
        if module is None or path.name == "__init__.py":
            continue
        text = path.read_text()
        modules += 1
        small += len(text.splitlines()) < SMALL
        for node in ast.parse(text).body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                names[node.name].append(module)
    public = {name: where for name, where in sorted(names.items()) if not name.startswith("_")}
    return {name: where for name, where in public.items() if len(where) > 1}, small, modules


class _UntilStored(Walk):
    """The walk of a pod: it ends with the request that stores the PodAllocation."""

    def _called(self, frame: FrameType, event: str, argument: object) -> None:
        if not one_pod.STORED.is_set():
            super()._called(frame, event, argument)


async def pod_walk() -> Walk:
    """Let one pod arrive at an operator with its real client and a server that stores what it is sent."""
    walk = _UntilStored("pod")
    port = free_port()
    threading.Thread(target=one_pod.serve, args=(port,), daemon=True).start()
    one_pod.HEARD.wait()
    with tempfile.TemporaryDirectory(prefix="podnuma-walk-") as folder:
        await one_pod.decide(port, Path(folder), walk, nodes=1, pods=1)
    return walk


async def allocation_walk() -> Walk:
    """Let one PodAllocation arrive at an agent over a fake kernel."""
    walk = Walk("allocation")
    with tempfile.TemporaryDirectory(prefix="podnuma-walk-") as folder:
        bench = Bench(Path(folder))
        bench.settings()
        bench.start(bench.pod("db"), "db")
        loop = asyncio.get_running_loop()
        applied, idle = asyncio.Event(), asyncio.Event()

        def write(path: str, body: dict[str, Any]) -> dict[str, Any]:
            of_pod = path.rsplit("/", 2)[1] == "db"
            reached = applied if of_pod and body["status"]["phase"] == "Applied" else idle
            loop.call_soon_threadsafe(reached.set)  # statuses are written in a thread
            return body

        async with asyncio.timeout(30):
            tasks = [asyncio.create_task(task) for task in _agent(bench, write)]
            await idle.wait()
            grant = pod_grant("db", container_grant("db", "1,9"), cpus="1,9")
            walk.enable()
            bench.grant(grant)
            await applied.wait()
            walk.disable()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    return walk


def _agent(bench: Bench, write: Any) -> list[Any]:
    dirty = asyncio.Event()
    dirty.set()
    bench.desired._changed = dirty.set  # noqa: SLF001 - the bench's own callback counts only
    writer = StatusWriter(write, rng=random.Random(1), not_before=0)

    def now() -> dt.datetime:
        return dt.datetime.now(dt.UTC)

    node = NodeStatus(AgentIdentity("node", "0.1", "boot"), bench.desired, writer, clock=now, heartbeat=60)
    node.discovered(Discovered(bench.machine, ()))
    node.backend("systemd", lambda: RuntimeDescription("Fake", "fake 1"))
    reporter = StatusReporter(bench.desired, writer, node, AdmissionCounts(), now)

    async def ask() -> tuple[()]:
        return ()

    loop = AgentLoop(
        reconciler=bench.reconciler,
        reporter=reporter,
        node_status=node,
        watches=(),
        dirty=dirty,
        check_seconds=60,
        rng=random.Random(1),
        devices=WaitingDevices(
            bench.desired, ask, reporter.tell_devices, wake=asyncio.Event(), rng=random.Random(1)
        ),
        huge_pages=HugePageUse(bench.root / "sys", bench.reader),
    )
    return [loop.run(), writer.run()]


async def start_walk() -> Walk:
    """Let a runtime ask for the values of a container whose pod the agent has not seen yet."""
    walk = Walk("start")
    with tempfile.TemporaryDirectory(prefix="podnuma-walk-") as folder:
        bench = Bench(Path(folder))
        bench.settings()
        plugin = NriPlugin(ContainerCache(lambda: None), StartPriority(), bench.hook, 0.25, lambda: None)
        await plugin.configured(nri.RuntimeInfo("containerd", "v2", request_timeout=4.0))
        await bench.reconciler.run_pass()
        bench.grant(pod_grant("uid-1", container_grant("db", "1,9"), cpus="1,9"))
        bench.pod("uid-1")
        pod = nri.PodSandbox(
            id="sandbox",
            uid="uid-1",
            namespace="shop",
            name="db",
            cgroup_parent="/kubepods.slice/kubepods-poduid_1.slice",
        )
        container = nri.NriContainer(
            id="id-1",
            pod_sandbox_id="sandbox",
            pod_uid="uid-1",
            name="db",
            state=nri.NriContainerState.CREATED,
            resources=nri.LinuxResources(cpu_quota=200_000, cpu_period=100_000),
        )
        walk.enable()
        answer = await plugin.create_container(pod, container)
        walk.disable()
        if answer.adjust is None or answer.adjust.cpus != "1,9":
            raise RuntimeError(f"the container would start with {answer}")
    return walk


def main(arguments: list[str] | None = None) -> int:
    """Count and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.structure", description=__doc__)
    parser.add_argument("-v", "--verbose", action="store_true", help="list functions and shared names")
    verbose = parser.parse_args(arguments).verbose
    console = Console(width=max(120, Console().width))
    table = Table()
    for heading in ("walk", "functions", "files", "of them outside the allocator", "visits back"):
        table.add_column(heading, justify="left" if heading == "walk" else "right")
    walks = [asyncio.run(walk()) for walk in (pod_walk, allocation_walk, start_walk)]
    for walk in walks:
        outside = [module for module in walk.files if not module.startswith("podnuma.allocator")]
        counts = (len(walk.functions), len(walk.files), len(outside), walk.visits_back)
        table.add_row(walk.name, *map(str, counts))
    names, small, modules = shared_names()
    console.print(table)
    console.print(
        f"{len(names)} names defined in several modules; {small} of {modules} modules below {SMALL} lines"
    )
    if verbose:
        for name, where in names.items():
            console.print(f"  {name}: {', '.join(where)}", highlight=False)
        for walk in walks:
            console.print(f"\n{walk.name}", highlight=False)
            for module, function in walk.functions:
                console.print(f"  {module}  {function}", highlight=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
