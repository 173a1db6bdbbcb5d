"""Pods resized in place on a real API server; what a kubelet reports is written here.

The table of cases of docs/resize.md, one pod each: resized, held back by the kubelet, accepted, and resized
back. The node is that of `operator_site`: CPUs 1-3,9-11 of NUMA node 0 and 4-7,12-15 of NUMA node 1 are free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from podnuma.allocator import cpuset

from testbed.api import ApiStatusError
from testbed.waiting import until
from tests.integration.operator_site import SOON, Site

if TYPE_CHECKING:
    from testbed.api import Json

pytestmark = pytest.mark.timeout(180)

BUDGETS = ["InPlacePodLevelResourcesVerticalScaling"]


@dataclass(frozen=True)
class Shape:
    """What a pod asks for: CPUs of its budget (none: no budget), and of its containers by name.

    A container without CPUs asks for nothing. All have a memory of 1Gi, the budget `memory`.
    """

    budget: str
    containers: dict[str, str]
    memory: str = "4Gi"

    def spec(self) -> Json:
        found: Json = {
            "containers": [
                {"name": name, "resources": amounts(cpu)} for name, cpu in self.containers.items() if cpu
            ]
        }
        if self.budget:
            found["resources"] = amounts(self.budget, self.memory)
        return found

    def pod(self, name: str) -> Json:
        spec = self.spec()
        have = {one["name"]: one for one in spec["containers"]}
        spec["containers"] = [
            {**have.get(container, {"name": container}), "image": "x"} for container in self.containers
        ]
        spec |= {
            "nodeName": "n1",
            "terminationGracePeriodSeconds": 0,
            "automountServiceAccountToken": False,
        }
        return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}

    def status(self) -> Json:
        """What a kubelet reports that has allocated this."""
        states = [
            {
                "name": name,
                "image": "x",
                "imageID": "x",
                "ready": True,
                "restartCount": 0,
                "state": {"running": {}},
                "resources": amounts(cpu) if cpu else {},
                **({"allocatedResources": amounts(cpu)["requests"]} if cpu else {}),
            }
            for name, cpu in self.containers.items()
        ]
        found: Json = {"phase": "Running", "containerStatuses": states}
        if self.budget:
            found["allocatedResources"] = amounts(self.budget, self.memory)["requests"]
        return found


def amounts(cpu: str, memory: str = "1Gi") -> Json:
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"cpu": cpu, "memory": memory}}


def budget(whole: str, own: str, memory: str = "4Gi") -> Shape:
    return Shape(whole, {"db": own, "log": ""}, memory)


CASES = {
    "a slice grows into the pool": (budget("4", "2"), budget("4", "3"), "1-2,9-10", ("1-2,9", "10")),
    "a slice shrinks": (budget("4", "3"), budget("4", "1"), "1-2,9-10", ("2", "1,9-10")),
    "the budget grows": (budget("3", "2"), budget("4", "2"), "1-2,9-10", ("1,9", "2,10")),
    "the budget shrinks": (budget("4", "2"), budget("3", "2"), "1-2,9", ("1,9", "2")),
    "both grow": (budget("4", "3"), budget("6", "5"), "1-3,9-11", ("1-3,9,11", "10")),
    "both shrink": (budget("4", "3"), budget("3", "2"), "1,9-10", ("1,9", "10")),
    "exclusive becomes shared": (budget("4", "2"), budget("4", "1500m"), "1-2,9-10", ("1-2,9-10",) * 2),
    "shared becomes exclusive": (budget("4", "1500m"), budget("4", "2"), "1-2,9-10", ("1,9", "2,10")),
    "a budget becomes a fraction": (budget("4", "2"), budget("3500m", "2"), "-", (None, None)),
    "a budget becomes whole": (budget("3500m", "2"), budget("4", "2"), "1-2,9-10", ("1,9", "2,10")),
    "only memory": (budget("3", "2"), budget("3", "2", "8Gi"), "1-2,9", ("1,9", "2")),
    "no budget": (
        Shape("", {"db": "2", "log": "1"}),
        Shape("", {"db": "3", "log": "1"}),
        "1-2,9-10",
        ("1,9-10", "2"),
    ),
    "no budget, a fraction": (
        Shape("", {"db": "2", "log": "1"}),
        Shape("", {"db": "1500m", "log": "1"}),
        "2",
        (None, "2"),
    ),
}


def resize(site: Site, name: str, to: Shape) -> None:
    path = f"/api/v1/namespaces/{site.namespace}/pods/{name}/resize"
    site.api.request(
        "PATCH", path, {"spec": to.spec()}, content_type="application/strategic-merge-patch+json"
    )


def report(site: Site, name: str, allocated: Shape, **more: Any) -> None:
    """Do what a kubelet does that has allocated something."""
    path = f"/api/v1/namespaces/{site.namespace}/pods/{name}/status"
    site.api.merge(path, {"status": {**allocated.status(), **more}})


def furnish(site: Site, **spec: Any) -> None:
    site.furnish(**spec)
    site.api.merge("/api/v1/nodes/n1/status", {"status": {"declaredFeatures": BUDGETS}})
    site.report_hardware()


def held(site: Site, name: str = "db") -> tuple[str, tuple[str | None, ...]]:
    allocation = site.allocation(name)
    assert allocation is not None
    spec = allocation["spec"]
    return spec.get("cpus", "-"), tuple(one.get("cpus") for one in spec["containers"])


def sizes(site: Site) -> list[int]:
    whole, parts = held(site)
    return [cpuset.parse(part or "").bit_count() for part in (whole.strip("-"), *parts)]


@pytest.mark.parametrize("case", CASES)
def test_the_table_of_cases(site, case):
    before, after, cpus, containers = CASES[case]
    furnish(site)
    site.create(before.pod("db"))
    site.decided("db")
    report(site, "db", before)
    first, revision = held(site), site.allocation("db")["spec"]["decision"]["revision"]
    numbers = sizes(site)
    resize(site, "db", after)
    deferred = {"type": "PodResizePending", "status": "True", "reason": "Deferred"}
    report(site, "db", before, conditions=[deferred])
    assert held(site) == first
    report(site, "db", after, conditions=[])
    until(lambda: site.allocation("db")["spec"]["decision"]["revision"] != revision, "the resize", SOON)
    assert held(site) == (cpus, containers)
    assert not site.events("Restored")
    resize(site, "db", before)
    report(site, "db", before)
    until(lambda: site.allocation("db")["spec"]["decision"]["revision"] == revision, "the way back", SOON)
    assert sizes(site) == numbers
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


def test_the_api_server_refuses_another_class_and_nothing_changes(site):
    furnish(site)
    site.create(Shape("", {"db": "2"}).pod("db"))
    first = site.decided("db")
    path = f"/api/v1/namespaces/{site.namespace}/pods/db/resize"
    change = {"spec": {"containers": [{"name": "db", "resources": {"requests": {"cpu": "1"}}}]}}
    with pytest.raises(ApiStatusError) as refused:
        site.api.request("PATCH", path, change, content_type="application/strategic-merge-patch+json")
    assert refused.value.code == 422
    assert site.cpus("db") == first


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
