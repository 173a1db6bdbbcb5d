"""Objects that hold pod templates, and of which no pod comes as they are."""

import json

import pytest
from podnuma.cli.objects.documents import Document
from podnuma.cli.objects.workloads import expand

CONTAINER = {"name": "*", "resources": {"requests": {"cpu": "?*"}}}
TEMPLATE = {"spec": {"containers": [{"name": "c", "image": "i"}]}}
DEPLOYMENT = {"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 3, "template": TEMPLATE}}


def document(version: str, kind: str, spec: object) -> Document:
    return Document(
        "f document 1", {"apiVersion": version, "kind": kind, "metadata": {"name": "x"}, "spec": spec}
    )


@pytest.mark.parametrize(
    ("version", "kind"),
    [
        ("kyverno.io/v1", "ClusterPolicy"),
        ("policies.kyverno.io/v1", "ValidatingPolicy"),
        ("mutations.gatekeeper.sh/v1", "Assign"),
        ("policies.kubewarden.io/v1", "ClusterAdmissionPolicy"),
    ],
)
def test_what_a_policy_says_of_pods_makes_none(version, kind):
    """Its patterns are no amounts: they were problems of the manifests, with exit code 3."""
    rules = [{"validate": {"pattern": {"spec": {"containers": [CONTAINER]}}}}]
    found = expand([document(version, kind, {"rules": rules})])
    assert (found.pods, found.problems, found.guessed, found.not_understood) == ((), (), (), ())
    assert found.skipped == (f"f document 1: {kind} x makes no pods; left out",)


@pytest.mark.parametrize(
    ("version", "kind", "spec", "said"),
    [
        (
            "work.open-cluster-management.io/v1",
            "ManifestWork",
            {"workload": {"manifests": [DEPLOYMENT]}},
            "what is in it is made in another cluster; plan it there",
        ),
        (
            "helm.toolkit.fluxcd.io/v2",
            "HelmRelease",
            {"values": {"replicas": 2, "pod": TEMPLATE}},
            "render its chart first: helm template CHART --values VALUES | podnuma plan -f -",
        ),
        (
            "kustomize.toolkit.fluxcd.io/v1",
            "Kustomization",
            {"path": "./apps"},
            "render what it names first: kubectl kustomize FOLDER | podnuma plan -f -",
        ),
        (
            "argoproj.io/v1alpha1",
            "Application",
            {"source": {"helm": {"valuesObject": {"pod": TEMPLATE}}}},
            "ask for what it makes: argocd app manifests NAME | podnuma plan -f -",
        ),
        (
            "kro.run/v1alpha1",
            "ResourceGraphDefinition",
            {"resources": [{"id": "d", "template": DEPLOYMENT}]},
            "it makes objects for each of its instances; plan those",
        ),
    ],
)
def test_what_is_made_elsewhere_or_later_is_not_planned_and_said(version, kind, spec, said):
    found = expand([document(version, kind, spec)])
    assert (found.pods, found.problems, found.guessed) == ((), (), ())
    assert found.not_understood == (f"f document 1: {kind} x is not planned as it is: {said}; left out",)


@pytest.mark.parametrize("version", ["template.openshift.io/v1", "v1"])
def test_a_template_of_openshift_is_processed_first(version):
    value = {"apiVersion": version, "kind": "Template", "metadata": {"name": "x"}, "objects": [DEPLOYMENT]}
    found = expand([Document("f document 1", value)])
    assert found.pods == ()
    assert "oc process -f FILE" in found.not_understood[0]


def deployment(replicas: object, cpu: str, **container: object) -> Document:
    amounts = {"limits": {"cpu": cpu, "memory": "1Gi"}}
    spec = {"containers": [{"name": "c", "resources": amounts, **container}]}
    return document("apps/v1", "Deployment", {"replicas": replicas, "template": {"spec": spec}})


@pytest.mark.parametrize(
    ("one", "open_place"),
    [
        (deployment(1, "${CPUS}"), "${CPUS}"),
        (deployment("${REPLICAS:=3}", "2"), "${REPLICAS:=3}"),
    ],
)
def test_a_variable_that_is_yet_to_be_filled_in_is_told_as_one(one, open_place):
    """Of it was said that it is no quantity, or that a number belongs there."""
    hint = "do that first, for example: flux envsubst --strict < FILE | podnuma plan -f -"
    assert expand([one]).problems[-1] == f"f document 1: {open_place} is not filled in yet; {hint}"


def test_so_is_a_number_of_a_kind_of_others():
    """One pod was planned, whatever the variable will be."""
    groups = [{"replicas": "${WORKERS:=8}", "template": TEMPLATE}]
    found = expand([document("ray.io/v1", "RayCluster", {"workerGroupSpecs": groups})])
    assert [line.partition("; ")[0] for line in found.problems] == [
        "f document 1: ${WORKERS:=8} is not filled in yet"
    ]
    shell = {"spec": {"containers": [{"name": "c", "image": "i", "args": ["${HOME}"]}]}}
    assert expand([document("ray.io/v1", "RayCluster", {"g": [{"template": shell}]})]).problems == ()


@pytest.mark.parametrize(
    "one", [deployment(1, "2", args=["${HOME}"]), deployment(1, "two", command=["sh", "-c", "echo ${HOME}"])]
)
def test_variables_of_shells_are_none_of_the_manifests(one):
    assert "is not filled in yet" not in json.dumps(expand([one]).problems)
