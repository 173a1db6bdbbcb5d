"""Whoever holds no CPU stays off those that somebody holds: confirmed by where burners really ran."""

from __future__ import annotations

import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from testbed.e2e import pods
from testbed.e2e.observe import parse_list
from testbed.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.api import Json
    from testbed.e2e.cluster import Cluster
    from testbed.e2e.product import Product

pytestmark = pytest.mark.each_cell
BURN = "export GOMAXPROCS=2; exec probe burn 2"
LOOK_SECONDS = 4.0


def database(image: str) -> Json:
    """The announcement's first pod, scaled: 4 CPUs, 3 of them for the database alone."""
    return pods.pod("database", image, {"database": "3"}, budget="4", sidecars=["exporter"])


@contextmanager
def burners(cluster: Cluster) -> Iterator[list[Json]]:
    """A BestEffort, a Burstable, and a Guaranteed pod without whole CPUs, busy all the time."""
    best_effort = pods.doing(pods.pod("burn-besteffort", cluster.image, {"app": None}), BURN)
    burstable = pods.doing(pods.pod("burn-burstable", cluster.image, {"app": None}), BURN)
    burstable["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "100m"}}
    guaranteed = pods.doing(pods.pod("burn-guaranteed", cluster.image, {"app": "1500m"}), BURN)
    with cluster.running_at_once(best_effort, burstable, guaranteed) as settled:
        yield settled


def ran_on(cluster: Cluster, pod: str, container: str, since: float) -> frozenset[int]:
    """Return the CPUs that a burner says it ran on after a moment of the node's clock."""
    seen: set[int] = set()
    for line in cluster.logs(pod, container).splitlines():
        when, _, cpus = line.partition(" ")
        # A line tells of the half second before it.
        if float(when) > since + 0.6:
            seen |= parse_list(cpus)
    return frozenset(seen)


def debugger_runs(database: Json | None) -> bool:
    """Tell whether the database's debug container runs."""
    status = database["status"] if database else {}
    return any("running" in entry["state"] for entry in status.get("ephemeralContainerStatuses", []))


def now(cluster: Cluster) -> float:
    return float(cluster.shell("date +%s.%N"))


def test_everybody_else_stays_off_held_cpus(cluster: Cluster, podnuma: Product) -> None:
    """BestEffort, Burstable, Guaranteed without whole CPUs and a debug container run off held CPUs only."""
    with burners(cluster) as shared:
        everything = cluster.snapshot().container(shared[0], "app").effective_cpus
        with cluster.running(database(cluster.image)) as (pod,):
            podnuma.wait_applied("database")
            cluster.run(
                *("debug", "database", f"--image={cluster.image}", "--image-pull-policy=IfNotPresent"),
                *("--container=debugger", "--profile=general", "--quiet", "--", "sh", "-c", BURN),
            )
            cluster.awaited("pod", "database", debugger_runs, "the debug container to run", 120)
            began = now(cluster)
            kernel = cluster.snapshot()
            held = kernel.container(pod, "database").effective_cpus
            own = held | kernel.container(pod, "exporter").effective_cpus
            assert (len(held), len(own)) == (3, 4)
            for other in shared:
                assert kernel.container(other, "app").effective_cpus == everything - own
            time.sleep(LOOK_SECONDS)  # the time for which the burners are watched
            for other in shared:
                name = other["metadata"]["name"]
                where = ran_on(cluster, name, "app", began)
                assert where, f"{name} told nothing"
                assert not where & own, f"{name} ran on {sorted(where & own)}, held by the database"
            where = ran_on(cluster, "database", "debugger", began)
            assert where, "the debug container told nothing"
            assert not where & held, f"the debug container ran on {sorted(where & held)}"
        until(
            lambda: all(
                cluster.snapshot().container(other, "app").effective_cpus == everything for other in shared
            ),
            "everybody to have all CPUs back",
            60,
            0.5,
        )
