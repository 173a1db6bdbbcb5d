"""What is decided and what is seen, side by side."""

from dataclasses import replace

import pytest
import yaml
from podnuma.api.conditions import Condition, Status
from podnuma.api.kernel_reports import values_unknown
from podnuma.api.node_topology import NodeTopology, read_node_topology
from podnuma.api.pod_allocation import read_pod_allocation
from podnuma.api.pod_allocation_status import (
    ContainerStatus,
    ObservedCgroup,
    Phase,
    PodAllocationStatus,
    Verdict,
)
from podnuma.cli import main
from podnuma.cli.commands import top
from podnuma.cli.commands.top import ContainerUse
from podnuma.cli.exits import Exit
from podnuma.cli.objects.old_reports import unknown_values
from podnuma.cli.objects.sources import FileSource

from tests.unit.cli.builders import allocation_object, database, topology_object


def allocation(*containers: ContainerStatus):
    found = read_pod_allocation(allocation_object(database()))
    return replace(found, status=PodAllocationStatus(containers=containers))


def test_throttling_is_what_the_agent_told():
    rows = top.top_rows([allocation(ContainerStatus("backup", throttled_percent=25))], {})
    assert {row.key[2]: row.throttled for row in rows} == {"backup": 25, "database": None, "metrics": None}


def test_init_containers_have_ended():
    rows = top.top_rows([allocation()], {})
    assert [row.key[2] for row in rows] == ["backup", "database", "metrics"]
    assert {row.verdict for row in rows} == {"Pending"}


def test_drift_is_what_the_kernel_says_instead():
    right = ContainerStatus(
        "database", effective=ObservedCgroup(cpus="1-3,49-51"), verdict=Verdict.PINNED_AT_START
    )
    wrong = ContainerStatus("backup", effective=ObservedCgroup(cpus="0-95"), verdict=Verdict.NOT_PINNED)
    rows = {row.key[2]: row for row in top.top_rows([allocation(right, wrong)], {})}
    assert (rows["database"].drift, rows["database"].verdict) == ("", "PinnedAtStart")
    assert (rows["backup"].drift, rows["backup"].verdict) == ("kernel has 0-95", "NotPinned")
    assert rows["metrics"].drift == ""


def test_the_busiest_container_comes_first():
    use = {
        ("shop", "database", "metrics"): ContainerUse(900, 2**20),
        ("shop", "database", "database"): ContainerUse(5000, 2**30),
    }
    assert [row.key[2] for row in top.top_rows([allocation()], use)] == ["database", "metrics", "backup"]


def test_use_is_read_from_pod_metrics():
    metrics = {
        "metadata": {"name": "database", "namespace": "shop"},
        "containers": [{"name": "backup", "usage": {"cpu": "12345678n", "memory": "2Mi"}}],
    }
    assert top.use_of([metrics]) == {("shop", "database", "backup"): ContainerUse(13, 2 * 2**20)}


def told(phase: Phase, reason: str, *, on: NodeTopology | None = None):
    """The rows of a pod with a phase and a reason of Ready, on a node that says of itself what `on` does."""
    ready = Condition("Ready", Status.UNKNOWN, reason, "", None, "2026-01-02T00:00:00Z")
    seen = ContainerStatus(
        "database", effective=ObservedCgroup(cpus="1-3,49-51"), verdict=Verdict.PINNED_LATE
    )
    status = PodAllocationStatus(phase=phase, conditions=(ready,), containers=(seen,))
    found = replace(read_pod_allocation(allocation_object(database())), status=status)
    unknown = values_unknown(status, on)
    rows = top.top_rows([found], {}, {("shop", "database"): unknown} if unknown else {})
    return {row.key[2]: (row.verdict, row.drift) for row in rows}


def node_that_says(kind: str, status: str, reason: str) -> NodeTopology:
    value = topology_object("epyc7401-2s-8numa-16l3")
    condition = {"type": kind, "status": status, "reason": reason, "message": ""}
    condition["lastTransitionTime"] = "2026-01-03T00:00:00Z"
    value["status"] |= {"conditions": [condition], "agent": {"heartbeatTime": "2026-01-02T12:00:00Z"}}
    return read_node_topology(value)


def test_what_a_pod_had_is_not_told_as_what_it_has_after_an_uninstallation():
    assert told(Phase.UNINSTALLED, "Uninstalled")["database"] == (
        "Unknown", "Uninstalled: values unknown since 2026-01-02T00:00:00Z",
    )  # fmt: skip
    assert told(Phase.RELEASED, "Released") == {}, "it has ended"


def test_values_of_an_agent_that_reports_no_more_are_not_told_as_those_of_now():
    silent = node_that_says("Ready", "False", "AgentSilent")
    assert told(Phase.APPLIED, "Applied", on=silent)["database"] == (
        "Unknown", "AgentSilent: values unknown since 2026-01-02T12:00:00Z",
    )  # fmt: skip
    gone = node_that_says("AgentReady", "Unknown", "Uninstalled")
    assert told(Phase.APPLIED, "Applied", on=gone)["database"] == (
        "Unknown", "Uninstalled: values unknown since 2026-01-03T00:00:00Z",
    )  # fmt: skip
    well = node_that_says("AgentReady", "True", "AgentReady")
    assert told(Phase.APPLIED, "Applied", on=well)["database"] == ("PinnedLate", "")


def test_values_of_a_node_that_is_gone_are_unknown_and_nobody_guesses_who_may_not_see_nodes(tmp_path):
    path = tmp_path / "cluster.yaml"
    others = [topology_object("epyc7401-2s-8numa-16l3", name=name) for name in ("node-b", "node-c")]
    found = allocation(ContainerStatus("database"))
    elsewhere = replace(found, node_name="node-b", metadata=found.metadata)
    path.write_text(yaml.safe_dump_all(others))
    key = ("shop", "database")
    assert unknown_values(FileSource([str(path)]), [found, elsewhere]) == {key: "NodeGone: values unknown"}
    path.write_text(yaml.safe_dump(allocation_object(database())))
    assert unknown_values(FileSource([str(path)]), [found]) == {}


def test_in_audit_no_container_is_called_unpinned():
    assert told(Phase.AUDIT, "Audit")["database"][0] == "Audit"


@pytest.mark.parametrize(("node", "code"), [("node-b", Exit.NOT_FOUND), ("node-a", Exit.OK)])
def test_a_node_that_does_not_exist_is_no_node_without_pods(tmp_path, capsys, node, code):
    file = tmp_path / "cluster.yaml"
    file.write_text(yaml.safe_dump(topology_object("laptop-hybrid-6p8e")))
    with pytest.raises(SystemExit) as end:
        main.run(["top", node, "--from", str(file)])
    assert end.value.code == code
    said = capsys.readouterr().err
    if code is Exit.NOT_FOUND:
        assert f"there is no NodeTopology node-b in {file}; did you mean node-a?" in said
    else:
        assert "no pod holds anything" in said
