"""Debian packages as files below a folder, without root: what the image and the kubectl plugin stand on.

    debian-packages.txt     architecture, name, version, SHA-256 and place of each: what is unpacked
    apt-helper              fetches them from the mirror of this machine, or PODNUMA_DEBIAN_MIRROR
    $PODNUMA_CACHE/debian   keeps them by their hash
    unpack                  lays their files below a folder and writes dpkg's database there

The same lines give the same files on every machine. debootstrap would need root, and brings a shell, Perl and
a package manager, which nothing here runs; so packages are unpacked, and their scripts are not run. dpkg's
database lists exactly these packages and the files that are there, so that scanners and `dpkg --verify` see
what is true. Left out are pages and translations (copyright files stay), and modules of Python whose library
is not among the packages.

A mirror keeps the newest version of a package only. When a pinned one is gone, name a mirror that keeps all
(`PODNUMA_DEBIAN_MIRROR='https://HOST/archive/{}/DATE'`, where {} becomes debian or debian-security), or write
the list anew: `python -m deploy.debian`.
"""

import io
import os
import platform
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from testbed.build import cache_folder

LOCK = Path(__file__).parent / "debian-packages.txt"
SUITE = "trixie"
# The architectures of images, by Debian's names, and what the kernel and GNU call them.
MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
PACKAGES = (
    *("base-files", "ca-certificates", "netbase"),
    *("python3.13-minimal", "libpython3.13-minimal", "libpython3.13-stdlib"),
    *("libc6", "libgcc-s1", "gcc-14-base", "libstdc++6"),
    *("libbz2-1.0", "libexpat1", "libffi8", "liblzma5", "libssl3t64", "libuuid1", "libzstd1", "zlib1g"),
)
PYTHON = "python3.13"
_APT_HELPER = Path("/usr/lib/apt/apt-helper")
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_LEFT_OUT = re.compile(
    r"usr/share/(man|locale|lintian|bug|doc-base|info|gcc|gdb|applications|pixmaps)/.+"
    r"|usr/share/doc/[^/]+/(?!copyright$).+"
    r"|usr/lib/python3\.\d+/lib-dynload/(_curses|_dbm|_gdbm|_sqlite3|_tkinter|_test|_ctypes_test|_?xx|readline)"
    r"\w*\..+"
)
_INFO = "var/lib/dpkg/info"
AUTHORITIES = "etc/ssl/certs/ca-certificates.crt"


class PackageError(RuntimeError):
    """Packages cannot be had; the text says what to do."""


class GoneError(PackageError):
    """A mirror does not have a pinned version any more."""


@dataclass(frozen=True, slots=True)
class Package:
    """One line of the list; `place` is archive/path, as in debian/pool/main/z/zlib/zlib1g_1.3_amd64.deb."""

    architecture: str
    name: str
    version: str
    sha256: str
    place: str


def own_architecture() -> str:
    """Return Debian's and the images' name of this machine's architecture."""
    here = platform.machine()
    found = [name for name, machine in MACHINES.items() if machine == here]
    if not found:
        raise PackageError(f"this is built on {' or '.join(MACHINES.values())}, not on {here}")
    return found[0]


def pinned(architecture: str) -> list[Package]:
    """Return what the list pins for an architecture."""
    lines = [line.split() for line in LOCK.read_text().splitlines() if not line.startswith("#")]
    return [Package(*words) for words in lines if words[0] == architecture]


def fetch(architecture: str, *, newest_if_gone: bool = False) -> list[Path]:
    """Return the files of all packages, from the cache or a mirror.

    newest_if_gone: take what Debian has today, and say so, when a mirror lacks a pinned version.
    """
    try:
        return [_fetch(package) for package in pinned(architecture)]
    except GoneError as gone:
        if not newest_if_gone:
            raise
        sys.stderr.write(f"{gone}\nbuilding with today's versions instead\n")
        return [_fetch(package) for package in newest(architecture)]


