"""One machine, one story: first the kubelet's own feature as the reference, then podnuma on a stock kubelet.

`machine`    the virtual machine, for what only its owner may do to a node (switch the kubelet, stop the API
             server); tests that need it have the marker `machine` and are not part of `make e2e`
`cluster`    that machine's cluster, or the one that PODNUMA_E2E_KUBECONFIG names
`reference_recording`, `device_recording`  what the kubelet's own managers do with the pods of the tables;
             recorded before podnuma comes
`podnuma`    podnuma installed from deploy/ and at work
`figures`    numbers for the end of the log

Files run in the order of their names. The log has one line per scenario, with the property it shows.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from testbed import build
from testbed.e2e import device_pods, devices, kubelet, recordings, reference, target
from testbed.e2e.cluster import KubectlError
from testbed.e2e.observe import limits
from testbed.e2e.product import POD_SCOPE, Product
from testbed.e2e.reference import Recording
from testbed.processes import ProcessFailedError
from testbed.vm import rootfs
from testbed.vm.cell import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from testbed.e2e.cluster import Cluster
    from testbed.vm.cell import Cell

pytest.register_assert_rewrite("testbed.e2e.resizing")
KUBECONFIG = "PODNUMA_E2E_KUBECONFIG"
CELL = "PODNUMA_E2E_CELL"
CUT = 600  # characters of a failure in its line; the end of the log has all of it
LOG_LINES = 300  # of the agent, with a failure
BEGAN = time.monotonic()


@dataclass(slots=True)
class Report:
    """What is printed when all is done."""

    table: list[str] = field(default_factory=list)
    figures: list[str] = field(default_factory=list)


REPORT = pytest.StashKey[Report]()


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "machine: needs the virtual machine, not any cluster")
    config.addinivalue_line("markers", "nri: needs a runtime that asks before it starts a container")
    config.addinivalue_line("markers", "cri: needs one that does not")
    config.addinivalue_line("markers", "each_cell: what runtime, cgroup driver or release could change")
    config.addinivalue_line("markers", "smoke: part of `make e2e-smoke`")
    config.stash[REPORT] = Report()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        # Only the test itself: boot, reference and installation have bounds of their own, and the first run
        # on a machine builds Kubernetes before it.
        item.add_marker(pytest.mark.timeout(1800, func_only=True))
    left_out = {"machine", "cri"} if KUBECONFIG in os.environ else {"cri" if the_cell().has_nri else "nri"}
    kept = [item for item in items if not left_out & {marker.name for marker in item.iter_markers()}]
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = kept


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.items and KUBECONFIG not in os.environ:
        try:
            rootfs.require_tools()
        except build.BuildError as error:
            pytest.exit(str(error), 1)


def the_cell() -> Cell:
    """Return the cell of the matrix that is run; its default where nothing says so."""
    return parse(os.environ.get(CELL, ""))


def say(text: str) -> None:
    """Write a line with the time since the start, past pytest's capture."""
    out = sys.__stderr__ or sys.stderr
    print(f"{time.monotonic() - BEGAN:7.1f} s  {text}", file=out, flush=True)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    report = yield
    if report.when == "call" or report.failed:
        doc = getattr(getattr(item, "function", None), "__doc__", None) or item.name
        words = " ".join(doc.split())
        say(f"{'ok    ' if report.passed else 'FAILED'} {call.duration:6.1f} s  {words}")
        if call.excinfo is not None:
            say(f"       {' '.join(call.excinfo.exconly().split())[:CUT]}")
    if report.failed and isinstance(podnuma := getattr(item, "funcargs", {}).get("podnuma"), Product):
        with suppress(KubectlError, TimeoutError):
            report.sections.append(("the agent's log", podnuma.agent_log(LOG_LINES)))
    return report


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    # The line above says it all.
    return (report.outcome, "", "") if report.passed and report.when == "call" else None


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    del exitstatus
    report = config.stash[REPORT]
    for title, lines in (("the kubelet and podnuma side by side", report.table), ("figures", report.figures)):
        if lines:
            terminalreporter.section(title)
            for line in lines:
                terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> list[str]:
    return pytestconfig.stash[REPORT].figures


@pytest.fixture(scope="session")
def table(pytestconfig: pytest.Config) -> list[str]:
    return pytestconfig.stash[REPORT].table


