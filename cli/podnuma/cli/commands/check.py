"""`podnuma check`: whether this cluster can have podnuma, or, once it is installed, whether it works.

One line per question, each with what to do next if the answer is not yes.

    ok        as it has to be
    warning   it works, but not everywhere or not in every way
    failed    it does not work; the exit code is 1
    unknown   this user may not look, or saved objects do not show it
    absent    podnuma is not installed where it was looked for

Nothing is changed. What only a node itself can tell (cgroup v2, the runtime's sockets) the agents report
once they run; the check `nodes` sums that up.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Annotated, Any, Final

import typer
from podnuma.agent.reconcile.pause import other_managers
from podnuma.api.names import GROUP, VERSION
from podnuma.api.resource_types import NODE_PROFILE, NODE_TOPOLOGY, POD_ALLOCATION
from podnuma.cli.commands import output
from podnuma.cli.commands.answer import Answer, answering
from podnuma.cli.commands.check_installed import AFTER_INSTALLING
from podnuma.cli.commands.check_result import CheckResult, CheckState
from podnuma.cli.commands.options import examples, new_app
from podnuma.cli.exits import INSTALL_NAMESPACE, Exit
from podnuma.cli.objects.cluster_facts import (
    ClusterFacts,
    kubelet_configuration_path,
    read_facts,
    release_of,
)
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.sources import ObjectSource
from podnuma.cli.render.wording import columns, count

app = new_app()

_OLDEST: Final = (1, 31)
_WITH_BUDGETS: Final = (1, 34)
_ENFORCE: Final = "pod-security.kubernetes.io/enforce"
_NAMED: Final = 3
_CONTAINERD_WITH_NRI: Final = 2


@app.command(
    "check",
    epilog=examples(
        "podnuma check",
        "podnuma check --namespace cpu-system",
        "podnuma check -o json",
    ),
)
@answering(table=True, watch=True)
def check_cluster(
    source: ObjectSource,
    namespace: Annotated[
        str, typer.Option("--namespace", "-n", help="where podnuma is, or is to be, installed")
    ] = INSTALL_NAMESPACE,
) -> Answer:
    """Check whether podnuma can be installed in this cluster, or whether it works there."""
    results = answers_for(read_facts(source, namespace, dt.datetime.now(dt.UTC)))
    return Answer(
        output.AnswerKind.CHECK_RESULT,
        [result_data(one) for one in results],
        lambda style: results_text(results, headers=style.headers),
        code=Exit.NO if any(one.state is CheckState.FAILED for one in results) else Exit.OK,
    )


def answers_for(facts: ClusterFacts) -> list[CheckResult]:
    """Answer every question, those before installing first."""
    asked = (*_BEFORE, *AFTER_INSTALLING) if facts.installed else _BEFORE
    results = [result for ask in asked for result in ask(facts)]
    if not facts.installed:
        results.append(_not_installed(facts))
    return results


def _not_installed(facts: ClusterFacts) -> CheckResult:
    where = facts.namespace
    if facts.deployments is None and facts.daemon_sets is None:
        text = f"you may not list deployments and daemonsets in {where}"
        return CheckResult("installed", CheckState.UNKNOWN, text)
    step = "the README says how to install it; if it is in another namespace, name that with --namespace"
    text = f"there is no operator and no agent of podnuma in {where}"
    if facts.profiles or facts.topologies:
        text += (
            f", though there are objects of kind {(NODE_PROFILE if facts.profiles else NODE_TOPOLOGY).kind}"
        )
    return CheckResult("installed", CheckState.ABSENT, text, step)


def results_text(results: Sequence[CheckResult], *, headers: bool = True) -> str:
    """Write a line per question and, below those that need it, the next step."""
    rows = [(one.check, one.state.value, one.found) for one in results]
    lines = columns(("CHECK", "STATE", "FOUND"), rows, headers=headers).splitlines()
    steps = [f"; {one.next_step}" if one.next_step else "" for one in results]
    heads = [""] * (len(lines) - len(steps))
    return "".join(f"{line}{step}\n" for line, step in zip(lines, [*heads, *steps], strict=True))


def result_data(one: CheckResult) -> dict[str, Any]:
    """Return one answer for programs."""
    return {
        "check": one.check,
        "state": one.state.value,
        "found": one.found,
        "nextStep": one.next_step or None,
    }


# Before installing


def _api_server(facts: ClusterFacts) -> Iterator[CheckResult]:
    number = release_of(facts.version or "")
    if facts.version is None or number is None:
        yield CheckResult("api-server", CheckState.UNKNOWN, "its version cannot be read")
    elif number < _OLDEST:
        yield CheckResult("api-server", CheckState.FAILED, facts.version, "podnuma needs v1.31 or newer")
    elif number < _WITH_BUDGETS:
        step = "give budgets by the annotation podnuma.dev/resources: spec.resources of a pod needs v1.34"
        yield CheckResult("api-server", CheckState.WARNING, facts.version, step)
    else:
        yield CheckResult("api-server", CheckState.OK, facts.version)


def _namespace_policy(facts: ClusterFacts) -> Iterator[CheckResult]:
    name, found = facts.namespace, facts.namespace_object
    if found is None:
        yield CheckResult("pod-security", CheckState.UNKNOWN, f"you may not get namespace {name}")
        return
    if not found:
        step = f"label it {_ENFORCE}=privileged if the cluster enforces another level by default"
        yield CheckResult("pod-security", CheckState.OK, f"there is no namespace {name} yet", step)
        return
    level = ((found.get("metadata") or {}).get("labels") or {}).get(_ENFORCE, "")
    if level in ("", "privileged"):
        yield CheckResult("pod-security", CheckState.OK, f"namespace {name} enforces {level or 'no level'}")
        return
    step = f"kubectl label namespace {name} --overwrite {_ENFORCE}=privileged"
    text = f"namespace {name} enforces {level}, under which no agent can start"
    yield CheckResult("pod-security", CheckState.FAILED, text, step)


def _runtimes(facts: ClusterFacts) -> Iterator[CheckResult]:
    if facts.nodes is None:
        yield CheckResult("runtimes", CheckState.UNKNOWN, "you may not list nodes")
        return
    linux = [one for one in facts.nodes if _info(one, "operatingSystem") in ("", "linux")]
    if not linux:
        step = "agents run on Linux nodes only"
        yield CheckResult("runtimes", CheckState.FAILED, "there is no Linux node", step)
        return
    by_kind: dict[str, list[str]] = {}
    for node in linux:
        by_kind.setdefault(_info(node, "containerRuntimeVersion"), []).append(node["metadata"]["name"])
    for runtime, nodes in sorted(by_kind.items()):
        where = f"{runtime or 'an unknown runtime'} on {_names(nodes)}"
        kind, _, version = runtime.partition("://")
        release = release_of(version) or (0, 0)
        if kind == "cri-o" or (kind == "containerd" and release[0] >= _CONTAINERD_WITH_NRI):
            yield CheckResult("runtimes", CheckState.OK, where)
        elif kind == "containerd":
            step = "enable NRI in its configuration, or containers are pinned moments after their start"
            yield CheckResult("runtimes", CheckState.WARNING, where, step)
        else:
            step = "podnuma is made for containerd and CRI-O; try it on one node first"
            yield CheckResult("runtimes", CheckState.WARNING, where, step)


def _kubelets(facts: ClusterFacts) -> Iterator[CheckResult]:
    for node, why in sorted(facts.silent.items()):
        text = f"the kubelet of node {node} does not answer the API server: {why}"
        step = (
            f"whether it pins containers itself is not known; see `kubectl describe node {node}`, and "
            f"whether the API server reaches it: kubectl get --raw {kubelet_configuration_path(node)}"
        )
        yield CheckResult("kubelets", CheckState.WARNING, text, step)
    if not facts.kubelets and facts.silent:
        return
    if not facts.kubelets:
        text = "the kubelets' configuration cannot be read (nodes/proxy)"
        step = (
            "podnuma pauses where the kubelet itself pins: have somebody look who may "
            f"kubectl get --raw {_configz(facts)}, or see cpuManagerPolicy and memoryManagerPolicy "
            "in the file that the kubelet's --config names on its node"
        )
        yield CheckResult("kubelets", CheckState.UNKNOWN, text, step)
        return
    pinning = sorted(
        node
        for node, config in facts.kubelets.items()
        if config.get("cpuManagerPolicy") == "static" or config.get("memoryManagerPolicy") == "Static"
    )
    if pinning:
        text = f"the kubelet's own static policy is in force on {_names(pinning)}"
        step = "podnuma pauses there; docs/moving.md says how to change over"
        yield CheckResult("kubelets", CheckState.WARNING, text, step)
    else:
        asked = f"{len(facts.kubelets)} of {count(len(facts.nodes or ()), 'node')}"
        yield CheckResult("kubelets", CheckState.OK, f"none pins containers itself ({asked} asked)")


def _configz(facts: ClusterFacts) -> str:
    """Return the path of a kubelet's configuration at the API server: of the first node, if one is known."""
    first = next((str(one["metadata"]["name"]) for one in facts.nodes or ()), "NODE")
    return kubelet_configuration_path(first)


