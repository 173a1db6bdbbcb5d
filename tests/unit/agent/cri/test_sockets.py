import socket
from pathlib import Path

import pytest
from podnuma.agent.cri import sockets


@pytest.fixture
def listen(tmp_path):
    opened = []

    def listen(path):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(tmp_path / path))
        listener.listen()
        opened.append(listener)
        return listener

    yield listen
    for listener in opened:
        listener.close()


def test_node_without_a_runtime_has_no_socket(tmp_path):
    assert sockets.find_sockets(tmp_path) == ()


def test_runtime_of_a_distribution_goes_before_a_bare_containerd(tmp_path, listen):
    listen("run/containerd/containerd.sock")
    listen("run/crio/crio.sock")
    found = [path.name for path in sockets.find_sockets(tmp_path)]
    assert found == ["crio.sock", "containerd.sock"]


def test_file_that_is_no_socket_does_not_count(tmp_path):
    (tmp_path / "run/containerd").mkdir(parents=True)
    (tmp_path / "run/containerd/containerd.sock").touch()
    assert sockets.find_sockets(tmp_path) == ()


def test_a_socket_that_a_stopped_runtime_left_behind_is_not_taken(tmp_path, listen):
    """cri-o/cri-o#4445: a node that had another runtime before."""
    listen("run/crio/crio.sock").close()
    assert sockets.find_sockets(tmp_path) == (tmp_path / "run/crio/crio.sock",), "there is no other"
    listen("run/containerd/containerd.sock")
    assert sockets.find_sockets(tmp_path) == (tmp_path / "run/containerd/containerd.sock",)


def test_docker_of_k3s(tmp_path, listen):
    """openkruise/kruise#1196"""
    listen("run/k3s/cri-dockerd/cri-dockerd.sock")
    assert [path.name for path in sockets.find_sockets(tmp_path)] == ["cri-dockerd.sock"]


def test_a_folder_that_may_not_be_looked_into_hides_no_other_runtime(tmp_path, listen, monkeypatch):
    """suse-edge/charts#126: SELinux lets no one look there."""
    stat = Path.stat

    def denied(path, *, follow_symlinks=True):
        if path.parent.name == "crio":
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, follow_symlinks=follow_symlinks)

    monkeypatch.setattr(Path, "stat", denied)
    with pytest.raises(PermissionError):
        sockets.find_sockets(tmp_path)
    listen("run/containerd/containerd.sock")
    assert sockets.find_sockets(tmp_path) == (tmp_path / "run/containerd/containerd.sock",)
