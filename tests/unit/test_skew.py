"""Objects that the version before or after this one wrote: what decides is read, the rest costs itself."""

import copy
import json
import random

import pytest
from podnuma.api.spec_checksum import with_checksum

from tests.fuzz.mutation import changed
from tests.written.check import READERS, compare
from tests.written.states import written

STATES = range(300, 330)
DECIDES = {
    "NodeProfile": ("node",),
    "NodeTopology": ("node", "profile"),
    "PodAllocation": ("grant", "decision"),
}


def objects():
    """Yield every object of some states as JSON."""
    for number in STATES:
        for one in written(number):
            if one.body["kind"] in READERS:
                yield one, json.loads(json.dumps(one.body))


def places(value, path=()):
    """Yield the path of every field below."""
    if isinstance(value, dict):
        for key, child in value.items():
            yield (*path, key)
            yield from places(child, (*path, key))
    elif isinstance(value, list) and value:
        yield from places(value[0], (*path, 0))


def extended(value):
    """Return it with a field in every object that this version does not know."""
    if isinstance(value, dict):
        return {**{key: extended(child) for key, child in value.items()}, "later": {"a": 1}}
    return [extended(child) for child in value] if isinstance(value, list) else value


# Maps from names that somebody chose: a key more is no field of another version.
MAPS = ("hugepages", "freeMemory", "overcommittedMemory", "limits", "matchLabels", "cpuManagerPolicyOptions",
        "topologyManagerPolicyOptions", "kubeReserved", "systemReserved")  # fmt: skip


def without_later_in_maps(value):
    if isinstance(value, list):
        return [without_later_in_maps(child) for child in value]
    if not isinstance(value, dict):
        return value
    return {
        key: {name: one for name, one in child.items() if name != "later"}
        if key in MAPS and isinstance(child, dict)
        else without_later_in_maps(child)
        for key, child in value.items()
    }


def said(kind, body):
    read = READERS[kind](body)
    return tuple(getattr(read, name) for name in DECIDES[kind])


def test_fields_of_a_newer_version_change_nothing():
    for one, body in objects():
        later = without_later_in_maps(extended(body))
        if body["kind"] == "PodAllocation":
            later["spec"] = with_checksum(later["spec"])
        compare(one, later)


@pytest.mark.parametrize("seed", range(3))
def test_a_status_of_an_older_version_lacks_a_field_and_decides_the_same(seed):
    rng = random.Random(seed)
    for _, body in objects():
        kind, before = body["kind"], said(body["kind"], body)
        paths = [path for path in places(body.get("status", {})) if not isinstance(path[-1], int)]
        for *way, last in rng.sample(paths, min(6, len(paths))):
            older = copy.deepcopy(body)
            holder = older["status"]
            for step in way:
                holder = holder[step]
            del holder[last]
            assert said(kind, older) == before


@pytest.mark.parametrize("seed", range(5))
def test_any_change_of_one_field_of_a_status_decides_the_same(seed):
    rng = random.Random(seed)
    for _, body in objects():
        kind, before = body["kind"], said(body["kind"], body)
        status = body.get("status") or {}
        for name in sorted(status):
            other = {**body, "status": {**status, name: changed(status[name], rng)}}
            assert said(kind, other) == before


def test_a_word_of_a_newer_version_costs_its_field_and_is_named():
    for one, body in objects():
        if one.body["kind"] != "PodAllocation":
            continue
        body["status"] |= {"phase": "Migrating"}
        for container in body["status"]["containers"]:
            container["verdict"] = "Later"
        read = READERS["PodAllocation"](body)
        assert read.grant == one.values["grant"]
        assert read.unreadable[0].path == "status.phase"
        assert read.status.containers == ()
