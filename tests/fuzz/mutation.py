"""Changed copies of JSON values and of texts: what tenants, editors and broken disks make of them."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

TEXTS = (
    "",
    "0",
    "-1",
    "00",
    "0-",
    "-",
    "3-1",
    "0-4294967295",
    "1,1,1-1",
    "1e3",
    "1E-9",
    "1e999999999",
    "9" * 40,
    "0.0000000001",
    "100m",
    "1500m",
    "1Ki",
    "16Gi",
    "8Ei",
    "9223372036854775807",
    "9223372036854775808",
    "NaN",
    "+5",
    " 5",
    "٣",
    "\u202e",
    "\ud800",
    "\x00",
    "a" * 300,
    "podnuma.dev/resources",
    "hugepages-2Mi",
    "hugepages-0Mi",
    "cpu",
    "memory",
    "Guaranteed",
    "Burstable",
    "static",
    "none",
    "{",
    "[]",
)
_BIG = 2**63
NUMBERS = (0, 1, -1, 2, 255, 2**31, _BIG - 1, _BIG, -_BIG, 10**30, 0.5, 1e300, float("inf"), float("nan"))


def changed(value: Any, rng: random.Random) -> Any:
    """Return a copy with one to four changes at any depth."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice((1, 1, 2, 4))):
        value = _change_tree(value, rng) if isinstance(value, dict | list) else change_scalar(value, rng)
    return value


def change_scalar(value: Any, rng: random.Random) -> Any:
    """Return another scalar, or a text with a few characters changed."""
    if isinstance(value, str) and rng.random() < 0.6:
        return change_text(value, rng)
    return rng.choice((rng.choice(TEXTS), rng.choice(NUMBERS), None, True, {}, []))


def change_text(text: str, rng: random.Random) -> str:
    """Insert, remove, repeat or replace a piece of a text."""
    start = rng.randint(0, len(text))
    end = min(len(text), start + rng.choice((0, 1, 1, 3, 20)))
    match rng.randrange(4):
        case 0:
            piece = rng.choice(TEXTS)
        case 1:
            piece = text[start:end] * rng.choice((2, 3, 200))
        case 2:
            piece = chr(rng.choice((rng.randrange(128), rng.randrange(0xD7FF), 0x202E, 0x1F600)))
        case _:
            piece = ""
    return text[:start] + piece + text[end:]


def _change_tree(value: Any, rng: random.Random) -> Any:
    places = list(_places(value))
    if not places:
        return {rng.choice(TEXTS): rng.choice(NUMBERS)}
    holder, key = rng.choice(places)
    match rng.randrange(8):
        case 0:
            del holder[key]
        case 1:
            other, name = rng.choice(places)
            holder[key] = copy.deepcopy(other[name])
        case 2 if isinstance(holder, dict):
            holder[rng.choice(TEXTS)] = copy.deepcopy(holder[key])
        case 2 | 3 if isinstance(holder, list):
            holder.extend(copy.deepcopy(holder[key]) for _ in range(rng.choice((1, 2, 600))))
        case 4 if isinstance(holder[key], str) and holder[key][:1] == "{":
            # JSON within a text, as in annotations.
            try:
                holder[key] = json.dumps(changed(json.loads(holder[key]), rng))
            except ValueError:
                holder[key] = change_text(holder[key], rng)
        case _:
            holder[key] = change_scalar(holder[key], rng)
    return value


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    todo = [value]
    while todo:
        here = todo.pop()
        keys = list(here) if isinstance(here, dict) else range(len(here))
        # Of a long list the ends are enough.
        for key in keys if len(keys) < 40 else [*list(keys)[:20], *list(keys)[-5:]]:
            yield here, key
            if isinstance(here[key], dict | list):
                todo.append(here[key])