def _fetch(package: Package) -> Path:
    kept = cache_folder() / "debian" / f"{package.name}-{package.sha256}.deb"
    if kept.exists():
        return kept
    if not _APT_HELPER.exists():
        raise PackageError(
            f"{_APT_HELPER} is missing, which fetches {package.name}: build on Debian or Ubuntu, or with "
            "Docker or Podman (docker build -f deploy/Containerfile .)"
        )
    archive, _, path = package.place.partition("/")
    url = f"{_mirror().format(archive)}/{urllib.parse.quote(path)}"
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        target = Path(scratch) / kept.name
        words: list[str | Path] = [_APT_HELPER, "download-file", url, target, f"SHA256:{package.sha256}"]
        done = subprocess.run([*words, "-oAPT::Sandbox::User="], check=False, capture_output=True, text=True)
        if done.returncode != 0 or not target.exists():
            raise GoneError(
                f"{package.name} {package.version} ({package.architecture}) of {LOCK.name} was not had from "
                f"{url}: name a mirror that keeps all versions (PODNUMA_DEBIAN_MIRROR), or write the list "
                f"anew (python -m deploy.debian)\n{done.stderr.strip()}"
            )
        target.rename(kept)
    return kept


def _mirror() -> str:
    """Return where archives are, with {} for an archive's name."""
    named = os.environ.get("PODNUMA_DEBIAN_MIRROR")
    if named:
        return named
    # Of all ways to ask apt only this one needs no lists, which a fresh machine has not fetched yet.
    asked = ["apt-get", "--print-uris", "update"]
    printed = subprocess.run(asked, check=True, capture_output=True, text=True).stdout
    found = re.search(r"^'(\S+)/debian/dists/", printed, re.MULTILINE)
    if found:
        return f"{found[1]}/{{}}"
    raise PackageError(
        "no source of apt on this machine is a Debian archive: name one, "
        "as in PODNUMA_DEBIAN_MIRROR='https://HOST/{}', where {} becomes debian or debian-security"
    )


def newest(architecture: str) -> list[Package]:
    """Return the versions that Debian has today, by apt's own choice, with signatures checked."""
    mirror = _mirror()
    with tempfile.TemporaryDirectory() as scratch:
        apt = _private_apt(Path(scratch), architecture, mirror)
        subprocess.run(["apt-get", "update", "-qq"], check=True, env=apt)
        asked = ["apt-get", "download", "--print-uris", *PACKAGES]
        lines = subprocess.run(asked, check=True, capture_output=True, text=True, env=apt).stdout.splitlines()
    return sorted((_offered(architecture, mirror, line) for line in lines), key=lambda found: found.name)


def _private_apt(folder: Path, architecture: str, mirror: str) -> dict[str, str]:
    """Return the environment of an apt that knows one suite and nothing of this machine's packages."""
    (folder / "lists" / "partial").mkdir(parents=True)
    (folder / "status").touch()
    signed = f"deb [signed-by={_KEYRING}]"
    (folder / "sources.list").write_text(
        f"{signed} {mirror.format('debian')} {SUITE} main\n"
        f"{signed} {mirror.format('debian-security')} {SUITE}-security main\n"
    )
    settings = {
        "APT::Architecture": architecture,
        "APT::Architectures": architecture,
        "APT::Sandbox::User": "",
        "Acquire::Languages": "none",
        "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled": "false",
        "Dir::State": folder,
        "Dir::State::Lists": folder / "lists",
        "Dir::State::Status": folder / "status",
        "Dir::Cache": folder / "cache",
        "Dir::Etc::SourceList": folder / "sources.list",
        "Dir::Etc::SourceParts": "/dev/null",
    }
    configured = folder / "apt.conf"
    configured.write_text("".join(f'{name} "{value}";\n' for name, value in settings.items()))
    return {**os.environ, "APT_CONFIG": str(configured)}


_URI = re.compile(r"'(\S+)' (\S+)_(\S+)_\w+\.deb \d+ SHA256:(\w{64})")


