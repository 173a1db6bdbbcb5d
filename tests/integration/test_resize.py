"""Pods resized in place on a real API server; what a kubelet reports is written here.

The table of docs/resize.md, row by row, some rows with more than one pod: resized, held back by the kubelet,
accepted, and resized back. The node is that of `operator_site`: CPUs 1-3,9-11 of NUMA node 0 and 4-7,12-15
of NUMA node 1 are free.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from podnuma.allocator import cpuset
from podnuma.api.quantity import read_bytes

from testbed.api import ApiStatusError
from testbed.waiting import until
from tests.integration import resized_pods
from tests.integration.operator_site import GROUP, SOON, Site
from tests.integration.resized_pods import Shape, amounts, budget

pytestmark = pytest.mark.timeout(180)

NO_LIMITS = {"cpu": None, "memory": None}
DOC = Path(__file__).parents[2] / "docs" / "resize.md"


@dataclass(frozen=True)
class Case:
    """One resize: CPUs of the pod as a whole ("-": none) and of its containers afterwards."""

    before: Shape
    after: Shape
    cpus: str
    containers: tuple[str | None, ...]


def beside_a_sidecar(sidecar: str, init: str = "") -> Shape:
    started = {"init": init} if init else {}
    return Shape("6", {"db": "2", "log": ""}, sidecars={"proxy": sidecar}, init=started)


def alone(own: str, beside: str = "1") -> Shape:
    return Shape("", {"db": own, "log": beside})


CASES: dict[str, list[Case]] = {
    "a slice grows": [Case(budget("4", "2"), budget("4", "3"), "1-2,9-10", ("1-2,9", "10"))],
    "a slice shrinks": [Case(budget("4", "3"), budget("4", "1"), "1-2,9-10", ("2", "1,9-10"))],
    "the budget grows, slices stay": [
        Case(budget("3", "2"), budget("4", "2"), "1-2,9-10", ("1,9", "2,10")),
        Case(budget("3", "2"), budget("3", "2", "8Gi"), "1-2,9", ("1,9", "2")),
    ],
    "the budget shrinks, slices stay": [
        Case(budget("4", "2"), budget("3", "2"), "1-2,9", ("1,9", "2")),
        Case(budget("4", "2", "8Gi"), budget("3", "2", "3Gi"), "1-2,9", ("1,9", "2")),
    ],
    "slice and budget change together": [
        Case(budget("4", "3"), budget("6", "5"), "1-3,9-11", ("1-3,9,11", "10")),
        Case(budget("4", "3"), budget("3", "2"), "1,9-10", ("1,9", "10")),
    ],
    "a slice becomes shared (2 to 1500m, or no longer equal to its limit)": [
        Case(budget("4", "2"), budget("4", "1500m"), "1-2,9-10", ("1-2,9-10",) * 2),
        Case(budget("4", "2"), budget("4", "1:2"), "1-2,9-10", ("1-2,9-10",) * 2),
    ],
    "a shared container gets a slice (1500m to 2)": [
        Case(budget("4", "1500m"), budget("4", "2"), "1-2,9-10", ("1,9", "2,10")),
        Case(budget("4", "1:2"), budget("4", "2"), "1-2,9-10", ("1,9", "2,10")),
    ],
    "a budget becomes a fraction (4 to 3500m)": [
        Case(budget("4", "2"), budget("3500m", "2"), "-", (None, None)),
    ],
    "a budget becomes whole again": [
        Case(budget("3500m", "2"), budget("4", "2"), "1-2,9-10", ("1,9", "2,10")),
    ],
    "containers without a budget": [
        Case(alone("2"), alone("3"), "1-2,9-10", ("1,9-10", "2")),
        Case(alone("2"), alone("1500m"), "2", (None, "2")),
        Case(alone("3", "2"), alone("1", "2"), "2-3,11", ("2", "3,11")),
        Case(alone("1500m"), alone("2"), "1-2,10", ("2,10", "1")),
    ],
    "a sidecar": [
        Case(beside_a_sidecar("1"), beside_a_sidecar("2"), "1-3,9-11", ("1,9", "2,10", "3,11")),
        Case(beside_a_sidecar("2"), beside_a_sidecar("1"), "1-3,9-11", ("1", "2,10", "3,9,11")),
        Case(
            beside_a_sidecar("2"),
            beside_a_sidecar("500m"),
            "1-3,9-11",
            ("1,3,9,11", "2,10", "1,3,9,11"),
        ),
    ],
    "an init container": [
        Case(
            beside_a_sidecar("1", "1"),
            beside_a_sidecar("1", "3"),
            "1-3,9-11",
            ("1", "2,9-10", "2,10", "3,9,11"),
        ),
        # The sidecar before it grows: what it gets the init container leaves.
        Case(
            beside_a_sidecar("1", "3"),
            beside_a_sidecar("2", "3"),
            "1-3,9-11",
            ("1,9", "2-3,10", "2,10", "3,11"),
        ),
    ],
}
ROWS_BELOW = {
    "a rejected pod is resized to fit": "test_a_rejected_pod_that_is_resized_to_fit_is_decided",
    "the QoS class would change, a limit is removed": "test_what_the_api_server_refuses_changes_nothing",
}


def resize(site: Site, name: str, to: Shape) -> None:
    resized_pods.resize(site.api, site.namespace, name, to.patch())


def report(site: Site, name: str, allocated: Shape, **more: Any) -> None:
    resized_pods.report(site.api, site.namespace, name, allocated, **more)


def furnish(site: Site, **spec: Any) -> None:
    site.furnish(**spec)
    resized_pods.declare(site.api, "n1")
    site.report_hardware()


def held(site: Site, name: str = "db") -> tuple[str, tuple[str | None, ...]]:
    allocation = site.allocation(name)
    assert allocation is not None
    spec = allocation["spec"]
    return spec.get("cpus", "-"), tuple(one.get("cpus") for one in spec["containers"])


def sizes(site: Site) -> list[int]:
    whole, parts = held(site)
    return [cpuset.parse(part or "").bit_count() for part in (whole.strip("-"), *parts)]


def memory(site: Site) -> dict[str, tuple[int, str]]:
    """Return how much memory of which NUMA nodes the budget has, and each container."""
    spec = (site.allocation("db") or {})["spec"]
    return {
        one.get("name", "budget"): (
            sum(read_bytes(block["size"]) for block in one["memory"]),
            one["memoryNodes"],
        )
        for one in (spec, *spec["containers"])
        if "memory" in one
    }


def test_the_table_and_the_cases_have_the_same_rows():
    lines = DOC.read_text().partition("## What happens")[2].partition("\n\n")[2].splitlines()
    table = lines[: lines.index("")]
    rows = [line.split("|")[1].strip() for line in table[2:]]
    assert rows == [*CASES, *ROWS_BELOW]
    assert all(test in globals() for test in ROWS_BELOW.values())


@pytest.mark.parametrize(
    "case", [pytest.param(case, id=row) for row, cases in CASES.items() for case in cases]
)
def test_the_table_of_cases(site, case):
    before, after = case.before, case.after
    furnish(site)
    site.create(before.pod("db"))
    site.decided("db")
    report(site, "db", before)
    first, revision = held(site), site.allocation("db")["spec"]["decision"]["revision"]
    numbers, amount = sizes(site), memory(site)
    resize(site, "db", after)
    deferred = {"type": "PodResizePending", "status": "True", "reason": "Deferred"}
    report(site, "db", before, conditions=[deferred])
    assert held(site) == first
    report(site, "db", after, conditions=[])
    until(lambda: site.allocation("db")["spec"]["decision"]["revision"] != revision, "the resize", SOON)
    assert held(site) == (case.cpus, case.containers)
    (nodes,) = {nodes for _, nodes in amount.values()}
    assert {nodes for _, nodes in memory(site).values()} == {nodes}
    if before.budget:
        assert memory(site)["budget"] == (read_bytes(after.memory), nodes)
    else:
        assert memory(site) == amount
    assert not site.events("Restored")
    resize(site, "db", before)
    report(site, "db", before)
    until(lambda: site.allocation("db")["spec"]["decision"]["revision"] == revision, "the way back", SOON)
    assert (sizes(site), memory(site)) == (numbers, amount)
    site.assert_sound()


def test_a_growth_without_room_is_deferred_and_comes_when_there_is_room(site):
    furnish(site)
    small, large = budget("4", "3"), budget("6", "5")
    site.create(small.pod("db"))
    site.decided("db")
    site.create(budget("2", "1").pod("other"))
    site.decided("other")
    resize(site, "db", large)
    report(site, "db", large)
    pending = until(
        lambda: site.allocation("db")["spec"]["decision"].get("pendingResize"), "the refusal", SOON
    )
    assert pending["reason"] == "Deferred"
    assert "needs 2 more CPUs on NUMA node 0, where 0 are free" in pending["message"]
    assert "Fits with: " in pending["message"]
    assert until(lambda: site.events("ResizePending"), "the event", SOON)
    site.delete("other")
    until(lambda: site.cpus("db") == "1-3,9-11", f"the growth\n{site.logs()}", SOON)
    assert "pendingResize" not in site.allocation("db")["spec"]["decision"]
    assert until(lambda: site.events("Resized"), "the event", SOON)


def test_a_rejected_pod_that_is_resized_to_fit_is_decided(site):
    furnish(site, onRejection="Share")
    site.create(budget("9", "8").pod("db"))
    assert site.decided("db") == "-"
    resize(site, "db", budget("4", "3"))
    until(lambda: site.cpus("db") == "1-2,9-10", f"a new decision\n{site.logs()}", SOON)


@pytest.mark.parametrize(
    ("shape", "change", "code"),
    [
        (alone("2"), {"containers": [{"name": "db", "resources": {"requests": {"cpu": "1"}}}]}, 422),
        (budget("4", "2"), {"resources": {"requests": {"cpu": "2"}}}, 422),
        (budget("4", "2"), {"resources": {"limits": NO_LIMITS}}, 422),
        (budget("4", "2"), {"containers": [{"name": "db", "resources": {"limits": NO_LIMITS}}]}, 422),
        (budget("4", "2"), {"resources": amounts("3")}, 403),
        (
            beside_a_sidecar("1", "3"),
            {"initContainers": [{"name": "init", "resources": amounts("1")}]},
            403,
        ),
    ],
    ids=[
        "another class",
        "another class of a budget",
        "no limit of a budget",
        "no limit",
        "a budget, on an old kubelet",
        "an init container, on an old kubelet",
    ],
)
def test_what_the_api_server_refuses_changes_nothing(site, shape, change, code):
    furnish(site)
    if code == 403:
        resized_pods.declare(site.api, "n1", [])
    site.create(shape.pod("db"))
    site.decided("db")
    first = site.allocation("db")["spec"]
    with pytest.raises(ApiStatusError) as refused:
        resized_pods.resize(site.api, site.namespace, "db", {"spec": change})
    assert refused.value.code == code
    assert site.allocation("db")["spec"] == first


def test_a_record_that_is_deleted_while_the_operator_is_down_stays_and_what_is_lost_for_good_is_told(site):
    """The finalizer keeps a PodAllocation; somebody who removes that, too, loses what nobody else knows."""
    furnish(site)
    for name in ("first", "db"):
        site.create(budget("4", "3").pod(name))
        site.decided(name)
        report(site, name, budget("4", "3"))
    resize(site, "db", budget("6", "5"))
    report(site, "db", budget("6", "5"))
    until(lambda: site.cpus("db") == "4-6,12-14", f"the resize\n{site.logs()}", SOON)
    first = site.allocation("db")["spec"]
    site.delete("first")
    site.gone("first", 30)
    path = f"{GROUP}/namespaces/{site.namespace}/podallocations/db"
    site.operators[-1].process.kill()
    site.api.delete(path)
    site.start()
    until(lambda: site.events("Kept"), f"what is said of the deleted one\n{site.logs()}", 40)
    assert site.allocation("db")["spec"] == first
    site.operators[-1].process.kill()
    site.api.merge(path, {"metadata": {"finalizers": []}})
    assert site.allocation("db") is None
    site.start()
    until(lambda: site.cpus("db"), f"a new decision\n{site.logs()}", 40)
    assert held(site) == ("1-3,9-11", ("1-3,9-10", "11"))
    until(lambda: [text for text in site.events("Allocated") if "runs already" in text], "the event", SOON)


def test_what_was_resized_while_the_operator_was_down_is_followed_without_a_move(site):
    furnish(site)
    site.create(budget("4", "3").pod("db"))
    site.create(budget("4", "3").pod("far"))
    assert (site.decided("db"), site.decided("far")) == ("1-2,9-10", "4-5,12-13")
    site.operators[-1].process.kill()
    resize(site, "far", budget("6", "5"))
    resize(site, "db", budget("3", "2"))
    site.start()
    until(
        lambda: (site.cpus("db"), site.cpus("far")) == ("1,9-10", "4-6,12-14"),
        f"both to be followed\n{site.logs()}",
        40,
    )
    site.assert_sound()
