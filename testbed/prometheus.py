"""Debian's Prometheus, which scrapes podnuma's processes as the chart's monitors would have it do.

The chart's PodMonitor gives every series the labels `node` and `component`; here the targets have them.
What a cAdvisor says of podnuma's own containers comes from `ContainerMemory`, which reads it from /proc.
"""

from __future__ import annotations

import http.server
import re
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import requests
import yaml

from testbed.ports import free_port
from testbed.processes import Process
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

SCRAPE_SECONDS = 1


class NoPrometheusError(RuntimeError):
    """Debian's package is not installed."""


def program(name: str) -> str:
    """Return the path of `prometheus` or `promtool`."""
    found = shutil.which(name)
    if found is None:
        raise NoPrometheusError(
            f"{name} is not installed: apt-get install --no-install-recommends prometheus"
        )
    return found


class Prometheus:
    """One Prometheus with its own folder; `targets`: ports on this machine, and labels of their series."""

    def __init__(self, folder: Path, targets: Mapping[int, Mapping[str, str]]) -> None:
        self._folder = folder
        self._targets = dict(targets)
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        self._folder.mkdir()
        scraped = [
            {"targets": [f"127.0.0.1:{port}"], "labels": dict(labels)}
            for port, labels in self._targets.items()
        ]
        interval = f"{SCRAPE_SECONDS}s"
        configuration = {
            "global": {"scrape_interval": interval, "scrape_timeout": interval},
            "scrape_configs": [{"job_name": "podnuma", "static_configs": scraped}],
        }
        file = self._folder / "prometheus.yaml"
        file.write_text(yaml.safe_dump(configuration))
        options = (
            f"--config.file={file}",
            f"--storage.tsdb.path={self._folder / 'data'}",
            f"--web.listen-address=127.0.0.1:{self._port}",
        )
        self._process = Process(
            "prometheus", (program("prometheus"), *options), self._folder / "prometheus.log"
        )
        try:
            until(self._ready, "Prometheus to be ready", 60)
        except BaseException:
            self._process.kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()

    def ask(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Return labels and present value of every series that a query returns."""
        answer = requests.get(f"{self.url}/api/v1/query", params={"query": query}, timeout=30)
        assert answer.ok, f"{query}: {answer.text}"
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return [(each["metric"], float(each["value"][1])) for each in found]

    def _ready(self) -> bool:
        self._process.check()
        try:
            return requests.get(f"{self.url}/-/ready", timeout=2).ok
        except requests.RequestException:
            return False


class ContainerMemory:
    """`container_memory_working_set_bytes` of processes by pod and container name, as a kubelet serves it."""

    def __init__(self, processes: Mapping[tuple[str, str], int]) -> None:
        self._processes = dict(processes)

    def __enter__(self) -> Self:
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = outer.exposition().encode()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Say nothing of each scrape."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def exposition(self) -> str:
        """Return the text of a scrape; a process that is gone has no series."""
        lines = ["# TYPE container_memory_working_set_bytes gauge"]
        for (pod, container), pid in self._processes.items():
            resident = _resident_bytes(pid)
            if resident is not None:
                labels = f'namespace="podnuma-system",pod="{pod}",container="{container}"'
                lines.append(f"container_memory_working_set_bytes{{{labels}}} {resident}")
        return "\n".join(lines) + "\n"


def _resident_bytes(pid: int) -> int | None:
    try:
        found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found.group(1)) * 1024 if found else None


def promtool(*words: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run promtool."""
    return subprocess.run(
        [program("promtool"), *map(str, words)],
        check=False,
        capture_output=True,
        text=True,
        cwd=folder,
        timeout=120,
    )
