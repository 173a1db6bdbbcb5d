import pytest
from podnuma.agent.model.containers import Container
from podnuma.agent.reconcile.verdicts import PinVerdict, PinVerdicts
from podnuma.api.pod_allocation_status import Verdict


@pytest.fixture
def db():
    return Container("uid", "default", "db", "db", "id-1", started=100.0)


def test_right_at_first_sight_is_pinned_at_start(db):
    verdicts = PinVerdicts()
    assert verdicts.observe(db, right=True, now=107.0) == PinVerdict(Verdict.PINNED_AT_START, 0)


def test_right_after_a_write_is_pinned_late_by_the_nodes_clock(db):
    verdicts = PinVerdicts()
    verdicts.written(db.id)
    assert verdicts.observe(db, right=True, now=100.12) == PinVerdict(Verdict.PINNED_LATE, 120)


def test_wrong_at_first_is_pending_then_not_pinned_then_late(db):
    verdicts = PinVerdicts()
    assert verdicts.observe(db, right=False, now=100.1) is None
    assert verdicts.of(db.id).verdict is Verdict.PENDING
    verdicts.observe(db, right=False, now=100.2)
    assert verdicts.of(db.id).verdict is Verdict.NOT_PINNED
    assert verdicts.observe(db, right=True, now=103.0) == PinVerdict(Verdict.PINNED_LATE, 3000)


def test_a_verdict_is_given_once(db):
    verdicts = PinVerdicts()
    verdicts.observe(db, right=True, now=100.0)
    assert verdicts.observe(db, right=False, now=200.0) is None
    assert verdicts.of(db.id).verdict is Verdict.PINNED_AT_START


def test_a_clock_that_jumps_back_makes_no_negative_time(db):
    verdicts = PinVerdicts()
    verdicts.written(db.id)
    assert verdicts.observe(db, right=True, now=40.0) == PinVerdict(Verdict.PINNED_LATE, 0)


def test_verdicts_of_an_earlier_agent_are_taken_over_and_forgotten_with_their_containers(db):
    verdicts = PinVerdicts()
    verdicts.recall({db.id: PinVerdict(Verdict.PINNED_LATE, 70), "id-2": PinVerdict(Verdict.NOT_PINNED)})
    assert verdicts.of(db.id) == PinVerdict(Verdict.PINNED_LATE, 70)
    assert verdicts.of("id-2").verdict is Verdict.PENDING
    verdicts.keep([])
    verdicts.keep([])
    assert verdicts.of(db.id).verdict is Verdict.PENDING


def test_a_pass_that_began_before_a_container_does_not_forget_its_verdict(db):
    verdicts = PinVerdicts()
    verdicts.at_start(db.id)
    verdicts.keep([])
    verdicts.keep([db.id])
    verdicts.keep([])
    assert verdicts.of(db.id) == PinVerdict(Verdict.PINNED_AT_START, 0)
    verdicts.keep([])
    assert verdicts.of(db.id).verdict is Verdict.PENDING
