"""Processor time of the command line: `python -m benchmarks.commands`.

`podnuma --help`, and `podnuma map` of two nodes of 128 CPUs with 32 pods, asked of a server that answers from
memory. Processor time of the command alone, which is also what a user waits for on a quiet machine.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

from podnuma.allocator import Admitted
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.api.hardware import Hardware
from podnuma.api.node_profile import read_node_profile
from podnuma.api.node_topology import AgentReport, render_agent_status
from podnuma.api.pod_allocation import Decision, numa_nodes, render_pod_allocation
from podnuma.operator.cache import decode

from benchmarks import paths, scale
from testbed.program import podnuma_script

if TYPE_CHECKING:
    from collections.abc import Iterator

NODES = ("node-1", "node-2")
PODS = 16


def objects() -> dict[str, list[Any]]:
    """Return what the cluster holds: resource -> items."""
    settings = read_node_profile(scale.PROFILE).node.managers
    spec = {key: value for key, value in scale.PROFILE["spec"].items() if key != "nodeSelector"}
    report = AgentReport(mechanism="NRI", heartbeat_time="2026-01-01T00:00:00Z")
    found: dict[str, list[Any]] = {"nodetopologies": [], "podallocations": []}
    for name in NODES:
        topology = {
            "apiVersion": scale.API_VERSION,
            "kind": "NodeTopology",
            "metadata": {"name": name, "uid": name, "resourceVersion": "1", "generation": 1},
            "spec": {**spec, "profile": {"name": "all", "generation": 1}},
            "status": render_agent_status(Hardware(scale.machine()), report, []),
        }
        found["nodetopologies"].append(topology)
        node = NodeAllocator.empty(settings, scale.machine())
        for number in range(PODS):
            pod = paths.stored(scale.managed_pod(f"{name}-db-{number}", name), "Guaranteed")
            pod["metadata"]["uid"] = f"{name}-{number}"
            record = decode.decode_pod(pod)
            answer = node.decide(record.request) if record is not None and record.request else None
            if not isinstance(answer, Admitted):
                raise TypeError(f"the pod of the bench does not fit: {answer}")
            node.hold(answer)
            numa = numa_nodes(answer.grant, node.topology)
            body: Any = render_pod_allocation(answer.grant, name, Decision.of(answer), "", numa)
            body["metadata"] |= {"uid": f"a-{name}-{number}", "resourceVersion": "1", "generation": 1}
            found["podallocations"].append(body)
    return found


@contextmanager
def server(items: dict[str, list[Any]]) -> Iterator[str]:
    """Serve these lists, and empty ones for all else; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            resource_name = self.path.partition("?")[0].rpartition("/")[2]
            body = {"metadata": {"resourceVersion": "1"}, "items": items.get(resource_name, [])}
            data = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it
            del format, args

    serving = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=serving.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{serving.server_address[1]}"
    finally:
        serving.shutdown()
        serving.server_close()
        thread.join()


def kubeconfig(folder: Path, address: str) -> Path:
    """Write how to reach the server."""
    words = {
        "clusters": [{"name": "c", "cluster": {"server": address}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "users": [{"name": "u", "user": {"token": "t"}}],
        "current-context": "c",
    }
    path = folder / "kubeconfig"
    path.write_text(json.dumps(words))
    return path


def seconds(*words: str) -> float:
    """Return the processor time of `podnuma` with these words."""
    before = _children()
    subprocess.run([podnuma_script(), *words], check=True, stdout=subprocess.DEVNULL)
    return _children() - before


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measured() -> dict[str, float]:
    """Return seconds by command; each is run once before, so that bytecode and files are cached."""
    with tempfile.TemporaryDirectory(prefix="podnuma-") as folder, server(objects()) as address:
        told = f"--kubeconfig={kubeconfig(Path(folder), address)}"
        commands = {"help": ("--help",), "map": ("map", told)}
        for words in commands.values():
            seconds(*words)
        return {name: seconds(*words) for name, words in commands.items()}


def main() -> int:
    """Measure and print."""
    for name, took in measured().items():
        sys.stdout.write(f"{name}: {took:.2f} s of processor time\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
