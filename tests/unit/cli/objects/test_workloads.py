"""Workloads become the pods they would make."""

from typing import Any

import pytest
import yaml
from podnuma.api.pod_admission import AdmissionPolicies
from podnuma.cli.objects.documents import Document
from podnuma.cli.objects.pod_templates import MOST_REPLICAS
from podnuma.cli.objects.workloads import expand

POD_SPEC = "{containers: [{name: c, resources: {limits: {cpu: '2', memory: 1Gi}}}]}"


VERSIONS = {"Pod": "v1", "ReplicationController": "v1", "Job": "batch/v1", "CronJob": "batch/v1"}
VERSIONS |= dict.fromkeys(("Deployment", "ReplicaSet", "StatefulSet", "DaemonSet"), "apps/v1")


def documents(text: str) -> list[Document]:
    """The objects of a text; those that name no version have their kind's."""
    values = [{"apiVersion": VERSIONS.get(one["kind"], "v1"), **one} for one in yaml.safe_load_all(text)]
    return [Document(f"f document {number}", value) for number, value in enumerate(values, 1)]


def names(text: str) -> list[str]:
    return [planned.name for planned in expand(documents(text)).pods]


def workload(kind: str, spec: str) -> str:
    body = f"spec: {{{spec} template: {{spec: {POD_SPEC}}}}}"
    return f"{{kind: {kind}, metadata: {{name: w, namespace: n}}, {body}}}"


def test_replicas_are_numbered_as_their_kind_does():
    assert names(workload("Deployment", "replicas: 2,")) == ["n/w-1", "n/w-2"]
    assert names(workload("ReplicaSet", "replicas: 2,")) == ["n/w-1", "n/w-2"]
    assert names(workload("ReplicationController", "replicas: 2,")) == ["n/w-1", "n/w-2"]
    assert names(workload("StatefulSet", "replicas: 2,")) == ["n/w-0", "n/w-1"]
    assert names(workload("DaemonSet", "")) == ["n/w"]


def test_a_job_has_as_many_pods_as_run_at_once():
    assert names(workload("Job", "")) == ["n/w-1"]
    assert names(workload("Job", "parallelism: 3,")) == ["n/w-1", "n/w-2", "n/w-3"]
    assert names(workload("Job", "parallelism: 3, completions: 2,")) == ["n/w-1", "n/w-2"]


def test_a_cron_job_is_one_run_of_its_job():
    job = f"{{spec: {{template: {{spec: {POD_SPEC}}}}}}}"
    text = f"{{kind: CronJob, metadata: {{name: w}}, spec: {{jobTemplate: {job}}}}}"
    assert names(text) == ["default/w-1"]


def test_replicas_are_one_if_nothing_is_said_and_bounded_if_too_much_is():
    assert names(workload("Deployment", "")) == ["n/w-1"]
    assert names(workload("Deployment", "replicas: 0,")) == []
    assert names(workload("Deployment", "replicas: -4,")) == []
    assert len(names(workload("Deployment", "replicas: 10000000,"))) == MOST_REPLICAS


def test_of_more_pods_than_are_planned_it_is_said():
    said = "f document 1: Deployment w asks for 3000 pods: 1000 of them are planned"
    assert expand(documents(workload("Deployment", "replicas: 3000,"))).skipped == (said,)
    job = expand(documents(workload("Job", "parallelism: 2000,"))).skipped
    assert job == ("f document 1: Job w asks for 2000 pods: 1000 of them are planned",)
    custom = workload("CloneSet", "replicas: 1001,").replace("{kind", "{apiVersion: x.io/v1, kind")
    assert "asks for 1001 pods" in expand(documents(custom)).skipped[0]
    assert expand(documents(workload("Deployment", "replicas: 1000,"))).skipped == ()


@pytest.mark.parametrize("kind", ["DaemonSet", "BroadcastJob"])
def test_kinds_of_others_that_have_a_pod_on_every_node(kind):
    text = workload(kind, "").replace("{kind", "{apiVersion: apps.kruise.io/v1alpha1, kind")
    found = expand(documents(text))
    assert [(one.name, one.every_node) for one in found.pods] == [("n/w", True)]
    assert len(found.guessed) == 1
    surging = "updateStrategy: {rollingUpdate: {maxSurge: 1}},"
    text = workload(kind, surging).replace("{kind", "{apiVersion: apps.kruise.io/v1alpha1, kind")
    assert expand(documents(text)).pods[0].kept_ready == (1 if kind == "DaemonSet" else 0)


