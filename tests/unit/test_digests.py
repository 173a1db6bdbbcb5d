"""Digests are made by functions that every Python has: where FIPS 140 is in force it has few."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("allocator", "api", "cli", "node-agent", "operator", "plumbing")
REFUSED = re.compile(r"\b(blake2[bs]|md5|sha1)\b")


@pytest.mark.parametrize("package", PACKAGES)
def test_no_digest_is_asked_for_that_fips_mode_refuses(package):
    """Pythons of such systems have no BLAKE2 to import: every command ended in a traceback."""
    sources = list((ROOT / package).rglob("*.py"))
    assert sources
    assert [str(path) for path in sources if REFUSED.search(path.read_text(encoding="utf-8"))] == []
