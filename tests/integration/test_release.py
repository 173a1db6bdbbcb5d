"""What `make release` makes: the same twice, and everything in it can be installed and is what it says."""

from __future__ import annotations

import hashlib
import importlib.metadata
import io
import os
import shutil
import subprocess
import tarfile
import tomllib
from pathlib import Path

import pytest
import yaml
from spdx_tools.spdx.model.relationship import RelationshipType
from spdx_tools.spdx.parser.parse_anything import parse_file
from spdx_tools.spdx.validation.document_validator import validate_full_spdx_document

from deploy import debian, image
from testbed import build, machines, release

ROOT = Path(__file__).resolve().parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
ARCHITECTURE = debian.own_architecture()
PLUGIN = f"kubectl-podnuma-{VERSION}-linux-{ARCHITECTURE}.tar.gz"
MEGABYTES = 60
IMAGE = f"podnuma-{VERSION}-image-linux-{ARCHITECTURE}"

# All of a release is made twice, and dependencies are installed by pip.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def made() -> Path:
    """The folder of a release."""
    return release.ensure()


@pytest.fixture(scope="module")
def tools() -> dict[str, Path]:
    return build.ensure(["helm", "krew", "validate-krew-manifest", "kubectl"])


def run(argv, status=0, **more) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(argv, check=False, capture_output=True, text=True, timeout=1500, **more)
    assert done.returncode == status, done.stdout + done.stderr
    return done


def test_another_folder_gives_the_same_bytes(made, tools, tmp_path):
    listed = run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT).stdout
    for name in filter(lambda name: (ROOT / name).is_file(), listed.splitlines()):
        target = tmp_path / "elsewhere" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
        shutil.copymode(ROOT / name, target)
    history = run(["git", "rev-parse", "--absolute-git-dir"], cwd=ROOT).stdout.strip()
    elsewhere = tmp_path / "elsewhere"
    run(
        release.command(tmp_path / "dist", tools["helm"]),
        cwd=elsewhere,
        env={
            **os.environ,
            "PYTHONPATH": str(elsewhere),
            "GIT_DIR": history,
            "GIT_WORK_TREE": str(elsewhere),
            "GIT_OPTIONAL_LOCKS": "0",
        },
    )
    assert sums(tmp_path / "dist") == sums(made)


def sums(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir()}


def test_the_sums_are_right_and_of_everything(made):
    checked = run(["sha256sum", "--check", "--strict", "SHA256SUMS"], cwd=made).stdout.splitlines()
    names = {line.removesuffix(": OK") for line in checked}
    assert names == {path.name for path in made.iterdir()} - {"SHA256SUMS"}
    assert names == {
        *(f"podnuma-{VERSION}.tgz", f"podnuma-{VERSION}-py3-none-any.whl", "podnuma.yaml", PLUGIN),
        *(f"{IMAGE}.tar", f"{IMAGE}.spdx.json"),
    }


def test_krew_finds_nothing_wrong_with_the_manifest(made, tools):
    told = run([tools["validate-krew-manifest"], "-manifest", made / "podnuma.yaml", "-skip-install"]).stderr
    assert "structural validation OK" in told
    assert "no overlapping spec.platform[].selector" in told
    manifest = yaml.safe_load((made / "podnuma.yaml").read_text())
    chart = yaml.safe_load((ROOT / "deploy" / "chart" / "podnuma" / "Chart.yaml").read_text())
    assert manifest["spec"]["version"] == f"v{VERSION}"
    assert manifest["spec"]["homepage"] == chart["home"]
    # What krew's guide asks for and its program does not check.
    assert len(manifest["spec"]["shortDescription"]) <= 50
    lines = (manifest["spec"]["description"] + manifest["spec"]["caveats"]).splitlines()
    assert max(map(len, lines)) <= 80


@pytest.fixture(scope="module")
def krew(made, tools, tmp_path_factory):
    """kubectl with the plugin as krew installs it, in an environment without a Python."""
    folder = tmp_path_factory.mktemp("krew")
    programs = folder / "programs"
    programs.mkdir()
    for name in ("sh", "dirname", "readlink"):
        (programs / name).symlink_to(str(shutil.which(name)))
    (programs / "kubectl").symlink_to(tools["kubectl"])
    home = folder / "krew home"
    environment = {
        "HOME": str(folder),
        "KREW_ROOT": str(home),
        "KREW_NO_UPGRADE_CHECK": "1",
        "PATH": f"{home}/bin:{programs}",
    }
    install = [tools["krew"], "install", f"--manifest={made / 'podnuma.yaml'}"]
    run([*install, f"--archive={made / PLUGIN}"], env=environment, stdin=subprocess.DEVNULL)
    return environment


