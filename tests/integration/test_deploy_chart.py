"""The chart: rendered, refused by its schema, accepted by a real API server, installed and removed again."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from deploy import render
from testbed.waiting import until
from tests.integration.helm_chart import (
    CHART,
    FOREIGN,
    IMAGE,
    ON_KWOK,
    ROOT,
    SYSTEM,
    rendered,
    run,
    workloads,
)
from tests.shown_commands import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.control_plane import ControlPlane
    from testbed.kwok import Kwok

_OF_PARENTS = {"enabled", "global"}  # values that a chart gets from the one that depends on it

EVERY_OPTION = (
    "monitoring.podMonitor.enabled=true",
    "monitoring.rules.enabled=true",
    "monitoring.dashboard.enabled=true",
    "agent.seLinuxType=spc_t",
    "imagePullSecrets[0].name=pull",
)


def _texts(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield the fields that are names or labels, with their paths; those of a schema are none."""
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        here = f"{path}.{key}"
        if key in {"name", "namespace", "serviceAccountName", "secretName", "policyName"} or path.endswith(
            ("labels", "matchLabels")
        ):
            yield here, inner
        if isinstance(inner, dict | list):
            yield from _texts(inner, here)


def test_names_that_look_like_numbers_stay_text(helm):
    """Namespaces and releases are named after commits, too: 12345678, 714e5."""
    names = ("fullnameOverride=55", "operator.serviceAccount.name=9", "agent.serviceAccount.name=1e3")
    secrets = ("monitoring.secure.secretName=77", "monitoring.secure.tokenSecret.name=78")
    texts = [part for value in (*names, *secrets, "profiles[0].name=42") for part in ("--set-string", value)]
    profile = "profiles[0].spec.nodeSelector.matchLabels.a=b"
    on = ("placement.enabled=true", "monitoring.secure.enabled=true", profile)
    sets = [part for value in (IMAGE, *EVERY_OPTION, *on) for part in ("--set", value)]
    done = run(helm, "template", "1", str(CHART), "--namespace", "714e5", *sets, *texts)
    assert done.returncode == 0, done.stderr
    manifests = [one for one in yaml.safe_load_all(done.stdout) if one]
    found = [
        (f"{one['kind']}{path}", value)
        for one in manifests
        if one["kind"] != "CustomResourceDefinition"
        for path, value in _texts(one)
    ]
    assert [(path, value) for path, value in found if not isinstance(value, str)] == []
    # YAML 1.1, which PyYAML reads, takes 714e5 for text, that of Kubernetes for a number.
    assert re.findall(r"namespace: 714e5$", done.stdout, re.MULTILINE) == []


def test_a_profile_that_is_named_twice_is_refused(helm):
    each = ("name=a", "spec.nodeSelector.matchLabels.a=b")
    twice = [f"profiles[{number}].{value}" for number in (0, 1) for value in each]
    sets = [part for value in (IMAGE, *twice) for part in ("--set", value)]
    done = run(helm, "template", "podnuma", str(CHART), "--namespace", SYSTEM, *sets)
    assert done.returncode != 0
    assert 'profiles: the name "a" is there twice' in done.stderr


def test_lint_finds_nothing(helm):
    done = run(helm, "lint", str(CHART), "--strict")
    assert done.returncode == 0, done.stdout + done.stderr


def test_plain_manifests_are_those_of_the_chart(helm):
    stale = [
        str(path)
        for path, text in render.rendered(helm).items()
        if (ROOT / "deploy" / path).read_text() != text
    ]
    assert stale == [], "run `python deploy/render.py --helm HELM`"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("agent.wrong=1", "additional properties 'wrong' not allowed"),
        ("operator.replicas=0", "minimum"),
        ("agent.runtime=docker", "value must be one of"),
        ("agent.runtime=simulated", "value must be one of"),
        ("profiles[0].name=databases", "missing property 'spec'"),
        ("tests.timeoutSeconds=0", "minimum"),
        ("image.digest=latest", "does not match pattern"),
        ("networkPolicy.apiServerPorts[0]=0", "minimum"),
        ("agent.runtimeDirectory=run/crio", "does not match pattern"),
        ("agent.appArmorProfile=docker-default", "value must be one of"),
        ("agent.mountPropagation=Bidirectional", "value must be one of"),
    ],
)
def test_wrong_values_are_refused_with_their_path(helm, value, words):
    done = run(helm, "template", "podnuma", str(CHART), "--set", IMAGE, "--set", value)
    assert done.returncode != 0
    assert words in done.stderr
    assert re.split(r"[=.\[]", value)[0] in done.stderr