def _offered(architecture: str, mirror: str, line: str) -> Package:
    found = _URI.fullmatch(line)
    if found is None:
        raise PackageError(f"apt-get printed {line!r}, which is no address of a package with its SHA-256")
    url, name, version, sha256 = found.groups()
    for archive in ("debian", "debian-security"):
        path = urllib.parse.unquote(url).removeprefix(mirror.format(archive) + "/")
        if path != urllib.parse.unquote(url):
            return Package(architecture, name, urllib.parse.unquote(version), sha256, f"{archive}/{path}")
    raise PackageError(f"{name} comes from {url}, which is not below {mirror}")


def unpack(archives: list[Path], tree: Path) -> None:
    """Lay the packages' files below a folder, with dpkg's database of them."""
    status = []
    for archive in sorted(archives):
        control = dict(_control(archive))
        paths = _lay_out(archive, tree)
        status.append(_installed(control["control"]))
        name, architecture = (_field(control["control"], field) for field in ("Package", "Architecture"))
        same = _field(control["control"], "Multi-Arch") == "same"
        stem = f"{_INFO}/{name}{f':{architecture}' if same else ''}"
        write(tree / f"{stem}.list", "".join(f"/{path}\n" for path in [".", *paths]))
        sums = control.get("md5sums", "").splitlines()
        kept = [line for line in sums if line.partition("  ")[2] in paths]
        write(tree / f"{stem}.md5sums", "".join(f"{line}\n" for line in kept))
    write(tree / _INFO / "format", "1\n")
    write(tree / "var/lib/dpkg/status", "\n".join(sorted(status)))
    certificates = sorted((tree / "usr/share/ca-certificates").rglob("*.crt"))
    # What the package's own script would write.
    write(tree / AUTHORITIES, "".join(path.read_text() for path in certificates))
    # OpenSSL looks only here. The link is of its program's package, which nothing else here needs.
    (tree / "usr/lib/ssl").mkdir(parents=True, exist_ok=True)
    (tree / "usr/lib/ssl/cert.pem").symlink_to(f"/{AUTHORITIES}")


def _control(archive: Path) -> Iterator[tuple[str, str]]:
    done = subprocess.run(["dpkg-deb", "--ctrl-tarfile", archive], check=True, capture_output=True)
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        for member in tar:
            content = tar.extractfile(member)
            if content is not None and Path(member.name).name in {"control", "md5sums"}:
                yield Path(member.name).name, content.read().decode()


def _lay_out(archive: Path, tree: Path) -> list[str]:
    """Extract what is wanted of a package's files; return their paths."""
    done = subprocess.run(["dpkg-deb", "--fsys-tarfile", archive], check=True, capture_output=True)
    paths = []
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as tar:
        for member in tar:
            path = member.name.removeprefix("./").rstrip("/")
            if path in {"", "."} or _LEFT_OUT.fullmatch(path):
                continue
            paths.append(path)
            # Whoever unpacks owns the files, and has to be able to write what comes next.
            member.mode |= 0o700 if member.isdir() else 0o600
            tar.extract(member, tree, filter="fully_trusted")
    return paths


def _installed(control: str) -> str:
    first, _, rest = control.rstrip().partition("\n")
    return f"{first}\nStatus: install ok installed\n{rest}\n"


def _field(control: str, name: str) -> str:
    found = re.search(rf"^{name}: *(.*)$", control, re.MULTILINE)
    return found[1] if found else ""


def write(path: Path, text: str, mode: int = 0o644) -> None:
    """Write a file and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def main() -> None:
    """Write the list of packages anew, with the versions that Debian has today."""
    lines = ["# What the image and the kubectl plugin are made of; written by `python -m deploy.debian`."]
    for architecture in MACHINES:
        lines += [
            f"{found.architecture} {found.name} {found.version} {found.sha256} {found.place}"
            for found in newest(architecture)
        ]
    LOCK.write_text("\n".join(lines) + "\n")
    sys.stdout.write(f"{LOCK}\n")


if __name__ == "__main__":
    main()
