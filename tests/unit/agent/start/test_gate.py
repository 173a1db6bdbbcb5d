import asyncio
from dataclasses import replace

import pytest
from podnuma.agent.desired.state import DesiredAllocation, NodeConfig
from podnuma.agent.model.cgroup_ref import ContainerCgroup, PodCgroup
from podnuma.agent.model.cgroup_values import CgroupTarget, CpuMax
from podnuma.agent.model.containers import StartingContainer, StartRefused
from podnuma.agent.start.gate import Expectation, StartGate, StartOutcome, StartWait, expectation
from podnuma.agent.start.hook import StartHook
from podnuma.allocator import cpuset
from podnuma.allocator.manager_settings import (
    CpuManagerPolicy,
    ManagerSettings,
    MemoryManagerPolicy,
    TopologyManagerScope,
)
from podnuma.allocator.request import Qos
from podnuma.api.conditions import Condition, Status
from podnuma.api.node_conditions import NodeCondition
from podnuma.api.node_settings import Management, NodeSettings, OnRejection, OnUndecided, PodPolicy
from podnuma.api.node_topology import NodeTopology
from podnuma.api.object_metadata import Metadata
from podnuma.api.pod_allocation import DEVICES_PENDING, Decision, PodAllocation, rejected_grant
from podnuma.api.selector import LabelSelector

VALUES = CgroupTarget(cpuset.parse("1,9"))


def starting(qos=Qos.GUARANTEED, **more):
    cgroup = ContainerCgroup(PodCgroup("uid-1", qos), "db", "id-1")
    return replace(StartingContainer(cgroup, "shop", {}, CpuMax(200_000, 100_000)), **more)


class Decisions:
    def __init__(self, pod_policy=None, *, decision=None, known=True, memory=MemoryManagerPolicy.STATIC):
        rules = ManagerSettings(cpu_manager_policy=CpuManagerPolicy.STATIC, memory_manager_policy=memory)
        self.node_config = NodeConfig(exists=True, settings=NodeSettings(rules, pod_policy or PodPolicy()))
        self.allocations_known = known
        self.decision = decision
        self.waits = []

    def of_pod(self, uid):
        assert uid == "uid-1"
        return self.decision

    async def wait_for(self, uid, within):
        self.waits.append(within)
        found = self.of_pod(uid)
        return None if found is None or found.undecided else found


class Plan:
    def __init__(self, *, enforcing=True, holders=()):
        self.enforcing = enforcing
        self.holders = holders
        self.snapshot = self.enforced = self
        self.pause_reason = None
        self.rooms = 0

    def may_write(self):
        return self.enforcing

    def has_burstable_holders(self, qos):
        return qos in self.holders


class Hook(StartHook):
    """The hook over a plan that needs no node."""

    def __init__(self, decisions, plan, *observe_and_more):
        super().__init__(StartGate(decisions, *observe_and_more), plan)
        plan.desired = decisions
        self.plan = plan

    async def make_room(self, _):
        self.plan.rooms += 1
        return ()

    def values(self, _):
        return VALUES


def ask(decisions, plan, what):
    observed: list[StartWait] = []
    start = asyncio.run(Hook(decisions, plan, observed.append).start(what, 0.5))
    return start, observed


def test_a_decided_container_gets_its_values_after_room_was_made():
    decisions, plan = Decisions(decision=admitted()), Plan()
    start, observed = ask(decisions, plan, starting())
    assert start.values == VALUES
    assert plan.rooms == 1
    assert decisions.waits == [0]
    assert [each.outcome for each in observed] == [StartOutcome.DECIDED]


def test_other_classes_follow_their_slice_without_waiting():
    decisions, plan = Decisions(), Plan()
    start, observed = ask(decisions, plan, starting(Qos.BURSTABLE))
    assert start.values is None
    assert decisions.waits == [0]
    assert observed == []
    assert plan.rooms == 0


