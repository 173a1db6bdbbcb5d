"""Build the programs of the control plane from pinned Go modules into a cache folder.

Each folder of `modules/` is a Go module whose `go.mod` and `go.sum` fix, by hash, every line of
source that goes into its tools (`probe`, `device-plugin` and `dra-driver` are our own). A built program
lies in

    $PODNUMA_CACHE/tools/<module>-<key>/<program>

where <key> is a hash of those two files, of Go files beside them and of the build flags: a new version
is a new folder, and nothing that exists is ever rebuilt or changed. A program appears by rename, so it
is never incomplete.
One program of a module is built at a time per cache, across processes, since they share most of what is
compiled; who waits goes on as soon as the program that it needs is there.
Downloads are made by the ordinary `go` command with the caller's own Go settings.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from testbed.making import Progress, make_once
from testbed.processes import Process, tail

if TYPE_CHECKING:
    from collections.abc import Iterable

MODULES = Path(__file__).parent / "modules"
GO_NEEDED = (1, 26)
KWOK_STAGES = (
    "kustomize/stage/node/fast/node-initialize.yaml",
    "kustomize/stage/node/heartbeat/node-heartbeat.yaml",
    "kustomize/stage/pod/fast/pod-ready.yaml",
    "kustomize/stage/pod/fast/pod-complete.yaml",
    "kustomize/stage/pod/fast/pod-delete.yaml",
)


class BuildError(RuntimeError):
    """The tools cannot be built; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Program:
    """One tool: its name, the folder below `modules/`, and the Go package of its main function."""

    name: str
    module: str
    package: str


_KUBERNETES = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kubelet")
# Release -> folder below `modules/`. The first is what tests and demo run; its programs have plain names,
# those of another release end in it, as in kubelet-1.37.
RELEASES = {"1.36": "kubernetes", "1.37": "kubernetes-1.37"}
DEFAULT_RELEASE = next(iter(RELEASES))


def of_release(name: str, release: str) -> str:
    """Return the name under which PROGRAMS has a program of a Kubernetes release."""
    return name if release == DEFAULT_RELEASE or name not in _KUBERNETES else f"{name}-{release}"


PROGRAMS = {
    program.name: program
    for program in (
        Program("etcd", "etcd", "go.etcd.io/etcd/server/v3"),
        *(
            Program(of_release(name, release), module, f"k8s.io/kubernetes/cmd/{name}")
            for release, module in RELEASES.items()
            for name in _KUBERNETES
        ),
        Program("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok"),
        Program("helm", "helm", "helm.sh/helm/v4/cmd/helm"),
        Program("kind", "kind", "sigs.k8s.io/kind"),
        Program("docker", "docker", "github.com/docker/cli/cmd/docker"),
        Program("crictl", "crictl", "sigs.k8s.io/cri-tools/cmd/crictl"),
        *(Program(name, "kubeadm", f"k8s.io/kubernetes/cmd/{name}") for name in ("kubeadm", "kube-proxy")),
        *(
            Program(name, "krew", f"sigs.k8s.io/krew/cmd/{name}")
            for name in ("krew", "validate-krew-manifest")
        ),
        *(
            Program(name, "containerd", f"github.com/containerd/containerd/v2/cmd/{name}")
            for name in ("containerd", "containerd-shim-runc-v2", "ctr")
        ),
        *(Program(name, name, ".") for name in ("probe", "device-plugin", "dra-driver")),
    )
}
CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")


def cache_folder() -> Path:
    """Return $PODNUMA_CACHE, else podnuma/ in the user's cache folder."""
    named = os.environ.get("PODNUMA_CACHE")
    if named:
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "podnuma"


def version_of(module: str, requirement: str) -> str:
    """Return the version that a module of `modules/` pins for `requirement`, as in v1.36.3."""
    text = (MODULES / module / "go.mod").read_text()
    found = re.search(rf"^\s*(?:require )?{re.escape(requirement)} (v\S+)", text, re.MULTILINE)
    if found is None:
        raise BuildError(f"modules/{module}/go.mod does not require {requirement}")
    return found.group(1)


def build_flags(module: str) -> tuple[str, ...]:
    """Return the flags of `go build`; for Kubernetes they carry the version it reports."""
    link = "-s -w"
    if module in {*RELEASES.values(), "kubeadm"}:
        version = version_of(module, "k8s.io/kubernetes")
        minor = version.split(".")[1]
        base, client = "k8s.io/component-base/version", "k8s.io/client-go/pkg/version"
        link += (
            f" -X {base}.gitVersion={version} -X {base}.gitMajor=1 -X {base}.gitMinor={minor}"
            f" -X {client}.gitVersion={version}"
        )
    if module == "containerd":
        version = version_of(module, "github.com/containerd/containerd/v2")
        link += f" -X github.com/containerd/containerd/v2/version.Version={version}"
    return ("-trimpath", "-buildvcs=false", "-ldflags", link)


