"""What is said when Debian's packages cannot be had, and what is taken instead where that is allowed."""

import pytest

from deploy import debian

ZLIB = debian.Package("amd64", "zlib1g", "1:1.3", "0" * 64, "debian/pool/main/z/zlib/zlib1g_1.3_amd64.deb")
NEWER = debian.Package("amd64", "zlib1g", "1:1.4", "1" * 64, "debian/pool/main/z/zlib/zlib1g_1.4_amd64.deb")


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A mirror in a folder, fetched from by a stand-in for apt-helper that copies."""
    monkeypatch.setenv("PODNUMA_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PODNUMA_DEBIAN_MIRROR", f"{tmp_path}/mirror/{{}}/20261129")
    helper = tmp_path / "apt-helper"
    helper.write_text('#!/bin/sh\ncp "$2" "$3"\n')
    helper.chmod(0o755)
    monkeypatch.setattr(debian, "_APT_HELPER", helper)
    monkeypatch.setattr(debian, "pinned", lambda _: [ZLIB])
    monkeypatch.setattr(debian, "newest", lambda _: [NEWER])
    return tmp_path / "mirror" / "debian" / "20261129"


def put(mirror, package):
    path = mirror / package.place.removeprefix("debian/")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(package.version)


def test_a_package_is_fetched_once(mirror):
    put(mirror, ZLIB)
    (first,) = debian.fetch("amd64")
    assert first.read_text() == ZLIB.version
    (mirror / ZLIB.place.removeprefix("debian/")).unlink()
    assert debian.fetch("amd64") == [first]


def test_a_version_that_is_gone_is_named_with_what_to_do(mirror):
    put(mirror, NEWER)
    with pytest.raises(debian.GoneError) as told:
        debian.fetch("amd64")
    for part in (
        "zlib1g 1:1.3 (amd64)",
        "debian-packages.txt",
        "PODNUMA_DEBIAN_MIRROR",
        "python -m deploy.debian",
    ):
        assert part in str(told.value)


def test_where_that_is_allowed_todays_version_is_taken_and_said(mirror, capsys):
    put(mirror, NEWER)
    (found,) = debian.fetch("amd64", newest_if_gone=True)
    assert found.read_text() == NEWER.version
    assert "zlib1g 1:1.3" in capsys.readouterr().err


@pytest.mark.usefixtures("mirror")
def test_without_apt_the_other_way_to_build_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(debian, "_APT_HELPER", tmp_path / "absent")
    with pytest.raises(debian.PackageError, match="docker build -f deploy/Containerfile"):
        debian.fetch("amd64", newest_if_gone=True)


def test_the_list_pins_every_package_of_every_architecture_by_hash():
    for architecture in debian.MACHINES:
        found = debian.pinned(architecture)
        assert sorted(package.name for package in found) == sorted(debian.PACKAGES)
        assert {len(package.sha256) for package in found} == {64}
