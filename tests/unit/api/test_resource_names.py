"""What of resources the API server refuses beside CPU and memory."""

import pytest
from podnuma.api.pod_admission import AdmissionPolicies
from podnuma.api.resource_names import fractions_of_bytes, refused_resources


def of_container(requests=None, limits=None, **spec):
    """Return why a pod with one container of these resources is refused, its defaults filled in."""
    resources = {"requests": requests, "limits": limits}
    pod = {"spec": {"containers": [{"name": "c", "resources": resources}], **spec}}
    return list(refused_resources(AdmissionPolicies().admit(pod)["spec"]))


WHERE = "spec.containers[0].resources"


@pytest.mark.parametrize(
    "limits",
    [
        {"cpu": "4", "memory": "1Gi", "ephemeral-storage": "10Gi"},
        {"cpu": 1, "hugepages-2Mi": "4Mi", "hugepages-1Gi": None},
        {"nvidia.com/gpu": 1, "example.com/a.b_c": "2k", "kubernetes.io/batch-cpu": "1500m"},
        {},
    ],
)
def test_what_kubernetes_knows_is_taken(limits):
    assert of_container(limits=limits) == []


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("CPU", "no resource has this name; did you mean cpu?"),
        ("Memory", "no resource has this name; did you mean memory?"),
        ("mem", "no resource has this name; did you mean memory?"),
        ("gpu", "no resource has this name; cpu, memory, ephemeral-storage need no domain, others do"),
        (
            "requests.cpu",
            "no resource has this name; cpu, memory, ephemeral-storage need no domain, others do",
        ),
        ("Nvidia.com/gpu", "is not the name of a resource"),
        ("nvidia.com/", "is not the name of a resource"),
        ("requests.nvidia.com/gpu", "is not the name of a resource"),
        ("a/b/c", "is not the name of a resource"),
    ],
)
def test_a_name_that_no_resource_has_is_refused(name, said):
    assert of_container(limits={"cpu": 1, name: 1}) == [
        f"{WHERE}.{field}[{name}]: {said}" for field in ("limits", "requests")
    ]


@pytest.mark.parametrize(
    ("name", "amount", "said"),
    [
        ("nvidia.com/gpu", 0.5, "0.5 is not a whole number"),
        ("nvidia.com/gpu", "500m", "500m is not a whole number"),
        ("nvidia.com/gpu", "one", "'one' is not a quantity such as 4, 1500m or 16Gi"),
        ("ephemeral-storage", "10GB", "'10GB' is not a quantity such as 4, 1500m or 16Gi"),
        ("hugepages-2Mi", "3Mi", "3Mi is not a whole number of pages of 2Mi"),
        ("hugepages-big", "4Mi", "4Mi is not a whole number of pages of big"),
        ("hugepages-0", "4Mi", "4Mi is not a whole number of pages of 0"),
    ],
)
def test_an_amount_that_cannot_be_given_is_refused(name, amount, said):
    assert of_container(limits={"cpu": 1, name: amount}) == [
        f"{WHERE}.{field}[{name}]: {said}" for field in ("limits", "requests")
    ]


def test_what_cannot_be_overcommitted_has_a_limit_and_requests_just_that():
    """volcano-sh/kthena#576."""
    name = "huawei.com/ascend-1980"
    assert of_container({name: "6"}, {name: "8"}) == [
        f"{WHERE}.requests[{name}]: 6 is not the limit, 8; it cannot be overcommitted"
    ]
    assert of_container({name: "6"}, {"cpu": 1}) == [
        f"{WHERE}.requests[{name}]: it cannot be overcommitted, and there is no limit; set limits to the same"
    ]
    assert of_container({name: "8000m"}, {name: "8"}) == []
    assert of_container({"ephemeral-storage": "1Gi"}, {"ephemeral-storage": "2Gi"}) == []
    assert of_container({"ephemeral-storage": "3Gi"}, {"ephemeral-storage": "2Gi"}) == [
        f"{WHERE}.requests[ephemeral-storage]: 3Gi is more than the limit, 2Gi; lower it"
    ]


def test_huge_pages_need_cpu_or_memory():
    said = "huge pages are not given without cpu or memory; ask for one of them, too"
    assert of_container(limits={"hugepages-2Mi": "4Mi"}) == [f"{WHERE}: {said}"]


@pytest.mark.parametrize("name", ["nvidia.com/gpu", "ephemeral-storage", "CPU"])
def test_a_budget_has_only_what_can_be_shared(name):
    budget = {"limits": {"cpu": "4", "hugepages-2Mi": "4Mi", name: 1}}
    said = "is not a pod-level resource; only cpu, memory and hugepages-<size> are"
    assert of_container(resources=budget)[0] == f"spec.resources.limits[{name}]: {said}"


def test_claims_are_of_containers_and_those_that_the_pod_names():
    pod = {
        "resourceClaims": [{"name": "gpu"}],
        "containers": [{"name": "c", "resources": {"claims": [{"name": "gpu"}, {"name": "nic"}]}}],
        "resources": {"limits": {"cpu": 1}, "claims": [{"name": "gpu"}]},
    }
    assert list(refused_resources(pod)) == [
        f"{WHERE}.claims[1]: spec.resourceClaims has no nic",
        "spec.resources.claims: only containers have claims",
    ]


def test_a_pod_for_windows_has_no_budget():
    assert list(refused_resources({"os": {"name": "windows"}, "resources": {}})) == [
        "spec.resources: a pod for Windows has none; give its containers theirs"
    ]


@pytest.mark.parametrize("junk", [{}, {"containers": 7}, {"containers": [7], "resources": [], "os": 1}])
def test_what_cannot_be_read_is_not_refused_here(junk):
    assert list(refused_resources(junk)) == []


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("512m", "512m is 512 thousandths of a byte; did you mean 512Mi?"),
        ("1.1Gi", "1.1Gi is not a whole number of bytes; write 1127Mi"),
        ("1181116006400m", "1181116006400m is not a whole number of bytes; write 1127Mi"),
        ("1.5Gi", ""),
        ("2000m", ""),
        ("64Mi", ""),
        ("much", ""),
        (None, ""),
    ],
)
def test_amounts_that_are_no_whole_bytes_are_told(written, told):
    resources = {"limits": {"memory": written, "cpu": "1500m"}}
    where = ".resources.limits[memory]: "
    spec = {"containers": [{"resources": resources}], "resources": resources}
    wanted = [f"spec.containers[0]{where}{told}", f"spec{where}{told}"] if told else []
    assert list(fractions_of_bytes(spec)) == wanted