def test_groups_of_workers_are_within_their_bounds_and_may_be_suspended():
    group = f"template: {{spec: {POD_SPEC}}}"
    groups = ", ".join(
        f"{{{bounds} {group}}}"
        for bounds in (
            "replicas: 1, minReplicas: 2, maxReplicas: 5,",
            "replicas: 9, minReplicas: 2, maxReplicas: 5,",
            "replicas: 3, suspend: true,",
        )
    )
    text = (
        f"{{apiVersion: ray.io/v1, kind: RayCluster, metadata: {{name: w}}, "
        f"spec: {{workerGroupSpecs: [{groups}]}}}}"
    )
    found = expand(documents(text))
    assert len(found.pods) == 2 + 5
    assert "workerGroupSpecs[2].template (0)" in found.guessed[0]


def test_api_defaults_are_filled_in():
    (planned,) = expand(documents(f"{{kind: Pod, metadata: {{name: p}}, spec: {POD_SPEC}}}")).pods
    assert planned.pod.containers[0].requests["cpu"].milli == 2000
    assert planned.pod.qos is None


def test_pods_of_objects_with_one_name_are_different_pods():
    """A chart names its Deployment and its Job alike; and a name may be longer than a UID."""
    text = "\n---\n".join(
        workload(kind, "replicas: 2,") for kind in ("Deployment", "StatefulSet", "ReplicaSet")
    )
    text += "\n---\n" + workload("Job", "").replace("metadata: {name: w", f"metadata: {{name: {'w' * 200}")
    found = expand(documents(text))
    assert found.problems == ()
    assert [one.name for one in found.pods[:4]] == ["n/w-1", "n/w-2", "n/w-0", "n/w-1"]
    assert len({one.pod.uid for one in found.pods}) == len(found.pods) == 7


def test_an_object_that_is_there_twice_counts_once_and_the_later_one():
    first, second = workload("Deployment", "replicas: 3,"), workload("Deployment", "replicas: 1,")
    other = first.replace("namespace: n", "namespace: m")
    found = expand(documents(f"{first}\n---\n{other}\n---\n{second}"))
    assert [one.name for one in found.pods] == ["m/w-1", "m/w-2", "m/w-3", "n/w-1"]
    assert found.skipped == ("f document 1: Deployment w is also in f document 3, which counts; left out",)
    assert len(expand(documents(f"{first}\n---\n{first.replace(', namespace: n', '')}"), "n").pods) == 3


def test_names_that_the_api_server_completes_are_different_ones():
    """As for `kubectl create`, by which one manifest makes a Job at each time."""
    job = workload("Job", "").replace("name: w", "generateName: w-")
    found = expand(documents(f"{job}\n---\n{job}"))
    assert ([one.name for one in found.pods], found.problems) == (["n/w-1-1", "n/w-2-1"], ())
    assert len({one.pod.uid for one in found.pods}) == 2


def test_an_object_without_a_name_is_a_problem():
    found = expand(documents(workload("Job", "").replace("name: w,", "")))
    assert found.problems == ("f document 1: metadata.name: is missing",)


@pytest.mark.parametrize(
    ("kind", "version", "said"),
    [
        ("deployment", "apps/v1", "kind: there is no deployment; did you mean Deployment?"),
        ("Statefulset", "apps/v1", "kind: there is no Statefulset; did you mean StatefulSet?"),
        (
            "Deployment",
            "extensions/v1beta1",
            "apiVersion: there is no Deployment in 'extensions/v1beta1'; write apps/v1",
        ),
        ("Deployment", "v1", "apiVersion: there is no Deployment in 'v1'; write apps/v1"),
        ("CronJob", "batch/v1beta1", "apiVersion: there is no CronJob in 'batch/v1beta1'; write batch/v1"),
        ("Pod", "", "apiVersion: there is no Pod in ''; write v1"),
    ],
)
def test_a_kind_that_no_api_server_has_is_a_problem_and_not_left_out(kind, version, said):
    text = workload(kind, "").replace("{kind", f"{{apiVersion: '{version}', kind", 1)
    found = expand(documents(text))
    assert (found.pods, found.problems, found.skipped) == ((), (f"f document 1: {said}",), ())