def test_krew_refuses_an_archive_that_somebody_changed(made, tools, tmp_path):
    changed = tmp_path / PLUGIN
    changed.write_bytes((made / PLUGIN).read_bytes() + b"\n")
    argv = [tools["krew"], "install", f"--manifest={made / 'podnuma.yaml'}", f"--archive={changed}"]
    environment = {"HOME": str(tmp_path), "KREW_ROOT": str(tmp_path / "krew"), "KREW_NO_UPGRADE_CHECK": "1"}
    told = run(argv, status=1, env=environment, stdin=subprocess.DEVNULL).stderr
    assert "checksum does not match" in told


def test_the_plugin_answers_through_kubectl_without_a_python(krew, tmp_path):
    def plugin(*words, status=0):
        return run(["kubectl", "podnuma", *words], status, env=krew, cwd=tmp_path).stdout

    assert VERSION in plugin("version")
    assert "Usage: kubectl podnuma" in plugin("--help")
    machines.write_sysfs(machines.load("epyc7401-2s-8numa-16l3"), tmp_path / "sys")
    (tmp_path / "saved.yaml").write_text(plugin("discover", "--sys-root", str(tmp_path / "sys")))
    assert "NodeProfile" in plugin("profile", "suggest", "--from", "saved.yaml")


def test_the_plugin_asks_the_cluster_of_a_kubeconfig(krew, filled):
    nodes = run(["kubectl", "podnuma", "nodes", "--kubeconfig", str(filled.kubeconfig)], env=krew).stdout
    assert "node-a" in [line.split()[0] for line in nodes.splitlines()]


def test_the_plugin_writes_nothing_beside_itself(krew):
    store = Path(krew["KREW_ROOT"]) / "store"
    before = sorted(store.rglob("*"))
    run(["kubectl", "podnuma", "version"], env=krew)
    assert sorted(store.rglob("*")) == before


def test_the_plugin_is_small(krew):
    files = [path for path in (Path(krew["KREW_ROOT"]) / "store").rglob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    assert size < MEGABYTES * 10**6, f"{size / 10**6:.0f} MB"


def test_the_plugin_brings_the_licences_of_what_is_in_it(made):
    with tarfile.open(made / PLUGIN) as tar:
        names = tar.getnames()
        assert {member.type for member in tar.getmembers()} == {tarfile.REGTYPE, tarfile.DIRTYPE}
    assert {"LICENSE", "licenses/libc6", "licenses/libssl3t64", "licenses/python3.13-minimal"} <= set(names)


def test_the_chart_is_installable_and_of_this_version(made, tools):
    package = made / f"podnuma-{VERSION}.tgz"
    helm = [tools["helm"]]
    image_set = ["--set", "image.repository=registry.example/podnuma"]
    run([*helm, "lint", package, *image_set])
    shown = yaml.safe_load(run([*helm, "show", "chart", package]).stdout)
    assert (shown["version"], shown["appVersion"]) == (VERSION, VERSION)
    assert shown == yaml.safe_load((ROOT / "deploy" / "chart" / "podnuma" / "Chart.yaml").read_text())
    from_package = run([*helm, "template", "podnuma", package, *image_set]).stdout
    assert (
        from_package == run([*helm, "template", "podnuma", ROOT / "deploy/chart/podnuma", *image_set]).stdout
    )
    assert f"registry.example/podnuma:{VERSION}" in from_package


def test_the_list_of_what_is_in_the_image_is_valid_and_complete(made, tmp_path):
    document = parse_file(str(made / f"{IMAGE}.spdx.json"))
    assert validate_full_spdx_document(document) == []
    with tarfile.open(made / f"{IMAGE}.tar") as archive:
        packed = archive.extractfile(max(archive, key=lambda member: member.size))
        assert packed is not None
        blob = packed.read()
    with tarfile.open(fileobj=io.BytesIO(blob)) as layer:
        layer.extractall(tmp_path, filter="tar")
    asked = [
        "dpkg-query",
        f"--admindir={tmp_path}/var/lib/dpkg",
        "--showformat=${Package} ${Version}\\n",
        "--show",
    ]
    packages = {tuple(line.split()) for line in run(asked).stdout.splitlines()}
    site = importlib.metadata.distributions(path=[str(tmp_path / image.SITE)])
    python = {(found.name.lower().replace("_", "-").replace(".", "-"), found.version) for found in site}
    assert {"python3.13-minimal", "libc6"} <= {name for name, _ in packages}
    assert {"podnuma", "kopf", "aiohttp"} <= {name for name, _ in python}
    (root,) = [found for found in document.packages if found.spdx_id == "SPDXRef-image"]
    listed = [(found.name, str(found.version)) for found in document.packages if found is not root]
    assert sorted(listed) == sorted([*packages, *python])
    assert root.checksums[0].value == image.read(made / f"{IMAGE}.tar").digest.removeprefix("sha256:")
    inside = [link for link in document.relationships if link.relationship_type == RelationshipType.CONTAINS]
    assert len(inside) == len(listed)
    purls = [reference.locator for found in document.packages for reference in found.external_references]
    assert len(set(purls)) == len(document.packages)
