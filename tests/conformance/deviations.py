"""Which differences from the kubelet are meant: exactly the entries of `docs/deviations.md`.

An entry is recognised in one of three ways.

* By its *twin*: the kubelet's way in that one place (`literal.py`). The difference is explained
  when podnuma with the twin answers as the kubelet does, at that step and before.
* By its *way*, if it is one of "Hardware" and the scenario starts from a tree: as a twin, but what is
  put in place is what the kubelet sees there (`cadvisor.py`).
* By its *mark*, where the kubelet's way leads to a crash, to a state that cannot be right, or to
  something podnuma has no place for: a predicate over that one step of both answers.

Every entry says on which scenarios it can apply at all (`possible`), so that none is tried
elsewhere. Always true: the names here are the headings of the page; a test compares them.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import Any

from tests.conformance import cadvisor, literal
from tests.conformance.compare import comparable_state
from tests.conformance.literal import Replacement

Json = Mapping[str, Any]

LARGEST_MASK_BIT = 63

FIXED_IN_1_38 = frozenset(
    {
        "Unequal cores and sockets",
        "Huge pages that only init containers want",
        "Distribution over the NUMA nodes that were chosen",
        "Every decision ends",
    }
)
"""The entries that no difference from kubelet v1.38 may be explained by: it does as podnuma does."""


@dataclass(frozen=True, slots=True)
class Twin:
    """A deviation that is recognised by putting the kubelet's way in its place."""

    name: str
    possible: Callable[[Json], bool]
    replacements: tuple[Replacement, ...]


@dataclass(frozen=True, slots=True)
class Mark:
    """A deviation that is recognised by what the two sides say about one step."""

    name: str
    possible: Callable[[Json], bool]
    seen: Callable[["Moment"], bool]


@dataclass(frozen=True, slots=True)
class Moment:
    """One step of a scenario as both sides report it, and the step before."""

    scenario: Json
    step: Json
    before: Json | None
    kubelet: Json
    podnuma: Json
    podnuma_before: Json | None


def _cpu_options(scenario: Json) -> Mapping[str, str]:
    return scenario["kubelet"].get("cpuManagerPolicyOptions") or {}


def _has_option(scenario: Json, name: str) -> bool:
    options = {**_cpu_options(scenario), **(scenario["kubelet"].get("topologyManagerPolicyOptions") or {})}
    return name in options


def _always(_: Json) -> bool:
    return True


def _listed_cpus(scenario: Json) -> list[Json]:
    return scenario["topology"].get("cpus") or []


def unequal_cores(scenario: Json) -> bool:
    """Say whether cores differ in their number of threads, or sockets in their number of CPUs."""
    cpus = _listed_cpus(scenario)
    cores = Counter((cpu["numa"], cpu["socket"], cpu["core"]) for cpu in cpus)
    sockets = Counter(cpu["socket"] for cpu in cpus)
    return len(set(cores.values())) > 1 or len(set(sockets.values())) > 1


def _nodes_without_cpus(scenario: Json) -> bool:
    cpus = _listed_cpus(scenario)
    return bool(cpus) and {node["id"] for node in scenario["topology"]["numaNodes"]} > {
        cpu["numa"] for cpu in cpus
    }


def _memory_nodes_unused(scenario: Json) -> bool:
    return scenario["kubelet"].get("memoryOnlyNodePolicy") == "Unused" and _nodes_without_cpus(scenario)


def _memory_nodes_counted(moment: Moment) -> bool:
    """The kubelet does not start for its number of NUMA nodes; podnuma counts those with CPUs only."""
    start = moment.kubelet.get("start") or {}
    ours = moment.podnuma.get("start") or {}
    return "NUMA Nodes" in str(start.get("error")) and bool(ours.get("ok"))


def _gaps_in_node_ids(scenario: Json) -> bool:
    ids = [node["id"] for node in scenario["topology"]["numaNodes"]]
    return ids != list(range(len(ids)))


def _huge_pages_wanted(scenario: Json) -> bool:
    return any("hugepages-" in str(step.get("pod")) for step in scenario["steps"])


def _pages_in_use(scenario: Json) -> bool:
    return any(node.get("hugepagesInUse") for node in scenario["topology"]["numaNodes"])


def _requests_of(pod: Json) -> Iterator[Json]:
    spec = pod["spec"]
    for part in (spec, *(spec.get("initContainers") or ()), *spec["containers"]):
        resources = part.get("resources") or {}
        yield {**(resources.get("limits") or {}), **(resources.get("requests") or {})}


def failed_package(step: Json) -> str:
    """Return the kubelet package whose code failed in a step; "" if none did."""
    text = str(step.get("panic", ""))
    found = re.search(r"\[(\w+)\.", text)
    return found[1] if found else text


def _unknown_page_size(moment: Moment) -> bool:
    if moment.step["op"] != "addPod" or failed_package(moment.kubelet) != "memorymanager":
        return False
    wanted = {name for requests in _requests_of(moment.step["pod"]) for name in requests}
    sizes = {name.removeprefix("hugepages-") for name in wanted if name.startswith("hugepages-")}
    # Nodes list sizes as "2Mi"; a node without the entry does not know that size.
    return any(sizes - set(node.get("hugepages") or ()) for node in moment.scenario["topology"]["numaNodes"])