@pytest.mark.parametrize("kind", VERSIONS)
def test_an_object_without_a_version_is_a_problem_and_the_version_is_said(kind):
    """kubectl: `apiVersion not set`."""
    value = yaml.safe_load(workload(kind, ""))
    found = expand([Document("f document 1", value)])
    said = f"f document 1: apiVersion: is missing; write {VERSIONS[kind]}"
    assert (found.pods, found.problems) == ((), (said,))
    assert expand([Document("f document 1", {**value, "apiVersion": VERSIONS[kind]})]).problems != (said,)


def test_a_version_that_is_spelled_otherwise_is_none():
    value = yaml.safe_load(workload("Pod", "")) | {"apiversion": "v1"}
    (problem,) = expand([Document("f document 1", value)]).problems
    assert problem == "f document 1: apiVersion: is missing, as apiversion is another field; write v1"


def test_the_version_of_an_object_without_pods_is_missed_too():
    found = expand([Document("f document 1", {"kind": "Service", "metadata": {"name": "s"}})])
    said = "apiVersion: is missing; write that of a Service, which `kubectl explain service` tells"
    assert (found.problems, found.skipped) == ((f"f document 1: {said}",), ())


@pytest.mark.parametrize(
    ("kind", "written", "meant"),
    [
        ("Pod", "containers", "spec.containers"),
        ("Deployment", "containers", "spec.template.spec.containers"),
        ("Deployment", "spec.containers", "template.spec.containers"),
        ("StatefulSet", "replicas", "spec.replicas"),
        ("Pod", "spec.limits", "resources.limits"),
    ],
)
def test_a_field_that_is_too_far_up_is_told_where_it_belongs(kind, written, meant):
    *above, name = written.split(".")
    value: dict[str, Any] = {
        "apiVersion": VERSIONS[kind],
        "kind": kind,
        "metadata": {"name": "w"},
        "spec": {},
    }
    (value[above[0]] if above else value)[name] = {}
    (document,) = documents(yaml.safe_dump(value))
    said = f"f document 1: {written}: unknown field; did you mean {meant}?"
    assert said in expand([document]).problems


def test_a_kind_of_another_group_may_be_called_as_it_likes():
    text = workload("job", "").replace("{kind", "{apiVersion: batch.volcano.sh/v1alpha1, kind", 1)
    assert expand(documents(text)).problems == ()


def test_labels_of_the_template_are_those_of_the_pod():
    template = f"template: {{metadata: {{labels: {{a: b}}}}, spec: {POD_SPEC}}}"
    text = f"{{kind: Job, metadata: {{name: w, labels: {{x: y}}}}, spec: {{{template}}}}}"
    assert expand(documents(text)).pods[0].labels == {"a": "b"}


def test_kinds_without_pods_are_named_and_left_out():
    result = expand(documents("{kind: Service, metadata: {name: s}}"))
    assert (result.pods, result.problems) == ((), ())
    assert result.skipped == ("f document 1: Service s makes no pods; left out",)


@pytest.mark.parametrize("kind", ["LimitRange", "ResourceQuota"])
def test_what_bounds_the_pods_of_a_namespace_is_not_called_left_out(kind):
    assert expand(documents(f"{{kind: {kind}, metadata: {{name: q}}}}")).skipped == (
        f"f document 1: {kind} q makes no pods; it counts for those that it is about",
    )


def test_a_bad_quantity_is_one_line_with_the_path_in_the_manifest():
    text = "{kind: Deployment, metadata: {name: w}, spec: {replicas: 3, template: {spec: {containers: "
    text += "[{name: c, resources: {limits: {cpu: lots}}}]}}}}"
    result = expand(documents(text))
    assert len(result.problems) == 1
    assert result.problems[0].startswith(
        'f document 1: spec.template.spec.containers[0].resources.limits[cpu] "lots": '
    )


def test_unknown_fields_are_problems_but_the_pod_is_planned():
    result = expand(documents("{kind: Pod, metadata: {name: p}, spec: {containers: [{name: c, imaeg: x}]}}"))
    assert result.problems == ("f document 1: spec.containers[0].imaeg: unknown field; did you mean image?",)
    assert len(result.pods) == 1


