"""The chart as a package: what helm and chart-testing check, what it holds, and what stands in it twice."""

from __future__ import annotations

import base64
import json
import re
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

import jsonschema  # type: ignore[import-untyped]
import pytest
import yaml
import yamllint.linter
from yamllint.config import YamlLintConfig

from deploy import chart_files
from tests.integration.helm_chart import CHART, ROOT, SYSTEM, one, refusal, rendered, run, workloads

if TYPE_CHECKING:
    from pathlib import Path

CI_VALUES = sorted((CHART / "ci").glob("*-values.yaml"))
TEXT = {"type": "string"}
TEXTS = {"type": "array", "items": TEXT}
# The schema with which `ct lint` looks at Chart.yaml.
CHART_SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "home", "version", "apiVersion", "description"],
    "properties": {
        **dict.fromkeys(("name", "home", "version", "apiVersion", "description", "icon"), TEXT),
        **dict.fromkeys(("appVersion", "kubeVersion", "type", "engine", "condition", "tags"), TEXT),
        "keywords": TEXTS,
        "sources": TEXTS,
        "deprecated": {"type": "boolean"},
        "annotations": {"type": "object", "additionalProperties": TEXT},
        "maintainers": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["name"],
                "additionalProperties": False,
                "properties": dict.fromkeys(("name", "email", "url"), TEXT),
            },
        },
    },
}
_TIGHT = {
    "min-spaces-inside": 0,
    "max-spaces-inside": 0,
    "min-spaces-inside-empty": -1,
    "max-spaces-inside-empty": -1,
}
# The rules with which `ct lint` has yamllint look at Chart.yaml and values files.
YAML_RULES: dict[str, Any] = {
    "braces": _TIGHT,
    "brackets": _TIGHT,
    "colons": {"max-spaces-before": 0, "max-spaces-after": 1},
    "commas": {"max-spaces-before": 0, "min-spaces-after": 1, "max-spaces-after": 1},
    "comments": {"require-starting-space": True, "min-spaces-from-content": 2},
    "empty-lines": {"max": 2, "max-start": 0, "max-end": 0},
    "hyphens": {"max-spaces-after": 1},
    "indentation": {
        "spaces": "consistent",
        "indent-sequences": "whatever",
        "check-multi-line-strings": False,
    },
    **dict.fromkeys(("key-duplicates", "new-line-at-end-of-file", "trailing-spaces", "truthy"), "enable"),
    "new-lines": {"type": "unix"},
}


def metadata() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "Chart.yaml").read_text())
    return found


@pytest.fixture(scope="module")
def package(helm: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, tarfile.TarInfo]:
    """The members of the package by their path in it."""
    folder = tmp_path_factory.mktemp("package")
    done = run(helm, "package", str(CHART), "--destination", str(folder))
    assert (done.returncode, done.stderr) == (0, "")
    (archive,) = folder.glob("podnuma-*.tgz")
    with tarfile.open(archive) as tar:
        return {member.name.removeprefix("podnuma/"): member for member in tar.getmembers()}


@pytest.mark.parametrize("values", CI_VALUES, ids=lambda file: file.stem)
def test_lint_has_nothing_to_say(helm, values):
    done = run(helm, "lint", str(CHART), "--strict", "--values", str(values))
    assert (done.returncode, done.stderr) == (0, "")
    assert "[" not in done.stdout


def test_chart_yaml_is_what_chart_testing_asks_for():
    jsonschema.validate(metadata(), CHART_SCHEMA)
    assert [maintainer["name"] for maintainer in metadata()["maintainers"]]


@pytest.mark.parametrize(
    "file",
    [CHART / "Chart.yaml", CHART / "values.yaml", *CI_VALUES, *sorted((CHART / "files").rglob("*.yaml"))],
    ids=lambda file: file.name,
)
def test_yamllint_has_nothing_to_say(file):
    problems = yamllint.linter.run(file.read_text(), YamlLintConfig(json.dumps({"rules": YAML_RULES})))
    assert [f"{file.name}:{problem.line} {problem.desc}" for problem in problems] == []


