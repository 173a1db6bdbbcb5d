"""Whether each container ran on its CPUs from its first instruction on, and since when.

A verdict belongs to one container instance (the runtime's id) and is given once: pinned at start if its
values were right before it began to run, or when they were first seen and nothing had to be written, else
after so many milliseconds.
Until then it is pending, or not pinned when something was tried and did not help. A later drift changes no
verdict; the phase shows it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from podnuma.agent.model.containers import Container
from podnuma.agent.reconcile.sandboxes import Sandboxes
from podnuma.agent.reconcile.snapshot import NodeSnapshot
from podnuma.api.pod_allocation_status import Verdict


@dataclass(frozen=True, slots=True)
class PinVerdict:
    """`after_millis`: from the start of the container to its first right values; None before."""

    verdict: Verdict
    after_millis: int | None = None


PENDING = PinVerdict(Verdict.PENDING)
_FINAL = (Verdict.PINNED_AT_START, Verdict.PINNED_LATE)


class PinVerdicts:
    """The verdicts of all containers that the runtime names, by id; others are forgotten."""

    def __init__(self) -> None:
        self._judged: dict[str, PinVerdict] = {}
        self._late: set[str] = set()
        self._missing: set[str] = set()

    def of(self, container_id: str) -> PinVerdict:
        return self._judged.get(container_id, PENDING)

    def is_final(self, container_id: str) -> bool:
        """Tell whether a container has the verdict that it will keep."""
        return self.of(container_id).verdict in _FINAL

    def judged(self) -> dict[str, PinVerdict]:
        """Return the verdicts that there are, by container id."""
        return dict(self._judged)

    def written(self, container_id: str) -> None:
        """Take note that something had to be written after the container existed."""
        self._late.add(container_id)

    def recall(self, known: Mapping[str, PinVerdict]) -> None:
        """Take over verdicts that an earlier agent gave, by container id."""
        for container_id, judged in known.items():
            if judged.verdict in _FINAL:
                self._judged.setdefault(container_id, judged)

    def at_start(self, container_id: str) -> PinVerdict | None:
        """Take note that the kernel had the right values before the first instruction; see `observe`."""
        if self.of(container_id).verdict is Verdict.PINNED_AT_START:
            return None
        self._judged[container_id] = PinVerdict(Verdict.PINNED_AT_START, 0)
        return self._judged[container_id]

    def observe(self, container: Container, *, right: bool, now: float) -> PinVerdict | None:
        """Take note of what the verifier saw; return the verdict if this was the moment of it."""
        if self.is_final(container.id):
            return None
        if not right:
            tried = container.id in self._late
            self._late.add(container.id)
            self._judged[container.id] = PinVerdict(Verdict.NOT_PINNED) if tried else PENDING
            return None
        late = container.id in self._late
        after = (
            0 if not late or container.started is None else max(0, round((now - container.started) * 1000))
        )
        judged = PinVerdict(Verdict.PINNED_LATE if late else Verdict.PINNED_AT_START, after)
        self._judged[container.id] = judged
        return judged

    def judge(
        self, snapshot: NodeSnapshot, before: NodeSnapshot | None, sandboxes: Sandboxes, now: float
    ) -> list[PinVerdict]:
        """Judge all containers with a grant by what a pass found; return the verdicts of this moment."""
        self.keep(cgroup.id for cgroup in snapshot.containers)
        # What is seen once may be a write that is still under way: systemd answers before it has written.
        intruded_before = set() if before is None else {each.owner for each in before.intrusions}
        intruded = {each.owner for each in snapshot.intrusions}
        found = []
        for cgroup, container in snapshot.containers.items():
            if cgroup.pod.uid not in snapshot.accepted.grants or self.is_final(cgroup.id):
                continue
            in_sandbox = cgroup.pod.uid in sandboxes.pods and not container.ended
            if not in_sandbox and (
                cgroup not in snapshot.targets or cgroup not in snapshot.seen or cgroup.id in sandboxes.empty
            ):
                continue
            if cgroup in intruded - intruded_before:
                continue
            right = snapshot.differences.get(cgroup, "") is None and cgroup not in intruded
            judged = self.observe(container, right=right, now=now)
            if judged is not None:
                found.append(judged)
        return found

    def keep(self, ids: Iterable[str]) -> None:
        """Forget all containers but these when they are missing twice: a pass may have begun before them."""
        missing = (self._judged.keys() | self._late) - set(ids)
        gone = missing & self._missing
        self._missing = missing - gone
        if gone:
            self._judged = {key: judged for key, judged in self._judged.items() if key not in gone}
            self._late -= gone
