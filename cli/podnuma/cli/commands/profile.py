"""`podnuma profile import` and `podnuma profile suggest`: a first NodeProfile, in mode Audit.

In Audit podnuma decides and shows what it would change, and changes nothing; `mode: Enforce` is for whoever
has looked at that. Nothing is applied: the profile is printed, to be read and put into git.

A suggested profile reserves the kubelet's own CPUs where they can be read, else as many whole cores as the
kubelet's reserved amounts need, one at least; and 1Gi of the first NUMA node that has it, if the kubelet
reserves no memory.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final

import typer
from podnuma.allocator import TopologyManagerPolicy, cpuset, quantities
from podnuma.allocator.check import check
from podnuma.allocator.cpuset import CpuSet
from podnuma.allocator.topology import Topology
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.node_profile import NodeProfile, read_node_profile
from podnuma.api.resource_types import NODE_PROFILE
from podnuma.api.selector import render_selector
from podnuma.cli.commands import output
from podnuma.cli.commands.answer import with_source
from podnuma.cli.commands.completion import complete_node
from podnuma.cli.commands.options import NodeSelector, Output, OutputFormat, examples, new_app
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects import queries
from podnuma.cli.objects.cluster_facts import ask_kubelets
from podnuma.cli.objects.kubelet_configuration import kubelet_settings
from podnuma.cli.objects.kubelet_files import read_kubelet
from podnuma.cli.objects.label_selector import parse_selector
from podnuma.cli.objects.nodes import find_topologies, hardware_of, read_topology
from podnuma.cli.objects.queries import Json
from podnuma.cli.objects.sources import FileSource, ObjectSource, find_if_allowed, near_name

_MEMORY: Final = "1Gi"
_MILLI: Final = 1000

app = new_app("Write a first NodeProfile, to be read before it is applied.")

Name = Annotated[str, typer.Option(help="name of the profile")]


@app.command(
    "import",
    epilog=examples(
        "podnuma profile import /var/lib/kubelet/config.yaml -l node-pool=databases",
        "podnuma profile import /var/lib/kubelet/config.yaml /etc/kubernetes/kubelet.conf.d",
        "kubectl get --raw /api/v1/nodes/node-1/proxy/configz | podnuma profile import -",
    ),
)
def import_profile(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILE...",
            help="a KubeletConfiguration, also within the file of an installer; then a folder of drop-in "
            "files, or further files, which are merged into it; - for standard input",
        ),
    ],
    name: Name = "from-kubelet",
    selector: NodeSelector = "",
    form: Output = OutputFormat.YAML,
) -> None:
    """Turn a KubeletConfiguration into a NodeProfile, and name what has no meaning here."""
    read = read_kubelet(files)
    if read.where:
        output.note(f"read from {read.where}")
    taken = kubelet_settings(read.fields)
    if taken.unused:
        output.note(f"without meaning in a NodeProfile, left out: {', '.join(taken.unused)}")
    if taken.spec.get("cpuManagerPolicy") != "static":
        output.note("cpuManagerPolicy is not static: with this profile no CPU is given exclusively")
    value = profile_object(name, selector, taken.spec)
    _valid(value)
    _print(value, form)


@app.command(
    "suggest",
    epilog=examples(
        "podnuma profile suggest node-1",
        "podnuma profile suggest -l node-pool=databases --name databases > databases.yaml",
        "podnuma profile suggest node-1 --topology-manager-policy single-numa-node",
        "podnuma profile suggest --from topology.yaml   # of podnuma discover",
    ),
)
@with_source
def suggest_profile(
    source: ObjectSource,
    node: Annotated[
        str, typer.Argument(metavar="[NODE]", help="for this node alone", autocompletion=complete_node)
    ] = "",
    name: Name = "suggested",
    selector: NodeSelector = "",
    policy: Annotated[
        TopologyManagerPolicy | None,
        typer.Option(
            "--topology-manager-policy", help="as the kubelet's flag; else the kubelet's own, or best-effort"
        ),
    ] = None,
    form: Output = OutputFormat.YAML,
) -> None:
    """Suggest a NodeProfile from the hardware of nodes and what their kubelets reserve."""
    machines = _machines(source, node, selector)
    first, machine = next(iter(machines.items()))
    read, silent = ask_kubelets(source, [first])
    configuration = read.get(first)
    if configuration is None:
        why = f"it does not answer the API server: {silent[first]}" if first in silent else "nodes/proxy"
        unread = "" if isinstance(source, FileSource) else f"cannot be read ({why}) and "
        output.note(
            f"what the kubelet of {first} reserves {unread}is not considered: one core and {_MEMORY} are "
            "reserved; compare with its configuration"
        )
    wanted = selector or (f"kubernetes.io/hostname={node}" if node else "")
    spec = suggested_spec(machine, configuration or {})
    if policy is not None:
        spec["topologyManagerPolicy"] = policy.value
    value = profile_object(name, wanted, spec)
    profile = _valid(value)
    problems = [
        f"node {each}: {problem.field} {problem.value}: {problem.message}"
        for each, hardware in machines.items()
        for problem in check(profile.node.managers, hardware)
    ]
    if problems:
        one = "these nodes differ: ask for those of one kind, by -l SELECTOR or by name"
        raise Failure(Exit.INPUT, *problems, *([one] if len(machines) > 1 else []))
    _print(value, form)


def profile_object(name: str, selector: str, spec: Mapping[str, Any]) -> Json:
    """Return a NodeProfile in mode Audit for the nodes that a selector matches, all without one."""
    if not selector:
        output.note("nodeSelector {} selects every node: narrow it with -l SELECTOR")
    chosen = render_selector(parse_selector(selector)) if selector else {}
    return {
        **NODE_PROFILE.type_meta,
        "metadata": {"name": name},
        "spec": {"nodeSelector": chosen, "mode": "Audit", **spec},
    }


def suggested_spec(machine: Topology, configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Suggest settings for a machine whose kubelet is configured so."""
    taken = kubelet_settings(configuration).spec
    policy = taken.get("topologyManagerPolicy")
    reserved_cpus = taken.get("reservedSystemCPUs") or cpuset.render(_cores(machine, _reserved_milli(taken)))
    reserved_memory = taken.get("reservedMemory") or _memory(machine)
    spec: dict[str, Any] = {
        "cpuManagerPolicy": "static",
        "memoryManagerPolicy": "Static" if reserved_memory else "None",
        "topologyManagerPolicy": policy if policy not in (None, "none") else "best-effort",
        "topologyManagerScope": "pod",
        "reservedSystemCPUs": reserved_cpus,
    }
    return {**spec, "reservedMemory": reserved_memory} if reserved_memory else spec


