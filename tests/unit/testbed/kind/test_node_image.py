"""kind's node image: what is changed in the files that kind's own module has."""

from __future__ import annotations

import json
import tomllib

import pytest
import yaml

from testbed import build
from testbed.kind import node_image

CONFIG = """\
version = 2

[plugins."io.containerd.grpc.v1.cri".containerd]
  snapshotter = "overlayfs"
[plugins."io.containerd.grpc.v1.cri"]
  # use fixed sandbox image
  sandbox_image = "registry.k8s.io/pause:3.10"
"""


def test_containerd_gets_a_template_for_the_network_and_keeps_the_rest():
    changed = tomllib.loads(node_image.with_network(CONFIG))
    cri = changed["plugins"]["io.containerd.grpc.v1.cri"]
    assert cri.pop("cni") == {"conf_template": "/etc/cni/template.json"}
    assert changed == tomllib.loads(CONFIG)


def test_the_template_is_a_network_once_a_node_has_its_share():
    text = (node_image.FILES / "cni-template.json").read_text().replace("{{.PodCIDR}}", "10.244.1.0/24")
    network = json.loads(text)
    assert network["plugins"][0]["ipam"]["ranges"] == [[{"subnet": "10.244.1.0/24"}]]
    assert {plugin["type"] for plugin in network["plugins"]} <= set(node_image._CNI_PLUGINS)


def test_the_sandbox_image_is_the_one_that_containerd_will_ask_for():
    assert node_image.sandbox_image(CONFIG) == "registry.k8s.io/pause:3.10"
    with pytest.raises(build.BuildError, match="names no sandbox_image"):
        node_image.sandbox_image("version = 2\n")


def test_containers_start_with_kinds_hook_and_without_limits():
    spec = node_image.base_spec(
        {"process": {"cwd": "/", "rlimits": [{"type": "RLIMIT_NOFILE"}]}, "linux": {}}
    )
    assert spec["process"] == {"cwd": "/"}
    assert spec["hooks"] == {"createContainer": [{"path": "/kind/bin/mount-product-files.sh"}]}
    assert spec["linux"] == {}


def test_files_of_a_go_module_can_be_run_and_changed_in_the_image(tmp_path):
    base, root = tmp_path / "base", tmp_path / "root"
    for name in (
        "usr/local/bin/entrypoint",
        "kind/bin/undo.sh",
        "etc/crictl.yaml",
        "etc/systemd/journald.conf",
    ):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_text(name)
        (base / name).chmod(0o444)
    node_image._add_base(root, base)
    assert (root / "usr/local/bin/entrypoint").stat().st_mode & 0o777 == 0o755
    assert (root / "kind/bin/undo.sh").stat().st_mode & 0o777 == 0o755
    assert (root / "etc/crictl.yaml").stat().st_mode & 0o777 == 0o644
    assert (root / "kind/version").read_text() == node_image.VERSION
    for name in ("default-cni.yaml", "default-storage.yaml"):
        assert yaml.safe_load((root / "kind/manifests" / name).read_text())["kind"]


def test_units_that_nobody_enabled_are_gone_and_the_others_stay(tmp_path):
    system = tmp_path / "usr/lib/systemd/system"
    for name in ("multi-user.target.wants/getty.target", "sockets.target.wants/systemd-udevd-kernel.socket"):
        (system / name).parent.mkdir(parents=True, exist_ok=True)
        (system / name).touch()
    kept = system / "sockets.target.wants" / "systemd-journald.socket"
    kept.touch()
    generator = tmp_path / "usr/lib/systemd/system-generators/systemd-fstab-generator"
    generator.parent.mkdir()
    generator.touch()
    node_image._trim_units(tmp_path)
    assert [path for path in system.rglob("*") if path.is_file()] == [kept]
    for mask in ("system/modprobe@.service", "system-generators/systemd-fstab-generator"):
        assert str((tmp_path / "etc/systemd" / mask).readlink()) == "/dev/null"


def test_kubernetes_in_the_image_is_the_test_beds_own_release():
    assert build.version_of("kubeadm", "k8s.io/kubernetes") == node_image.VERSION