def _other_managers(facts: ClusterFacts) -> Iterator[CheckResult]:
    if facts.pods is None:
        yield CheckResult("other-managers", CheckState.UNKNOWN, "you may not list pods")
        return
    found = other_managers(_container_names(facts.pods))
    if found:
        step = "remove them from the nodes that a NodeProfile selects: two programs would pin containers"
        yield CheckResult("other-managers", CheckState.FAILED, f"{', '.join(found)} pins containers", step)
    else:
        yield CheckResult("other-managers", CheckState.OK, "no other program is known to pin containers")


def _container_names(pods: Iterable[Json]) -> Iterator[str]:
    for pod in pods:
        if (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed"):
            continue
        yield str(pod["metadata"]["name"])
        yield from (str(one.get("name")) for one in (pod.get("spec") or {}).get("containers") or ())


def _definitions(facts: ClusterFacts) -> Iterator[CheckResult]:
    if facts.definitions is None:
        yield CheckResult("definitions", CheckState.UNKNOWN, "you may not list custom resource definitions")
        return
    served = {
        one["metadata"]["name"]
        for one in facts.definitions
        if any(each.get("name") == VERSION and each.get("served") for each in one["spec"]["versions"])
    }
    wanted = [kind.resource for kind in (NODE_PROFILE, NODE_TOPOLOGY, POD_ALLOCATION)]
    missing = [name for name in wanted if name not in served]
    if not missing:
        yield CheckResult("definitions", CheckState.OK, f"{GROUP}/{VERSION} is served")
    elif facts.installed:
        step = "kubectl apply --server-side -f crds/"
        yield CheckResult("definitions", CheckState.FAILED, f"{', '.join(missing)}: not served", step)
    else:
        text = f"{GROUP}/{VERSION} is not served yet; the chart installs it"
        yield CheckResult("definitions", CheckState.OK, text)


def _rights(facts: ClusterFacts) -> Iterator[CheckResult]:
    if facts.installed:
        return
    if facts.lacking is None:
        yield CheckResult("rights", CheckState.UNKNOWN, "rights cannot be checked here")
    elif facts.lacking:
        text = f"you may not {', '.join(facts.lacking)}"
        step = "have someone with these rights install it, or use another --context"
        yield CheckResult("rights", CheckState.FAILED, text, step)
    else:
        yield CheckResult("rights", CheckState.OK, "you may create what the chart creates")


_Check = Callable[[ClusterFacts], Iterator[CheckResult]]
_BEFORE: Final[tuple[_Check, ...]] = (
    _api_server,
    _definitions,
    _namespace_policy,
    _runtimes,
    _kubelets,
    _other_managers,
    _rights,
)


def _info(node: Json, field: str) -> str:
    return str(((node.get("status") or {}).get("nodeInfo") or {}).get(field) or "")


def _names(nodes: Sequence[str]) -> str:
    more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
    return ", ".join(sorted(nodes)[:_NAMED]) + more
