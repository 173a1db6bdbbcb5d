"""The questions of `podnuma check` about podnuma that is there.

An operator that runs as a process of its own, without a Deployment, is known by the Lease that it renews.
What has just been created is not called broken without saying so.
"""

import datetime as dt
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from podnuma.api.conditions import READY
from podnuma.api.names import OPERATOR_LEASE, PLACEMENT_GATE
from podnuma.api.node_conditions import NodeReason
from podnuma.api.node_settings import PlacementTime
from podnuma.api.resource_types import DAEMON_SET, DEPLOYMENT
from podnuma.cli.commands.check_result import CheckResult, CheckState
from podnuma.cli.objects.cluster_facts import ClusterFacts, component_of, is_part_of_podnuma, read_time
from podnuma.cli.objects.queries import Json
from podnuma.cli.render.wording import count

_YOUNG: Final = dt.timedelta(minutes=2)


def _operator(facts: ClusterFacts) -> Iterator[CheckResult]:
    found = [
        one
        for one in facts.deployments or ()
        if is_part_of_podnuma(one) and component_of(one) in ("", "operator")
    ]
    for one in found:
        ready, wanted = (one.get("status") or {}).get("readyReplicas") or 0, one["spec"].get("replicas", 1)
        if not wanted:
            text = "scaled to zero, as the cleanup before an uninstall leaves it: nobody decides"
            yield CheckResult("operator", CheckState.FAILED, text, _INSTALL_AGAIN)
            continue
        yield _ready_ones(
            "operator", facts, one, ready, f"{ready} of {count(wanted, 'replica')} ready", wanted
        )
    if not found and facts.leader:
        if facts.deployments is None:
            where = f"you may not list deployments in {facts.namespace}"
        else:
            where = f"there is no Deployment of it in {facts.namespace}"
        text = f"{facts.leader} leads (Lease {OPERATOR_LEASE}, renewed less than a minute ago); {where}"
        yield CheckResult("operator", CheckState.OK, text)


def _agents(facts: ClusterFacts) -> Iterator[CheckResult]:
    for one in facts.daemon_sets or ():
        if not is_part_of_podnuma(one):
            continue
        status = one.get("status") or {}
        ready, wanted = status.get("numberReady") or 0, status.get("desiredNumberScheduled") or 0
        if _cleans_up(one):
            text = "the cleanup before an uninstall has them give their nodes back: nobody pins containers"
            yield CheckResult("agents", CheckState.FAILED, text, _INSTALL_AGAIN)
        elif not wanted and not _is_young(facts, one):
            step = "see agent.nodeSelector, agent.affinity and agent.excludedNodes of the chart"
            yield CheckResult("agents", CheckState.FAILED, "no node is selected", step)
        else:
            yield _ready_ones("agents", facts, one, ready, f"{ready} of {wanted} ready", wanted)


_INSTALL_AGAIN: Final = "to go on, install it again as before (helm upgrade --install, or kubectl apply)"


def _cleans_up(daemon_set: Json) -> bool:
    template = (daemon_set.get("spec") or {}).get("template") or {}
    containers = (template.get("spec") or {}).get("containers") or ()
    return any((one.get("args") or [])[:2] == ["agent", "cleanup"] for one in containers)


def _ready_ones(
    check: str, facts: ClusterFacts, owner: Json, ready: int, text: str, wanted: int
) -> CheckResult:
    if ready and ready >= wanted:
        return CheckResult(check, CheckState.OK, text)
    state = CheckState.WARNING if ready else CheckState.FAILED
    what = f"{_KINDS[check].kind.lower()} {owner['metadata']['name']}"
    kubectl = f"kubectl -n {facts.namespace}"
    if _is_young(facts, owner):
        text += ", created less than two minutes ago"
        return CheckResult(check, state, text, f"wait for it: {kubectl} rollout status {what}")
    return CheckResult(check, state, text, f"{kubectl} describe {what}")


_KINDS: Final = {"operator": DEPLOYMENT, "agents": DAEMON_SET}