@pytest.fixture(scope="session")
def _target() -> Iterator[target.MachineTarget | Cluster]:
    named = os.environ.get(KUBECONFIG)
    if named is None:
        cell = the_cell()
        say(f"the virtual machine {cell}")
        with ExitStack() as stack:
            try:
                machine = stack.enter_context(target.machine(cell))
            except (ProcessFailedError, TimeoutError) as error:
                pytest.exit(f"no virtual machine, so nothing was tested: {error}", 1)
            saved, went_on = machine.snapshot.made, machine.node.machine.start_seconds
            say(f"it goes on from {saved:%Y-%m-%d %H:%M}; ssh answered after {went_on:.0f} s")
            yield machine
    else:
        busybox = os.environ.get("PODNUMA_E2E_IMAGE", "localhost/busybox:1")
        with target.existing_cluster(Path(named), os.environ.get("PODNUMA_E2E_NODE"), busybox) as cluster:
            yield cluster


@pytest.fixture(scope="session")
def cluster(_target: target.MachineTarget | Cluster) -> Cluster:
    return _target.cluster if isinstance(_target, target.MachineTarget) else _target


@pytest.fixture(scope="session")
def machine(_target: target.MachineTarget | Cluster) -> target.MachineTarget:
    assert isinstance(_target, target.MachineTarget)
    return _target


def with_its_own_managers(machine: target.MachineTarget) -> Iterator[str]:
    """Have the kubelet's own managers on, in one scope after the other, and yield the scope."""
    for scope, managers in (
        ("pod", kubelet.Managers.POD_SCOPE),
        ("container", kubelet.Managers.CONTAINER_SCOPE),
    ):
        kubelet.switch(machine.cluster, managers)
        say(f"the kubelet has its own managers on, scope {scope}")
        yield scope
    kubelet.switch(machine.cluster, kubelet.Managers.DEFAULT)
    say("the kubelet is a stock one again")


def recorded(
    machine: target.MachineTarget, name: str, made_of: bytes, record: Callable[[Recording], None]
) -> Recording:
    """What the kubelet does with its own managers, recorded unless this machine has done so before."""
    kept = recordings.load(machine.snapshot, name, made_of)
    if kept is not None:
        say(f"what the kubelet's own managers do was recorded on this machine before: {name}")
        return kept
    recording = Recording()
    record(recording)
    recordings.keep(machine.snapshot, name, made_of, recording)
    return recording


@pytest.fixture(scope="session")
def reference_recording(machine: target.MachineTarget) -> Recording:
    """What the kubelet does with its own managers, in both scopes; it is stock again afterwards."""
    waves = {"pod": reference.POD_SCOPE, "container": reference.CONTAINER_SCOPE}

    def record(recording: Recording) -> None:
        for scope in with_its_own_managers(machine):
            reference.record(machine.cluster, scope, waves[scope], recording, say)
            recording.add_counts(scope, {}, kubelet.counts(machine.node.kubelet_metrics()))

    return recorded(machine, "table", reference.made_of(), record)


@pytest.fixture(scope="session")
def device_recording(machine: target.MachineTarget) -> Recording:
    """What the kubelet does with its own managers with pods that have devices."""
    waves = {"pod": device_pods.POD_SCOPE, "container": device_pods.CONTAINER_SCOPE}

    def record(recording: Recording) -> None:
        with devices.at_work(machine) as at_work:
            for scope in with_its_own_managers(machine):
                at_work.wait_plugin()
                for names in device_pods.record(machine.cluster, scope, waves[scope], recording):
                    say(f"       recorded {names}")

    return recorded(machine, "devices", device_pods.made_of(), record)


@pytest.fixture(scope="session")
def untouched(
    _target: target.MachineTarget | Cluster, cluster: Cluster, request: pytest.FixtureRequest
) -> dict[str, str]:
    """The files of the kubelet's slices before podnuma came."""
    asked = {name for item in request.session.items for name in getattr(item, "fixturenames", ())}
    for recording in ("reference_recording", "device_recording"):
        if isinstance(_target, target.MachineTarget) and recording in asked:
            request.getfixturevalue(recording)
    return limits(cluster.shell)


@pytest.fixture(scope="session")
def podnuma(_target: target.MachineTarget | Cluster, cluster: Cluster, untouched: dict[str, str]) -> Product:
    """podnuma installed from deploy/ and at work, in scope pod."""
    assert untouched
    product = Product(cluster)
    product.install(operator=not isinstance(_target, target.MachineTarget))
    target.start_operator(_target, product)
    product.profile(POD_SCOPE)
    product.wait_agent()
    say("podnuma is installed and at work")
    return product