def _distance_beyond_the_row(moment: Moment) -> bool:
    return moment.step["op"] == "addPod" and failed_package(moment.kubelet) == "topologymanager"


def _ids_above_63(scenario: Json) -> bool:
    return any(node["id"] > LARGEST_MASK_BIT for node in scenario["topology"]["numaNodes"])


def _panicked(moment: Moment) -> bool:
    return moment.step["op"] == "addPod" and "panic" in moment.kubelet


def _redecided(moment: Moment) -> bool:
    """A restart after which podnuma's pods have what they had, and the kubelet's do not."""
    ours, theirs = moment.podnuma, moment.kubelet
    if moment.step["op"] != "restart" or not (ours.get("start") or {}).get("ok"):
        return False
    kept = _same_state(ours, moment.podnuma_before)
    everybody = all(pod["admitted"] for pod in ours.get("readmissions") or ())
    changed = (
        not (theirs.get("start") or {}).get("ok")
        or not all(pod["admitted"] for pod in theirs.get("readmissions") or ())
        or not _same_state(theirs, moment.before)
    )
    return kept and everybody and changed


def _same_state(one: Json, other: Json | None) -> bool:
    return comparable_state(one.get("state")) == comparable_state((other or {}).get("state"))


def _corrupt_cores(moment: Moment) -> bool:
    """The kubelet gave the same CPU away twice, or a reserved one, and cannot go on correctly."""
    steps = (moment.before or {}, moment.kubelet)
    return any("CPUs" in line for step in steps for line in step.get("violations") or ())


def _disagreeing_group(moment: Moment) -> bool:
    """In the kubelet's state a NUMA node is in a group whose other members, or pods, know nothing of it.

    Once members disagree, taking back a refused pod leaves nodes alone that a pod still holds together.
    """
    state = moment.kubelet.get("state") or (moment.before or {}).get("state") or {}
    rows = state.get("numa") or ()
    groups = {row["id"]: row["cells"] for row in rows}
    held = [
        block["numaNodes"]
        for containers in (state.get("memory") or {}).values()
        for blocks in containers.values()
        for block in blocks
    ]
    return any(groups[member] != cells for cells in groups.values() for member in cells) or any(
        groups.get(node, nodes) != nodes for nodes in held for node in nodes
    )


def _torn_group(moment: Moment) -> bool:
    return _disagreeing_group(moment) or _part_of_a_group(moment)


def _part_of_a_group(moment: Moment) -> bool:
    """The kubelet was to take a part of a group, and refused it; podnuma took, or tried, the whole group."""
    refused = "preferred hint violates NUMA node allocation"
    return (
        moment.step.get("op") == "addPod"
        and refused in str(moment.kubelet.get("message"))
        and refused not in str(moment.podnuma.get("message"))
    )


def _more_than_there_is(moment: Moment) -> bool:
    """The kubelet started with more memory to give than a NUMA node has; podnuma said what is wrong."""
    rows = (moment.kubelet.get("state") or {}).get("numa") or ()
    wrapped = any(table["allocatable"] > table["total"] for row in rows for table in row["memory"].values())
    refused = moment.podnuma.get("start") or {}
    return wrapped and "reserve less" in refused.get("error", "")


def _no_memory_at_all(moment: Moment) -> bool:
    """To the kubelet's memory manager no NUMA node has memory, and it started."""
    rows = (moment.kubelet.get("state") or {}).get("numa") or ()
    return bool(rows) and all(table["total"] == 0 for row in rows for table in row["memory"].values())


def _offline_threads(moment: Moment) -> bool:
    """The kubelet counts offline CPUs, and wants a multiple of more threads than cores have."""
    asked = re.search(r"(?i)cpus per core = (\d+)", str(moment.kubelet.get("message")))
    counted = moment.scenario["cadvisor"][cadvisor.NO_NUMA]["counted"]
    return bool(asked) and counted > len(_listed_cpus(moment.scenario))


def _node_without_number(moment: Moment) -> bool:
    """To the kubelet there is a NUMA node -1, which no set of nodes can hold."""
    return any(cpu["socket"] < 0 for cpu in _listed_cpus(moment.scenario))


def _no_distances(moment: Moment) -> bool:
    """The kubelet does not start: it wants distances, and its nodes have none."""
    return "error getting NUMA distances" in str(moment.kubelet.get("start"))


def _invalid(moment: Moment) -> bool:
    return bool(moment.kubelet.get("apiErrors")) and moment.podnuma.get("reason") == "InvalidPod"


def _endless(moment: Moment) -> bool:
    return "neverEnds" in moment.kubelet


def _seen_otherwise(name: str, scenario: Json) -> bool:
    return name in scenario.get("cadvisor", ())


def _devices(scenario: Json) -> bool:
    return any(step.get("devices") for step in scenario["steps"])


