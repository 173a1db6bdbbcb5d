"""One writer: who holds the Lease, for how long surely, and what happens around a change."""

import asyncio
import copy
import itertools
import logging
from typing import Any

from podnuma.operator.settings import LeaseSettings
from podnuma.operator.write.leader_election import LeaderElector
from podnuma.plumbing.kube import errors

from tests.unit.operator.virtual import virtual

SETTINGS = LeaseSettings(duration=10.0, retry=2.0, margin=1.5)


class FakeLeases:
    """The one Lease, as the API server keeps it."""

    def __init__(self):
        self.lease: Any = None
        self.down = False
        self.slow = 0.0
        self._versions = itertools.count(1)

    async def get(self, path, **_):
        await self._reach()
        if self.lease is None:
            raise errors.NotFoundError(404, "NotFound", path)
        return copy.deepcopy(self.lease)

    async def write(self, method, path, body, **_):
        await self._reach()
        if method == "POST" and self.lease is not None:
            raise errors.AlreadyExistsError(409, "AlreadyExists", path)
        if method == "PUT":
            assert self.lease is not None
            if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
                raise errors.ConflictError(409, "Conflict", path)
        self.lease = copy.deepcopy(body)
        self.lease["metadata"]["resourceVersion"] = str(next(self._versions))
        return copy.deepcopy(self.lease)

    async def _reach(self):
        await asyncio.sleep(self.slow)
        if self.down:
            raise errors.UncertainError(0, "NoAnswer", "down")


def elector(leases, name):
    clock = asyncio.get_running_loop().time
    return LeaderElector(leases, SETTINGS, namespace="x", identity=name, clock=clock)


def running(candidate):
    return asyncio.create_task(candidate.run())


@virtual
async def test_the_first_one_leads_and_keeps_leading():
    leases = FakeLeases()
    a, b = elector(leases, "a"), elector(leases, "b")
    running(a)
    await a.elected()
    running(b)
    for _ in range(200):
        await asyncio.sleep(1)
        assert a.leading
        assert not b.leading
    assert leases.lease["spec"]["holderIdentity"] == "a"


@virtual
async def test_a_standby_takes_over_at_most_duration_and_retry_after_the_last_renewal():
    leases = FakeLeases()
    a, b = elector(leases, "a"), elector(leases, "b")
    task = running(a)
    term = await a.elected()
    running(b)
    await asyncio.sleep(31)
    task.cancel()
    ended = asyncio.get_running_loop().time()
    assert await b.elected() == term + 1
    assert asyncio.get_running_loop().time() - ended <= SETTINGS.duration + SETTINGS.retry


@virtual
async def test_two_never_lead_at_once_even_if_one_is_cut_off():
    leases = FakeLeases()
    a, b = elector(leases, "a"), elector(leases, "b")
    running(a)
    await a.elected()
    running(b)

    class CutOff:
        async def get(self, *_, **__):
            raise errors.UncertainError(0, "NoAnswer", "cut off")

        async def write(self, *_, **__):
            raise errors.UncertainError(0, "NoAnswer", "cut off")

    await asyncio.sleep(5)
    a._client = CutOff()
    for _ in range(300):
        await asyncio.sleep(0.1)
        assert not (a.leading and b.leading)
    assert b.leading


@virtual
async def test_a_leader_counts_from_before_its_renewal_was_sent():
    leases = FakeLeases()
    a = elector(leases, "a")
    running(a)
    await a.elected()
    leases.slow = 1.5
    await asyncio.sleep(20)
    # Two requests of 1.5 s each: what is left is less than the whole duration by at least that.
    assert a.remaining() <= SETTINGS.duration - SETTINGS.margin - 3.0


@virtual
async def test_leading_is_lost_when_the_api_server_is_gone_and_comes_back_as_a_new_term():
    leases = FakeLeases()
    a = elector(leases, "a")
    running(a)
    first = await a.elected()
    leases.down = True
    await asyncio.wait_for(a.lost(), SETTINGS.duration + 2 * SETTINGS.retry)
    assert not a.leading
    leases.down = False
    assert await asyncio.wait_for(a.elected(), 5) == first + 1


@virtual
async def test_a_lease_that_was_given_back_is_taken_at_once():
    leases = FakeLeases()
    a, b = elector(leases, "a"), elector(leases, "b")
    task = running(a)
    await a.elected()
    running(b)
    await asyncio.sleep(3)
    task.cancel()
    await a.release()
    began = asyncio.get_running_loop().time()
    await b.elected()
    assert asyncio.get_running_loop().time() - began <= SETTINGS.retry


@virtual
async def test_giving_back_leaves_the_lease_of_another_alone():
    leases = FakeLeases()
    a, b = elector(leases, "a"), elector(leases, "b")
    running(a)
    await a.elected()
    await b.release()
    assert leases.lease["spec"]["holderIdentity"] == "a"


@virtual
async def test_of_many_candidates_exactly_one_leads_after_each_death():
    leases = FakeLeases()
    candidates = [elector(leases, f"c{number}") for number in range(5)]
    tasks = {candidate: running(candidate) for candidate in candidates}
    terms = []
    for _ in range(4):
        await asyncio.sleep(14)
        leading = [candidate for candidate in tasks if candidate.leading]
        assert len(leading) == 1
        terms.append(leading[0].term)
        tasks.pop(leading[0]).cancel()
    assert terms == sorted(set(terms))


@virtual
async def test_silence_of_the_api_server_is_told_in_words():
    told = []

    class Told(logging.Handler):
        def emit(self, record):
            told.append(record.getMessage())

    handler = Told()
    logger = logging.getLogger("podnuma.operator.write.leader_election")
    logger.addHandler(handler)
    leases = FakeLeases()
    leases.slow = 60.0
    task = running(elector(leases, "a"))
    await asyncio.sleep(5)
    task.cancel()
    logger.removeHandler(handler)
    assert told == ["Lease podnuma-operator: no answer within 4 s"]


@virtual
async def test_who_sees_that_a_backup_was_restored_leads_no_more_and_says_so():
    """Watches and caches of this process know versions that do not exist yet: it was blind, and led."""
    leases = FakeLeases()
    a, b = elector(leases, "a"), elector(leases, "b")
    tasks = [running(a)]
    await a.elected()
    tasks.append(running(b))
    await asyncio.sleep(30)
    backup = copy.deepcopy(leases.lease)
    await asyncio.sleep(30)
    leases.down = True
    await asyncio.sleep(5)
    leases.down, leases.lease = False, backup
    async with asyncio.timeout(5):
        await asyncio.gather(a.rewound(), b.rewound(), *tasks)
    assert not a.leading
    assert leases.lease == backup


@virtual
async def test_a_lease_that_is_made_anew_is_no_restored_backup():
    leases = FakeLeases()
    a = elector(leases, "a")
    task = running(a)
    await a.elected()
    await asyncio.sleep(10)
    leases.lease = None
    await asyncio.sleep(10)
    assert a.leading
    assert not task.done()