def changed_since_release(root: Path, version: str) -> str:
    """What `ct lint` calls a missing increment: files of the chart changed since its version was tagged."""

    def git(*words: str) -> str:
        done = subprocess.run(["git", *words], cwd=root, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    tag = f"v{version}"
    return git("diff", "--name-only", tag, "--", "deploy/chart/podnuma") if git("tag", "--list", tag) else ""


def test_a_version_that_was_released_is_changed_no_more(tmp_path):
    if (ROOT / ".git").exists():
        assert changed_since_release(ROOT, metadata()["version"]) == "", "increase version in Chart.yaml"
    chart = tmp_path / "deploy" / "chart" / "podnuma" / "Chart.yaml"
    chart.parent.mkdir(parents=True)
    chart.write_text("version: 1.0.0\n")
    alone = ("-c", "user.name=test", "-c", "user.email=test@podnuma.dev", "-c", "commit.gpgsign=false")
    for words in (("init", "-q"), ("add", "."), ("commit", "-qm", "release"), ("tag", "v1.0.0")):
        subprocess.run(["git", *alone, *words], cwd=tmp_path, check=True, capture_output=True)
    assert changed_since_release(tmp_path, "1.0.0") == ""
    chart.write_text("version: 1.0.0\nhome: elsewhere\n")
    assert changed_since_release(tmp_path, "1.0.0") == "deploy/chart/podnuma/Chart.yaml"
    assert changed_since_release(tmp_path, "1.0.1") == ""


def test_a_package_has_real_files_and_what_people_need(package):
    assert {member.type for member in package.values()} == {tarfile.REGTYPE}
    assert not [path for path in CHART.rglob("*") if path.is_symlink()]
    assert {"Chart.yaml", "README.md", "values.yaml", "values.schema.json", "templates/NOTES.txt"} <= set(
        package
    )
    assert {f"files/crds/{file.name}" for file in (ROOT / "crds").glob("*.yaml")} <= set(package)
    assert not [name for name in package if name.startswith("ci/")]


def test_notes_and_readme_name_no_file_that_a_package_lacks():
    for page in ("README.md", "templates/NOTES.txt"):
        text = (CHART / page).read_text()
        assert not re.findall(r"\b(?:docs|deploy|examples|crds|tests)/[a-z]", text), page
        assert not re.findall(r"\]\((?!https?://)", text), page


def test_what_stands_twice_is_up_to_date():
    for path, text in chart_files.generated().items():
        assert path.read_text() == text, f"{path.name}: run `make manifests`"
    copies = {file.name for file in (CHART / "files" / "crds").iterdir()}
    assert copies == {file.name for file in (ROOT / "crds").glob("*.yaml")}


def test_every_value_stands_in_the_readme():
    table = (CHART / "README.md").read_text()
    members = [value for value in chart_files.values() if not value.section]
    assert len(members) > 70
    for value in members:
        assert table.count(f"| `{value.path}` |") == 1, value.path


def test_the_icon_is_a_picture_that_needs_no_server():
    kind, _, data = metadata()["icon"].partition(",")
    assert kind == "data:image/svg+xml;base64"
    picture = ET.fromstring(base64.b64decode(data))
    assert picture.get("viewBox") == "0 0 64 64"


def test_artifact_hub_is_told_of_the_definitions():
    notes = metadata()["annotations"]
    told = {
        (crd["kind"], crd["version"], crd["name"]) for crd in yaml.safe_load(notes["artifacthub.io/crds"])
    }
    real = set()
    for file in (ROOT / "crds").glob("*.yaml"):
        crd = yaml.safe_load(file.read_text())
        (version,) = crd["spec"]["versions"]
        real.add((crd["spec"]["names"]["kind"], version["name"], crd["metadata"]["name"]))
    assert told == real
    (example,) = yaml.safe_load(notes["artifacthub.io/crdsExamples"])
    assert example == yaml.safe_load((ROOT / "examples" / "profiles" / "databases.yaml").read_text())


def test_an_image_must_be_named(helm):
    assert "image.repository is not set: build the image" in refusal(helm)
    done = run(helm, "template", "podnuma", str(CHART), "--set", "image.repository=registry.example:5000/a/b")
    assert "image: registry.example:5000/a/b:0.1.0" in done.stdout


def test_names_follow_the_release_and_the_overrides(helm):
    def names(release: str, *values: str) -> set[str]:
        sets = [part for value in values for part in ("--set", value)]
        command = ("template", release, str(CHART), "--set", "image.repository=a/b", *sets)
        manifests = yaml.safe_load_all(run(helm, *command).stdout)
        return {found["metadata"]["name"] for found in manifests if found and found["kind"] == "Deployment"}

    assert names("podnuma") == {"podnuma-operator"}
    assert names("podnuma-2") == {"podnuma-2-operator"}
    assert names("prod") == {"prod-podnuma-operator"}
    assert names("prod", "nameOverride=numa") == {"prod-numa-operator"}
    assert names("prod", "fullnameOverride=numa") == {"numa-operator"}


def test_accounts_can_be_those_of_somebody_else(helm):
    theirs = ("agent.serviceAccount.create=false", "agent.serviceAccount.name=theirs")
    manifests = rendered(helm, *theirs)
    accounts = {found["metadata"]["name"] for found in manifests if found["kind"] == "ServiceAccount"}
    assert accounts == {"podnuma-operator", "podnuma-cleanup", "podnuma-test-account"}
    agents = one(manifests, "DaemonSet", "podnuma-agent")
    assert agents["spec"]["template"]["spec"]["serviceAccountName"] == "theirs"
    assert one(manifests, "ClusterRoleBinding", "podnuma-agent")["subjects"][0]["name"] == "theirs"
    policy = one(manifests, "ValidatingAdmissionPolicy", "podnuma-agent")
    (condition,) = policy["spec"]["matchConditions"]
    assert condition["expression"].endswith("'system:serviceaccount:podnuma-system:theirs'")
    said = refusal(helm, "image.repository=a/b", "operator.serviceAccount.create=false")
    assert "name the account to use in operator.serviceAccount.name" in said


def test_what_the_values_add_to_pods_is_there(helm):
    values = yaml.safe_load(CI_VALUES[-1].read_text())
    assert CI_VALUES[-1].stem == "everything-values"
    manifests = rendered(helm, options=("--values", str(CI_VALUES[-1])))
    for part, kind in (("operator", "Deployment"), ("agent", "DaemonSet")):
        template = one(manifests, kind, f"podnuma-{part}")["spec"]["template"]
        wanted, pod = values[part], template["spec"]
        assert wanted["podLabels"].items() <= template["metadata"]["labels"].items()
        assert template["metadata"]["labels"]["team"] == "platform"
        assert template["metadata"]["annotations"] == wanted["podAnnotations"]
        assert wanted["extraEnv"][0] in pod["containers"][0]["env"]
        assert wanted["extraVolumes"][0] in pod["volumes"]
        assert wanted["extraVolumeMounts"][0] in pod["containers"][0]["volumeMounts"]
        assert pod["nodeSelector"] == wanted["nodeSelector"]
        account = one(manifests, "ServiceAccount", f"podnuma-{part}")
        assert account["metadata"]["annotations"] == wanted["serviceAccount"]["annotations"]
    job = one(manifests, "Job", "podnuma-cleanup")["spec"]["template"]
    assert job["metadata"]["annotations"]["example.com/note"] == "cleanup"
    assert job["spec"]["containers"][0]["resources"]["limits"] == {"memory": "256Mi"}


def test_labels_of_the_values_never_replace_those_that_find_pods(helm):
    manifests = rendered(helm, r"agent.podLabels.app\.kubernetes\.io/component=mine", "commonLabels.team=a")
    agents = one(manifests, "DaemonSet", "podnuma-agent")["spec"]
    assert agents["selector"]["matchLabels"].items() <= agents["template"]["metadata"]["labels"].items()


def test_agents_keep_off_nodes_that_can_never_be_managed(helm):
    agents = one(rendered(helm), "DaemonSet", "podnuma-agent")["spec"]["template"]["spec"]
    (term,) = terms(agents)
    assert term["matchExpressions"] == [
        {"key": "kubernetes.io/os", "operator": "In", "values": ["linux"]},
        {"key": "eks.amazonaws.com/compute-type", "operator": "NotIn", "values": ["fargate"]},
        {"key": "liqo.io/type", "operator": "NotIn", "values": ["virtual-node"]},
        {"key": "type", "operator": "NotIn", "values": ["kwok", "virtual-kubelet"]},
    ]
    manifests = rendered(helm, options=("--values", str(CI_VALUES[-1])))
    both = terms(one(manifests, "DaemonSet", "podnuma-agent")["spec"]["template"]["spec"])
    pools = [condition["values"] for one_term in both for condition in one_term["matchExpressions"][4:]]
    assert pools == [["databases"], ["training"]]
    assert all(one_term["matchExpressions"][:4] == term["matchExpressions"] for one_term in both)


def terms(pod: dict[str, Any]) -> list[dict[str, Any]]:
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    found: list[dict[str, Any]] = required["nodeSelectorTerms"]
    return found


def test_dashboard_and_rules_speak_of_the_namespace_of_the_release(helm):
    parts = ("--set", "monitoring.rules.enabled=true,monitoring.dashboard.enabled=true,image.repository=a/b")
    shown = ("--show-only", "templates/monitoring.yaml")
    text = run(helm, "template", "podnuma", str(CHART), "--namespace", "numa", *parts, *shown).stdout
    assert "kubectl -n numa get pods" in text
    assert 'namespace=\\"numa\\"' in text
    assert "podnuma-system" not in text


def test_a_service_monitor_finds_its_services_and_they_find_the_pods(helm):
    manifests = rendered(helm, "monitoring.serviceMonitor.enabled=true")
    monitor = one(manifests, "ServiceMonitor", "podnuma")["spec"]
    (endpoint,) = monitor["endpoints"]
    services = [found for found in manifests if found["kind"] == "Service"]
    assert [found["metadata"]["name"] for found in services] == ["podnuma-operator", "podnuma-agent"]
    for service, kind in zip(services, ("Deployment", "DaemonSet"), strict=True):
        assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
        template = one(manifests, kind, service["metadata"]["name"])["spec"]["template"]
        assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
        (port,) = service["spec"]["ports"]
        (container_port,) = template["spec"]["containers"][0]["ports"]
        assert port["name"] == endpoint["port"]
        assert port["targetPort"] == container_port["name"]
        assert port["port"] == container_port["containerPort"]
    pod_monitor = one(rendered(helm, "monitoring.podMonitor.enabled=true"), "PodMonitor", "podnuma")["spec"]
    assert endpoint["relabelings"] == pod_monitor["podMetricsEndpoints"][0]["relabelings"]
    both = ("monitoring.serviceMonitor.enabled=true", "monitoring.podMonitor.enabled=true")
    assert "every series would be there twice" in refusal(helm, "image.repository=a/b", *both)


SECURE = "monitoring.secure.enabled=true"


def test_secured_metrics_are_asked_for_and_probed_over_tls(helm):
    manifests = rendered(helm, SECURE, "monitoring.serviceMonitor.enabled=true")
    (endpoint,) = one(manifests, "ServiceMonitor", "podnuma")["spec"]["endpoints"]
    assert endpoint["scheme"] == "https"
    assert endpoint["bearerTokenFile"] == "/var/run/secrets/kubernetes.io/serviceaccount/token"
    assert endpoint["tlsConfig"] == {"insecureSkipVerify": True}
    for pod in (workloads(manifests)[name] for name in ("podnuma-operator", "podnuma-agent")):
        (container,) = pod["containers"]
        assert "--metrics-secure" in container["args"]
        probes = [container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")]
        assert [probe["scheme"] for probe in probes] == ["HTTPS"] * 3


def test_a_certificate_from_a_secret_is_mounted_and_verified(helm):
    secret = "monitoring.secure.secretName=serving"
    manifests = rendered(helm, SECURE, secret, "monitoring.serviceMonitor.enabled=true")
    (endpoint,) = one(manifests, "ServiceMonitor", "podnuma")["spec"]["endpoints"]
    ca = {"secret": {"name": "serving", "key": "ca.crt"}}
    assert endpoint["tlsConfig"] == {"ca": ca, "serverName": f"podnuma-metrics.{SYSTEM}.svc"}
    for pod in (workloads(manifests)[name] for name in ("podnuma-operator", "podnuma-agent")):
        (container,) = pod["containers"]
        (mount,) = [found for found in container["volumeMounts"] if found["name"] == "serving"]
        assert f"--metrics-cert-dir={mount['mountPath']}" in container["args"]
        assert {"name": "serving", "secret": {"secretName": "serving"}} in pod["volumes"]


def test_a_pod_monitor_of_secured_metrics_needs_a_token(helm):
    monitored = (SECURE, "monitoring.podMonitor.enabled=true")
    assert "monitoring.secure.tokenSecret" in refusal(helm, "image.repository=a/b", *monitored)
    manifests = rendered(helm, *monitored, "monitoring.secure.tokenSecret.name=prometheus")
    (endpoint,) = one(manifests, "PodMonitor", "podnuma")["spec"]["podMetricsEndpoints"]
    assert endpoint["authorization"] == {"credentials": {"name": "prometheus", "key": "token"}}


def test_only_secured_metrics_need_rights_to_ask_who_somebody_is(helm):
    def reviews(*values: str) -> set[str]:
        rules = [rule for found in rendered(helm, *values) for rule in found.get("rules", [])]
        return {name for rule in rules for name in rule.get("resources", []) if name.endswith("reviews")}

    assert reviews() == set()
    assert reviews(SECURE) == {"tokenreviews", "subjectaccessreviews"}