def tool_folder(module: str) -> Path:
    """Return the folder in the cache that holds the tools of a module, keyed by its content."""
    digest = hashlib.sha256()
    for path in (*sorted((MODULES / module).glob("go.*")), *sorted((MODULES / module).glob("*.go"))):
        digest.update(path.read_bytes())
    digest.update(json.dumps([build_flags(module), os.uname().machine]).encode())
    return cache_folder() / "tools" / f"{module}-{digest.hexdigest()[:16]}"


def tool_path(name: str) -> Path:
    """Return where a program lies, or will lie once it is built."""
    return tool_folder(PROGRAMS[name].module) / name


def kwok_stages_path() -> Path:
    """Return the file with the life cycle stages that ship in the kwok module."""
    return tool_folder("kwok") / "stages.yaml"


def ensure(names: Iterable[str], out: TextIO = sys.stderr) -> dict[str, Path]:
    """Build what is missing and return name -> path of every program in `names`.

    Raises BuildError with one sentence on what to install, or the end of the compiler's output.
    """
    wanted = tuple(names)
    paths = {name: tool_path(name) for name in wanted}
    if all(path.exists() for path in paths.values()):
        return paths
    go = find_go()
    missing = [name for name in wanted if not paths[name].exists()]
    for number, name in enumerate(missing, 1):
        program, which = PROGRAMS[name], f"{name} ({number} of {len(missing)})"
        lock = cache_folder() / f"build-{program.module}.lock"
        make_once(which, paths[name].exists, partial(_build, go, program, which, out), lock, out)
    return paths


def ensure_release(names: Iterable[str], release: str, out: TextIO = sys.stderr) -> dict[str, Path]:
    """Do the same for programs of one Kubernetes release; the paths go by plain names, as in kubelet."""
    built = {name: of_release(name, release) for name in names}
    paths = ensure(built.values(), out)
    return {name: paths[full] for name, full in built.items()}


def find_go() -> str:
    """Return the path of a Go tool that is new enough; BuildError says what to install if none is."""
    needed = ".".join(map(str, GO_NEEDED))
    go = shutil.which("go")
    if go is None:
        raise BuildError(
            f"Go {needed} or newer is needed to build the control plane: install it and put `go` on PATH."
        )
    # GOTOOLCHAIN=local: what is installed here, not what some go.mod nearby would fetch.
    asked = subprocess.run(
        [go, "env", "GOVERSION"],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, "GOTOOLCHAIN": "local"},
    )
    found = re.match(r"go(\d+)\.(\d+)", asked.stdout)
    if found is None or (int(found[1]), int(found[2])) < GO_NEEDED:
        version = asked.stdout.strip() or asked.stderr.strip() or "no version"
        raise BuildError(
            f"Go {needed} or newer is needed to build the control plane, but {go} is {version}: "
            "install a newer one and put it first on PATH."
        )
    return go


def _build(go: str, program: Program, which: str, out: TextIO) -> None:
    target, progress = tool_path(program.name), Progress(f"building {which}", out)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".build-", dir=target.parent) as scratch:
        built = Path(scratch) / program.name
        argv = [go, "-C", str(MODULES / program.module), "build", *build_flags(program.module)]
        run_logged([*argv, "-o", str(built), program.package], Path(scratch) / "log", progress)
        if program.name == "kwok":
            _collect_kwok_stages(go, Path(scratch))
        built.rename(target)
    progress.done()


def run_logged(argv: list[str], log: Path, progress: Progress) -> None:
    """Run one step to its end and show progress; BuildError with the end of its output if it fails."""
    process = Process(argv[0], argv, log, env={"CGO_ENABLED": "0", "GOWORK": "off"})
    try:
        while True:
            progress.show()
            try:
                status = process.wait(timeout=1)
                break
            except subprocess.TimeoutExpired:
                continue
    finally:
        process.kill()
    if status != 0:
        progress.break_off()
        raise BuildError(f"{' '.join(argv)} failed\n{tail(log)}")


def _collect_kwok_stages(go: str, scratch: Path) -> None:
    where = [go, "-C", str(MODULES / "kwok"), "list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"]
    folder = Path(subprocess.run(where, check=True, capture_output=True, text=True).stdout.strip())
    stages = scratch / "stages.yaml"
    stages.write_text("\n---\n".join((folder / name).read_text() for name in KWOK_STAGES))
    stages.rename(kwok_stages_path())


def main() -> int:
    """Build the named programs, or the control plane and kwok, and print their paths."""
    parser = argparse.ArgumentParser(prog="python -m testbed.build", description=main.__doc__)
    parser.add_argument("program", nargs="*", help=f"one of {', '.join(PROGRAMS)}")
    names = parser.parse_args().program or [*CONTROL_PLANE, "kwok"]
    unknown = [name for name in names if name not in PROGRAMS]
    if unknown:
        parser.error(f"unknown program {unknown[0]}: choose from {', '.join(PROGRAMS)}")
    try:
        for name, path in ensure(names).items():
            print(f"{name}\t{path}")
    except BuildError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstopped; what was finished stays in the cache", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
