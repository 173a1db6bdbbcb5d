"""The runtime side of NRI: a small Go program around the adaptation library of containerd.

It is built three times from `runtime/`: with the NRI of containerd 2.4 (a call per event), with the one of
containerd 2.0 and 2.1 (StateChange, no version told), and with the first releases that honour a failure
policy, which no runtime has yet.
"""

import asyncio
import hashlib
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from podnuma.agent.nri.config import PluginConfig
from podnuma.agent.nri.link import Link, LinkState
from podnuma.agent.nri.values import NriEvent

from testbed import build
from testbed.making import Progress, make_once
from testbed.nri import Recorder

SOURCES = Path(__file__).parent / "runtime"
FLAGS = {
    "0.12": ("-tags", "nri_no_wasm"),
    "0.8": ("-tags", "nri08", "-modfile=nri08.mod"),
    "0.12.5": ("-tags", "nri_no_wasm", "-modfile=nri0125.mod"),
}


def built(version: str) -> Path:
    """Path of the program for an NRI version, built into the cache on first use."""
    digest = hashlib.sha256(repr(FLAGS[version]).encode())
    for path in sorted(SOURCES.iterdir()):
        digest.update(path.read_bytes())
    target = build.cache_folder() / "tools" / f"nri-runtime-{digest.hexdigest()[:16]}" / "nri-runtime"
    if not target.exists():
        go, lock = build.find_go(), build.cache_folder() / "build-nri-runtime.lock"
        make_once(
            f"the NRI test runtime ({version})",
            target.exists,
            lambda: _build(go, version, target),
            lock,
            sys.stderr,
        )
    return target


def _build(go: str, version: str, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent) as scratch:
        program = Path(scratch, target.name)
        argv = [go, "-C", str(SOURCES), "build", "-trimpath", *FLAGS[version], "-o", str(program), "."]
        progress = Progress(f"building the NRI test runtime ({version})", sys.stderr)
        build.run_logged(argv, Path(scratch, "log"), progress)
        program.rename(target)
        progress.done()


class Runtime:
    """One run of the program. Replies come back as dictionaries; what plugins do by themselves as notices."""

    def __init__(self, program: Path, socket: Path) -> None:
        self.socket = socket
        self.notices: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._program = program
        self._replies: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def start(self, *, request_timeout: float = 2.0, **known) -> None:
        self._process = await asyncio.create_subprocess_exec(
            self._program,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=64 << 20,
        )
        self._reading = asyncio.create_task(self._read())
        await self.know(**known)
        await self.do("start", socket=str(self.socket), timeout_ms=int(request_timeout * 1000))
        await self.notices.get()  # the synchronization of plugins that the runtime starts itself: none

    async def kill(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading

    async def do(self, what: str, **arguments) -> dict[str, Any]:
        """Run a command; a reply that carries an error raises it as RuntimeError."""
        number = len(self._replies) + 1
        self._replies[number] = asyncio.get_running_loop().create_future()
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"id": number, "do": what, **arguments}).encode() + b"\n")
        await self._process.stdin.drain()
        reply = await self._replies[number]
        if "error" in reply:
            raise RuntimeError(reply["error"])
        return reply

    async def know(self, pods=(), containers=(), failing=()) -> None:
        """Say which pods and containers exist, and which ones fail to be updated."""
        await self.do("know", pods=list(pods), containers=list(containers), failing=list(failing))

    async def _read(self) -> None:
        assert self._process.stdout is not None
        while line := await self._process.stdout.readline():
            message = json.loads(line)
            if "notice" in message:
                self.notices.put_nowait(message)
            else:
                self._replies[message["id"]].set_result(message)


@pytest.fixture(params=["0.12", "0.8"])
def nri_version(request):
    return request.param


@pytest.fixture
def program(nri_version):
    return built(nri_version)


@pytest_asyncio.fixture
async def runtime(program):
    # Not tmp_path: a socket's path has at most 107 characters.
    with tempfile.TemporaryDirectory(dir=os.environ.get("XDG_RUNTIME_DIR")) as folder:
        runtime = Runtime(program, Path(folder, "nri.sock"))
        yield runtime
        await runtime.kill()


@pytest.fixture
def plugin():
    return Recorder()


@pytest_asyncio.fixture
async def link(plugin, runtime):
    """A link that is running; tests start the runtime when they want it to connect."""
    # A small share: a test of lateness is quick and still far from the runtime's own deadline.
    settings = PluginConfig(
        name="podnuma", index="10", events=frozenset(NriEvent), socket=runtime.socket, answer_share=0.1
    )
    link = Link(settings, delay=lambda _attempt: 0.02)
    running = asyncio.create_task(link.run(plugin))
    yield link
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.fixture
def synchronized(plugin, link):
    """Wait until the running link is synchronized, and return what the plugin was told."""

    async def wait():
        told = await plugin.told("synchronize", within=10)
        assert link.state is LinkState.SYNCHRONIZED
        return told

    return wait
