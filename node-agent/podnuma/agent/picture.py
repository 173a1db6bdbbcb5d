"""What one pass over the node saw, wanted, did and found; what hooks, statuses and metrics are told from."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from podnuma.agent import guard
from podnuma.agent.apply import Outcome, Result
from podnuma.agent.containers import Container
from podnuma.agent.discover.machine import Machine
from podnuma.agent.plan import wanted as plan
from podnuma.agent.plan.places import ContainerPlace, Place, PodPlace, Qos, Values, Wish


@dataclass(frozen=True, slots=True)
class Picture:
    """What one pass saw, wanted, did and found. `differences`: None where a place is as wanted."""

    machine: Machine
    accepted: guard.Accepted
    containers: Mapping[ContainerPlace, Container]
    wishes: Mapping[Place, Wish] = field(default_factory=dict)
    seen: Mapping[Place, Values] = field(default_factory=dict)
    differences: Mapping[Place, str | None] = field(default_factory=dict)
    results: tuple[Result, ...] = ()
    standing_back: str | None = None
    audit: bool = False

    @property
    def unfinished(self) -> bool:
        """Whether something was refused that may work later."""
        return any(result.outcome in {Outcome.REFUSED, Outcome.HELD_BACK} for result in self.results)

    def node(self, movable: int) -> plan.Node:
        """Return the node's side of a plan."""
        return plan.Node(self.machine.topology.all_cpus, self.accepted.pool, self.accepted.grants, movable)

    def of_pod(self, uid: str) -> dict[ContainerPlace, Container]:
        return {place: found for place, found in self.containers.items() if place.pod.uid == uid}

    def pod(self, uid: str) -> PodPlace | None:
        """Return where a pod's cgroup is, if it was seen."""
        places = (PodPlace(uid, qos) for qos in Qos)
        return next((place for place in places if place in self.seen), None)

    def has_guests(self, qos: Qos) -> bool:
        """Tell whether a pod in the slice of a class holds CPUs: the slice is wider than the pool then."""
        return any(
            isinstance(place, PodPlace) and place.qos is qos and place.uid in self.accepted.grants
            for place in self.seen
        )
