"""Which resizes a profile has podnuma leave alone."""

import pytest
from podnuma.api.node_settings import ResizePolicy
from podnuma.api.resize_policy import why_ignored

from tests.unit.allocator.resize.helpers import budget, node
from tests.unit.allocator.shapes import admitted, g, pod

FOLLOW, WHOLE, IGNORE = ResizePolicy.FOLLOW, ResizePolicy.WHOLE_CPUS_ONLY, ResizePolicy.IGNORE


@pytest.mark.parametrize(
    ("policy", "wanted", "why"),
    [
        (FOLLOW, budget("3500m", 2), ""),
        (IGNORE, budget(4, 2), "the NodeProfile says resize: Ignore"),
        (WHOLE, budget(4, 3), ""),
        (WHOLE, budget("3500m", 2), "the budget is not a whole number of CPUs"),
        (
            WHOLE,
            pod((3, "2Gi"), g("1500m"), g("500m")),
            "container c0 does not request a whole number of CPUs",
        ),
    ],
)
def test_who_would_lose_its_cpus_is_named(policy, wanted, why):
    where = node()
    held = admitted(where, budget(3, 2)).grant
    found = why_ignored(policy, held, wanted)
    assert found.startswith(why)
    assert bool(found) is bool(why)


def test_who_shares_may_ask_for_any_fraction():
    where = node()
    held = admitted(where, pod((3, "2Gi"), g(2), g("500m"))).grant
    assert why_ignored(WHOLE, held, pod((3, "2Gi"), g(2), g("700m"))) == ""
