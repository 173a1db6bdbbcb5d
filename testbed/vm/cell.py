"""One cell of the matrix: which runtime, cgroup driver, kubelet and containerd a machine has.

Named by its parts, of which those left out are the default's: `crun`, `runc-cgroupfs`, `crun-systemd-1.37`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from testbed import build


class Runtime(Enum):
    """The OCI runtime below containerd; both are Debian's packages."""

    RUNC = "runc"
    CRUN = "crun"


class Driver(Enum):
    """Who makes cgroups, for the kubelet and the runtime alike."""

    SYSTEMD = "systemd"
    CGROUPFS = "cgroupfs"


class Containerd(Enum):
    """PINNED: 2.4, built from the module, with NRI. DEBIAN: the package, 1.7, where NRI is off: CRI only."""

    PINNED = "containerd2"
    DEBIAN = "containerd1"


@dataclass(frozen=True, slots=True)
class Cell:
    """A choice for each part; the defaults are what most nodes have."""

    runtime: Runtime = Runtime.RUNC
    driver: Driver = Driver.SYSTEMD
    kubernetes: str = build.DEFAULT_RELEASE
    containerd: Containerd = Containerd.PINNED

    def __str__(self) -> str:
        return f"{self.runtime.value}-{self.driver.value}-{self.kubernetes}-{self.containerd.value}"

    @property
    def has_nri(self) -> bool:
        """Whether the agent hears of containers before they start."""
        return self.containerd is Containerd.PINNED


# What `make e2e-vm MATRIX=all` runs, and what the documentation claims.
CELLS = (
    Cell(),
    Cell(runtime=Runtime.CRUN),
    Cell(driver=Driver.CGROUPFS),
    Cell(runtime=Runtime.CRUN, driver=Driver.CGROUPFS),
    Cell(kubernetes="1.37"),
    Cell(containerd=Containerd.DEBIAN),
    Cell(runtime=Runtime.CRUN, kubernetes="1.37"),
)


def parse(name: str) -> Cell:
    """Read a cell's name; ValueError names the part that is none of any kind, or the second of one kind."""
    found: dict[str, object] = {}
    for part in filter(None, name.split("-")):
        kind, value = _part(part)
        if kind in found:
            raise ValueError(f"{name!r} has two of one kind: {found[kind]} and {part}")
        found[kind] = value
    return Cell(**found)  # type: ignore[arg-type]


def _part(part: str) -> tuple[str, object]:
    if part in build.RELEASES:
        return "kubernetes", part
    kinds: dict[str, type[Enum]] = {"runtime": Runtime, "driver": Driver, "containerd": Containerd}
    for kind, values in kinds.items():
        for value in values:
            if value.value == part:
                return kind, value
    known = [*build.RELEASES, *(value.value for values in kinds.values() for value in values)]
    raise ValueError(f"{part!r} is no part of a cell: choose from {', '.join(known)}")


def parse_matrix(text: str) -> tuple[Cell, ...]:
    """Read what MATRIX= may be: `all`, or names of cells with spaces or commas between them."""
    names = text.replace(",", " ").split()
    return CELLS if names == ["all"] else tuple(parse(name) for name in names)
