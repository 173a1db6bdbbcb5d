import pytest
from podnuma.agent.devices.kubelet import SOCKET, KubeletDevices
from podnuma.agent.devices.waiting import DevicesUnreadable

from testbed.podresources import FakeKubelet, devices, pod


class Observed(list[bool]):
    def __call__(self, seconds, *, answered):
        assert seconds >= 0
        self.append(answered)


async def test_the_kubelet_is_asked_on_its_socket(tmp_path):
    socket = tmp_path / SOCKET
    socket.parent.mkdir()
    observed = Observed()
    kubelet = KubeletDevices(tmp_path, observed)
    async with FakeKubelet(socket) as running:
        running.pods = [pod("shop", "db", main=[devices("example.com/nic", ["nic-0"], 1)])]
        (found,) = await kubelet.ask()
        assert (found.namespace, found.name, len(found.devices)) == ("shop", "db", 1)
        running.refusal = "rejected by rate limit"
        with pytest.raises(DevicesUnreadable, match="rejected by rate limit"):
            await kubelet.ask()
    assert observed == [True, False]


async def test_a_missing_socket_is_named_with_what_to_do(tmp_path):
    observed = Observed()
    with pytest.raises(DevicesUnreadable, match=r"pod-resources/kubelet\.sock is not a socket; "):
        await KubeletDevices(tmp_path, observed).ask()
    assert observed == []


async def test_a_socket_that_may_not_be_looked_at_is_told(tmp_path, monkeypatch):
    """suse-edge/charts#126: the reader of devices ended, and the pod waited without a reason."""

    def denied(path, **_):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("podnuma.agent.devices.kubelet.Path.stat", denied)
    with pytest.raises(DevicesUnreadable, match=r"kubelet\.sock cannot be looked at \(Permission denied\)"):
        await KubeletDevices(tmp_path, Observed()).ask()
