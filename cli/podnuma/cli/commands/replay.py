"""`podnuma replay`: what podnuma would decide, scenario by scenario, without a cluster.

JSON lines in, JSON lines out, one result per line, in the formats of
`tests/conformance/oracle/README.md`: the same line can be given to the kubelet's own code, and
the answers compared. A line that is not a scenario gives a record with its number and the reason,
and the run continues.

    {"line": 3, "error": "topology.numaNodes: null is not a list"}

What is not printed: warnings of API validation of admitted pods, and counters other than the
three resource_manager_* ones. A pod that the API server would not have stored is refused with
the reason InvalidPod.

A restart keeps what pods hold: grants are restored, nothing is decided again.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from typing import IO, Any

import typer
from podnuma.allocator import Admitted, PodRequest, Rejected, SettingsError, Topology
from podnuma.allocator.memory.others import PagesInUse, others_pages
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.pod import read_pod
from podnuma.api.pod_defaults import with_api_defaults
from podnuma.cli.commands.options import examples, new_app
from podnuma.cli.exits import Exit
from podnuma.cli.objects.scenario_devices import with_devices
from podnuma.cli.objects.scenarios import (
    Scenario,
    ScenarioError,
    ScenarioJson,
    expect_object,
    read_scenario,
    read_settings,
)
from podnuma.cli.render import replay_results

app = new_app()

# A scenario of a thousand steps has a few hundred kilobytes.
_LONGEST_LINE = 32 * 2**20

_INVALID = "InvalidPod"


@app.command(
    "replay",
    epilog=examples(
        "podnuma replay < scenarios.jsonl",
    ),
)
def replay_scenarios() -> None:
    """Decide scenarios without a cluster: JSON lines in on standard input, JSON lines out."""
    raise typer.Exit(replay_lines(sys.stdin, sys.stdout))


def replay_lines(stdin: IO[str], stdout: IO[str]) -> int:
    """Play every line of `stdin`, write a line each to `stdout`, and return the exit code.

    INPUT when a line was not a scenario, FAULT when podnuma itself failed on one, else OK.
    """
    code = Exit.OK
    for number, line in _lines(stdin):
        try:
            result = play(_parse(line))
        except ScenarioError as error:
            result, code = {"line": number, "error": str(error)}, max(code, Exit.INPUT)
        except Exception as error:  # noqa: BLE001 - one bad scenario must not end a run of thousands
            fault = f"fault in podnuma, please report: {type(error).__name__}: {error}"
            result, code = {"line": number, "error": fault}, Exit.FAULT
        stdout.write(json.dumps(result, separators=(",", ":")) + "\n")
    return code


def play(scenario: Any) -> dict[str, Any]:
    """Play one scenario and return its result. Raises ScenarioError if it is not a scenario."""
    read = read_scenario(scenario)
    result: dict[str, Any] = {
        "scenario": read.name,
        "kubelet": _version(),
    }
    player, start = _Player.boot(read)
    result["start"] = start
    if player is None:
        return result
    result["initial"] = replay_results.node_result(player.node)
    steps: list[dict[str, Any]] = []
    result["steps"] = steps
    for index, step in enumerate(read.steps):
        steps.append(player.step(index, step))
        if not steps[-1].get("start", {"ok": True})["ok"]:
            break
    return result


@cache
def _version() -> str:
    return f"podnuma {metadata.version('podnuma')}"


def _lines(stdin: IO[str]) -> Iterator[tuple[int, str]]:
    number = 0
    while line := stdin.readline(_LONGEST_LINE):
        number += 1
        if len(line) == _LONGEST_LINE and not line.endswith("\n"):
            while (rest := stdin.readline(_LONGEST_LINE)) and not rest.endswith("\n"):
                pass
            line = ""
        elif not line.strip():
            continue
        yield number, line


def _parse(line: str) -> Any:
    if not line:
        raise ScenarioError(f"the line is longer than {_LONGEST_LINE} characters")
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise ScenarioError(f"no JSON: {error}") from error


class _StepError(Exception):
    """The step itself is impossible; nothing changed."""


@dataclass(slots=True)
class _Player:
    """The node as it is now, and what a kubelet would know about its pods besides."""

    node: NodeAllocator
    topology: Topology
    pages_in_use: tuple[PagesInUse, ...]
    kubelet: ScenarioJson
    api_defaults: bool
    active: dict[str, PodRequest] = field(default_factory=dict)
    hints: dict[str, dict[str, ScenarioJson]] = field(default_factory=dict)
    running: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    @classmethod
    def boot(cls, scenario: Scenario) -> tuple["_Player | None", dict[str, Any]]:
        """Make an empty node, or say why these settings cannot be used."""
        try:
            node = NodeAllocator.empty(read_settings(scenario.kubelet), scenario.topology)
        except (ScenarioError, SettingsError) as error:
            return None, {"ok": False, "stage": "configuration", "error": str(error)}
        pages = scenario.pages_in_use
        node.others_have(others_pages(pages, {}, scenario.topology))
        return cls(node, scenario.topology, pages, scenario.kubelet, scenario.api_defaults), {"ok": True}

    def step(self, index: int, step: ScenarioJson) -> dict[str, Any]:
        """Do one step and report it."""
        op = step.get("op")
        report: dict[str, Any] = {"index": index, "op": op}
        uid = step.get("uid")
        if isinstance(uid, str) and uid:
            report["uid"] = uid
        try:
            self._act(_word(step, "op"), step, report)
        except _StepError as error:
            report["error"] = str(error)
        if not report.get("start", {"ok": True})["ok"]:
            return report
        pod = self.active.get(report.get("uid", ""))
        if pod is not None and op != "restart":
            report["pod"] = replay_results.pod_result(self.node, pod, self.hints.get(pod.uid, {}))
        report["state"] = replay_results.node_result(self.node)
        return report

    def _act(self, op: str, step: ScenarioJson, report: dict[str, Any]) -> None:
        if op == "addPod":
            self._add(step, report)
        elif op == "removePod":
            self._remove(self._pod(step))
        elif op == "startPod":
            pod = self._pod(step)
            for container in pod.containers:
                self._start(pod, container.name, "")
        elif op == "startContainer":
            self._start(self._pod(step), _word(step, "container"), _word(step, "id"))
        elif op in {"stopContainer", "removeContainer"}:
            self._stop(step, forget=op == "removeContainer")
        elif op == "restart":
            self._restart(step, report)
        else:
            raise _StepError(f'unknown op "{op}"')

    def _add(self, step: ScenarioJson, report: dict[str, Any]) -> None:
        if step.get("pod") is None:
            raise _StepError("addPod needs pod")
        written = _complete(step["pod"], api_defaults=self.api_defaults)
        uid = report["uid"] = written["metadata"]["uid"]
        if uid in self.active:
            raise _StepError(f"pod {uid} is already active")
        if not expect_object(written.get("spec") or {}, "pod.spec").get("containers"):
            raise _StepError(f"pod {uid} has no containers")
        try:
            pod = read_pod(written)
        except InvalidObjectError as error:
            report |= {"apiErrors": [str(problem) for problem in error.errors], "admitted": False}
            report |= {"reason": _INVALID, "message": str(error)}
            return
        try:
            pod = with_devices(pod, written, step.get("devices"))
        except ScenarioError as error:
            raise _StepError(str(error)) from error
        decision = self.node.decide(pod)
        report["admitted"] = isinstance(decision, Admitted)
        if isinstance(decision, Rejected):
            report |= {"reason": decision.reason.value, "message": decision.message}
        else:
            self.node.hold(decision)
            self.active[uid] = pod
            self.hints[uid] = {
                name: replay_results.hint_result(hint) for name, hint in decision.hints.items()
            }
        report["metrics"] = replay_results.counter_result(decision.counts)

    def _pod(self, step: ScenarioJson) -> PodRequest:
        uid = _word(step, "uid")
        if uid not in self.active:
            raise _StepError(f"pod {uid} is not active")
        return self.active[uid]

    def _remove(self, pod: PodRequest) -> None:
        self.node.release(pod.uid)
        del self.active[pod.uid]
        self.hints.pop(pod.uid, None)
        self.running.pop(pod.uid, None)

    def _start(self, pod: PodRequest, name: str, given: str) -> None:
        if all(container.name != name for container in pod.containers):
            raise _StepError(f"pod {pod.uid} has no container {name}")
        running = self.running.setdefault(pod.uid, [])
        self.node.container_started(pod.uid, name)
        running.append((name, given or f"{pod.uid}.{name}.{len(running)}"))

    def _stop(self, step: ScenarioJson, *, forget: bool) -> None:
        uid, name, given = (_word(step, key) for key in ("uid", "container", "id"))
        running = self.running.get(uid, [])
        found = next((one for one in running if one[0] == name and given in {"", one[1]}), None)
        if found is None:
            raise _StepError(f"pod {uid} has no running container {name}")
        running.remove(found)
        if forget:
            self.node.remove_container(uid, name)

    def _restart(self, step: ScenarioJson, report: dict[str, Any]) -> None:
        if step.get("kubelet") is not None:
            self.kubelet = expect_object(step["kubelet"], "kubelet")
        try:
            settings = read_settings(self.kubelet)
            self.node, _ = NodeAllocator.restore(settings, self.topology, self.node.grants.values())
            self.node.others_have(others_pages(self.pages_in_use, {}, self.topology))
        except (ScenarioError, SettingsError) as error:
            report["start"] = {"ok": False, "stage": "configuration", "error": str(error)}
            return
        report["start"] = {"ok": True}
        if step.get("readmit", True):
            report["readmissions"] = [{"uid": uid, "admitted": True} for uid in self.active]


def _word(step: ScenarioJson, key: str) -> str:
    value = step.get(key) or ""
    if not isinstance(value, str):
        raise _StepError(f"{key}: {value!r:.60} is not a string")
    return value


def _complete(pod: Any, *, api_defaults: bool) -> dict[str, Any]:
    """Fill in what a scenario may leave out of a pod: namespace, UID (the name), API defaults."""
    try:
        written = expect_object(pod, "pod")
        meta = dict(expect_object(written.get("metadata") or {}, "pod.metadata"))
    except ScenarioError as error:
        raise _StepError(str(error)) from error
    meta["namespace"] = meta.get("namespace") or "default"
    meta["name"] = meta.get("name") or ""
    meta["uid"] = meta.get("uid") or meta["name"]
    complete: Mapping[str, Any] = {**written, "metadata": meta}
    return dict(with_api_defaults(complete) if api_defaults else complete)
