import asyncio

from podnuma.agent.apply import Outcome, apply
from podnuma.agent.cgroups.writers.refusals import PlaceGone, WriteRefused
from podnuma.agent.plan.places import ContainerPlace, PodPlace, Qos, QosPlace, Step
from podnuma.allocator import cpuset

SLICE = QosPlace(Qos.BURSTABLE)
DB = ContainerPlace(PodPlace("db", Qos.GUARANTEED), "db", "1" * 12)
LOG = ContainerPlace(PodPlace("db", Qos.GUARANTEED), "log", "2" * 12)


class Way:
    rides = False

    def __init__(self, name, places, error=None):
        self.name = name
        self.places = places
        self.error = error
        self.steps = []

    def takes(self, place):
        return place in self.places

    async def write(self, step):
        self.steps.append(step)
        if self.error is not None:
            raise self.error


def run(steps, *ways, useless=None):
    return [(result.outcome, result.why) for result in asyncio.run(apply(steps, ways, useless or {}))]


def step(place, cpus, gains="", losses=""):
    return Step(place, cpuset.parse(cpus), gains=cpuset.parse(gains), losses=cpuset.parse(losses))


def test_a_step_goes_through_the_first_way_that_takes_it():
    first, second = Way("NRI", {DB}), Way("Systemd", {DB, SLICE})
    run([step(DB, "1"), step(SLICE, "0")], first, second)
    assert [each.place for each in first.steps] == [DB]
    assert [each.place for each in second.steps] == [SLICE]


def test_a_way_that_does_not_do_what_it_says_comes_last_at_that_place():
    first, second = Way("NRI", {DB, LOG}), Way("Systemd", {DB})
    useless = {DB: frozenset({"NRI"}), LOG: frozenset({"NRI"})}
    assert run([step(DB, "1"), step(LOG, "0")], first, second, useless=useless) == [(Outcome.DONE, "")] * 2
    assert [each.place for each in first.steps] == [LOG], "where no other is left it is tried all the same"
    assert [each.place for each in second.steps] == [DB]


def test_a_refusal_does_not_stop_the_rest_and_says_who_refused():
    refusing, good = Way("CRI", {DB}, WriteRefused("db", "1", "EINVAL")), Way("Systemd", {LOG})
    outcomes = run([step(DB, "1"), step(LOG, "2")], refusing, good)
    assert outcomes == [(Outcome.REFUSED, "CRI: db <- 1: EINVAL"), (Outcome.DONE, "")]


def test_what_somebody_kept_is_given_to_nobody():
    refusing, good = Way("Systemd", {SLICE}, WriteRefused("burstable", "0", "EBUSY")), Way("CRI", {DB, LOG})
    outcomes = run(
        [step(SLICE, "0,3", losses="1-2"), step(DB, "1", gains="1"), step(LOG, "3", gains="3")],
        refusing,
        good,
    )
    assert [outcome for outcome, _ in outcomes] == [Outcome.REFUSED, Outcome.HELD_BACK, Outcome.DONE]
    assert "CPUs 1" in outcomes[1][1]


def test_a_place_that_is_gone_is_a_normal_end():
    assert run([step(DB, "1")], Way("CRI", {DB}, PlaceGone("db"))) == [(Outcome.GONE, "db")]


def test_without_any_way_the_text_asks_for_the_runtime():
    ((outcome, why),) = run([step(DB, "1")])
    assert outcome is Outcome.REFUSED
    assert "is the runtime connected?" in why