def test_another_chart_may_depend_on_it_and_switch_it_off(helm, tmp_path):
    """The condition of a dependency is among the values of the dependency itself."""
    dependency = {"name": "podnuma", "version": "0.1.0", "condition": "podnuma.enabled"}
    chart = {"apiVersion": "v2", "name": "platform", "version": "0.1.0", "dependencies": [dependency]}
    (tmp_path / "Chart.yaml").write_text(yaml.safe_dump(chart))
    shutil.copytree(CHART, tmp_path / "charts" / "podnuma")
    for enabled in ("true", "false"):
        values = (f"podnuma.{IMAGE}", "global.imageRegistry=r", f"podnuma.enabled={enabled}")
        sets = [part for value in values for part in ("--set", value)]
        done = run(helm, "template", "platform", str(tmp_path), "--namespace", SYSTEM, *sets)
        assert done.returncode == 0, done.stderr
        assert ("kind: DaemonSet" in done.stdout) == (enabled == "true")


def test_values_and_schema_name_the_same_keys():
    schema = yaml.safe_load((CHART / "values.schema.json").read_text())
    values = yaml.safe_load((CHART / "values.yaml").read_text())

    def keys(part: dict[str, Any], node: dict[str, Any], path: str) -> Iterator[str]:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        if node.get("additionalProperties") is not False:
            return
        for name in part.keys() | node["properties"].keys() - _OF_PARENTS - {"claims"}:
            assert name in part, f"values.yaml lacks {path}{name}"
            assert name in node["properties"], f"values.schema.json lacks {path}{name}"
            yield name
            if isinstance(part[name], dict):
                yield from keys(part[name], node["properties"][name], f"{path}{name}.")

    assert len(list(keys(values, schema, ""))) > 80


def test_no_container_may_do_more_than_it_must(helm):
    pods = workloads(rendered(helm, *EVERY_OPTION))
    assert sorted(pods) == ["podnuma-agent", "podnuma-cleanup", "podnuma-operator", "podnuma-test-ready"]
    for name, pod in pods.items():
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.get("hostNetwork")
        assert not pod.get("hostIPC")
        assert pod.get("hostPID", False) is (name == "podnuma-agent")
        assert pod["securityContext"].get("runAsNonRoot", False) is (name != "podnuma-agent")
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["capabilities"] == {"drop": ["ALL"]}
            assert context["allowPrivilegeEscalation"] is False
            assert context["readOnlyRootFilesystem"] is True
            assert "privileged" not in context


def test_every_host_path_is_known_and_has_its_reason(helm):
    agent = workloads(rendered(helm))["podnuma-agent"]
    paths = {volume["hostPath"]["path"] for volume in agent["volumes"]}
    assert paths == {"/sys/fs/cgroup", "/run/nri", "/run/containerd", "/run/dbus", "/var/lib/kubelet"}
    text = (CHART / "templates" / "agent.yaml").read_text().splitlines()
    for number, line in enumerate(text):
        if "hostPath:" in line:
            assert text[number - 2].strip().startswith("#"), f"no reason above {line.strip()}"


def test_only_what_is_written_is_mounted_writable(helm):
    (container,) = workloads(rendered(helm))["podnuma-agent"]["containers"]
    read_only = {mount["name"] for mount in container["volumeMounts"] if mount.get("readOnly")}
    assert read_only == {"kubelet"}


def test_what_is_unmounted_on_the_node_is_not_held_by_its_agent(helm):
    """koordinator-sh/koordinator#2641: a volume that was there when an agent began could not be detached."""
    (container,) = workloads(rendered(helm))["podnuma-agent"]["containers"]
    follow = {mount["name"]: mount.get("mountPropagation") for mount in container["volumeMounts"]}
    assert follow["kubelet"] == follow["runtime"] == "HostToContainer"
    (container,) = workloads(rendered(helm, "agent.mountPropagation=None"))["podnuma-agent"]["containers"]
    assert {mount.get("mountPropagation", "None") for mount in container["volumeMounts"]} == {"None"}


