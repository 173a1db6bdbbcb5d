"""Sentences about decisions; what they say is tested with whole explanations."""

from podnuma.allocator.eligibility import claims, empty_cpu_pool
from podnuma.allocator.node import Node
from podnuma.allocator.notes import Path, notes

from tests.unit.allocator.shapes import g, machine, pod, s, settings


def test_an_ordinary_admission_needs_no_words():
    node = Node.empty(settings(), machine("DS12"))
    assert list(notes(node, claims(pod((4, "4Gi"), g(2, "2Gi"), s())), Path.BUBBLE, ())) == []


def test_an_empty_pool_is_said_in_the_kubelets_words():
    node = Node.empty(settings(), machine("DS12"))
    wanted = claims(pod((2, "4Gi"), g(2, "2Gi"), s()))
    assert list(notes(node, wanted, Path.BUBBLE, ())) == [empty_cpu_pool(wanted)]
