"""What is recorded of pods that have settled."""

from __future__ import annotations

from typing import Any, cast

from testbed.e2e.reference import Recording, observe


class NoNode:
    """A cluster of whose node nobody may ask anything."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"{name} was asked for")


def test_of_pods_that_were_all_refused_there_is_nothing_to_wait_for():
    recording = Recording()
    refused = {
        "metadata": {"name": "six"},
        "status": {"phase": "Failed", "reason": "TopologyAffinityError"},
    }
    observe(cast("Any", NoNode()), "pod", [refused], recording)
    assert recording.outcomes == {"pod/six": "TopologyAffinityError"}
    assert recording.values == {}
