"""What the API server makes of a pod counts, is asked for once per template, and is compared."""

import copy

import pytest
from podnuma.api.pod_admission import AdmissionPolicies
from podnuma.cli.exits import Exit, Failure
from podnuma.cli.objects.documents import documents_in
from podnuma.cli.objects.server_admission import DryRunRefusedError, ServerAdmission, differences
from podnuma.cli.objects.sources import FileSource
from podnuma.cli.objects.workloads import expand

DEPLOYMENT = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 3
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
        - {name: web, image: i, resources: {limits: {cpu: "2", memory: 1Gi}}}
"""


class Server:
    """An API server with a webhook that adds a sidecar, or one that refuses."""

    namespace = ""

    def __init__(self, refusal=""):
        self.refusal = refusal
        self.asked = []

    def fetch(self, *queries):
        return [[] for _ in queries]

    def find(self, query):
        raise AssertionError(query)

    def text(self, path):
        raise AssertionError(path)

    def dry_run(self, pod):
        self.asked.append(pod["metadata"])
        if self.refusal:
            raise DryRunRefusedError(self.refusal)
        stored = copy.deepcopy(pod)
        stored["metadata"] |= {"name": "podnuma-plan-x", "uid": "u"}
        amounts = {"cpu": "500m", "memory": "64Mi"}
        stored["spec"]["containers"].append(
            {"name": "proxy", "image": "p", "resources": {"requests": amounts, "limits": amounts}}
        )
        stored["spec"]["containers"][0]["resources"]["requests"] = {"cpu": "1", "memory": "1Gi"}
        stored["spec"]["tolerations"] = [
            {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute"}
        ]
        return stored


def expanded(server):
    admission = ServerAdmission(server, AdmissionPolicies())
    return expand(documents_in("web.yaml", DEPLOYMENT), "shop", admission), admission


def test_replicas_are_alike_so_one_is_asked_about_under_a_name_that_nobody_has():
    found, _ = expanded(server := Server())
    (asked,) = server.asked
    assert asked == {"labels": {"app": "web"}, "namespace": "shop", "generateName": "podnuma-plan-"}
    assert [one.name for one in found.pods] == ["shop/web-1", "shop/web-2", "shop/web-3"]
    assert {tuple(each.name for each in one.pod.containers) for one in found.pods} == {("web", "proxy")}
    assert {tuple(one.labels.items()) for one in found.pods} == {(("app", "web"),)}


def test_what_is_not_as_computed_is_told_and_what_every_pod_gets_is_not():
    _, admission = expanded(Server())
    assert admission.differences == [
        "shop/web-1: container web: requests.cpu is 1, computed was 2",
        "shop/web-1: container proxy is added",
    ]


def test_a_refusal_is_a_problem_of_the_manifest():
    found, admission = expanded(Server("exceeded quota: small"))
    assert found.pods == ()
    assert found.problems[0].endswith("the API server refuses it: exceeded quota: small")
    assert admission.differences == []


def test_a_pod_that_is_stored_as_computed_differs_in_nothing():
    spec = {"containers": [{"name": "c", "image": "i"}], "nodeSelector": {"pool": "x"}}
    pod = {"metadata": {"name": "a", "namespace": "b"}, "spec": spec}
    assert list(differences(pod, copy.deepcopy(pod))) == []
    moved = {**pod, "spec": {**spec, "nodeSelector": {"pool": "y"}}}
    assert list(differences(pod, moved)) == ["where it may go: the API server has another node selector"]


def test_saved_objects_have_no_server(tmp_path):
    path = tmp_path / "saved.yaml"
    path.write_text("")
    with pytest.raises(Failure) as failure:
        ServerAdmission(FileSource([str(path)]), AdmissionPolicies())
    assert failure.value.code is Exit.USAGE