def test_a_value_that_the_api_server_refuses_is_one_problem_by_field():
    text = "{kind: Pod, metadata: {name: p, labels: {released: 2.5}}, spec: {containers: [{name: 7}]}}"
    assert expand(documents(text)).problems == (
        "f document 1: metadata.labels[released]: is the number 2.5; text belongs here; put it in quotes",
        "f document 1: spec.containers[0].name: is the number 7; text belongs here; put it in quotes",
    )


def test_a_pod_template_makes_no_pods_by_itself():
    result = expand(
        documents(f"{{kind: PodTemplate, metadata: {{name: t}}, template: {{spec: {POD_SPEC}}}}}")
    )
    assert (result.pods, result.problems) == ((), ())
    assert result.skipped == ("f document 1: PodTemplate t makes no pods; left out",)


RAY = f"""
apiVersion: ray.io/v1
kind: RayCluster
metadata: {{name: ray, namespace: ml}}
spec:
  headGroupSpec: {{template: {{spec: {POD_SPEC}}}}}
  workerGroupSpecs: [{{replicas: 2, template: {{metadata: {{labels: {{a: b}}}}, spec: {POD_SPEC}}}}}]
"""


def test_pods_of_unknown_kinds_are_guessed_by_their_shape_and_said_to_be():
    result = expand(documents(RAY))
    assert [one.name for one in result.pods] == ["ml/ray-1-1", "ml/ray-2-1", "ml/ray-2-2"]
    assert [one.labels for one in result.pods] == [{}, {"a": "b"}, {"a": "b"}]
    (guess,) = result.guessed
    assert guess.startswith("f document 1: RayCluster ray: its pods are guessed from what looks like ")
    assert guess.endswith(": spec.headGroupSpec.template (1), spec.workerGroupSpecs[0].template (2)")
    assert (result.problems, result.skipped, result.not_understood) == ((), (), ())


def test_one_template_is_numbered_like_a_deployment_and_pods_in_a_list_are_pods():
    rollout = "apiVersion: argoproj.io/v1alpha1\nkind: Rollout\nmetadata: {name: r}\n"
    rollout += f"spec: {{replicas: 2, template: {{spec: {POD_SPEC}}}}}"
    assert names(rollout) == ["default/r-1", "default/r-2"]
    pods = f"[{{kind: Pod, metadata: {{name: x}}, spec: {POD_SPEC}}}, {{kind: Pod, spec: {POD_SPEC}}}]"
    strimzi = f"{{apiVersion: core.strimzi.io/v1, kind: StrimziPodSet, spec: {{pods: {pods}}}}}"
    assert names(strimzi) == ["default/unnamed-1-1", "default/unnamed-2-1"]


def test_replicas_of_groups_that_have_replicas_are_multiplied_and_so_is_parallelism():
    job = f"{{parallelism: 3, completions: 2, template: {{spec: {POD_SPEC}}}}}"
    jobs = f"[{{name: w, replicas: 2, template: {{spec: {job}}}}}, {{name: x, template: {{spec: {job}}}}}]"
    made = names(
        f"{{apiVersion: jobset.x-k8s.io/v1alpha2, kind: JobSet, metadata: {{name: j}}, "
        f"spec: {{replicatedJobs: {jobs}}}}}"
    )
    assert made == [f"default/j-{pod}" for pod in ("1-1", "1-2", "1-3", "1-4", "2-1", "2-2")]
    assert (
        names(f"{{apiVersion: a.b/v1, kind: K, spec: {{replicas: -1, template: {{spec: {POD_SPEC}}}}}}}")
        == []
    )


def test_a_group_of_a_leader_worker_set_has_a_leader_and_workers_up_to_its_size():
    def pods(group: str) -> list[str]:
        head = "apiVersion: leaderworkerset.x-k8s.io/v1\nkind: LeaderWorkerSet\nmetadata: {name: l}\n"
        return names(f"{head}spec: {{replicas: 2, leaderWorkerTemplate: {{{group}}}}}")

    leader, worker = (f"{who}Template: {{spec: {POD_SPEC}}}" for who in ("leader", "worker"))
    workers = [f"default/l-2-{number}" for number in range(1, 7)]
    assert pods(f"size: 4, {leader}, {worker}") == ["default/l-1-1", "default/l-1-2", *workers]
    assert pods(f"{worker}, size: 4") == [f"default/l-{number}" for number in range(1, 9)]
    assert pods(f"{leader}, {worker}") == ["default/l-1-1", "default/l-1-2"]
    assert pods(f"{worker}, size: 0") == ["default/l-1", "default/l-2"]


