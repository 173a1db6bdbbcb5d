"""The image of a release: a good OCI archive, both processes start in it alone, its database is true."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import subprocess
import tarfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from deploy import debian, image
from testbed import release
from tests.shown_commands import shown

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = f"localhost/podnuma:{image.version()}"
LABEL = "org.opencontainers.image"

# The first test that needs a release makes it.
pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(scope="module")
def archive() -> dict[str, bytes]:
    """The files of the archive, by name."""
    name = f"podnuma-{image.version()}-image-linux-{debian.own_architecture()}.tar"
    with tarfile.open(release.ensure() / name) as tar:
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


def members(archive: dict[str, bytes]) -> list[tarfile.TarInfo]:
    """What the image's layer has, in its order."""
    (layer,) = manifest(archive)["layers"]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(blob(archive, layer)))) as tar:
        return tar.getmembers()


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
    assert entry["annotations"]["org.opencontainers.image.ref.name"] == image.version()
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
    inside = ["/opt/podnuma/bin/python", "-I", "-c", f"import {modules}"]
    done = run(root, {"config": {**configuration["config"], "Entrypoint": inside}})
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


def test_it_says_of_itself_what_is_true(configuration):
    labels = configuration["config"]["Labels"]
    committed = subprocess.run(
        ["git", "log", "-1", "--format=%H %cI"], check=True, capture_output=True, text=True, cwd=ROOT
    )
    revision, when = committed.stdout.split()
    changed = subprocess.run(["git", "diff", "--quiet", "HEAD"], check=False, cwd=ROOT).returncode
    assert labels.get(f"{LABEL}.revision") == (None if changed else revision)
    assert datetime.fromisoformat(labels[f"{LABEL}.created"]) == datetime.fromisoformat(when)
    assert labels[f"{LABEL}.version"] == image.version()
    assert labels[f"{LABEL}.title"] == "podnuma"
    assert labels[f"{LABEL}.licenses"] == "Apache-2.0"
    assert labels[f"{LABEL}.source"] in (ROOT / "deploy" / "chart" / "podnuma" / "Chart.yaml").read_text()


def test_dpkg_finds_what_its_database_says(root):
    asked = [
        "dpkg-query",
        f"--admindir={root}/var/lib/dpkg",
        "--showformat=${Package} ${Status}\\n",
        "--show",
    ]
    listed = subprocess.run(asked, check=True, capture_output=True, text=True).stdout.splitlines()
    assert sorted(listed) == sorted(f"{name} install ok installed" for name in debian.PACKAGES)
    verified = ["dpkg", f"--root={root}", "--force-not-root", "--verify"]
    done = subprocess.run(verified, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_every_file_of_the_system_is_of_a_package_or_made_here(archive, root):
    lists = (root / "var/lib/dpkg/info").glob("*.list")
    known = {line for found in lists for line in found.read_text().splitlines()}
    inside = members(archive)
    files = {f"/{member.name}" for member in inside if not member.isdir()}
    made = {"/etc/passwd", "/etc/group", "/etc/ssl/certs/ca-certificates.crt", "/var/lib/dpkg/status"}
    others = {
        path
        for path in files - known - made
        if not path.startswith(("/opt/podnuma/", "/var/lib/dpkg/info/")) and "/__pycache__/" not in path
    }
    assert others == set()
    assert known - {"/."} <= {f"/{member.name}" for member in inside}


def test_files_have_no_times_and_belong_to_root(archive):
    found = members(archive)
    assert {(member.mtime, member.uid, member.gid) for member in found} == {(0, 0, 0)}
    assert [member.name for member in found] == sorted(member.name for member in found)
    assert {member.mode for member in found if member.name != "tmp"} == {0o755, 0o644}
    assert [member.mode for member in found if member.name == "tmp"] == [0o1777]


def test_the_container_file_makes_the_same_entry_point():
    text = (ROOT / "deploy" / "Containerfile").read_text()
    assert 'ENTRYPOINT ["podnuma"]' in text
    assert "USER 65532:65532" in text
