"""Live reads that no watch serves: what claims got, and where devices are, page by page."""

import tracemalloc
from typing import Any

import pytest
from podnuma.allocator import nodeset
from podnuma.api.asked_devices import NotKnown, SelectedDrivers
from podnuma.api.device_claims import AllocatedDevice
from podnuma.operator.cache.objects import ObjectKey
from podnuma.operator.watch.lister import ApiReader
from podnuma.plumbing.kube import errors

from testbed import dra

DRIVER = "gpu.example.com"
MIB = 2**20


class Pages:
    """A client that makes the slices of a node one page after the other, as a server sends them."""

    def __init__(self, slices: int, devices: int, expire: int = 0) -> None:
        self.slices, self.devices, self.expire = slices, devices, expire
        self.asked: list[dict[str, Any]] = []

    async def get(self, path: str) -> dict[str, Any]:
        self.asked.append({"path": path})
        return {"metadata": {"name": "gpus"}, "status": {"allocation": {"devices": {"results": []}}}}

    async def pages(self, path: str, *, size: int, query: dict[str, str] | None = None):
        self.asked.append({"path": path, "size": size, **(query or {})})
        if path.endswith("/resourceclaims"):
            yield [self._claim(number) for number in range(self.slices)], "1"
            return
        for start in range(0, self.slices, size):
            yield [self._slice(number) for number in range(start, min(start + size, self.slices))], "1"
            if self.expire:
                self.expire -= 1
                raise errors.GoneError(410, "Expired", "the continuation is too old")

    def _claim(self, number: int) -> dict[str, Any]:
        """Return a claim that has every other device of a slice."""
        devices = [f"gpu-{number}-{place}" for place in range(0, self.devices, 2)]
        results = [{"request": "gpu", "driver": DRIVER, "pool": "n1", "device": one} for one in devices]
        metadata = {"name": f"gpus-{number}", "namespace": "ml"}
        return {"metadata": metadata, "status": {"allocation": {"devices": {"results": results}}}}

    def _slice(self, number: int) -> dict[str, Any]:
        names = {f"gpu-{number}-{place}": place % 8 for place in range(self.devices)}
        made = dra.resource_slice(DRIVER, "n1", names)
        for device in made["spec"]["devices"]:
            device["attributes"] |= {f"example.com/a{place}": {"string": "x" * 40} for place in range(12)}
        made["spec"]["pool"]["resourceSliceCount"] = self.slices
        return made


def reader(pages: "Pages | Stored") -> ApiReader:
    return ApiReader(pages, page_size=500)  # type: ignore[arg-type]


WANTED = AllocatedDevice("gpu", DRIVER, "n1", "gpu-77-5")


async def test_ten_thousand_devices_in_a_hundred_slices_take_less_than_30_mib():
    pages = Pages(100, 100)
    tracemalloc.start()
    try:
        search = await reader(pages).search_devices("n1", frozenset({WANTED}))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert search.device(WANTED).nodes == nodeset.of([5])
    assert list(search.problems()) == []
    assert peak < 30 * MIB
    (asked,) = pages.asked
    assert asked["fieldSelector"] == "spec.nodeName=n1"


async def test_what_is_free_among_ten_thousand_devices_takes_less_than_30_mib():
    pages = Pages(100, 100)
    tracemalloc.start()
    try:
        inventory = await reader(pages).device_inventory()
        free = inventory.free("n1")
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # 100 devices per slice at eight NUMA nodes, of which those with even numbers are taken.
    counts = {1: 1300, 3: 1300, 5: 1200, 7: 1200}
    assert free == {DRIVER: {nodeset.of([numa]): count for numa, count in counts.items()}}
    assert len(inventory.allocated) == 100
    assert peak < 30 * MIB
    paths = [asked["path"] for asked in pages.asked]
    assert paths == [f"{dra.COLLECTION}/resourceslices", f"{dra.COLLECTION}/resourceclaims"]


async def test_a_list_of_all_slices_that_expires_is_begun_again():
    inventory = await reader(Pages(40, 2, expire=1)).device_inventory()
    assert sum(inventory.free("n1")[DRIVER].values()) == 40


async def test_what_a_claim_asks_for_and_its_class_are_read_by_name():
    pages = Pages(0, 0)
    found = await reader(pages).asking_claim(ObjectKey("ml", "gpus"))
    assert found == NotKnown("ResourceClaim gpus is allocated already")
    assert await reader(pages).device_class(DRIVER) == SelectedDrivers(frozenset())
    assert [asked["path"] for asked in pages.asked] == [
        f"{dra.COLLECTION}/namespaces/ml/resourceclaims/gpus",
        f"{dra.COLLECTION}/deviceclasses/{DRIVER}",
    ]


async def test_a_list_that_expires_is_begun_again():
    pages = Pages(40, 2, expire=2)
    wanted = AllocatedDevice("gpu", DRIVER, "n1", "gpu-39-1")
    search = await reader(pages).search_devices("n1", frozenset({wanted}))
    assert search.device(wanted).nodes == nodeset.of([1])
    assert len(pages.asked) == 3


async def test_a_list_that_always_expires_is_an_error():
    with pytest.raises(errors.GoneError):
        await reader(Pages(40, 2, expire=99)).search_devices("n1", frozenset({WANTED}))


async def test_a_claim_is_read_by_name():
    pages = Pages(0, 0)
    assert await reader(pages).allocated_devices(ObjectKey("ml", "gpus")) == ()
    assert pages.asked == [{"path": f"{dra.COLLECTION}/namespaces/ml/resourceclaims/gpus"}]


class Stored:
    """A client that has some objects by path."""

    def __init__(self, objects: dict[str, dict[str, Any]]) -> None:
        self.objects = objects

    async def get(self, path: str) -> dict[str, Any]:
        if path not in self.objects:
            raise errors.NotFoundError(404, "NotFound", path)
        found: dict[str, Any] = self.objects[path]
        return found


async def test_where_a_volume_can_be_is_read_of_its_claim_and_of_the_volume():
    claim, volume = "/api/v1/namespaces/db/persistentvolumeclaims/data", "/api/v1/persistentvolumes/pv-1"
    term = {"matchExpressions": [{"key": "zone", "operator": "In", "values": ["a"]}]}
    affinity = {"required": {"nodeSelectorTerms": [term]}}
    objects: dict[str, dict[str, Any]] = {
        claim: {"spec": {"volumeName": "pv-1"}},
        volume: {"spec": {"nodeAffinity": affinity}},
    }
    key = ObjectKey("db", "data")
    found = await reader(Stored(objects)).volume_terms(key)
    assert found is not None
    assert [term.labels[0].values for term in found] == [("a",)]
    assert await reader(Stored({claim: objects[claim]})).volume_terms(key) is None
    assert await reader(Stored({claim: {"spec": {}}})).volume_terms(key) is None
    assert await reader(Stored({})).volume_terms(key) is None