def test_no_apparmor_profile_of_a_runtime_keeps_the_agent_from_the_system_bus(helm):
    """henrygd/beszel#1408: on Ubuntu a container under such a profile may send nothing to systemd."""
    for name, pod in workloads(rendered(helm)).items():
        profile = pod["securityContext"].get("appArmorProfile")
        assert profile == ({"type": "Unconfined"} if name == "podnuma-agent" else None)
    confined = workloads(rendered(helm, "agent.appArmorProfile=RuntimeDefault"))["podnuma-agent"]
    assert confined["securityContext"]["appArmorProfile"] == {"type": "RuntimeDefault"}


def test_the_agent_runs_on_every_node_and_the_operator_twice(helm):
    manifests = rendered(helm)
    assert workloads(manifests)["podnuma-agent"]["tolerations"] == [{"operator": "Exists"}]
    (deployment,) = [one for one in manifests if one["kind"] == "Deployment"]
    (budget,) = [one for one in manifests if one["kind"] == "PodDisruptionBudget"]
    assert deployment["spec"]["replicas"] == 2
    assert budget["spec"]["maxUnavailable"] == 1
    assert "PodDisruptionBudget" not in {one["kind"] for one in rendered(helm, "operator.replicas=1")}


def test_no_proxy_of_a_service_mesh_keeps_a_job_from_ending(helm):
    """An uninstallation waited for such a proxy until it failed; who wants one says so."""
    wanted = "cleanup.podLabels.sidecar\\.istio\\.io/inject=true"
    for options, cleanup in (((), "false"), (("--set-string", wanted), "true")):
        jobs = [one for one in rendered(helm, options=options) if one["kind"] == "Job"]
        assert len(jobs) == 2
        for job in jobs:
            made = job["spec"]["template"]["metadata"]
            own = cleanup if made["labels"]["app.kubernetes.io/component"] == "cleanup" else "false"
            assert made["labels"]["sidecar.istio.io/inject"] == own
            assert made["annotations"]["sidecar.istio.io/inject"] == "false"
            assert made["annotations"]["linkerd.io/inject"] == "disabled"
            assert made["labels"]["kuma.io/sidecar-injection"] == "disabled"


def test_crds_are_those_of_the_project_and_survive_an_uninstall(helm):
    shipped = {
        one["metadata"]["name"]: one for one in rendered(helm) if one["kind"] == "CustomResourceDefinition"
    }
    for file in (ROOT / "crds").glob("*.yaml"):
        ours = yaml.safe_load(file.read_text())
        assert shipped[ours["metadata"]["name"]]["spec"] == ours["spec"]
    kept = {one["metadata"]["annotations"]["helm.sh/resource-policy"] for one in shipped.values()}
    assert kept == {"keep"}
    assert not [
        one for one in rendered(helm, "crds.enabled=false") if one["kind"] == "CustomResourceDefinition"
    ]


def test_a_release_elsewhere_collides_with_no_other(helm):
    usual = {
        (one["kind"], one["metadata"]["name"]) for one in rendered(helm) if "namespace" not in one["metadata"]
    }
    done = run(
        helm,
        *("template", "other", str(CHART), "--namespace", "elsewhere"),
        *("--set", IMAGE, "--set", "crds.enabled=false"),
    )
    others = [one for one in yaml.safe_load_all(done.stdout) if one and "namespace" not in one["metadata"]]
    assert others
    assert not usual & {(one["kind"], one["metadata"]["name"]) for one in others}


def test_the_api_server_accepts_every_manifest(helm, clean_cluster):
    cluster = clean_cluster
    cluster.apply_files(ROOT / "deploy" / "rbac" / "namespace.yaml")
    manifests = [one for one in rendered(helm, *EVERY_OPTION) if one["kind"] not in FOREIGN]
    text = yaml.safe_dump_all(manifests)
    answer = cluster.kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
        stdin=text,
    )
    assert answer.count("serverside-applied (server dry run)") == len(manifests)