@pytest.mark.parametrize(
    ("kind", "spec", "pods"),
    [
        ("elasticsearch.k8s.elastic.co/v1", "nodeSets: [{count: 3, podTemplate: TEMPLATE}]", 3),
        ("mongodbcommunity.mongodb.com/v1", "members: 3, statefulSet: {spec: {template: TEMPLATE}}", 3),
        ("sparkoperator.k8s.io/v1beta2", "executor: {instances: 4, template: TEMPLATE}", 4),
        ("ray.io/v1", "workerGroupSpecs: [{replicas: 2, numOfHosts: 4, template: TEMPLATE}]", 8),
        ("ray.io/v1", "workerGroupSpecs: [{replicas: 2, minReplicas: 1, template: TEMPLATE}]", 2),
        ("ray.io/v1", "workerGroupSpecs: [{minReplicas: 3, template: TEMPLATE}]", 3),
    ],
)
def test_kinds_have_their_own_words_for_replicas(kind, spec, pods):
    spec = spec.replace("TEMPLATE", f"{{spec: {POD_SPEC}}}")
    text = f"{{apiVersion: {kind}, kind: K, metadata: {{name: k}}, spec: {{{spec}}}}}"
    assert names(text) == [f"default/k-{number}" for number in range(1, pods + 1)]


def test_containers_of_custom_resources_may_have_no_name():
    text = "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: k}\n"
    result = expand(documents(text + "spec: {template: {spec: {containers: [{image: x}]}}}"))
    assert result.problems == ()
    assert [one.name for pod in result.pods for one in pod.pod.containers] == ["container-1"]


def test_the_first_number_of_a_stateful_set_need_not_be_zero():
    assert names(workload("StatefulSet", "replicas: 2, ordinals: {start: 5}, ")) == [
        "n/w-5",
        "n/w-6",
    ]


def test_who_makes_no_pods_now_is_told():
    result = expand(documents(workload("Deployment", "replicas: 0, ")))
    assert result.pods == ()
    assert result.skipped == ("f document 1: Deployment w makes no pods now: none are asked for; left out",)


@pytest.mark.parametrize(
    ("kind", "spec", "word"),
    [
        ("Job", "suspend: true, ", "suspended"),
        ("MPIJob", "runPolicy: {suspend: true}, ", "suspended"),
        ("Deployment", "paused: true, ", "paused"),
    ],
)
def test_pods_of_what_somebody_has_to_resume_are_planned_and_that_is_said(kind, spec, word):
    text = workload(kind, spec).replace("kind: MPIJob", "apiVersion: kubeflow.org/v1, kind: MPIJob")
    result = expand(documents(text))
    assert len(result.pods) == 1
    assert result.halted == (f"f document 1: {kind} w is {word}: its pods are planned as if it were resumed",)


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("test", "test"),
        ("test-success, pre-delete", "test-success, pre-delete"),
        ("pre-install,test", ""),
        ("post-upgrade", ""),
        ("", ""),
    ],
)
def test_pods_that_helm_makes_neither_to_install_nor_to_upgrade_are_said(hook, said):
    """`helm template` prints them with the rest, and whoever applies that makes them."""
    value = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "w", "annotations": {"helm.sh/hook": hook} if hook else {}},
        "spec": {"containers": [{"name": "main", "image": "i"}]},
    }
    result = expand([Document("f document 1", value)])
    assert [one.name for one in result.pods] == ["default/w"]
    assert bool(result.halted) == bool(said)
    assert all(f"Pod w is Helm's {said} hook" in line for line in result.halted)


@pytest.mark.parametrize(
    ("hook", "said"),
    [
        ("PreSync", ""),
        ("PostSync, SyncFail", ""),
        ("SyncFail", "SyncFail"),
        ("PostDelete,PreDelete", "PostDelete, PreDelete"),
        ("Skip", "Skip"),
    ],
)
def test_pods_that_no_sync_of_argo_cd_makes_are_said(hook, said):
    metadata = {"name": "w", "annotations": {"argocd.argoproj.io/hook": hook}}
    spec = {"containers": [{"name": "main", "image": "i"}]}
    value = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
    result = expand([Document("f document 1", value)])
    assert [one.name for one in result.pods] == ["default/w"]
    assert bool(result.halted) == bool(said)
    assert all(f"Pod w is Argo CD's {said} hook" in line for line in result.halted)


