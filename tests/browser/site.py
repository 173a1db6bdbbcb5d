"""The page with objects of a test on it: a server in a thread, and Debian's Chromium in front of it."""

import asyncio
import contextlib
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import yaml
from podnuma.allocator import nodeset
from podnuma.allocator.decision import GrantedDevice
from podnuma.cli.commands.map import map_of
from podnuma.cli.commands.ui import SourceQuestions
from podnuma.cli.objects.sources import FileSource
from podnuma.cli.ui.access import Access
from podnuma.cli.ui.live_objects import LiveObjects
from podnuma.cli.ui.server import PageServer, start_server
from podnuma.cli.ui.views import Views
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

from tests.unit.cli.builders import allocation_object, block, container, database, grant, topology_object

EPYC = "epyc7401-2s-8numa-16l3"
XEON = "xeon-2s-snc2-irregular"
PROFILE = {"name": "databases", "generation": 1}


def node(name: str, machine: str = EPYC, reserved: str = "0,48") -> dict[str, Any]:
    """A NodeTopology that is ready."""
    value = topology_object(machine, reserved=reserved, name=name)
    value["spec"]["profile"] = PROFILE
    when = {"reason": "Ready", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}
    value["status"]["conditions"] = [{"type": "Ready", "status": "True", **when}]
    return value


def pod(namespace: str, name: str, containers: list[dict[str, Any]], node_name: str) -> dict[str, Any]:
    """A pod bound to a node."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "uid": f"uid-{name}"},
        "spec": {"nodeName": node_name, "containers": containers},
    }


def guaranteed(name: str, cpu: str, memory: str) -> dict[str, Any]:
    """A container with equal requests and limits."""
    amounts = {"cpu": cpu, "memory": memory}
    return {"name": name, "image": "x", "resources": {"requests": amounts, "limits": dict(amounts)}}


def training(name: str = "training", cpus: str = "6-11,54-59") -> Any:
    """A pod with CPUs of its own and no pool."""
    held = container("trainer", "node_exclusive", cpus, memory=(block(8 * 2**30, "1"),))
    return grant(f"ml/{name}", "", held)


def rendering() -> Any:
    """A pod with two devices, one of them far from its memory."""
    gpus = (
        GrantedDevice("gpu.example", "gpu-0", nodeset.parse("2")),
        GrantedDevice("nic.example", "mlx-1", nodeset.parse("5")),
    )
    held = container("render", "node_exclusive", "12-14,60-62", memory=(block(8 * 2**30, "2"),))
    return grant("ml/render", "", replace(held, memory_nodes=nodeset.parse("2"), devices=gpus))


def objects() -> list[dict[str, Any]]:
    """Two nodes; on the first a pod with a budget and one without; on the second a refused pod."""
    refused = allocation_object(grant("shop/too-large", ""), "node-2", "Rejected", "TopologyAffinityError")
    refused["spec"]["decision"]["explanation"] = "No NUMA node has 20 CPUs free."
    asks = guaranteed("app", "20", "1Gi")
    return [
        node("node-1"),
        node("node-2", XEON, reserved="0"),
        allocation_object(database(), "node-1"),
        allocation_object(training(), "node-1"),
        refused,
        pod("shop", "database", [guaranteed("database", "6", "8Gi")], "node-1"),
        pod("shop", "too-large", [asks], "node-2"),
    ]


class Site:
    """The server over some objects, and what a test changes in them."""

    def __init__(self, folder: Path, shown: list[dict[str, Any]]) -> None:
        file = folder / "cluster.yaml"
        file.write_text(yaml.safe_dump_all(shown))
        self.live = LiveObjects()
        for value in shown:
            self.live.keep(value)
        self.views = Views(self.live, map_of)
        self._questions = SourceQuestions(FileSource([str(file)]))
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self.url = ""

    def __enter__(self) -> Self:
        self._thread.start()
        self._runner = asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def keep(self, value: dict[str, Any]) -> None:
        """Change an object, as a watch would."""
        self._loop.call_soon_threadsafe(self.live.keep, value)

    async def _start(self):
        import socket

        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        access = Access("127.0.0.1", port)
        self.url = access.url
        server = PageServer(access, self.live, self.views, self._questions)
        return await start_server(server, "127.0.0.1", port)


class Browser:
    """Chromium without a window, as a test uses it."""

    def __init__(self, *, dark: bool = False) -> None:
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        for word in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
            options.add_argument(word)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        self.driver = webdriver.Chrome(
            options=options, service=webdriver.ChromeService("/usr/bin/chromedriver")
        )
        self.scheme(dark=dark)

    def scheme(self, *, dark: bool) -> None:
        """Prefer light or dark."""
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})

    def size(self, width: int, height: int = 900) -> None:
        """Make the page this wide; a window cannot be as narrow as a telephone."""
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
        )

    def open(self, url: str) -> None:
        """Open an address anew."""
        self.leave()
        self.driver.get(url)

    def leave(self) -> None:
        """Leave the page, which ends its stream."""
        self.driver.get("about:blank")

    def all(self, selector: str) -> list[Any]:
        """Find elements now."""
        found: list[Any] = self.driver.find_elements(By.CSS_SELECTOR, selector)
        return found

    def see(self, text: str, within: str = "main", seconds: float = 5.0) -> None:
        """Wait until a text can be read."""
        WebDriverWait(self.driver, seconds, 0.02).until(
            lambda _: (
                text in self.script("return document.querySelector(arguments[0])?.innerText ?? ''", within)
            ),
            f"{text!r} is not in {within}: {self.script('return document.body.innerText')[:800]!r}",
        )

    def script(self, text: str, *words: object) -> Any:
        """Ask the page."""
        return self.driver.execute_script(text, *words)

    def complaints(self) -> list[str]:
        """What the console says: errors of scripts, blocked scripts, missing files."""
        return [line["message"] for line in self.driver.get_log("browser")]

    def close(self) -> None:
        """End it."""
        with contextlib.suppress(Exception):
            self.driver.quit()
