"""Pods with devices: each with devices of the plugin, and with claims for devices in the same places.

A kubelet with its own managers chooses a plugin's devices and CPUs together; a stock one chooses devices
first, and podnuma CPUs for them. So that both have the same devices, what is left leaves no choice in a wave
of pods; but in those of `Waves.chosen`, which show the difference. The kubelet does not look at all where the
devices of a claim are. What podnuma does with claims is therefore also compared with what the kubelet does
with a plugin's devices: the `twin`.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from testbed import build, dra
from testbed.e2e import devices, pods, reference
from testbed.e2e.devices import DRIVER, RESOURCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from testbed.api import Json
    from testbed.e2e.cluster import Cluster
    from testbed.e2e.reference import Recording

_NICS, _CLAIMS = "nics-", "claims-"


@dataclass(frozen=True, slots=True)
class Shape:
    """A pod with devices.

    containers: their CPUs, as request and limit. devices: per container so many of each NUMA node.
    budget: CPUs of the pod as a whole; there is a sidecar then.
    """

    name: str
    containers: Mapping[str, str]
    devices: Mapping[str, Mapping[int, int]]
    budget: str | None = None

    def _pod(self, name: str, image: str) -> Json:
        beside = () if self.budget is None else ("log",)
        return pods.pod(name, image, self.containers, budget=self.budget, sidecars=beside)

    def with_nics(self, image: str) -> list[Json]:
        """Return the pod with devices of the plugin."""
        pod = self._pod(f"{_NICS}{self.name}", image)
        for entry in pod["spec"]["containers"]:
            count = sum(self.devices.get(entry["name"], {}).values())
            for amounts in entry["resources"].values() if count else ():
                amounts[RESOURCE] = str(count)
        return [pod]

    def with_claims(self, image: str, namespace: str) -> list[Json]:
        """Return the pod with claims for devices of the driver, after these claims."""
        name = f"{_CLAIMS}{self.name}"
        pod, claims = self._pod(name, image), []
        for place, container in enumerate(self.containers):
            if at := self.devices.get(container):
                claims.append(dra.claim_at(f"{name}-{container}", namespace, DRIVER, at))
                pod = dra.use_claim(pod, f"{name}-{container}", place)
        return [*claims, pod]


@dataclass(frozen=True, slots=True)
class Waves:
    """The pods of one scope. Each wave starts on an empty node; `chosen` are not repeated with claims."""

    settled: Sequence[Sequence[Shape]]
    chosen: Sequence[Sequence[Shape]] = field(default=())


_ONE: Final = {"app": "2"}
POD_SCOPE: Final = Waves(
    settled=(
        (
            Shape("four", _ONE, {"app": {0: 4}}, budget="3"),
            Shape("one", _ONE, {"app": {1: 1}}),
            Shape("two", _ONE, {"app": {1: 2}}, budget="3"),
        ),
        (Shape("six", _ONE, {"app": {0: 4, 1: 2}}),),
    ),
    # The second could have two devices of NUMA node 1; one of node 0 is left, too.
    chosen=((Shape("three", _ONE, {"app": {0: 3}}), Shape("pair", _ONE, {"app": {0: 1, 1: 1}})),),
)
CONTAINER_SCOPE: Final = Waves(
    settled=(
        # By itself: memory of both NUMA nodes makes them a group, in which kubelet and podnuma differ.
        (Shape("six", _ONE, {"app": {0: 4, 1: 2}}),),
        (
            Shape("four", _ONE, {"app": {0: 4}}),
            Shape("each", {"app": "2", "other": "1"}, {"app": {1: 1}, "other": {1: 1}}),
        ),
    ),
)


def twin(key: str) -> str | None:
    """Return the recording's key of the pod with the plugin's devices, for one with claims; else None."""
    scope, _, name = key.partition("/")
    shape = name.removeprefix(_CLAIMS)
    return f"{scope}/{_NICS}{shape}" if shape != name else None


def made_of() -> bytes:
    """Return all of which a recording of these pods is made: they, how they start, and plugin and driver."""
    code = Path(__file__)
    tools = "".join(build.tool_folder(name).name for name in devices.PROGRAMS)
    return code.read_bytes() + code.with_name("devices.py").read_bytes() + tools.encode()


def record(
    cluster: Cluster,
    scope: str,
    waves: Waves,
    into: Recording,
    look: Callable[[Shape, Json], None] = lambda _, __: None,
) -> Iterator[str]:
    """Run the waves one after the other, with devices and with claims, and record what the node does.

    `look` is called with each pod while its wave runs; yields the names of a wave when it is gone.
    """
    for wave in (*waves.settled, *waves.chosen):
        made = [[shape.with_nics(cluster.image) for shape in wave]]
        if wave in waves.settled:
            made.append([shape.with_claims(cluster.image, cluster.namespace) for shape in wave])
        for manifests in made:
            with _running(cluster, manifests) as settled:
                reference.observe(cluster, scope, settled, into)
                for shape, pod in zip(wave, settled, strict=True):
                    look(shape, pod)
            yield ", ".join(pod["metadata"]["name"] for pod in settled)


@contextmanager
def _running(cluster: Cluster, manifests: Sequence[Sequence[Json]]) -> Iterator[list[Json]]:
    claims = [claim for *claims, _ in manifests for claim in claims]
    named = {pod["metadata"]["name"]: pod for *_, pod in manifests}
    if claims:
        cluster.apply(*claims)
    try:
        settled = []
        for name, pod in named.items():
            cluster.start(pod)
            # The kubelet takes the devices of a budget only when the container starts; until then the next
            # pod could have them.
            settled.append(cluster.settled(name))
        yield settled
    finally:
        cluster.delete(*named)
        if claims:
            names = [claim["metadata"]["name"] for claim in claims]
            cluster.run("delete", "resourceclaims", *names, "--ignore-not-found")