TWINS: tuple[Twin, ...] = (
    Twin("Unequal cores and sockets", unequal_cores, literal.WHOLE_BY_AVERAGE),
    Twin("NUMA nodes without CPUs", _nodes_without_cpus, literal.ALL_NODES_COUNT),
    Twin("NUMA nodes without CPUs", _memory_nodes_unused, literal.MEMORY_ONLY_NODES_ARE_GIVEN),
    Twin("Huge pages that others have in use", _pages_in_use, literal.PAGES_OF_OTHERS_ARE_FREE),
    Twin(
        "Huge pages that only exclusive containers want",
        _huge_pages_wanted,
        literal.EVERYBODY_MISSES_HUGE_PAGES,
    ),
    Twin("Huge pages that only init containers want", _huge_pages_wanted, literal.INIT_ONLY_MEMORY_FORGOTTEN),
    Twin(
        "Distribution over the NUMA nodes that were chosen",
        lambda scenario: _has_option(scenario, "distribute-cpus-across-numa"),
        literal.AFFINITY_IS_NOT_BINDING,
    ),
    Twin("A NUMA node that shares memory blocks with others", _always, literal.GROUP_MEMBERS_ARE_USED_ALONE),
    Twin(
        "Strictly reserved CPUs are nobody's pool",
        lambda scenario: _has_option(scenario, "strict-cpu-reservation"),
        literal.NOTHING_LEFT_FOR_OTHERS,
    ),
    Twin("NUMA distances when node ids have gaps", _gaps_in_node_ids, literal.DISTANCE_BY_ID),
    Twin("Devices that are at no NUMA node with CPUs", _devices, literal.DEVICES_AS_THEY_ARE),
)

HARDWARE: tuple[Twin, ...] = tuple(
    Twin(name, partial(_seen_otherwise, name), replacements)
    for name, replacements in {
        cadvisor.NO_SIBLINGS: (),
        cadvisor.NO_NUMA: (),
        cadvisor.NO_PACKAGE: literal.PACKAGE_NUMBERS_ARE_TAKEN_AS_THEY_ARE,
        cadvisor.ISOLATED: (),
        cadvisor.CORE_NUMBERS: (),
        cadvisor.CACHE_NUMBERS: (),
        cadvisor.WIDE_CACHE: (),
        cadvisor.WITHOUT_CACHE: (),
    }.items()
)

MARKS: tuple[Mark, ...] = (
    Mark(cadvisor.NO_NUMA, partial(_seen_otherwise, cadvisor.NO_NUMA), _no_memory_at_all),
    Mark(cadvisor.NO_NUMA, partial(_seen_otherwise, cadvisor.NO_NUMA), _offline_threads),
    Mark(cadvisor.NO_NUMA, partial(_seen_otherwise, cadvisor.NO_NUMA), _node_without_number),
    Mark(cadvisor.NO_NUMA, partial(_seen_otherwise, cadvisor.NO_NUMA), _no_distances),
    Mark("A restart decides nothing", _always, _redecided),
    Mark("Unequal cores and sockets", unequal_cores, _corrupt_cores),
    Mark("A NUMA node that shares memory blocks with others", _always, _torn_group),
    Mark("NUMA nodes without CPUs", _nodes_without_cpus, _memory_nodes_counted),
    Mark("A huge page size that a NUMA node lacks", _huge_pages_wanted, _unknown_page_size),
    Mark("NUMA distances when node ids have gaps", _gaps_in_node_ids, _distance_beyond_the_row),
    Mark("Memory reserved that a NUMA node does not have", _always, _more_than_there_is),
    Mark("NUMA node ids above 63", _ids_above_63, _panicked),
    Mark("Pods the API server would not store", _always, _invalid),
    Mark(
        "Every decision ends",
        lambda scenario: _has_option(scenario, "distribute-cpus-across-numa"),
        _endless,
    ),
)


def twins_for(scenario: Json, active: Iterable[Twin]) -> Iterator[tuple[Twin, ...]]:
    """Yield sets of twins that could explain a difference beside the active ones, the smallest first."""
    used = set(active)
    left = [twin for twin in (*TWINS, *HARDWARE) if twin not in used and _applies(twin, scenario)]
    for size in (1, 2, 3) if "cadvisor" in scenario else (1, 2):
        yield from combinations(left, size)


def marked(moment: Moment) -> str | None:
    """Return the name of the deviation that marks this step, None if none does."""
    return next((mark.name for mark in MARKS if _applies(mark, moment.scenario) and mark.seen(moment)), None)


def _applies(entry: Twin | Mark, scenario: Json) -> bool:
    if scenario["kubelet"].get("kubeletVersion") == "1.38" and entry.name in FIXED_IN_1_38:
        return False
    if entry.possible(scenario):
        return True
    ways = scenario.get("cadvisor")
    if not ways:
        return False
    machine = cadvisor.seen(scenario["topology"], ways.values())
    return entry.possible({**scenario, "topology": machine})


def names() -> list[str]:
    """Return the names of all deviations that have a section in `docs/deviations.md`; hardware shares one."""
    hardware = {twin.name for twin in HARDWARE}
    return sorted({twin.name for twin in TWINS} | {mark.name for mark in MARKS} - hardware)
