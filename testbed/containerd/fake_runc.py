"""A substitute for runc: `fake_runc.py FOLDER <arguments of runc>`, run by containerd's shim.

A container is a sleeping process. What should have become cgroup values is appended to
FOLDER/settings.jsonl, one line per call: {"call": "create" | "update", "id": ..., "resources":
OCI resources, "cgroupsPath": ...}. A container whose annotations carry `testbed/refuse-update`
fails every update, as if its cgroup were gone.

Only the standard library: it starts several times per container.
"""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path


def main(folder: Path, arguments: list[str]) -> int:
    """Do what the shim asks for; the exit status is runc's."""
    calls = {"create": create, "kill": kill, "delete": delete, "update": update}
    at = next(
        (number for number, word in enumerate(arguments) if word in {*calls, "start", "features"}), None
    )
    if at is None:
        print(f"not supported: {arguments}", file=sys.stderr)
        return 1
    call = arguments[at]
    if call == "features":
        print("{}")
    if call in calls:
        return calls[call](folder, arguments[at + 1 :])
    return 0


def create(folder: Path, arguments: list[str]) -> int:
    """Start the process of the container whose bundle is named, and write its pid where asked."""
    container, bundle = arguments[-1], Path(_option(arguments, "--bundle"))
    spec = json.loads((bundle / "config.json").read_text())
    sleeper = subprocess.Popen(
        ["sleep", "infinity"],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    state = folder / "containers" / container
    state.mkdir(parents=True)
    (state / "pid").write_text(str(sleeper.pid))
    (state / "refuses").write_text("yes" if "testbed/refuse-update" in spec.get("annotations", {}) else "")
    Path(_option(arguments, "--pid-file")).write_text(str(sleeper.pid))
    linux = spec.get("linux", {})
    _record(folder, "create", container, linux.get("resources", {}), linux.get("cgroupsPath", ""))
    return 0


def kill(folder: Path, arguments: list[str]) -> int:
    """Send a signal to the container."""
    container, number = [word for word in arguments if not word.startswith("-")][:2]
    _signal(folder / "containers" / container, int(number))
    return 0


def delete(folder: Path, arguments: list[str]) -> int:
    """Kill what is left of the container."""
    state = folder / "containers" / arguments[-1]
    if state.exists():
        _signal(state, signal.SIGKILL)
    return 0


def update(folder: Path, arguments: list[str]) -> int:
    """Record the resources on standard input."""
    container = arguments[-1]
    if (folder / "containers" / container / "refuses").read_text():
        print("cannot write cpuset.cpus: Device or resource busy", file=sys.stderr)
        return 1
    _record(folder, "update", container, json.load(sys.stdin), "")
    return 0


def _signal(state: Path, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(int((state / "pid").read_text()), number)


def _option(arguments: list[str], name: str) -> str:
    return arguments[arguments.index(name) + 1]


def _record(folder: Path, call: str, container: str, resources: object, cgroups_path: str) -> None:
    line = json.dumps({"call": call, "id": container, "resources": resources, "cgroupsPath": cgroups_path})
    with (folder / "settings.jsonl").open("a") as sink:  # short appends are atomic
        sink.write(line + "\n")


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