def _is_young(facts: ClusterFacts, value: Json) -> bool:
    created = read_time(value["metadata"].get("creationTimestamp"))
    return created is not None and facts.read_at - created < _YOUNG


def _agent_policy(facts: ClusterFacts) -> Iterator[CheckResult]:
    if facts.policies is None:
        yield CheckResult("agent-policy", CheckState.UNKNOWN, "you may not list admission policies")
    elif any(is_part_of_podnuma(one) for one in facts.policies):
        yield CheckResult("agent-policy", CheckState.OK, "each agent may write for its own node only")
    else:
        step = "set agentPolicy.enabled=true"
        text = "an agent's token can write for any node"
        yield CheckResult("agent-policy", CheckState.WARNING, text, step)


def _placement(facts: ClusterFacts) -> Iterator[CheckResult]:
    """Ask, where profiles place pods, whether pods get the gate without which none is placed."""
    placing = sum(_wants_placement(one) for one in facts.profiles or ())
    if not placing:
        return
    if facts.mutating_bindings is None:
        text = "you may not list bindings of mutating admission policies"
        yield CheckResult("placement", CheckState.UNKNOWN, text)
    elif any(is_part_of_podnuma(one) for one in facts.mutating_bindings):
        text = f"{count(placing, 'profile')} with BeforeBinding; new pods get the scheduling gate"
        yield CheckResult("placement", CheckState.OK, text)
    else:
        text = f"{count(placing, 'profile')} with BeforeBinding, and no policy gives pods the scheduling gate"
        step = f"set placement.enabled=true, or write the gate {PLACEMENT_GATE} into manifests"
        yield CheckResult("placement", CheckState.WARNING, text, step)


def _wants_placement(profile: Json) -> bool:
    return (profile.get("spec") or {}).get("placement") == PlacementTime.BEFORE_BINDING.value


def _profiles(facts: ClusterFacts) -> Iterator[CheckResult]:
    step = "kubectl describe nodeprofiles"
    yield from _readiness("profiles", "NodeProfile", facts.profiles, step, "podnuma profile suggest")


def _nodes(facts: ClusterFacts) -> Iterator[CheckResult]:
    step = "kubectl describe nodetopologies"
    yield from _readiness("nodes", "NodeTopology", facts.topologies, step, "kubectl get nodeprofiles")


def _readiness(
    check: str, kind: str, found: Sequence[Json] | None, step: str, first: str
) -> Iterator[CheckResult]:
    if found is None:
        yield CheckResult(check, CheckState.UNKNOWN, f"you may not list objects of kind {kind}")
    elif not found:
        yield CheckResult(check, CheckState.WARNING, f"there is no {kind}: no node is managed", first)
    else:
        reasons_found = [reason for one in found if (reason := _not_ready(one))]
        asleep = [reason for reason in reasons_found if reason == NodeReason.NO_PROFILE]
        why = Counter(reason for reason in reasons_found if reason != NodeReason.NO_PROFILE)
        if why:
            reasons = ", ".join(f"{number} {reason}" for reason, number in sorted(why.items()))
            text = f"{sum(why.values())} of {len(found)} not ready: {reasons}"
            yield CheckResult(check, CheckState.WARNING, text, step)
        elif len(asleep) == len(found):
            yield CheckResult(check, CheckState.WARNING, "no profile selects a node: none is managed", first)
        else:
            rest = f", {len(asleep)} without a profile" if asleep else ""
            yield CheckResult(check, CheckState.OK, f"{len(found) - len(asleep)} ready{rest}")


def _not_ready(value: Json) -> str:
    for one in (value.get("status") or {}).get("conditions") or ():
        if one.get("type") == READY:
            return "" if one.get("status") == "True" else str(one.get("reason") or "no reason given")
    return "not looked at yet"


AFTER_INSTALLING: Final[tuple[Callable[[ClusterFacts], Iterator[CheckResult]], ...]] = (
    _operator,
    _agents,
    _agent_policy,
    _placement,
    _profiles,
    _nodes,
)
