"""The real kubelet code, as a program: build the oracle once, then ask it.

The oracle is the Go module in `oracle/`; one source, three kubelet releases. A build takes
minutes the first time (it compiles a good part of Kubernetes), so the binary is kept in the
user's cache, under the hash of everything that went into it: sources, module files and Go
version. A changed source is another name, so a stale binary is never used.

Always true: `binary` returns an executable that answers for exactly the sources in this
checkout; two processes that build at once both end with a complete file (it is renamed in).
"""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any

SOURCES = Path(__file__).parent / "oracle"


class Release(Enum):
    """A kubelet release the oracle can speak for."""

    V1_36 = "1.36"
    V1_37 = "1.37"
    V1_38 = "1.38"

    @property
    def version(self) -> str:
        """The version that the oracle's module file names."""
        return _VERSIONS[self]


_VERSIONS: Mapping[Release, str] = {
    Release.V1_36: "v1.36.3",
    Release.V1_37: "v1.37.2",
    Release.V1_38: "v1.38.0-beta.0",
}

_BUILD_ARGUMENTS: Mapping[Release, tuple[str, ...]] = {
    Release.V1_36: (),
    Release.V1_37: ("-modfile=go137.mod", "-tags", "k8s137"),
    Release.V1_38: ("-modfile=go138.mod", "-tags", "k8s137"),
}

# A newer one than this machine may have; Go fetches it as it fetches modules.
_TOOLCHAINS: Mapping[Release, str] = {Release.V1_38: "go1.27.0"}


REFERENCE = Release.V1_37


_KILLED_BY_LIMIT = (-signal.SIGXCPU, -signal.SIGKILL)


class NoOracleError(RuntimeError):
    """The oracle cannot be built or failed; the text says what to do."""


def cache_root() -> Path:
    """Where builds are kept: PODNUMA_CACHE, or ~/.cache/podnuma."""
    return Path(os.environ.get("PODNUMA_CACHE") or Path.home() / ".cache" / "podnuma")


def scratch_root() -> Path | None:
    """A memory file system for the kubelet's checkpoints, if this machine has one."""
    shared = Path("/dev/shm")
    return shared if os.access(shared, os.W_OK) else None


@cache
def binary(release: Release = REFERENCE, program: str = ".") -> Path:
    """Return a program of the oracle for `release`, building it when the cache has none for these sources."""
    go = shutil.which("go")
    if go is None:
        raise NoOracleError(
            "the conformance run needs Go to build the kubelet's own code: put `go` (1.26 or newer) on PATH"
        )
    version = subprocess.run([go, "version"], capture_output=True, text=True, check=True).stdout
    kept = cache_root() / "oracle" / f"{_fingerprint(version, release, program)}-{release.value}"
    if not kept.exists():
        _build(go, release, program, kept)
    return kept


def _fingerprint(go_version: str, release: Release, program: str) -> str:
    digest = hashlib.sha256(f"{go_version}{release.value}{program}".encode())
    for path in sorted({*SOURCES.iterdir(), *(SOURCES / program).iterdir()}):
        if path.suffix in {".go", ".mod", ".s", ".sum"} and not path.name.endswith("_test.go"):
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()[:20]


def _toolchain(release: Release) -> dict[str, str]:
    return {"GOTOOLCHAIN": _TOOLCHAINS[release]} if release in _TOOLCHAINS else {}


def _build(go: str, release: Release, program: str, kept: Path) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        built = Path(scratch) / "oracle"
        command = [go, "build", "-mod=readonly", "-trimpath", "-ldflags", "-s -w"]
        command += [*_BUILD_ARGUMENTS[release], "-o", str(built), program]
        done = subprocess.run(
            command,
            cwd=SOURCES,
            env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "", **_toolchain(release)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise NoOracleError(f"building the oracle of {release.value} failed:\n{done.stderr[-4000:]}")
        built.replace(kept)


def replay(lines: Iterable[str], release: Release = REFERENCE, *, limit: int | None = None) -> list[str]:
    """Play scenarios through the kubelet: one result line per scenario line, in order.

    `limit` is in seconds of processor time for the whole call, so that a busy machine changes
    nothing; TimeoutError when the kubelet code does not come back.
    """
    command = [str(binary(release)), "replay"]
    if (scratch := scratch_root()) is not None:
        command += ["-state-dir", str(scratch)]
    return ask(command, "\n".join(line.strip() for line in lines), limit=limit)


def generate(seed: int, count: int, first: int = 0, *, devices: bool = False) -> list[str]:
    """Draw `count` random valid scenarios; number i depends on the seed, `devices` and i only."""
    command = [str(binary()), "generate", "-seed", str(seed), "-count", str(count), "-first", str(first)]
    return ask([*command, "-devices"] if devices else command)


def generate_on(seed: int, machines: Iterable[str], first: int = 0) -> list[str]:
    """Draw settings and pods for scenarios that have a name and a topology only, one a line."""
    command = [str(binary()), "generate", "-machines", "-seed", str(seed), "-first", str(first)]
    return ask(command, "\n".join(machines))


def machine_of(tree: Path) -> Mapping[str, Any]:
    """Return what cAdvisor and the kubelet make of a tree that stands for /. Raises NoOracleError."""
    if os.geteuid() != 0:
        raise NoOracleError("the kubelet's eyes are confined to a tree (chroot): run this as root")
    command = [str(binary(program="./discovery")), str(tree)]
    found: Mapping[str, Any] = json.loads("".join(ask(command)))
    return found


def ask(command: list[str], question: str = "", *, limit: int | None = None) -> list[str]:
    """Run an oracle command and return the lines it prints. Raises NoOracleError, TimeoutError."""
    shell = ["sh", "-c", f'ulimit -t {limit or "unlimited"}; exec "$@"', "sh", *command]
    done = subprocess.run(shell, input=question, capture_output=True, text=True, check=False)
    if limit and done.returncode in _KILLED_BY_LIMIT:
        raise TimeoutError(f"{Path(command[0]).name} {command[1]} took more than {limit} s")
    if done.returncode:
        raise NoOracleError(f"{' '.join(command)} failed: {done.stderr[-2000:]}")
    return done.stdout.splitlines()
