"""What keeps a pod from nodes, in words."""

from podnuma.api.scheduling import Obstacle
from podnuma.cli.render.left_out import not_considered


def test_what_left_nodes_out_is_said_in_order_and_a_selector_that_matches_nothing_in_full():
    both = {Obstacle.TAINT: 1, Obstacle.SELECTOR: 2}
    assert not_considered(both) == "not considered: 3 nodes: 2 by nodeSelector, 1 by taints"
    wanted = {"pool": "db", "a": "1"}
    assert not_considered(both, wanted) == not_considered(both)
    assert not_considered({Obstacle.SELECTOR: 1}, wanted) == (
        "not considered: 1 node: 1 by nodeSelector; a=1,pool=db is on none of them: "
        "kubectl label node NODE a=1 pool=db, or correct the pod's nodeSelector"
    )
