"""The image of a release: a good OCI archive, both processes work in it alone, its database is true.

What runs here is the image's own Python with its own packages, which is another one than that of most tests.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import shutil
import subprocess
import tarfile
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from deploy import debian, image
from testbed import release
from testbed.cleanup import GROUP, wipe
from testbed.demo import expectations
from testbed.installation import Installation
from tests.integration.image_root import ImageRoot
from tests.shown_commands import shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from testbed.control_plane import ControlPlane
    from testbed.kwok import Kwok

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = f"localhost/podnuma:{image.version()}"
LABEL = "org.opencontainers.image"
PYTHON = f"/{image.HOME}/bin/python"

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
def inside(root: Path, configuration: dict[str, Any]) -> ImageRoot:
    return ImageRoot(root, configuration["config"])


@pytest.fixture(scope="module")
def at_work(
    inside: ImageRoot, control_plane: ControlPlane, kwok: Kwok, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Installation]:
    """Operator and agent from the image."""
    folder = tmp_path_factory.mktemp("at-work")
    through = inside.words(folders=[folder, control_plane.folder])
    with Installation(control_plane, folder, through) as installation:
        installation.install()
        control_plane.apply_files(ROOT / "examples" / "profiles")
        installation.add_node(kwok, "node-1", "epyc7401-2s-8numa-16l3", {"node-pool": "databases"})
        for program in (installation.start_operator(), installation.start_agent("node-1")):
            program.wait_ready()
        yield installation
    wipe(control_plane.api)


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
def test_both_entry_points_start_with_the_images_own_files(inside, words):
    done = inside.run(*words)
    assert done.returncode == 0, done.stderr
    assert "podnuma" in done.stdout


def test_the_command_of_the_readme_asks_the_cluster_of_a_kubeconfig(root, inside, filled):
    (line,) = [one for one in shown(ROOT / "README.md") if one.startswith("docker run")]
    words = line.partition(" registry.example/podnuma:0.1.0 ")[2].split()
    mounted = root / "config"
    mounted.write_text(filled.kubectl("config", "view", "--raw", "--flatten"))
    mounted.chmod(0o644)
    done = inside.run(*words)
    assert done.returncode == 0, done.stderr
    assert "node-a" in [line.split()[0] for line in done.stdout.splitlines()]


def test_everything_that_the_processes_import_is_there(inside):
    modules = (
        "podnuma.agent.app, podnuma.agent.cri.client, podnuma.operator.app, "
        "podnuma.cli.commands.release_nodes, podnuma.plumbing.kube.client, dbus_fast"
    )
    done = inside.run("-I", "-c", f"import {modules}", entrypoint=[PYTHON])
    assert done.returncode == 0, done.stderr


def test_every_module_of_the_interpreter_finds_its_libraries(root, inside):
    (compiled,) = (root / "usr/lib").glob("python3*/lib-dynload")
    modules = ", ".join(sorted({path.name.partition(".")[0] for path in compiled.iterdir()}))
    done = inside.run("-I", "-c", f"import {modules}", entrypoint=[PYTHON])
    assert done.returncode == 0, done.stderr


def test_without_an_authority_in_the_kubeconfig_those_of_the_system_are_trusted(root, inside):
    authorities = (root / debian.AUTHORITIES).read_text().count("BEGIN CERTIFICATE")
    asked = (
        "from podnuma.plumbing.kube.endpoint import Endpoint; "
        "print(Endpoint('https://api.example').ssl_context().cert_store_stats()['x509_ca'])"
    )
    done = inside.run("-I", "-c", asked, entrypoint=[PYTHON])
    assert (done.stdout, done.stderr) == (f"{authorities}\n", "")
    assert authorities > 100


def test_the_script_of_helm_test_asks_as_its_job_does(root, inside, crds, namespace):
    script = ROOT / "deploy" / "chart" / "podnuma" / "files" / "test.py"
    job = (script.parents[1] / "templates" / "tests" / "installation.yaml").read_text()
    assert "command: [python, /test/test.py]" in job
    assert inside.config["Env"][0] == f"PATH={Path(PYTHON).parent}"
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "asks"}}
    crds.api.apply(account, namespace)
    mounted = root / "account"
    mounted.mkdir()
    (mounted / "token").write_text(crds.token(namespace, "asks"))
    shutil.copy(crds.ca_file, mounted / "ca.crt")
    _, host, port = crds.server.replace("//", "").split(":")
    words = [script.read_text(), "--namespace=x", "--operator=x", "--agent=x", "--timeout=0"]
    done = inside.run(
        *("-c", *words, "--account=/account"),
        entrypoint=[PYTHON],
        environment={"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port},
    )
    assert done.stdout.splitlines()[0] == "ok    definitions: served", done.stdout + done.stderr


def test_operator_and_agent_work_where_certificates_are_those_of_an_older_cluster(at_work, namespace):
    (serving,) = x509.load_pem_x509_certificates(at_work.cluster.serving_certificate[0].read_bytes())
    assert ExtensionOID.AUTHORITY_KEY_IDENTIFIER not in {one.oid for one in serving.extensions}
    at_work.create_example(namespace, "database")
    allocation = at_work.wait_applied(namespace, "database")
    assert expectations.database(at_work.node_of(allocation).machine, at_work.written(allocation)) == []
    topology = at_work.cluster.api.get(f"{GROUP}/nodetopologies/node-1")
    assert topology["status"]["agent"]["version"] == image.version()
    assert [program.terminate() for program in (at_work.operator, *at_work.agents.values())] == [0, 0]


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
    trusted = {f"/{debian.AUTHORITIES}", "/usr/lib/ssl/cert.pem"}
    made = {"/etc/passwd", "/etc/group", "/var/lib/dpkg/status", *trusted}
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


def test_the_container_file_makes_the_same_entry_point_with_the_same_python():
    text = (ROOT / "deploy" / "Containerfile").read_text()
    version = debian.PYTHON.removeprefix("python")
    assert text.count(f"FROM docker.io/library/python:{version}-slim") == text.count("FROM ") == 2
    assert 'ENTRYPOINT ["podnuma"]' in text
    assert "USER 65532:65532" in text
