"""What the API server refuses of the resources of a pod beside the amounts that ``pod.read_pod`` reads.

names        a container has cpu, memory, ephemeral-storage, hugepages-SIZE, or a name with a domain; a
             budget has none but cpu, memory and hugepages-SIZE
amounts      of what has a domain, such as GPUs, whole numbers; of huge pages whole pages
limits       a request is at most the limit, and just the limit where nothing may be overcommitted
huge pages   not without CPU or memory
claims       those that the pod names; a budget has none

``fractions_of_bytes`` says what it takes with a warning: ``memory: 512m`` is half a byte.
"""

from collections.abc import Iterator
from typing import Any, Final

from podnuma.allocator import Quantity
from podnuma.allocator.quantities import NANO
from podnuma.allocator.request import CPU, HUGEPAGES, MEMORY, is_memory
from podnuma.api.quantity import read_quantity
from podnuma.api.selector import is_label_key
from podnuma.api.stored_json import Json, as_object, as_objects

_STORAGE: Final = "ephemeral-storage"
_STANDARD: Final = (CPU, MEMORY, _STORAGE)
_MEBI: Final = 2**20
_NATIVE: Final = "kubernetes.io/"
_QUOTA: Final = "requests."


def refused_resources(spec: Json) -> Iterator[str]:
    """Yield why the API server refuses a pod with this spec, which has its defaults."""
    claims = {claim.get("name") for claim in as_objects(spec.get("resourceClaims"))}
    for part in ("initContainers", "containers"):
        for index, one in enumerate(as_objects(spec.get(part))):
            where = f"spec.{part}[{index}].resources"
            resources = as_object(one.get("resources"))
            yield from _refused(resources, where, in_budget=False)
            for number, claim in enumerate(as_objects(resources.get("claims"))):
                if claim.get("name") not in claims:
                    yield f"{where}.claims[{number}]: spec.resourceClaims has no {claim.get('name')}"
    budget = as_object(spec.get("resources"))
    yield from _refused(budget, "spec.resources", in_budget=True)
    if budget.get("claims"):
        yield "spec.resources.claims: only containers have claims"
    if spec.get("resources") is not None and as_object(spec.get("os")).get("name") == "windows":
        yield "spec.resources: a pod for Windows has none; give its containers theirs"


def fractions_of_bytes(spec: Json) -> Iterator[str]:
    """Yield each amount of memory or storage in the spec of a pod that is not whole bytes."""
    places = [
        (f"spec.{part}[{index}].resources", as_object(one.get("resources")))
        for part in ("initContainers", "containers")
        for index, one in enumerate(as_objects(spec.get(part)))
    ]
    for where, resources in (*places, ("spec.resources", as_object(spec.get("resources")))):
        for field in ("limits", "requests"):
            for name in (MEMORY, _STORAGE):
                written = as_object(resources.get(field)).get(name)
                if wrong := _fraction(written):
                    yield f"{where}.{field}[{name}]: {wrong}"


def _fraction(written: Any) -> str:
    try:
        amount = _amount(written)
    except ValueError:
        return ""
    if amount.nano % NANO == 0:
        return ""
    digits = str(written).removesuffix("m")
    if digits != str(written) and amount.units < _MEBI:
        return f"{written} is {digits} thousandths of a byte; did you mean {digits}Mi?"
    return f"{written} is not a whole number of bytes; write {-(-amount.units // _MEBI)}Mi"


def _refused(resources: Json, where: str, *, in_budget: bool) -> Iterator[str]:
    requests, limits = (as_object(resources.get(name)) for name in ("requests", "limits"))
    for field, amounts in (("limits", limits), ("requests", requests)):
        for name, value in amounts.items():
            wrong = (_wrong_in_budget if in_budget else _wrong_name)(name)
            wrong = wrong or _wrong_amount(name, value)
            if wrong:
                yield f"{where}.{field}[{name}]: {wrong}"
    for name, value in requests.items():
        if wrong := _wrong_beside_limit(name, value, limits):
            yield f"{where}.requests[{name}]: {wrong}"
    named = {*requests, *limits}
    if named.isdisjoint((CPU, MEMORY)) and any(name.startswith(HUGEPAGES) for name in named):
        yield f"{where}: huge pages are not given without cpu or memory; ask for one of them, too"


def _wrong_in_budget(name: str) -> str:
    if name in (CPU, MEMORY) or name.startswith(HUGEPAGES):
        return ""
    return "is not a pod-level resource; only cpu, memory and hugepages-<size> are"


def _wrong_name(name: str) -> str:
    if name in _STANDARD or (name.startswith(HUGEPAGES) and is_label_key(name)):
        return ""
    if "/" not in name:
        near = next((one for one in _STANDARD if name.lower() in one), "")
        meant = f"; did you mean {near}?" if near else f"; {', '.join(_STANDARD)} need no domain, others do"
        return f"no resource has this name{meant}"
    longer = name if _is_native(name) else _QUOTA + name
    return "" if is_label_key(longer) and not name.startswith(_QUOTA) else "is not the name of a resource"


def _wrong_amount(name: str, value: Any) -> str:
    try:
        amount = _amount(value)
    except ValueError as error:
        return str(error)
    if name.startswith(HUGEPAGES) and not _is_whole_pages(name, amount):
        return f"{value} is not a whole number of pages of {name.removeprefix(HUGEPAGES)}"
    if not _is_native(name) and not amount.integral:
        return f"{value} is not a whole number"
    return ""


def _is_whole_pages(name: str, amount: Quantity) -> bool:
    try:
        page = read_quantity(name.removeprefix(HUGEPAGES))
    except ValueError:
        return False
    return page.nano > 0 and page.integral and amount.units % page.units == 0


def _wrong_beside_limit(name: str, value: Any, limits: Json) -> str:
    """Say what is wrong with a request; `pod.read_pod` compares those of CPU and memory."""
    if name == CPU or is_memory(name):
        return ""
    try:
        amount, limit = _amount(value), _amount(limits[name]) if name in limits else None
    except ValueError:
        return ""
    if _is_native(name):
        above = limit is not None and amount.nano > limit.nano
        return f"{value} is more than the limit, {limits[name]}; lower it" if above else ""
    if limit is None:
        return "it cannot be overcommitted, and there is no limit; set limits to the same"
    same = amount.nano == limit.nano
    return "" if same else f"{value} is not the limit, {limits[name]}; it cannot be overcommitted"


def _is_native(name: str) -> bool:
    return "/" not in name or _NATIVE in name


def _amount(value: Any) -> Quantity:
    return read_quantity(0 if value is None else value)
