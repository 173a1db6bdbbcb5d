"""Which grants this node takes, and who has the older right: the one owner of what is in force."""

import logging

from podnuma.agent import guard
from podnuma.agent.discover.machine import Machine
from podnuma.agent.wish import Wish
from podnuma.allocator import cpuset
from podnuma.allocator.check import SettingsError
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.node import Node
from podnuma.api.pod_allocation import Phase

logger = logging.getLogger(__name__)


class Acceptance:
    """Remembers what was taken. At the start of a process that is what an earlier one had applied."""

    def __init__(self) -> None:
        self._applied: dict[str, CpuSet] | None = None

    def accept(self, desired: Wish, machine: Machine) -> guard.Accepted:
        """Sort out what can be applied of what is wanted now."""
        if self._applied is None and desired.allocations_known:
            self._applied = {
                each.allocation.uid_on_node: each.allocation.grant.exclusive_cpus
                for each in desired.all()
                if each.allocation is not None
                and each.allocation.status.phase in {Phase.APPLIED, Phase.DRIFTED}
            }
        grants = [each.grant for each in desired.all() if each.grant is not None]
        accepted = guard.accept(grants, self._applied or {}, _cpus(desired, machine))
        if self._applied is not None:
            self._applied = {uid: grant.exclusive_cpus for uid, grant in accepted.grants.items()}
        return accepted


def _cpus(desired: Wish, machine: Machine) -> guard.Cpus:
    topology = machine.topology
    known = CpuSet(topology.all_cpus | machine.offline)
    settings = desired.settings.settings
    if settings is not None:
        try:
            node = Node.empty(settings.settings, topology)
        except SettingsError as error:
            # The operator says so in a condition; what was granted under good settings stays.
            logger.debug("settings can not be used: %s", error)
        else:
            return guard.Cpus(known, node.default_set, node.reserved_cpus)
    return guard.Cpus(known, topology.all_cpus, cpuset.EMPTY)
