"""Faults at each step of a placement: to reserve, to nominate, to lift the gate, to take over.

Four pods of six CPUs, which fill two nodes, are placed meanwhile, and must come to rest all the same.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from testbed import faults
from testbed.waiting import until
from tests.integration.operator_site import SOON
from tests.integration.placement_site import bound, furnish, unbound

if TYPE_CHECKING:
    from collections.abc import Callable

    from testbed.faults import Call, Fault, FaultyApiServer
    from testbed.kwok import Kwok
    from tests.integration.operator_site import Site

TAKEOVER_SECONDS = 15 + 10  # until a standby leads, and ten seconds from then on
STEPS = {
    "reserve": ("POST", r"/podallocations$"),
    "nominate": ("PATCH", r"/pods/[^/]+/status$"),
    "lift": ("PATCH", r"/pods/[^/]+$"),
    "take over": ("PUT", r"/podallocations/[^/]+$"),
}
PODS = [f"p{number}" for number in range(4)]


def request_to(step: str) -> Callable[[Call], bool]:
    """Match the requests of one step."""
    method, pattern = STEPS[step]
    return lambda call: call.method == method and re.search(pattern, call.path) is not None


def name_of_fault(fault: Fault) -> str:
    """Return a name for a test."""
    return f"{type(fault).__name__}{getattr(fault, 'code', '')}{getattr(fault, 'done', '')}"


def kill_the_leader(site: Site, kwok: Kwok, faulty: FaultyApiServer, step: str, *, done: bool) -> None:
    """Kill the leader at its first request of a step; a standby finishes what it has begun."""
    leader = site.start(faulty, "--placement")
    furnish(site, kwok, "n1", "n2")
    site.start(None, "--placement")
    killed: list[Call] = []

    def kill(call: Call) -> None:
        killed.append(call)
        leader.kill()

    faulty.next(request_to(step), faults.Notify(kill, done=done))
    for name in PODS:
        site.create(unbound(name, 6))
    until(lambda: killed, f"a request to {step}\n{site.logs()}", SOON)
    _all_bound(site, TAKEOVER_SECONDS)
    for name in PODS:
        site.delete(name)
    for name in PODS:
        site.gone(name, 30)


def fail_each_step(site: Site, kwok: Kwok, faulty: FaultyApiServer, fault: Fault) -> None:
    """Have the first two requests of each step fail."""
    site.start(faulty, "--placement")
    furnish(site, kwok, "n1", "n2")
    for step in STEPS:
        faulty.next(request_to(step), fault, times=2)
    for name in PODS:
        site.create(unbound(name, 6))
    _all_bound(site, 30)


def _all_bound(site: Site, timeout: float) -> None:
    assert sorted(bound(site, name, timeout) for name in PODS) == ["n1", "n1", "n2", "n2"]
    site.assert_sound()
