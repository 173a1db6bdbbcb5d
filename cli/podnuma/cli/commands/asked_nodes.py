"""The nodes that `plan` and `explain` ask about pods that are on none, and how candidates are reported.

What may not be read is left out and said; a node is asked with its own settings, those of the profile that
is tried, or those of a profile that selects it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from podnuma.allocator.placement.fleet import Candidate
from podnuma.api.asked_devices import serving_classes
from podnuma.api.node_profile import NodeProfile
from podnuma.api.node_settings import NodeSettings
from podnuma.api.node_topology import NodeTopology
from podnuma.api.scheduling import PodConstraints
from podnuma.api.selector import EVERYTHING
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.candidate_nodes import (
    CandidateNode,
    candidate_nodes,
    fitting,
    no_settings,
    own_settings,
)
from podnuma.cli.objects.profiles import profile_in_file, readable_profiles, stored_profile, winner
from podnuma.cli.objects.queries import Json, ObjectQuery
from podnuma.cli.objects.scheduling_view import SchedulingView
from podnuma.cli.objects.sources import ObjectSource, read_or_note
from podnuma.cli.render.wording import count

NamespaceLabels = Mapping[str, Mapping[str, str]]
Note = Callable[[str], None]


def _allowed(source: ObjectSource, query: ObjectQuery, note: Note) -> list[Json] | None:
    return read_or_note(source, query, note)


def pods_on(source: ObjectSource, node: str, note: Note) -> list[Json]:
    """Return the pods of a node, or of all, as far as this user may read them."""
    return _allowed(source, queries.pods(node=node), note) or []


def scheduling_view(source: ObjectSource, pods: Sequence[Json], note: Note) -> SchedulingView:
    """Return the nodes, with these pods, as the scheduler sees them, as far as this user may read them."""
    nodes = _allowed(source, queries.nodes(), note)
    if nodes == []:
        note("no Node objects are known here: selectors, taints and free resources are not considered")
    return SchedulingView.of(nodes or (), pods)


def learn_classes(
    source: ObjectSource, view: SchedulingView, pods: Iterable[PodConstraints], note: Note
) -> None:
    """Read which extended resources are devices of claims, if it matters for one of these pods."""
    if not any(map(view.lacks, pods)):
        return
    try:
        classes = _allowed(source, queries.device_classes(), note)
    except Failure as failure:
        if failure.code is not Exit.NOT_FOUND:
            raise
        return  # an API server before v1.34
    view.claimed = frozenset(serving_classes(classes or ()))


def nodes_to_plan_on(
    source: ObjectSource,
    node: str,
    profile: str,
    view: SchedulingView,
    note: Note,
    pods: Sequence[PodConstraints],
) -> tuple[list[CandidateNode], NamespaceLabels]:
    """Return the nodes to ask, by name, and the labels of namespaces; Failure if there is none.

    Of nodes without settings `note` hears if one of the pods may go there, or if there are no others.
    """
    topologies, allocations = source.fetch(queries.node_topologies(node), queries.pod_allocations(node))
    tried = profile_in_file(profile) if profile and Path(profile).exists() else None
    which = ""
    if tried is not None:
        every = len(topologies)
        topologies = [one for one in topologies if _selects(tried, view.labels(one["metadata"]["name"]))]
        if every > len(topologies):
            note(f"not considered: {count(every - len(topologies), 'node')} that {profile} does not select")
        which = f" that {profile} selects"
    elif profile:
        topologies = [one for one in topologies if _profile_of(one) == profile]
        if not topologies:
            _exists(source, profile)
        which = f" with profile {profile}"
    found, unset, problems = candidate_nodes(topologies, allocations, _chooser(source, tried, view, note))
    if found:
        unset = [name for name in unset if any(view.obstacle(pod, name) is None for pod in pods)]
    if unset:
        note(no_settings(unset))
    for line in (*problems, *(remark for one in found for remark in one.remarks)):
        note(line)
    if not found:
        lacking = (
            "what they lack is said above"
            if problems
            else "a NodeTopology with settings and status.hardware is needed; "
            "see `kubectl get nodetopologies`, or `podnuma discover` for a machine outside"
        )
        raise Failure(Exit.NOT_FOUND, f"no node{which} can be planned on: {lacking}")
    selecting = any(one.settings.pod_policy.namespace_selector != EVERYTHING for one in found)
    namespaces = (_allowed(source, queries.namespaces(), note) or []) if selecting else []
    return found, {one["metadata"]["name"]: one["metadata"].get("labels") or {} for one in namespaces}


def _exists(source: ObjectSource, profile: str) -> None:
    """Raise Failure(NOT_FOUND) if there is no profile of that name, as far as this user may read profiles."""
    try:
        stored_profile(source, profile)
    except Failure as failure:
        if failure.code is not Exit.FORBIDDEN:
            raise


def _selects(profile: NodeProfile, labels: Mapping[str, str] | None) -> bool:
    """Whether a profile selects a node; one without a Node object is tried, which has been said."""
    return labels is None or profile.node_selector.matches(labels)


def _chooser(
    source: ObjectSource, tried: NodeProfile | None, view: SchedulingView, note: Note
) -> Callable[[NodeTopology], NodeSettings | None]:
    """Return how to choose a node's settings: those tried, its own, or those of a profile that selects it."""
    profiles: list[NodeProfile] | None = None

    def choose(topology: NodeTopology) -> NodeSettings | None:
        nonlocal profiles
        version = view.kubelet_version(topology.name)
        if tried is not None:
            return fitting(topology, tried.name, tried.settings_on(version))
        settings = own_settings(topology)
        labels = view.labels(topology.name)
        if settings is not None or labels is None:
            return settings
        if profiles is None:
            profiles, problems = readable_profiles(_allowed(source, queries.node_profiles(), note) or ())
            for line in problems:
                note(line)
        chosen = winner(profiles, labels)
        return fitting(topology, chosen.name, chosen.settings_on(version)) if chosen else None

    return choose


def _profile_of(topology: Json) -> str:
    name: str = ((topology.get("spec") or {}).get("profile") or {}).get("name", "")
    return name


def candidate_data(one: Candidate) -> dict[str, Any]:
    """Return a candidate for programs."""
    return {
        "node": one.node,
        "numaNodes": one.effect.numa_nodes,
        "breaksNumaNodes": one.effect.breaks,
        "gapCPUs": one.effect.gap,
        "freeCPUs": one.effect.left,
    }
