"""The same pods, with the kubelet's own feature and with podnuma on a stock kubelet, side by side."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from testbed.e2e import first_output, kubelet, reference
from testbed.e2e.deviations import KINDS, differences, documented, kind_of
from testbed.e2e.observe import parse_list
from testbed.e2e.product import CONTAINER_SCOPE, POD_SCOPE
from testbed.e2e.reference import Recording
from testbed.e2e.table import side_by_side

from .conftest import say, the_cell

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from testbed.api import Json
    from testbed.e2e.cluster import Cluster
    from testbed.e2e.first_output import FirstOutput
    from testbed.e2e.product import Product

pytestmark = [pytest.mark.machine, pytest.mark.each_cell]


def test_every_value_is_the_kubelets_or_an_explained_one(
    reference_recording: Recording,
    podnuma: Product,
    cluster: Cluster,
    table: list[str],
    figures: list[str],
) -> None:
    """Admission, cpusets, memory nodes, quotas, memory limits, counts: the kubelet's, or explained."""
    recording = Recording()
    starts = 0

    def look(settled: Sequence[Json]) -> None:
        nonlocal starts
        if not the_cell().has_nri:
            return
        starts += sum(first_words_as_decided(podnuma, first_output.read_all(cluster), pod) for pod in settled)

    try:
        for scope, settings, waves in (
            ("pod", POD_SCOPE, reference.POD_SCOPE),
            ("container", CONTAINER_SCOPE, reference.CONTAINER_SCOPE),
        ):
            podnuma.profile(settings)
            before = kubelet.counts(podnuma.agent_metrics())
            for wave in waves:
                reference.record(cluster, scope, [wave], recording, say, look)
                # What the kubelet gives on at once waits here for the agent to see the processes gone.
                podnuma.wait_released()
            recording.add_counts(scope, before, kubelet.counts(podnuma.agent_metrics()))
    finally:
        podnuma.profile(POD_SCOPE)
    table += side_by_side(reference_recording, recording)
    figures.append(f"{starts} starts of the table's pods: the first words are what was decided")
    unexplained = [
        str(difference)
        for difference in differences(reference_recording, recording)
        if kind_of(difference) is None
    ]
    assert unexplained == []


def first_words_as_decided(
    podnuma: Product, said: Mapping[tuple[str, str], Sequence[FirstOutput]], pod: Json
) -> int:
    """Check every container that was given CPUs of its own or of its pod; return how many there are."""
    allocation = podnuma.allocation(pod["metadata"]["name"])
    if allocation is None or not allocation["spec"]["decision"]["admitted"]:
        return 0
    given = [entry for entry in allocation["spec"].get("containers", []) if "cpus" in entry]
    for entry in given:
        first = said[pod["metadata"]["uid"], entry["name"]][0]
        assert first.cpus == parse_list(entry["cpus"]), f"{pod['metadata']['name']}/{entry['name']}"
    return len(given)


def test_every_kind_of_difference_is_documented() -> None:
    """docs/deviations.md explains exactly the kinds of differences that are let through."""
    assert documented() == set(KINDS)
