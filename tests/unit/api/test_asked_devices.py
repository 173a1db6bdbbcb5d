"""What claims ask for: known where a driver and a number say it all, else not, with the reason in words."""

import pytest
from hypothesis import given
from podnuma.allocator.placement.device_wishes import AskedDevices
from podnuma.api.asked_devices import (
    AskingClaim,
    ClassRequest,
    NotKnown,
    SelectedDrivers,
    asked_devices,
    read_asking_claim,
    read_device_class,
    serving_classes,
)
from podnuma.api.device_claims import ClaimReference

from testbed import dra
from tests.unit.api.objects import junk

GPU = "gpu.example.com"
NOBODY = frozenset[str]()


def selects(*expressions):
    return [{"cel": {"expression": one}} for one in expressions]


def claim(devices=None, **exactly):
    value = dra.resource_claim("gpu", "lab", GPU, 2)
    value["spec"]["devices"]["requests"][0]["exactly"].update(exactly)
    value["spec"]["devices"].update(devices or {})
    return value


def class_of(*expressions):
    return {"metadata": {"name": GPU}, "spec": {"selectors": selects(*expressions)}}


def test_a_number_of_devices_of_a_class_is_known():
    assert read_asking_claim(claim()) == AskingClaim(
        "ResourceClaim lab/gpu", (ClassRequest("device", GPU, 2, NOBODY),)
    )
    defaults = claim()
    exactly = defaults["spec"]["devices"]["requests"][0]["exactly"]
    del exactly["count"], exactly["allocationMode"]
    found = read_asking_claim(defaults)
    assert isinstance(found, AskingClaim)
    assert found.requests[0].count == 1


@pytest.mark.parametrize(
    ("value", "why"),
    [
        (claim(allocationMode="All"), "request device has allocationMode All"),
        (claim(adminAccess=True), "request device has adminAccess"),
        (claim(capacity={"requests": {"memory": "1Gi"}}), "request device has capacity"),
        (claim(tolerations=[{"operator": "Exists"}]), "request device has tolerations"),
        (claim(count=0), "request device has no count"),
        (claim({"constraints": [{"matchAttribute": "a/b"}]}), "spec.devices.constraints are the scheduler's"),
        (claim({"requests": [{"name": "r", "firstAvailable": []}]}), "request r has alternatives"),
        (claim({"requests": []}), "spec.devices.requests names none"),
        (
            claim(selectors=selects("device.driver != 'a'")),
            "selector device.driver != 'a' is the scheduler's",
        ),
        ({**claim(), "status": {"allocation": {}}}, "ResourceClaim lab/gpu is allocated already"),
    ],
)
def test_every_other_form_is_not_known_and_says_why(value, why):
    found = read_asking_claim(value)
    assert isinstance(found, NotKnown)
    assert why in found.why
    assert found.why.startswith("ResourceClaim lab/gpu")


@pytest.mark.parametrize(
    "expression",
    [f'device.driver == "{GPU}"', f"device.driver=='{GPU}'", f'  device.driver  ==\n"{GPU}" '],
)
def test_a_class_that_selects_by_driver_alone_is_known(expression):
    assert read_device_class(class_of(expression)) == SelectedDrivers(frozenset({GPU}))


@pytest.mark.parametrize(
    "expression",
    [
        f'device.driver == "{GPU}" && device.capacity["m"].size > 1',
        f'device.driver == "{GPU}" || true',
        f'!(device.driver == "{GPU}")',
        f'"{GPU}" == device.driver',
        'device.driver == "a\\u0062"',
        f"device.driver == \"{GPU}'",
        "true",
        "",
    ],
)
def test_any_other_expression_of_a_class_is_not_known(expression):
    found = read_device_class(class_of(expression))
    assert isinstance(found, NotKnown)
    assert found.why.startswith(f"DeviceClass {GPU}: selector")


def test_class_and_request_together_have_to_name_one_driver():
    references = (ClaimReference("main", "gpu", "device"), ClaimReference("side", "gpu"))
    for own, of_class, answer in (
        ((), (GPU,), (AskedDevices(GPU, 2, frozenset({"main", "side"})),)),
        ((GPU,), (), (AskedDevices(GPU, 2, frozenset({"main", "side"})),)),
        ((), (), NotKnown("claim gpu: request device is for devices of any driver")),
        (("a",), ("b",), NotKnown("claim gpu: request device is for devices of a, b driver")),
    ):
        asking = AskingClaim("claim gpu", (ClassRequest("device", "c", 2, frozenset(own)),))
        found = asked_devices(references, {"gpu": asking}, {"c": SelectedDrivers(frozenset(of_class))})
        assert found == answer


def test_each_request_is_asked_for_once_whoever_uses_it():
    asking = AskingClaim("claim", tuple(ClassRequest(name, "c", 1, NOBODY) for name in ("a", "b")))
    references = (ClaimReference("main", "gpu", "a"), ClaimReference("side", "gpu", "a"))
    assert asked_devices(references, {"gpu": asking}, {"c": SelectedDrivers(frozenset({GPU}))}) == (
        AskedDevices(GPU, 1, frozenset({"main", "side"})),
        AskedDevices(GPU, 1, NOBODY),
    )


@given(spec=junk, status=junk)
def test_nothing_that_is_stored_makes_the_readers_raise(spec, status):
    value = {"metadata": {"name": "x"}, "spec": spec, "status": status}
    assert isinstance(read_asking_claim(value), AskingClaim | NotKnown)
    assert isinstance(read_device_class(value), SelectedDrivers | NotKnown)
    for requests in (spec, [spec], [{"name": "r", "exactly": spec}]):
        read_asking_claim({"spec": {"devices": {"requests": requests}}})
    read_device_class({"spec": {"selectors": spec}})


def serving(name, resource=None, created=""):
    spec = {} if resource is None else {"extendedResourceName": resource}
    return {"metadata": {"name": name, "creationTimestamp": created}, "spec": spec}


def test_of_classes_that_serve_one_resource_the_newest_counts_then_the_first_by_name():
    """As the scheduler chooses while one class replaces another."""
    gpu, own = "example.com/gpu", "deviceclass.resource.kubernetes.io/"
    early, late = "2026-11-01T00:00:00Z", "2026-11-02T00:00:00Z"
    for classes in (
        [serving("a", gpu, early), serving("b", gpu, late), serving("c", gpu, late)],
        [serving("c", gpu, late), serving("b", gpu, late), serving("a", gpu, early)],
    ):
        assert serving_classes(classes) == {gpu: "b", f"{own}a": "a", f"{own}b": "b", f"{own}c": "c"}
    assert serving_classes([serving("plain"), {"metadata": {}}, {}]) == {f"{own}plain": "plain"}
