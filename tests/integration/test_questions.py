"""How people ask, on a real API server: of many nodes, several, chosen ones; again and again.

What the answers say is tested elsewhere; here are the ways to ask that hold for every question.
"""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

from podnuma.api.resource_types import NODE_TOPOLOGY
from podnuma.cli.exits import Exit

from tests.integration.cli_runs import PODNUMA, podnuma
from tests.integration.test_walks import chapter
from tests.unit.cli.builders import topology_object

if TYPE_CHECKING:
    from testbed.control_plane import ControlPlane

SMALL = "laptop-hybrid-6p8e"
NODES = 200
LONGEST_LINE = 250


def add_topology(cluster: ControlPlane, name: str) -> None:
    topology = topology_object(SMALL, reserved="0", name=name)
    cluster.api.create({**topology, "status": {}})
    cluster.api.apply({**topology, **NODE_TOPOLOGY.type_meta}, subresource="status")


def test_two_hundred_nodes_have_a_line_each_and_some_can_be_chosen(filled):
    for number in range(1, NODES):
        add_topology(filled, f"node-{number:03}")
    done = podnuma("nodes", kubeconfig=filled.kubeconfig)
    assert done.returncode == Exit.OK, done.stderr
    head, *lines = done.stdout.splitlines()
    names = [line.split()[0] for line in lines]
    assert head.split()[0] == "NODE"
    assert names == [*(f"node-{number:03}" for number in range(1, NODES)), "node-a"]
    assert max(map(len, done.stdout.splitlines())) < LONGEST_LINE
    chosen = podnuma(
        *("nodes", "-l", "node-pool=databases", "--no-headers"), kubeconfig=filled.kubeconfig
    ).stdout
    assert [line.split()[0] for line in chosen.splitlines()] == ["node-a"]
    drawn = podnuma("map", "node-002", "node-a", kubeconfig=filled.kubeconfig)
    heads = [line.split()[0] for line in drawn.stdout.splitlines() if line.startswith("node-")]
    assert heads == ["node-002", "node-a"], drawn.stderr


def test_an_answer_is_given_again_when_the_cluster_has_changed_until_ctrl_c(filled):
    (documented,) = [line for line in chapter("An administrator") if "--watch" in line]
    words = documented.removeprefix("kubectl podnuma ").split()
    command = [PODNUMA, *words, "--no-headers", "--kubeconfig", filled.kubeconfig]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("node-a ")
            add_topology(filled, "node-b")
            while not (line := process.stdout.readline()).startswith("node-b "):
                assert line, "it ended"
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == Exit.INTERRUPTED
        finally:
            process.kill()