def test_a_kind_that_is_not_understood_is_said_and_a_builtin_one_is_known_to_have_none():
    result = expand(
        documents("{apiVersion: example.com/v1, kind: Thing, metadata: {name: t}, spec: {size: 3}}")
    )
    assert result.not_understood == (
        "f document 1: Thing t is not understood: nothing in it looks like a pod; left out",
    )
    for version in (
        "v1",
        "apps/v1",
        "networking.k8s.io/v1",
        "gateway.networking.k8s.io/v1",
        "podnuma.dev/v1alpha1",
    ):
        result = expand(documents(f"{{apiVersion: {version}, kind: Whatever, metadata: {{name: t}}}}"))
        assert (result.not_understood, len(result.skipped)) == ((), 1)


def test_limit_ranges_fill_in_what_a_container_leaves_out():
    limits = {"default": {"cpu": "1", "memory": "512Mi"}, "type": "Container"}
    policies = AdmissionPolicies.of(
        [{"kind": "LimitRange", "metadata": {"name": "l", "namespace": "n"}, "spec": {"limits": [limits]}}]
    )
    text = "{kind: Pod, metadata: {name: p, namespace: n}, spec: {containers: [{name: side}]}}"
    (planned,) = expand(documents(text), policies=policies).pods
    (container,) = planned.pod.containers
    assert {name: amount.milli for name, amount in container.requests.items()}["cpu"] == 1000
    assert container.requests == container.limits


def test_what_admission_refuses_is_a_problem_and_no_pod():
    policies = AdmissionPolicies.of([], complete=True)
    text = "{kind: Deployment, metadata: {name: w}, spec: {template: {spec: "
    text += "{runtimeClassName: kata, containers: [{name: c}]}}}}"
    result = expand(documents(text), policies=policies)
    assert (result.pods, result.problems) == (
        (),
        ("f document 1: spec.template.spec.runtimeClassName: there is no RuntimeClass kata",),
    )


def test_a_daemon_set_tolerates_what_its_controller_adds():
    (planned,) = expand(documents(workload("DaemonSet", ""))).pods
    assert planned.every_node
    assert len(planned.constraints.tolerations) == 6


def test_what_kustomize_would_render_is_a_problem_and_not_left_out():
    """Its patches replaced the objects that they change, as if they stood for themselves."""
    kustomization = "{apiVersion: kustomize.config.k8s.io/v1beta1, kind: Kustomization, resources: [a.yaml]}"
    found = expand(documents(kustomization))
    (line,) = found.problems
    assert line == (
        "f document 1: kind: Kustomization is for kustomize, no API server knows it; "
        "render it first: kubectl kustomize FOLDER | podnuma plan -f -"
    )
    fluxs = kustomization.replace("kustomize.config.k8s.io/v1beta1", "kustomize.toolkit.fluxcd.io/v1")
    assert (expand(documents(fluxs)).problems, len(expand(documents(fluxs)).not_understood)) == ((), 1)


def test_an_amount_that_is_no_whole_bytes_is_told_once_for_a_template():
    text = workload("Deployment", "replicas: 2,").replace("memory: 1Gi", "memory: 512m")
    found = expand(documents(text))
    assert (len(found.pods), found.problems) == (2, ())
    (line,) = found.warned
    assert line == (
        "f document 1: spec.template.spec.containers[0].resources.limits[memory]: "
        "512m is 512 thousandths of a byte; did you mean 512Mi?"
    )


@pytest.mark.parametrize(
    ("written", "pods"), [("min-scale: '3'", 3), ("minScale: '2'", 2), ("min-scale: '0'", 1)]
)
def test_a_service_of_knative_has_as_many_pods_as_its_annotation_says(written, pods):
    metadata = f"{{annotations: {{autoscaling.knative.dev/{written}}}}}"
    template = f"{{metadata: {metadata}, spec: {POD_SPEC}}}"
    service = "apiVersion: serving.knative.dev/v1, kind: Service, metadata: {name: w}"
    assert len(names(f"{{{service}, spec: {{template: {template}}}}}")) == pods