def test_the_api_server_has_nothing_to_fill_in_in_admission_policies(helm, clean_cluster):
    """Argo CD and others compare what is stored with the manifest, and know no defaults of these kinds."""
    policies = [one for one in rendered(helm, "placement.enabled=true") if "AdmissionPolicy" in one["kind"]]
    answer = clean_cluster.kubectl(
        *("apply", "--server-side", "--dry-run=server", "-o", "json", "-f", "-"),
        stdin=yaml.safe_dump_all(policies),
    )
    ours, stored = (
        {(one["kind"], one["metadata"]["name"]): one["spec"] for one in found}
        for found in (policies, json.loads(answer)["items"])
    )
    assert len(ours) == 6
    assert stored == ours


@pytest.mark.parametrize("name", ["base", "cleanup"])
def test_the_api_server_accepts_the_kustomize_bases(clean_cluster, name):
    cluster = clean_cluster
    cluster.apply_files(ROOT / "deploy" / "rbac" / "namespace.yaml")
    text = cluster.kubectl("kustomize", str(ROOT / "deploy" / "kustomize" / name))
    answer = cluster.kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--dry-run=server",
        "--validate=strict",
        "-f",
        "-",
        stdin=text,
    )
    assert answer.count("serverside-applied (server dry run)") == len(list(yaml.safe_load_all(text)))


def test_an_overlay_puts_the_real_image_into_the_kustomize_base(clean_cluster, tmp_path):
    page = (ROOT / "docs" / "install.md").read_text()
    overlay = page.split("```yaml\n")[1].split("```")[0]
    shutil.copytree(ROOT / "deploy" / "kustomize", tmp_path / "deploy" / "kustomize")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "kustomization.yaml").write_text(overlay)
    manifests = list(yaml.safe_load_all(clean_cluster.kubectl("kustomize", str(tmp_path / "mine"))))
    images = {pod["containers"][0]["image"] for pod in workloads(manifests).values()}
    assert images == {"registry.example/podnuma:0.1.0"}


@pytest.fixture
def installed(helm: Path, clean_cluster: ControlPlane, kwok: Kwok) -> Iterator[ControlPlane]:
    """The chart on a cluster of two nodes."""
    cluster = clean_cluster
    for node in ("node-a", "node-b"):
        kwok.add_node(node, cpus=8, memory=2**34)
    install = (
        *("upgrade", "--install", "podnuma", str(CHART), "--namespace", SYSTEM, "--create-namespace"),
        *("--set", IMAGE, "--set", ON_KWOK),
    )
    # The test bed's API server has definitions, roles and the policy already, without Helm's marks.
    ours = ("--take-ownership", "--force-conflicts")
    done = run(helm, *install, *ours, "--wait", "--timeout=40s", cluster=cluster)
    assert done.returncode == 0, done.stdout + done.stderr
    yield cluster
    run(helm, "uninstall", "podnuma", "--namespace", SYSTEM, "--no-hooks", cluster=cluster)


