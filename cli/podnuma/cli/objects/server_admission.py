"""Pods as the API server itself would store them: asked for a dry run, which stores nothing, and compared.

A dry run passes everything that a pod passes: LimitRanges, classes, quotas, admission policies, and webhooks
that allow dry runs. What is planned with is the server's answer; where it differs from what
`api.pod_admission` makes of the same pod, the difference is told. The pods of one template are alike but for
their names, so one of them is asked about.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, Final, Protocol, runtime_checkable

from podnuma.allocator.quantities import Quantity
from podnuma.allocator.request import PodRequest
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.pod import read_pod
from podnuma.api.pod_admission import AdmissionPolicies
from podnuma.api.quantity import render_quantity
from podnuma.api.scheduling import PodConstraints, read_pod_constraints
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.sources import ObjectSource

# Every pod gets these from the API server; they keep no pod from a node to begin with.
_EVICTED_LATER: Final = ("node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable")


class DryRunRefusedError(Exception):
    """The API server would not store a pod; the text is its reason."""


@runtime_checkable
class DryRunner(Protocol):
    """A source whose API server can be asked for dry runs."""

    def dry_run(self, pod: Json) -> Json:
        """Return a pod as it would be stored. Raises DryRunRefusedError, or Failure if it cannot be asked."""
        ...


class ServerAdmission:
    """Admission by the API server; `differences` tells, after all pods, where it is not as was computed."""

    def __init__(self, source: ObjectSource, computed: AdmissionPolicies) -> None:
        if not isinstance(source, DryRunner):
            raise Failure(
                Exit.USAGE, "--server-side asks an API server; saved objects (--from) have none to ask"
            )
        self._source = source
        self._computed = computed
        self._asked: dict[str, Json | DryRunRefusedError] = {}
        self._refused: dict[tuple[str, str, str], str] = {}
        self.differences: list[str] = []

    def admit(self, pod: Json) -> Json:
        """Return a pod as the API server would store it, under its own name; as computed if refused."""
        computed: Json = self._computed.admit(pod)
        metadata = pod["metadata"]
        asked = self._ask(pod, computed)
        if isinstance(asked, DryRunRefusedError):
            self._refused[_key(metadata)] = str(asked)
            return computed
        own = {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata.get("uid")}
        labels = {key: asked["metadata"].get(key) or {} for key in ("labels", "annotations")}
        return {**asked, "metadata": {**labels, **own}}

    def refusals(self, stored: Json) -> Iterator[str]:
        """Yield why the API server refuses a pod that `admit` returned."""
        refused = self._refused.get(_key(stored["metadata"]))
        if refused is not None:
            yield f"the API server refuses it: {refused}"

    def _ask(self, pod: Json, computed: Json) -> Json | DryRunRefusedError:
        # A pod of this name may exist already; a generated name never does.
        metadata = {key: value for key, value in pod["metadata"].items() if key not in ("name", "uid")}
        nameless = {**pod, "metadata": {**metadata, "generateName": "podnuma-plan-"}}
        key = json.dumps(nameless, sort_keys=True, default=str)
        if key not in self._asked:
            try:
                self._asked[key] = self._source.dry_run(nameless)
            except DryRunRefusedError as refused:
                self._asked[key] = refused
            else:
                name = f"{metadata['namespace']}/{pod['metadata']['name']}"
                self.differences += (f"{name}: {line}" for line in differences(computed, self._asked[key]))
        return self._asked[key]


def _key(metadata: Json) -> tuple[str, str, str]:
    return metadata["namespace"], metadata["name"], str(metadata.get("uid"))


def differences(computed: Json, stored: Any) -> Iterator[str]:
    """Yield where a pod that the API server stores is not what was computed, as far as decisions go."""
    try:
        ours, theirs = read_pod(computed), read_pod(stored)
    except InvalidObjectError:
        return  # told where the pod is read
    yield from _of_containers(ours, theirs)
    for where, mine, other in (
        ("spec.resources.requests", ours.pod_requests, theirs.pod_requests),
        ("spec.resources.limits", ours.pod_limits, theirs.pod_limits),
        ("spec.overhead", ours.overhead, theirs.overhead),
    ):
        yield from _of_amounts(where, mine or {}, other or {})
    mine_at, other_at = _placing(read_pod_constraints(computed)), _placing(read_pod_constraints(stored))
    for field in ("node_name", "node_selector", "terms", "tolerations"):
        if getattr(mine_at, field) != getattr(other_at, field):
            yield f"where it may go: the API server has another {field.replace('_', ' ')}"


def _of_containers(ours: PodRequest, theirs: PodRequest) -> Iterator[str]:
    known = {one.name: one for one in ours.containers}
    for other in theirs.containers:
        mine = known.pop(other.name, None)
        if mine is None:
            yield f"container {other.name} is added"
            continue
        yield from _of_amounts(f"container {other.name}: requests", mine.requests, other.requests)
        yield from _of_amounts(f"container {other.name}: limits", mine.limits, other.limits)
    yield from (f"container {name} is taken out" for name in known)


def _of_amounts(where: str, mine: Mapping[str, Quantity], other: Mapping[str, Quantity]) -> Iterator[str]:
    for name in sorted({*mine, *other}):
        if mine.get(name) != other.get(name):
            texts = [
                render_quantity(side[name], name) if name in side else "nothing" for side in (other, mine)
            ]
            yield f"{where}.{name} is {texts[0]}, computed was {texts[1]}"


def _placing(constraints: PodConstraints) -> PodConstraints:
    kept: Iterable[Any] = (one for one in constraints.tolerations if one.key not in _EVICTED_LATER)
    return replace(constraints, tolerations=tuple(sorted(kept, key=repr)))
