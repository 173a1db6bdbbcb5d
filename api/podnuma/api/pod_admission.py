"""What the API server's admission changes in a pod, as far as decisions and placement depend on it.

For pods that were never saved, in the API server's order:

1. The defaults of ``pod_defaults``, from what the manifest says.
2. LimitRanger: a container without a request or limit of a resource gets the one of a LimitRange of its
   namespace. A LimitRange itself has defaults: a default limit from its maximum, a default request from its
   default limit or its minimum. Several LimitRanges come in no fixed order there, here by name.
3. Priority: the pod gets the number of its priority class, or of the one that is the default.
4. RuntimeClass: the pod gets the class's overhead, node selector and tolerations.
5. The defaults once more: they are filled in when the stored pod is read. With the gate
   PodLevelResourcesFixDefaulting those of the pod-level budget are filled in here only.

``refusals`` says what the API server would refuse: a class that does not exist, or that says something else
than the pod, as one does that was saved from another cluster; what is outside of a LimitRange; resources that
``resource_names`` names; and what is only for pods that exist. ``admit`` leaves standing what is refused.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from podnuma.api.limit_ranges import outside_range, with_range_defaults
from podnuma.api.pod_defaults import with_api_defaults, with_container_defaults
from podnuma.api.quantity import read_quantity
from podnuma.api.resource_names import refused_resources
from podnuma.api.stored_json import object_at, objects_at

_SYSTEM_CLASSES: Final = {"system-cluster-critical": 2_000_000_000, "system-node-critical": 2_000_001_000}

_RESTARTS: Final = ("Always", "OnFailure", "Never")

Json = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AdmissionPolicies:
    """The objects that admission looks at: LimitRanges by namespace in the order of their names, and classes.

    `complete`: there are no others, so that a pod of a class that is not here is refused. `fix_defaulting`:
    the API server has the gate PodLevelResourcesFixDefaulting.
    """

    limit_ranges: Mapping[str, tuple[Json, ...]] = field(default_factory=dict)
    runtime_classes: Mapping[str, Json] = field(default_factory=dict)
    priority_classes: Mapping[str, Json] = field(default_factory=dict)
    complete: bool = False
    fix_defaulting: bool = False

    @classmethod
    def of(
        cls,
        limit_ranges: Iterable[Json],
        runtime_classes: Iterable[Json] = (),
        priority_classes: Iterable[Json] = (),
        *,
        complete: bool = False,
        fix_defaulting: bool = False,
    ) -> "AdmissionPolicies":
        """Take the objects as a cluster or files have them; of the same name the last counts."""
        ranges: dict[str, list[Json]] = {}
        unique = {(_namespace(one), _name(one)): one for one in limit_ranges}
        for (namespace, _), one in sorted(unique.items(), key=lambda item: item[0]):
            ranges.setdefault(namespace, []).append(one)
        return cls(
            {namespace: tuple(found) for namespace, found in ranges.items()},
            {_name(one): one for one in runtime_classes},
            {_name(one): one for one in priority_classes},
            complete,
            fix_defaulting,
        )

    def admit(self, pod: Any) -> Any:
        """Return the JSON of a pod as it would be stored; the given one is not changed."""
        first = with_container_defaults if self.fix_defaulting else with_api_defaults
        spec = object_at(first(pod), "spec")
        if not spec:
            return pod
        filled = dict(spec)
        for limit_range in self.limit_ranges.get(_namespace(pod), ()):
            filled = with_range_defaults(filled, limit_range)
        self._prioritize(filled)
        self._run_in_class(filled)
        return with_api_defaults({**pod, "spec": filled}, fix_defaulting=self.fix_defaulting)

    def refusals(self, stored: Any) -> Iterator[str]:
        """Yield why the API server refuses a pod that ``admit`` returned."""
        spec = object_at(stored, "spec")
        for name, known, kind in (
            ("priorityClassName", self.priority_classes, "PriorityClass"),
            ("runtimeClassName", self.runtime_classes, "RuntimeClass"),
        ):
            wanted = spec.get(name)
            absent = self.complete and wanted and wanted not in known
            if absent and not (kind == "PriorityClass" and wanted in _SYSTEM_CLASSES):
                yield f"spec.{name}: there is no {kind} {wanted}"
        yield from self._other_priority(spec)
        yield from self._other_class(spec)
        yield from _only_later(spec)
        yield from _wrong_containers(spec)
        yield from refused_resources(spec)
        for limit_range in self.limit_ranges.get(_namespace(stored), ()):
            yield from outside_range(spec, limit_range)

    def _prioritize(self, spec: dict[str, Any]) -> None:
        name, value = self._priority(spec)
        if name:
            spec["priorityClassName"] = name
        if spec.get("priority") is None and value is not None:
            spec["priority"] = value

    def _priority(self, spec: Json) -> tuple[str, Any]:
        """Return the priority class of a pod and its number; None if that is not known."""
        classes = self.priority_classes
        name = spec.get("priorityClassName")
        default = next((one for one in classes.values() if one.get("globalDefault") is True), None)
        found = classes.get(name) if isinstance(name, str) and name else default
        if found is not None:
            return _name(found), found.get("value")
        if name:
            return "", _SYSTEM_CLASSES.get(str(name))
        return "", 0 if self.complete else None

    def _other_priority(self, spec: Json) -> Iterator[str]:
        name, value = self._priority(spec)
        given = spec.get("priority")
        if given is not None and value is not None and given != value:
            whose = f"that of PriorityClass {name}" if name else "what the pod gets"
            yield f"spec.priority: {given} is not {whose}, {value}; leave it out"

    def _run_in_class(self, spec: dict[str, Any]) -> None:
        found = self.runtime_classes.get(str(spec.get("runtimeClassName") or ""))
        if found is None:
            return
        overhead = object_at(object_at(found, "overhead"), "podFixed")
        if overhead and not object_at(spec, "overhead"):
            spec["overhead"] = dict(overhead)
        scheduling = object_at(found, "scheduling")
        if selector := object_at(scheduling, "nodeSelector"):
            spec["nodeSelector"] = {**selector, **object_at(spec, "nodeSelector")}
        if tolerations := objects_at(scheduling, "tolerations"):
            spec["tolerations"] = [*objects_at(spec, "tolerations"), *tolerations]

    def _other_class(self, spec: Json) -> Iterator[str]:
        """Yield where the overhead or the selector of a pod is not that of its runtime class."""
        name = spec.get("runtimeClassName")
        found = self.runtime_classes.get(str(name or ""))
        overhead = object_at(spec, "overhead")
        if found is None:
            if overhead and (not name or self.complete):
                yield "spec.overhead: only a RuntimeClass gives one; leave it out"
            return
        given = object_at(object_at(found, "overhead"), "podFixed")
        if overhead and not _same_amounts(overhead, given):
            yield f"spec.overhead: is not that of RuntimeClass {name}; leave it out"
        selector = object_at(spec, "nodeSelector")
        for key, wanted in object_at(object_at(found, "scheduling"), "nodeSelector").items():
            if selector.get(key) != wanted:
                said = f"{wanted}, as RuntimeClass {name} says"
                yield f"spec.nodeSelector[{key}]: {selector.get(key)} is not {said}"


def _only_later(spec: Json) -> Iterator[str]:
    """Yield what no pod has when it is created."""
    if spec.get("ephemeralContainers"):
        yield "spec.ephemeralContainers: only a pod that exists gets them (kubectl debug); leave them out"
    if spec.get("nodeName") and spec.get("schedulingGates"):
        yield "spec.nodeName: not beside schedulingGates; leave out one of them"


def _wrong_containers(spec: Json) -> Iterator[str]:
    if not objects_at(spec, "containers"):
        yield "spec.containers: is missing; a pod has one container at least"
    for part in ("initContainers", "containers"):
        for index, one in enumerate(objects_at(spec, part)):
            policy = one.get("restartPolicy")
            if policy is not None and policy not in _RESTARTS:
                yield f"spec.{part}[{index}].restartPolicy: {policy} is none of {', '.join(_RESTARTS)}"


def _same_amounts(first: Json, second: Json) -> bool:
    try:
        amounts = [{name: read_quantity(value) for name, value in each.items()} for each in (first, second)]
    except ValueError:
        return False
    return amounts[0] == amounts[1]


def _namespace(value: Any) -> str:
    return str(object_at(value, "metadata").get("namespace") or "default")


def _name(value: Json) -> str:
    return str(object_at(value, "metadata").get("name") or "")
