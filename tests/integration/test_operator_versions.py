"""API servers and custom resources of other versions than this operator's."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import yaml

from testbed import faults
from testbed.control_plane import ControlPlane
from testbed.faults import FaultyApiServer
from testbed.waiting import until
from tests.integration.operator_site import SOON, Site, pod

pytestmark = pytest.mark.timeout(120)

CRD = Path(__file__).resolve().parents[2] / "crds" / "podallocations.yaml"


def test_the_budget_annotation_serves_where_pods_have_no_resources_field(tmp_path):
    gates = {"PodLevelResources": False, "InPlacePodLevelResourcesVerticalScaling": False}
    with ControlPlane(feature_gates=gates) as old:
        namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "tenant"}}
        old.api.create(namespace)
        with Site(old, "tenant", tmp_path) as site:
            site.install()
            site.furnish()
            site.start()
            site.report_hardware()
            budget = {"cpu": "4", "memory": "4Gi"}
            text = json.dumps({"requests": budget, "limits": budget})
            site.create(pod("db", annotations={"podnuma.dev/resources": text}))
            assert "resources" not in (site.pod("db") or {})["spec"]
            assert site.decided("db") == "1-2,9-10"
            site.create(pod("bad", annotations={"podnuma.dev/resources": '{"limits": {"cpu": "1"}}'}))
            messages = until(lambda: site.events("InvalidObject"), "the event about the bad budget", SOON)
            assert "podnuma.dev/resources" in messages[0]
            assert site.allocation("bad") is None


def mismatches(operator):
    found = re.search(r"^podnuma_schema_mismatches_total (\S+)$", operator.metrics(), re.MULTILINE)
    return float(found[1]) if found else 0.0


def test_fields_that_an_older_crd_drops_are_counted_not_fought_for_and_come_with_the_update(
    clean_cluster, namespace, tmp_path
):
    old = yaml.safe_load(CRD.read_text())
    spec = old["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["podCPUShares"]
    with FaultyApiServer(clean_cluster) as faulty, Site(clean_cluster, namespace, tmp_path) as site:
        site.install()
        site.api.apply(old)
        site.furnish()
        time.sleep(2)  # the API server takes a moment to serve a changed schema
        operator = site.start(faulty, "--resync=4")
        site.report_hardware()
        site.create(pod("db"))
        assert site.decided("db") == "1-2,9-10"
        assert "podCPUShares" not in site.allocations()["db"]
        until(lambda: mismatches(operator) > 0, "the mismatch to be counted", SOON)
        (told,) = until(lambda: site.events("StoredOtherwise"), "the event on the pod", SOON)
        assert "spec.podCPUShares says 0 instead of" in told
        assert "nothing on the node depends on that" in told
        before = faulty.count(faults.writes("podallocations"))
        # The agent reports, which changes the object but not what was decided.
        for number in range(5):
            path = f"/apis/podnuma.dev/v1alpha1/namespaces/{namespace}/podallocations/db/status"
            site.api.merge(path, {"status": {"containers": [{"name": "main", "containerID": str(number)}]}})
        time.sleep(2)
        assert faulty.count(faults.writes("podallocations")) - before <= 2
        site.cluster.apply_crds(CRD.parent)
        until(lambda: "podCPUShares" in site.allocations()["db"], "the field to appear", 30)
        assert site.cpus("db") == "1-2,9-10"
