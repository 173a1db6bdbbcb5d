"""The control plane's images have the names that kubeadm asks for, and all that their programs need."""

from __future__ import annotations

import json
import tarfile

from testbed.kind import images

LISTED = """\
registry.k8s.io/kube-apiserver:v1.36.3
registry.k8s.io/kube-proxy:v1.36.3
registry.k8s.io/coredns/coredns:v1.14.2
registry.k8s.io/pause:3.10.2
registry.k8s.io/etcd:3.6.8-0
"""
LDD = """\
	linux-vdso.so.1 (0x00007ffd)
	libmnl.so.0 => /lib/x86_64-linux-gnu/libmnl.so.0 (0x00007f01)
	libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x00007f02)
	/lib64/ld-linux-x86-64.so.2 (0x00007f03)
"""


def test_names_are_taken_from_what_kubeadm_lists():
    named = images.references(LISTED.splitlines())
    assert named["kube-apiserver"] == "registry.k8s.io/kube-apiserver:v1.36.3"
    assert named["coredns"] == "registry.k8s.io/coredns/coredns:v1.14.2"
    assert named["etcd"] == "registry.k8s.io/etcd:3.6.8-0"


def test_libraries_and_the_loader_are_found_and_the_kernels_own_is_none():
    assert images.library_paths(LDD) == [
        "/lib/x86_64-linux-gnu/libmnl.so.0",
        "/lib/x86_64-linux-gnu/libc.so.6",
        "/lib64/ld-linux-x86-64.so.2",
    ]


def test_every_image_has_its_program_where_kubeadm_runs_it(tmp_path, monkeypatch):
    root = tmp_path / "root"
    for name in ("usr/sbin/xtables-nft-multi", "usr/lib/x86_64-linux-gnu/xtables/libxt_comment.so"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    monkeypatch.setattr(
        images, "libraries", lambda *_: {"lib/libmnl.so.0": root / "usr/sbin/xtables-nft-multi"}
    )
    names = (*images.COMPONENTS, "etcd", "kube-proxy")
    tools = {name: tmp_path / name for name in names}
    named = {name: f"registry.k8s.io/{name}:1" for name in names}
    made = images.of_control_plane(tools, root, tmp_path / "busybox", "registry.k8s.io/pause:3.10", named)
    by_name = {image.reference: image for image in made}
    assert set(by_name) == {*named.values(), "registry.k8s.io/pause:3.10"}
    # kubeadm's manifests: a bare name for static pods, a path for kube-proxy.
    assert by_name[named["etcd"]].programs == {"usr/local/bin/etcd": tools["etcd"]}
    proxy = by_name[named["kube-proxy"]]
    assert proxy.programs["usr/local/bin/kube-proxy"] == tools["kube-proxy"]
    assert "usr/lib/x86_64-linux-gnu/xtables/libxt_comment.so" in proxy.programs
    assert proxy.links["usr/sbin/iptables-restore"] == "xtables-nft-multi"


def test_an_image_is_written_with_its_surroundings(tmp_path):
    program, target = tmp_path / "etcd", tmp_path / "image.tar"
    program.write_text("code")
    images.ProgramImage("registry.k8s.io/etcd:1", {"usr/local/bin/etcd": program}, ("etcd",)).write(target)
    with tarfile.open(target) as archive:
        manifest = archive.extractfile("manifest.json")
        assert manifest is not None
        (entry,) = json.load(manifest)
        described = archive.extractfile(entry["Config"])
        assert described is not None
        config = json.load(described)["config"]
    assert config["Entrypoint"] == ["etcd"]
    assert "GOMAXPROCS=2" in config["Env"]
    assert config["Env"][0].split("=")[1].split(":")[0] == "/usr/local/bin"
