"""The image that needs no Docker: a good OCI archive, in which both processes start on their own."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from deploy import image
from tests.shown_commands import shown

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = "localhost/podnuma:test"

# Dependencies are installed anew by pip, as for a release.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The files of the archive, by name."""
    path = tmp_path_factory.mktemp("image") / "podnuma.tar"
    image.build(path, REFERENCE)
    with tarfile.open(path) as tar:
        members = {member.name: tar.extractfile(member) for member in tar.getmembers()}
        return {name: content.read() for name, content in members.items() if content is not None}


@pytest.fixture(scope="module")
def configuration(archive: dict[str, bytes]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(blob(archive, manifest(archive)["config"]))
    return found


@pytest.fixture(scope="module")
def root(archive: dict[str, bytes], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The image's root file system."""
    folder = tmp_path_factory.mktemp("root")
    # It becomes "/" for a user who is not root.
    folder.chmod(0o755)
    (layer,) = manifest(archive)["layers"]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob(archive, layer)))) as tar:
        tar.extractall(folder, filter="tar")
    (folder / "tmp").chmod(0o1777)  # the filter lets nobody write
    return folder


def blob(archive: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    """The content that a descriptor names; its digest and size must be right."""
    data = archive[f"blobs/{descriptor['digest'].replace(':', '/')}"]
    assert hashlib.sha256(data).hexdigest() == descriptor["digest"].removeprefix("sha256:")
    assert len(data) == descriptor["size"]
    return data


def manifest(archive: dict[str, bytes]) -> dict[str, Any]:
    (entry,) = json.loads(archive["index.json"])["manifests"]
    found: dict[str, Any] = json.loads(blob(archive, entry))
    return found


def run(root: Path, configuration: dict[str, Any], *words: str) -> subprocess.CompletedProcess[str]:
    """Run the image's entry point with nothing but its own files and environment."""
    environment = dict(entry.split("=", 1) for entry in configuration["config"]["Env"])
    as_root = [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]
    user = ["--userspec", configuration["config"]["User"]] if os.geteuid() == 0 else []
    return subprocess.run(
        [*as_root, "chroot", *user, root, *configuration["config"]["Entrypoint"], *words],
        check=False,
        capture_output=True,
        text=True,
        env=environment | {"PATH": os.environ["PATH"]},
        timeout=60,
    )


def test_it_is_an_oci_layout_with_one_image(archive, configuration):
    assert json.loads(archive["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    (entry,) = json.loads(archive["index.json"])["manifests"]
    assert entry["annotations"]["io.containerd.image.name"] == REFERENCE
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == "test"
    (layer,) = manifest(archive)["layers"]
    unpacked = hashlib.sha256(gzip.decompress(blob(archive, layer))).hexdigest()
    assert configuration["rootfs"]["diff_ids"] == [f"sha256:{unpacked}"]


def test_it_runs_as_nobody_by_default(configuration):
    assert configuration["config"]["User"] == "65532:65532"
    assert configuration["config"]["Entrypoint"] == ["/opt/podnuma/bin/podnuma"]


def test_it_is_small(archive):
    assert sum(map(len, archive.values())) < 80 * 2**20


@pytest.mark.parametrize("words", [("version",), ("operator", "--help"), ("agent", "run", "--help")])
def test_both_entry_points_start_with_the_images_own_files(root, configuration, words):
    done = run(root, configuration, *words)
    assert done.returncode == 0, done.stderr
    assert "podnuma" in done.stdout


def test_the_command_of_the_readme_asks_the_cluster_of_a_kubeconfig(root, configuration, filled):
    (line,) = [one for one in shown(ROOT / "README.md") if one.startswith("docker run")]
    words = line.partition(" registry.example/podnuma:0.1.0 ")[2].split()
    mounted = root / "config"
    mounted.write_text(filled.kubectl("config", "view", "--raw", "--flatten"))
    mounted.chmod(0o644)
    done = run(root, configuration, *words)
    assert done.returncode == 0, done.stderr
    assert "node-a" in [line.split()[0] for line in done.stdout.splitlines()]


def test_everything_that_the_processes_import_is_there(root, configuration):
    modules = (
        "podnuma.agent.app, podnuma.agent.cri.client, podnuma.operator.app, "
        "podnuma.cli.commands.release_nodes, podnuma.plumbing.kube.client, dbus_fast"
    )
    interpreter = next((root / "opt/podnuma/python/bin").iterdir())
    inside = f"/{interpreter.relative_to(root)}"
    command = {"config": {**configuration["config"], "Entrypoint": [inside, "-I", "-c", f"import {modules}"]}}
    done = run(root, command)
    assert done.returncode == 0, done.stderr


def test_the_script_of_helm_test_starts_as_its_job_starts_it(root, configuration):
    script = ROOT / "deploy" / "chart" / "podnuma" / "files" / "test.py"
    job = (script.parents[1] / "templates" / "tests" / "installation.yaml").read_text()
    assert "command: [python, /test/test.py]" in job
    folders = configuration["config"]["Env"][0].removeprefix("PATH=").split(":")
    (python,) = [f"{folder}/python" for folder in folders if (root / folder[1:] / "python").is_symlink()]
    command = {"config": {**configuration["config"], "Entrypoint": [python, "-c", script.read_text()]}}
    done = run(root, command, "--help")
    assert done.returncode == 0, done.stderr
    assert "--namespace" in done.stdout


def test_there_is_no_shell_and_nothing_of_the_build_machine(root):
    names = {path.name for path in root.rglob("*")}
    assert not names & {"sh", "bash", "pip", "apt", "busybox", "direct_url.json"}
    assert not list(root.rglob("*.pth"))


def test_files_have_no_times_and_belong_to_root(archive):
    (layer,) = manifest(archive)["layers"]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob(archive, layer)))) as tar:
        members = tar.getmembers()
    assert {(member.mtime, member.uid, member.gid) for member in members} == {(0, 0, 0)}
    assert [member.name for member in members] == sorted(member.name for member in members)
    assert {member.mode for member in members if member.name != "tmp"} == {0o755, 0o644}
    assert [member.mode for member in members if member.name == "tmp"] == [0o1777]


def test_the_container_file_makes_the_same_entry_point():
    text = (ROOT / "deploy" / "Containerfile").read_text()
    assert 'ENTRYPOINT ["podnuma"]' in text
    assert "USER 65532:65532" in text
