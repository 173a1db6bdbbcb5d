"""What podnuma fills in and refuses is what the real API server fills in and refuses."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from podnuma.api.decoding import InvalidObjectError
from podnuma.api.pod import read_pod
from podnuma.api.pod_defaults import with_api_defaults
from podnuma.api.quantity import read_quantity

from testbed.api import Api, ApiStatusError, Json

amounts = st.fixed_dictionaries(
    {},
    optional={
        "cpu": st.sampled_from(["0", "1", "2", "4", "500m", "1.5", "3000m"]),
        "memory": st.sampled_from(["0", "1Gi", "1024Mi", "1.5Gi", "2G", "129e6", "4Gi"]),
        "hugepages-2Mi": st.sampled_from(["2Mi", "64Mi", "1Gi"]),
    },
)
resources = st.fixed_dictionaries({}, optional={"requests": amounts, "limits": amounts})


@st.composite
def pods(draw: st.DrawFn) -> Json:
    def container(name: str, **more: Any) -> Json:
        return {"name": name, "image": "registry.example/app:1", "resources": draw(resources), **more}

    inits = [
        container(f"i{n}", **({"restartPolicy": "Always"} if draw(st.booleans()) else {}))
        for n in range(draw(st.integers(0, 2)))
    ]
    spec: Json = {
        "initContainers": inits,
        "containers": [container(f"c{n}") for n in range(draw(st.integers(1, 2)))],
    }
    if draw(st.integers(0, 4)):
        spec["resources"] = draw(resources)
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "tried"}, "spec": spec}


def wishes(pod: Json) -> dict[str, tuple[int, bool]]:
    """All amounts of a pod, and whether the kubelet can count them. Absent and empty lists are the same."""
    spec = pod["spec"]
    holders = {"pod": spec} | {c["name"]: c for c in [*spec.get("initContainers", []), *spec["containers"]]}
    found = {}
    for name, holder in holders.items():
        for kind, amounts in (holder.get("resources") or {}).items():
            for resource, text in amounts.items():
                amount = read_quantity(text)
                found[f"{name} {kind} {resource}"] = (amount.nano, resource == "cpu" or amount.representable)
    return found


# Rules of the API server that no decision relies on.
OTHER_RULES = ("HugePages require cpu or memory",)


@settings(
    max_examples=300,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(pod=pods())
def test_manifests_are_filled_in_and_refused_as_by_the_api_server(api: Api, pod: Json) -> None:
    stored, message = tried(api, pod)
    if stored is None:
        assert refused(with_api_defaults(pod)) or any(rule in message for rule in OTHER_RULES), message
        return
    assert wishes(with_api_defaults(pod)) == wishes(stored)
    assert not refused(stored)
    assert with_api_defaults(stored) == stored


def tried(api: Api, pod: Json) -> tuple[Json | None, str]:
    """What the API server would store, or why it would not."""
    try:
        return api.create(pod, dryRun="All"), ""
    except ApiStatusError as error:
        if error.reason != "Invalid":
            raise
        return None, error.message


def refused(pod: Json) -> bool:
    try:
        read_pod(pod)
    except InvalidObjectError:
        return True
    return False
