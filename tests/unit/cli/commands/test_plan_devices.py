"""Extended resources that are devices of claims are in no node's books."""

from typing import Any

import pytest

from testbed import dra
from tests.unit.cli.builders import budgeted_pod
from tests.unit.cli.commands.test_plan_running import Tried, node

GPU = "gpu.example.com"
EXTENDED = "example.com/gpu"


def asking(resource: str) -> dict[str, Any]:
    value = budgeted_pod("one", 6)
    value["spec"]["containers"][0]["resources"] = {"requests": {resource: "1"}, "limits": {resource: "1"}}
    return value


def serving() -> dict[str, Any]:
    value = dra.device_class(GPU)
    value["spec"]["extendedResourceName"] = EXTENDED
    return value


@pytest.mark.parametrize("resource", [EXTENDED, f"deviceclass.resource.kubernetes.io/{GPU}"])
def test_an_extended_resource_of_a_class_keeps_no_pod_off_a_node(tmp_path, resource):
    """The scheduler makes a claim for it where no device plugin has any; it was pending for good."""
    tried = Tried(tmp_path, [node(), serving()], asking(resource))
    assert tried.pods == {"one": ("admitted", "node-a")}


def test_one_that_no_class_serves_does(tmp_path):
    tried = Tried(tmp_path, [node(), dra.device_class(GPU)], asking(EXTENDED))
    assert [result for result, _ in tried.pods.values()] == ["pending"]


def test_where_a_device_plugin_has_it_what_is_left_there_counts(tmp_path):
    full = node()
    full["status"]["allocatable"][EXTENDED] = "1"
    other = asking(EXTENDED)
    other["metadata"] |= {"name": "other", "uid": "uid-other"}
    other["spec"]["nodeName"] = "node-a"
    other["status"] = {"phase": "Running"}
    tried = Tried(tmp_path, [full, serving(), other], asking(EXTENDED))
    assert [result for result, _ in tried.pods.values()] == ["pending"]
