import tempfile
from pathlib import Path

import grpc
import pytest
from podnuma.agent.cri.choice import choose_socket
from podnuma.agent.cri.messages import cri_pb2 as pb


@pytest.fixture
async def runtimes(fake_runtime):
    """Return a function that starts runtimes which list containers with these ids, or refuse to."""
    started = []
    folder = tempfile.TemporaryDirectory()  # a socket's path is short

    async def start(**listed):
        for name, ids in listed.items():
            runtime = type(fake_runtime)(Path(folder.name, f"{name}.sock"))
            runtime.answers["ListContainers"] = (
                ids
                if isinstance(ids, grpc.StatusCode)
                else pb.ListContainersResponse(containers=[pb.Container(id=each) for each in ids])
            )
            await runtime.start()
            started.append(runtime)
        return [runtime.socket for runtime in started]

    yield start
    for runtime in started:
        await runtime.stop()
    folder.cleanup()


async def choice(sockets, ids):
    chosen = await choose_socket(sockets, lambda: ids)
    return None if chosen is None else chosen.stem


async def test_of_runtimes_that_listen_the_kubelets_is_the_one_with_the_containers_of_pods(runtimes):
    """openkruise/kruise#809, kubernetes/minikube#3024: several are installed, and each of them answers."""
    broken = grpc.StatusCode.UNIMPLEMENTED
    sockets = await runtimes(crio=[], docker=["z"], containerd=["a", "b"], broken=broken)
    assert await choice(sockets, {"a", "b", "sandbox"}) == "containerd"
    assert await choice(sockets[::-1], {"a", "b", "sandbox"}) == "containerd"


async def test_a_former_runtime_may_have_left_containers_running(runtimes):
    sockets = await runtimes(docker=["old"], containerd=["a", "b"])
    assert await choice(sockets, {"old", "a", "b"}) == "containerd"


async def test_of_several_runtimes_without_a_container_of_a_pod_none_is_taken(runtimes):
    assert await choice(await runtimes(crio=[], docker=["z"]), {"a"}) is None


async def test_nobody_is_asked_where_there_is_nothing_to_tell_by(tmp_path):
    assert await choice([], {"a"}) is None
    assert await choice([tmp_path / "only.sock"], {"a"}) == "only"
    assert await choice([tmp_path / "first.sock", tmp_path / "second.sock"], set()) == "first"
