"""What follows from what a pass saw, computed again only where that differs from the pass before."""

from podnuma.agent.plan.targets import compute_targets, would_move
from podnuma.agent.plan.write_order import order_writes
from podnuma.agent.reconcile.actual_state import cgroups_of
from podnuma.agent.reconcile.isolation import find_intrusions
from podnuma.agent.reconcile.verify import compare
from podnuma.plumbing.remembered import Remembered


class Planned:
    """Pure functions of one reconciler."""

    def __init__(self) -> None:
        self.cgroups = Remembered(cgroups_of)
        self.would_move = Remembered(would_move)
        self.targets = Remembered(compute_targets)
        self.writes = Remembered(order_writes)
        self.differences = Remembered(compare)
        self.intrusions = Remembered(find_intrusions)