def test_beside_a_burstable_holder_a_pod_is_confined_before_its_container_starts():
    decisions, plan = Decisions(), Plan(holders=(Qos.BURSTABLE,))
    start, observed = ask(decisions, plan, starting(Qos.BURSTABLE))
    assert (start.values, observed, plan.rooms) == (None, [], 1)
    ask(decisions, plan, starting(Qos.BEST_EFFORT))
    assert plan.rooms == 1


def test_a_burstable_holder_gets_its_values_as_any_other():
    decisions, plan = Decisions(decision=admitted()), Plan()
    start, observed = ask(decisions, plan, starting(Qos.BURSTABLE, annotated=True))
    assert start.values == VALUES
    assert [each.outcome for each in observed] == [StartOutcome.DECIDED]


def test_a_pod_with_a_budget_in_an_annotation_waits_for_its_decision():
    decisions, plan = Decisions(memory=MemoryManagerPolicy.NONE), Plan()
    with pytest.raises(StartRefused):
        ask(decisions, plan, starting(Qos.BURSTABLE, annotated=True, cpu_max=None))
    assert decisions.waits == [0, 0.5]


def test_an_undecided_container_is_refused_with_what_to_wait_for():
    decisions, plan = Decisions(), Plan()
    with pytest.raises(StartRefused, match=r"pod uid-1 has no PodAllocation after 0\.5 s"):
        ask(decisions, plan, starting())
    assert decisions.waits == [0, 0.5]


def test_a_pod_is_not_put_off_for_ever(caplog):
    now = [100.0]
    observed: list[StartWait] = []
    decisions, plan = Decisions(), Plan()
    hook = Hook(decisions, plan, observed.append, 120.0, lambda: now[0])
    for now[0] in (100.0, 160.0, 219.0):
        with pytest.raises(StartRefused):
            asyncio.run(hook.start(starting(), 0.5))
    now[0] = 221.0
    assert asyncio.run(hook.start(starting(), 0.5)).values == VALUES
    assert [each.outcome for each in observed] == [*[StartOutcome.DEFERRED] * 3, StartOutcome.SHARED]
    assert "is the operator running?" in caplog.text


def waiting_for_devices():
    message = "waits for the devices of example.com/nic that the kubelet gives it"
    decision = Decision(admitted=False, reason=DEVICES_PENDING, message=message)
    grant = rejected_grant("uid-1", "shop", "db", TopologyManagerScope.POD)
    allocation = PodAllocation(Metadata("db", "shop", "uid", "1", 1, deleted=False), "node", grant, decision)
    return DesiredAllocation("shop", "db", "uid", 1, allocation, None)


def test_a_pod_whose_devices_are_not_known_waits_and_its_devices_are_asked_for():
    told: list[str] = []
    decisions = Decisions(decision=waiting_for_devices())
    hook = Hook(decisions, Plan(), lambda _: None, 120.0, lambda: 0.0, told.append)
    with pytest.raises(StartRefused, match=r"not decided after 0\.5 s, it waits for the devices of example"):
        asyncio.run(hook.start(starting(cpu_max=None), 0.5))
    assert told == ["uid-1"]
    assert decisions.waits == [0, 0.5]


def test_a_pod_whose_devices_are_not_known_starts_in_the_shared_pool_if_the_profile_says_so():
    share = PodPolicy(on_undecided=OnUndecided.SHARE)
    start, observed = ask(Decisions(share, decision=waiting_for_devices()), Plan(), starting())
    assert start.values == VALUES
    assert [each.outcome for each in observed] == [StartOutcome.SHARED]


def test_a_pod_from_a_file_never_waits_for_its_devices():
    start, _ = ask(Decisions(decision=waiting_for_devices()), Plan(), starting(local=True))
    assert start.values == VALUES


def rejected():
    decision = Decision(admitted=False, reason="TopologyAffinityError", message="does not fit")
    grant = rejected_grant("uid-1", "shop", "db", TopologyManagerScope.POD)
    allocation = PodAllocation(Metadata("db", "shop", "uid", "1", 1, deleted=False), "node", grant, decision)
    return DesiredAllocation("shop", "db", "uid", 1, allocation, None)


def admitted():
    return DesiredAllocation("shop", "db", "uid", 1, None, None)