def test_installed_it_runs_everywhere_and_says_what_to_do_next(installed, helm):
    deployment = installed.api.get(f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/podnuma-operator")
    agents = installed.api.get(f"/apis/apps/v1/namespaces/{SYSTEM}/daemonsets/podnuma-agent")
    assert deployment["status"]["readyReplicas"] == 2
    assert agents["status"]["numberReady"] == 2
    notes = run(helm, "get", "notes", "podnuma", "--namespace", SYSTEM, cluster=installed).stdout
    assert "helm test podnuma --namespace podnuma-system" in notes
    assert "examples/" not in notes
    said, readme = (
        {" ".join(line.split()) for line in lines}
        for lines in (notes.replace("\\\n", " ").splitlines(), shown(ROOT / "README.md", "Install"))
    )
    first = {one for one in said if one.startswith(("kubectl label node ", "kubectl podnuma profile "))}
    assert len(first) == 2
    assert first <= readme, "both pages begin with the same profile"


def test_nodes_are_released_with_the_rights_of_the_cleanup_job_alone(installed):
    cleanup = installed.kubectl("kustomize", str(ROOT / "deploy" / "kustomize" / "cleanup"))
    furnish(installed)
    for manifest in yaml.safe_load_all(cleanup):
        if manifest["kind"] != "Job":
            installed.api.apply(manifest, SYSTEM)
    kubeconfig = installed.kubeconfig_for(SYSTEM, "podnuma-cleanup")
    podnuma = Path(sys.executable).with_name("podnuma")
    done = subprocess.run(
        [podnuma, "release-nodes", "--kubeconfig", kubeconfig, "--namespace", SYSTEM, "--timeout", "30"],
        check=False,
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    *_, given_back, stays = done.stderr.splitlines()
    assert given_back == "every node is given back"
    assert stays.endswith(
        "kubectl delete crd nodeprofiles.podnuma.dev nodetopologies.podnuma.dev podallocations.podnuma.dev"
    )
    assert_nobody_looks_after(installed)
    deployment = installed.api.get(f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/podnuma-operator")
    assert deployment["spec"]["replicas"] == 0
    agents = installed.api.get(f"/apis/apps/v1/namespaces/{SYSTEM}/daemonsets/podnuma-agent")
    (container,) = agents["spec"]["template"]["spec"]["containers"]
    assert container["args"] == [
        "agent",
        "cleanup",
        "--hold",
        "--runtime=auto",
        "--cgroup-root=/host/cgroup",
        "--kubelet-root=/host/kubelet",
        "--run-root=/host/run",
        "--metrics-port=9465",
    ]


def furnish(cluster: ControlPlane) -> None:
    """Create a NodeTopology and a PodAllocation as operator and agent leave them when all is well."""
    ready = {
        "type": "Ready",
        "status": "True",
        "reason": "Ready",
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }
    pod = cluster.api.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "held", "namespace": "default"},
            "spec": {"nodeName": "node-a", "containers": [{"name": "c", "image": "i"}]},
        }
    )
    owner = {"apiVersion": "v1", "kind": "Pod", "name": "held", "uid": pod["metadata"]["uid"]}
    topology = {"kind": "NodeTopology", "metadata": {"name": "apart"}, "spec": {}}
    allocation = {
        "kind": "PodAllocation",
        "metadata": {"name": "held", "namespace": "default", "ownerReferences": [owner]},
        "spec": {
            "podUID": pod["metadata"]["uid"],
            "nodeName": "node-a",
            "scope": "pod",
            "summary": {"cpus": "-", "numa": "-", "exclusive": "-", "shared": "node"},
            "decision": {"admitted": True, "reason": "Admitted", "checksum": "c"},
        },
    }
    for value, status in ((topology, {}), (allocation, {"phase": "Applied"})):
        stored = cluster.api.create({"apiVersion": "podnuma.dev/v1alpha1", **value})
        place = {key: stored["metadata"][key] for key in ("name", "namespace") if key in stored["metadata"]}
        body = {
            "apiVersion": stored["apiVersion"],
            "kind": stored["kind"],
            "metadata": place,
            "status": {**status, "conditions": [ready]},
        }
        cluster.api.apply(body, manager="podnuma-agent", subresource="status")


def assert_nobody_looks_after(cluster: ControlPlane) -> None:
    phases = {"nodetopologies/apart": None, "namespaces/default/podallocations/held": "Uninstalled"}
    for path, phase in phases.items():
        found = cluster.api.get(f"/apis/podnuma.dev/v1alpha1/{path}")["status"]
        ready = next(one for one in found["conditions"] if one["type"] == "Ready")
        assert (ready["status"], ready["reason"], found.get("phase")) == ("Unknown", "Uninstalled", phase)


def test_uninstalled_it_leaves_definitions_and_profiles_only(installed, helm):
    installed.apply_files(ROOT / "examples" / "profiles")
    done = run(helm, "uninstall", "podnuma", "--namespace", SYSTEM, "--timeout=40s", cluster=installed)
    assert done.returncode == 0, done.stdout + done.stderr
    left = until(lambda: _left(installed), "everything of the release to be gone", 30)
    assert left == ["nothing"]
    assert len(installed.api.items("/apis/podnuma.dev/v1alpha1/nodeprofiles")) == 2


def _left(cluster: ControlPlane) -> list[str]:
    marked = {"labelSelector": "app.kubernetes.io/instance=podnuma"}
    paths = (
        f"/apis/apps/v1/namespaces/{SYSTEM}/deployments",
        f"/apis/apps/v1/namespaces/{SYSTEM}/daemonsets",
        f"/apis/batch/v1/namespaces/{SYSTEM}/jobs",
        f"/api/v1/namespaces/{SYSTEM}/serviceaccounts",
        "/apis/rbac.authorization.k8s.io/v1/clusterroles",
        "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies",
    )
    left = [one["metadata"]["name"] for path in paths for one in cluster.api.items(path, **marked)]
    return [] if left else ["nothing"]
