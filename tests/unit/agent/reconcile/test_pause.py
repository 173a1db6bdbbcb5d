import json

import pytest
from podnuma.agent.model.containers import Container
from podnuma.agent.reconcile import pause


def container(namespace="team-a", name="c", uid="u", *, ended=False):
    return Container(
        namespace=namespace, pod_name="p", pod_uid=uid, name=name, id="i", started=None, ended=ended
    )


def test_a_static_kubelet_is_found_by_its_state_file(tmp_path):
    assert pause.static_kubelet(tmp_path) is None
    state = tmp_path / "cpu_manager_state"
    for text in ('{"policyName":"none"}', "", "[]", "{", '{"policyName":1}'):
        state.write_text(text)
        assert pause.static_kubelet(tmp_path) is None
    state.write_text(json.dumps({"policyName": "static"}))
    assert f'{state} says policyName "static"' in (pause.static_kubelet(tmp_path) or "")


def test_a_static_memory_manager_is_found_too(tmp_path):
    (tmp_path / "memory_manager_state").write_text('{"policyName":"Static"}')
    assert "memoryManagerPolicy: None" in (pause.static_kubelet(tmp_path) or "")


@pytest.mark.parametrize(
    ("file", "policy"), [("cpu_manager_state", "static"), ("memory_manager_state", "Static")]
)
def test_a_state_file_may_have_its_content_as_a_text(tmp_path, file, policy):
    """As from v1.37 on, there with a copy beside it for older kubelets: kubernetes/kubernetes#139069."""
    state = tmp_path / file
    data = json.dumps({"policyName": policy})
    for content in ({"data": data}, {"policyName": policy, "checksum": 1, "data": data, "dataChecksum": 2}):
        state.write_text(json.dumps(content))
        assert f'{state} says policyName "{policy}"' in (pause.static_kubelet(tmp_path) or "")
    for nothing in ('{"policyName":"none"}', "", "{", "[]"):
        state.write_text(json.dumps({"data": nothing}))
        assert pause.static_kubelet(tmp_path) is None


def test_other_pinners_are_named_by_their_containers():
    names = ["nginx", "nri-resource-policy-balloons", "koordlet", "dracpu"]
    assert pause.other_managers(names) == ("dra-driver-cpu", "koordlet", "nri-plugins")
    assert pause.other_managers(["nginx", "agent"]) == ()


@pytest.mark.parametrize(
    ("name", "manager"),
    [("dramemory", "dra-driver-memory"), ("cri-resmgr-agent", "CRI Resource Manager")],
)
def test_one_that_pins_memory_alone_or_runs_outside_of_a_pod_is_named_too(name, manager):
    assert pause.other_managers([name]) == (manager,)


def test_the_webhook_of_a_manager_does_not_pin():
    """It may run on any node, also on one without that manager."""
    assert pause.other_managers(["cri-resmgr-webhook"]) == ()


@pytest.mark.parametrize(
    ("namespace", "name", "pauses"),
    [
        ("kube-system", "nri-resource-policy-balloons", True),
        ("koordinator-system", "koordlet", True),
        ("team-a", "koordlet", False),
        ("team-a", "my-dracpu-test", False),
    ],
)
def test_no_tenant_can_pause_a_node_by_the_name_of_a_container(tmp_path, namespace, name, pauses):
    (tmp_path / "pods/u").mkdir(parents=True)
    found = pause.pause_reason(tmp_path, [container(namespace=namespace, name=name)])
    assert (found is not None) == pauses


def test_a_folder_that_is_not_the_kubelets_is_none_to_go_by(tmp_path):
    """A storage driver made it; the kubelet, which may be static, has another: kubevirt/kubevirt#16346."""
    (tmp_path / "plugins/csi.example").mkdir(parents=True)
    running = [container(uid="u1"), container(uid="u2")]
    for _ in range(2):
        assert "pods has none of the pods that run here" in (pause.pause_reason(tmp_path, running) or "")
        assert "/var/lib/k0s/kubelet" in (pause.pause_reason(tmp_path, running) or "")
        (tmp_path / "pods/of-another").mkdir(parents=True, exist_ok=True)
    (tmp_path / "pods/u2").mkdir()
    assert pause.pause_reason(tmp_path, running) is None


def test_a_folder_that_cannot_be_looked_into_may_be_the_kubelets(tmp_path, monkeypatch):
    def forbidden(path):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("podnuma.agent.reconcile.pause.os.listdir", forbidden)
    assert pause.pause_reason(tmp_path, [container()]) is None


def test_a_state_file_that_may_not_be_read_may_be_that_of_a_static_kubelet(tmp_path, monkeypatch):
    """containerd/nri#219: under SELinux root may not read what is there."""

    def denied(path, _):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("podnuma.agent.reconcile.pause.Path.open", denied)
    why = pause.pause_reason(tmp_path, [container()]) or ""
    assert "cpu_manager_state cannot be read (Permission denied)" in why
    assert "agent.seLinuxType" in why


def test_a_folder_of_pods_that_lies_elsewhere_says_nothing(tmp_path):
    """kubernetes/kubernetes#79093: a link to a larger disk leads out of what an agent has mounted."""
    (tmp_path / "pods").symlink_to("/no/such/disk")
    assert pause.pause_reason(tmp_path, [container()]) is None


def test_a_node_on_which_nothing_runs_tells_nothing_about_the_kubelets_folder(tmp_path):
    assert pause.pause_reason(tmp_path, []) is None
    assert pause.pause_reason(tmp_path, [container(ended=True)]) is None


def test_a_simulated_node_has_no_kubelet(tmp_path):
    assert pause.pause_reason(tmp_path, [container()], simulated=True) is None
