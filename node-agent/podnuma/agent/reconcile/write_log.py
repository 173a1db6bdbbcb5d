"""Logs what became of the writes of passes: what is refused and what was repaired, each once."""

import logging
from collections.abc import Collection, Iterable, Mapping

from podnuma.agent.model.cgroup_ref import CgroupRef, describe
from podnuma.agent.reconcile.apply import WriteOutcome, WriteResult

logger = logging.getLogger(__name__)


class WriteLog:
    """Remembers why cgroups were refused their values, by cgroup."""

    def __init__(self) -> None:
        self._refusals: dict[CgroupRef, str] = {}

    def results(self, results: Iterable[WriteResult]) -> None:
        """Log once what is refused, and once that it no longer is."""
        said = {WriteOutcome.CONTENDED}  # where that began
        refusals = {
            result.write.cgroup: result.why
            for result in results
            if result.refused and result.outcome not in said
        }
        for cgroup, why in refusals.items():
            if self._refusals.get(cgroup) != why:
                logger.warning("%s: %s", describe(cgroup), why)
        for cgroup in self._refusals.keys() - refusals.keys():
            logger.info("%s: now written", describe(cgroup))
        self._refusals = refusals

    @staticmethod
    def repairs(repaired: Mapping[CgroupRef, str], contended: Collection[CgroupRef]) -> None:
        """Log what had been changed and was set again; where that is known to go on, for debugging only."""
        for cgroup, what in repaired.items():
            level = logging.DEBUG if cgroup in contended else logging.WARNING
            logger.log(level, "%s had been changed: %s; set again", describe(cgroup), what)
