"""Stops using a mechanism for a while whose other end does not answer: a systemd or a runtime that hangs.

A pass has hundreds of writes, and container starts wait for its end. So a few writes in a row may wait for an
answer in vain; then nobody asks for a while, and what would be written is refused at once and due again.

One unanswered write is enough where one process answers for all cgroups. A runtime asks a process of its own
about each container, of which a single one may hang: there it takes more, or nothing else would be written.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from podnuma.agent.cgroups.writers.refusals import NotAnswered
from podnuma.agent.model.cgroup_ref import CgroupRef, describe
from podnuma.agent.model.cgroup_values import CgroupWrite
from podnuma.agent.reconcile.apply import Mechanism

_SILENCE = 5.0  # seconds for which nobody asks


@dataclass(slots=True)
class Patient:
    """A mechanism that is not asked for a while after `most` unanswered writes in a row."""

    mechanism: Mechanism
    most: int
    clock: Callable[[], float] = time.monotonic
    _unanswered: int = field(init=False, default=0)
    _silent_until: float = field(init=False, default=float("-inf"))

    @property
    def name(self) -> str:
        return self.mechanism.name

    @property
    def piggybacks(self) -> bool:
        return self.mechanism.piggybacks

    def takes(self, cgroup: CgroupRef) -> bool:
        return self.mechanism.takes(cgroup)

    async def write(self, write: CgroupWrite) -> None:
        if self.clock() < self._silent_until:
            raise NotAnswered(describe(write.cgroup), "anything", "no answer to the writes before this one")
        try:
            await self.mechanism.write(write)
        except NotAnswered:
            self._unanswered += 1
            if self._unanswered >= self.most:
                self._silent_until = self.clock() + _SILENCE
            raise
        except Exception:
            self._unanswered = 0
            raise
        self._unanswered = 0