def test_a_rejected_pod_that_is_to_be_evicted_does_not_start():
    decisions, plan = Decisions(decision=rejected()), Plan()
    with pytest.raises(
        StartRefused, match=r"pod shop/db was rejected .*: TopologyAffinityError: does not fit"
    ):
        ask(decisions, plan, starting())
    assert plan.rooms == 0


def test_a_rejected_pod_that_nobody_evicts_starts_in_the_shared_pool():
    share = PodPolicy(on_rejection=OnRejection.SHARE)
    assert ask(Decisions(share, decision=rejected()), Plan(), starting())[0].values == VALUES
    assert ask(Decisions(decision=rejected()), Plan(), starting(local=True))[0].values == VALUES


def test_with_share_an_undecided_container_starts_and_is_counted():
    decisions, plan = Decisions(PodPolicy(on_undecided=OnUndecided.SHARE)), Plan()
    start, observed = ask(decisions, plan, starting())
    assert start.values == VALUES
    assert [each.outcome for each in observed] == [StartOutcome.SHARED]


def test_a_static_pod_never_waits():
    decisions, plan = Decisions(), Plan()
    start, _ = ask(decisions, plan, starting(local=True))
    assert decisions.waits == [0]
    assert start.values == VALUES
    assert plan.rooms == 1, "its slice is confined all the same"


def test_while_the_api_server_never_answered_a_container_waits_but_is_not_refused():
    decisions, plan = Decisions(known=False), Plan()
    start, _ = ask(decisions, plan, starting())
    assert decisions.waits == [0, 0.5]
    assert start.values == VALUES


def test_where_nothing_is_enforced_nothing_is_said():
    start, _ = ask(Decisions(), Plan(enforcing=False), starting())
    assert start.values is None


def by_namespace(key, value):
    return PodPolicy(namespace_selector=LabelSelector(match_labels={key: value}))


@pytest.mark.parametrize(
    ("decisions", "what", "expected"),
    [
        (Decisions(), starting(), Expectation.SURE),
        (Decisions(memory=MemoryManagerPolicy.NONE), starting(), Expectation.SURE),
        (
            Decisions(memory=MemoryManagerPolicy.NONE),
            starting(cpu_max=CpuMax(150_000, 100_000)),
            Expectation.PERHAPS,
        ),
        (Decisions(memory=MemoryManagerPolicy.NONE), starting(cpu_max=None), Expectation.PERHAPS),
        (Decisions(PodPolicy(management=Management.OPT_IN)), starting(), Expectation.NO),
        (
            Decisions(PodPolicy(management=Management.OPT_IN)),
            starting(labels={"podnuma.dev/managed": "true"}),
            Expectation.SURE,
        ),
        (Decisions(by_namespace("kubernetes.io/metadata.name", "shop")), starting(), Expectation.SURE),
        (Decisions(by_namespace("team", "shop")), starting(), Expectation.PERHAPS),
        (
            Decisions(PodPolicy(pod_selector=LabelSelector(match_labels={"app": "db"}))),
            starting(),
            Expectation.NO,
        ),
    ],
)
def test_what_a_node_can_know_about_who_decides(decisions, what, expected):
    assert expectation(decisions.node_config, what) is expected


def test_with_settings_that_the_operator_cannot_use_nobody_is_put_off():
    decisions = Decisions()
    unusable = Condition(NodeCondition.SETTINGS_VALID, Status.FALSE, "Invalid", "reservedSystemCPUs ...")
    assert decisions.node_config.settings is not None
    metadata = Metadata("node", "", "nt", "1", 1, deleted=False)
    status = NodeTopology(metadata, None, decisions.node_config.settings, conditions=(unusable,))
    told = replace(decisions.node_config, status=status)
    assert expectation(told, starting()) is Expectation.PERHAPS


def test_without_settings_nobody_decides():
    assert expectation(NodeConfig(), starting()) is Expectation.NO
    nothing = NodeConfig(exists=True, settings=NodeSettings(ManagerSettings(), PodPolicy()))
    assert expectation(nothing, starting()) is Expectation.NO
