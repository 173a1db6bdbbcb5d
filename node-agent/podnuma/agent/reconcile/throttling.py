"""How often quotas hold containers back, read now and then."""

from collections.abc import Iterable, Mapping

from podnuma.agent.cgroups.reader import CgroupReader
from podnuma.agent.model.cgroup_ref import ContainerCgroup
from podnuma.agent.reconcile.time_slices import TimeSlices

_EVERY = 30.0  # seconds; the kernel sums up all CPUs for it, and it is a mean since the start


class ThrottlingSampler:
    """Keeps what was read last for `_EVERY` seconds; a clock that was set back ends that."""

    def __init__(self) -> None:
        self._percents: Mapping[ContainerCgroup, int] = {}
        self._read_at = float("-inf")

    async def percents(
        self, reader: CgroupReader, cgroups: Iterable[ContainerCgroup], slices: TimeSlices, now: float
    ) -> Mapping[ContainerCgroup, int]:
        """Return in how many percent of its periods each container was held back, as last read."""
        if not 0 <= now - self._read_at < _EVERY:
            found = {}
            for cgroup in cgroups:
                percent = reader.throttled_percent(cgroup)
                if percent is not None:
                    found[cgroup] = percent
                await slices.between()
            self._percents, self._read_at = found, now
        return self._percents
