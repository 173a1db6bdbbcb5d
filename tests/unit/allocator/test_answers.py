"""Equal questions are answered once, whoever asks."""

from dataclasses import replace

from podnuma.allocator.answers import MOST, Answers, Fits, question
from podnuma.allocator.decision import Admitted, Rejected
from podnuma.allocator.node_allocator import NodeAllocator
from podnuma.allocator.request import PodRequest
from podnuma.allocator.rules import Rules

from tests.unit.allocator.shapes import GI, admitted, g, machine, pod, s, settings

DB = pod((4, "4Gi"), g(2, "2Gi"), s(), uid="db-0")


def rules(policy="single-numa-node"):
    return Rules(settings(policy), machine("DS12"))


def named(number, of=DB):
    return replace(of, uid=f"db-{number}", name=f"db-{number}")


def apart(request):
    """Return an equal request that has no part in common with this one."""
    containers = tuple([replace(one, requests=dict(one.requests)) for one in request.containers])
    return replace(request, containers=containers)


def test_equal_nodes_share_the_parts_of_the_grants_of_equal_pods():
    same = rules()
    first, second = NodeAllocator(same).decide(named(1)), NodeAllocator(same).decide(named(2))
    assert isinstance(first, Admitted)
    assert isinstance(second, Admitted)
    assert first.grant.containers is second.grant.containers
    assert first.grant.memory is second.grant.memory
    assert (second.grant.uid, second.grant.name) == ("db-2", "db-2")
    assert replace(second.grant, uid="db-1", name="db-1") == first.grant


def test_a_node_that_changed_is_asked_anew():
    node = NodeAllocator(rules())
    first = admitted(node, named(1)).grant
    second = admitted(node, named(2)).grant
    assert not first.exclusive_cpus & second.exclusive_cpus


def test_a_node_that_is_as_it_was_answers_as_it_did():
    node = NodeAllocator(rules())
    first = admitted(node, named(1)).grant
    node.release("db-1")
    again = node.decide(named(2))
    assert isinstance(again, Admitted)
    assert again.grant.containers is first.containers
    assert again.generation == node.generation


def test_other_rules_answer_for_themselves():
    asked = pod((8, "2Gi"), g(2, "1Gi"), s())
    assert isinstance(NodeAllocator(rules("best-effort")).decide(asked), Admitted)
    assert isinstance(NodeAllocator(rules("single-numa-node")).decide(asked), Rejected)


def test_a_pod_that_asks_for_something_else_is_asked_anew():
    node = NodeAllocator(rules())
    small, large = node.decide(named(1)), node.decide(pod((5, "4Gi"), g(2, "2Gi"), s(), uid="db-2"))
    assert isinstance(small, Admitted)
    assert isinstance(large, Admitted)
    assert (small.grant.exclusive_cpus.bit_count(), large.grant.exclusive_cpus.bit_count()) == (4, 5)


def test_what_was_answered_before_is_what_a_node_without_memory_of_it_answers():
    same = rules()
    shapes = (DB, pod((3, "1Gi"), g(1, "1Gi"), s()), pod((2, "3Gi"), s()), pod(None, g(1, "1Gi")))
    known, fresh = NodeAllocator(same), NodeAllocator(rules())
    for turn in (1, 2):
        for number in range(12):
            asked = named(number, shapes[number % len(shapes)])
            answer = known.decide(asked)
            expected = fresh.decide(apart(asked))
            assert answer == expected, (turn, number)
            if isinstance(answer, Admitted) and isinstance(expected, Admitted):
                known.hold(answer)
                fresh.hold(expected)
        for uid in list(known.grants):
            known.release(uid)
            fresh.release(uid)


def test_huge_pages_that_others_have_are_part_of_the_question():
    node = NodeAllocator(rules())
    before = node.state()
    node.others_have({"memory": {0: 2 * GI}})
    assert node.state() != before


def test_requests_are_the_same_by_their_parts_and_not_by_their_names():
    assert question(0, named(1)) == question(0, named(2))
    assert question(0, named(1)) != question(0, apart(named(1)))
    assert question(0, named(1)) != question(1, named(1))


def test_a_request_is_kept_as_long_as_its_answer():
    answers = Answers()
    request = apart(DB)
    containers = request.containers
    answers.keep(question(0, request), _refused(), request)
    del request
    assert isinstance(answers.get(question(0, replace(DB, containers=containers))), Rejected)
    kept = [pod for _, pod in answers._known.values()]
    assert [one.containers is containers for one in kept] == [True]


def test_what_is_remembered_is_bounded():
    answers = Answers()
    for number in range(MOST + 1):
        answers.keep(question(number, DB), _refused(), DB)
        assert len(answers) <= MOST
    assert isinstance(answers.get(question(MOST, DB)), Rejected)
    assert answers.get(question(0, DB)) is None


def _refused():
    answer = NodeAllocator(rules()).decide(pod((64, "1Gi"), s()))
    assert isinstance(answer, Rejected)
    return answer


def test_the_grant_of_another_pod_differs_in_its_name_only():
    first = admitted(NodeAllocator(rules()), DB)
    other = PodRequest("uid", "space", "name", DB.containers, DB.pod_requests, DB.pod_limits)
    grant = Fits(first.grant, first.hints).grant_to(other)
    assert grant == replace(first.grant, uid="uid", namespace="space", name="name")