def _memory(machine: Topology) -> list[dict[str, Any]]:
    """Reserve memory on the first NUMA node that has some to give; nothing if none is known to."""
    size = quantities.parse(_MEMORY).bytes
    for node in machine.nodes:
        if node.memory - sum(node.hugepages.values()) > size:
            return [{"numaNode": node.id, "limits": {"memory": _MEMORY}}]
    return []


def _reserved_milli(taken: Mapping[str, Any]) -> int:
    found = 0
    for field in ("kubeReserved", "systemReserved"):
        amount = (taken.get(field) or {}).get("cpu")
        try:
            found += quantities.parse(str(amount)).milli if amount is not None else 0
        except ValueError:
            continue
    return found


def _cores(machine: Topology, milli: int) -> CpuSet:
    """Return whole cores, lowest first, that are not isolated: as many as `milli` needs, one at least."""
    needed = max(1, -(-milli // _MILLI))
    chosen = 0
    for _, core in machine.cores:
        if core & machine.isolated:
            continue
        chosen |= core
        if chosen.bit_count() >= needed:
            break
    return CpuSet(chosen)


def _machines(source: ObjectSource, node: str, selector: str) -> dict[str, Topology]:
    """Return the hardware of the nodes that are asked for, by name."""
    try:
        topologies = find_topologies(source, [node] if node else [], selector)
    except Failure as failure:
        if failure.code is not Exit.NOT_FOUND or isinstance(source, FileSource):
            raise
        if node:
            _exists(source, node)
        topologies = []
    found: dict[str, Topology] = {}
    for value in topologies:
        read = read_topology(value)
        try:
            found[read.name] = hardware_of(read).topology
        except Failure as failure:
            for line in failure.lines:
                output.note(line)
    if not found:
        raise Failure(
            Exit.NOT_FOUND,
            f"no hardware is known of {f'node {node}' if node else 'these nodes'}: an agent that has just "
            "started reports within a minute; where none runs, run `podnuma discover` there and pass its "
            "output with --from FILE",
        )
    return found


def _exists(source: ObjectSource, node: str) -> None:
    """Raise Failure(NOT_FOUND) if there is no node of that name, as far as this user may read nodes."""
    asked = queries.nodes(node)
    found, why = find_if_allowed(source, asked)
    if found is None and not why:
        raise Failure(Exit.NOT_FOUND, f"there is no {asked.label}{near_name(source, asked)}")


def _valid(value: Json) -> NodeProfile:
    try:
        return read_node_profile(value)
    except InvalidObjectError as error:
        raise Failure(Exit.INPUT, *(str(one) for one in error.errors)) from error


def _print(value: Json, form: OutputFormat) -> None:
    output.dump(value, form if form.structured else OutputFormat.YAML)
