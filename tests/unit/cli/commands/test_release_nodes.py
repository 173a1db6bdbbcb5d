"""When all nodes are given back, and what their agents are told to run."""

import pytest
from podnuma.cli.commands.release_nodes import all_released, cleanup_arguments


def daemon_set(generation: int, **status: int) -> dict[str, object]:
    return {"metadata": {"generation": generation}, "status": status}


@pytest.mark.parametrize(
    ("found", "finished"),
    [
        (
            daemon_set(
                2, observedGeneration=2, desiredNumberScheduled=3, updatedNumberScheduled=3, numberReady=3
            ),
            True,
        ),
        (
            daemon_set(
                2, observedGeneration=1, desiredNumberScheduled=3, updatedNumberScheduled=3, numberReady=3
            ),
            False,
        ),
        (
            daemon_set(
                2, observedGeneration=2, desiredNumberScheduled=3, updatedNumberScheduled=2, numberReady=3
            ),
            False,
        ),
        (
            daemon_set(
                2, observedGeneration=2, desiredNumberScheduled=3, updatedNumberScheduled=3, numberReady=2
            ),
            False,
        ),
        (daemon_set(2, observedGeneration=2, desiredNumberScheduled=0), True),
        (daemon_set(1), False),
    ],
)
def test_done_is_when_every_node_has_the_new_pod_and_it_is_ready(found, finished):
    assert all_released(found) is finished


def test_cleaning_keeps_where_the_host_is_and_drops_the_rest():
    arguments = [
        "agent",
        "run",
        "--runtime=nri",
        "--cgroup-root=/c",
        "--metric-names=v1.37",
        "--metrics-port=1",
        "--metrics-secure",
        "--metrics-cert-dir=/t",
    ]
    assert cleanup_arguments(arguments) == [
        *("agent", "cleanup", "--hold", "--runtime=nri", "--cgroup-root=/c", "--metrics-port=1"),
        # The kubelet's probes speak TLS if the agent's port did.
        *("--metrics-secure", "--metrics-cert-dir=/t"),
    ]


def test_cleaning_twice_is_the_same():
    once = cleanup_arguments(["agent", "run", "--runtime=nri"])
    assert cleanup_arguments(once) == once
