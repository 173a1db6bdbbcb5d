"""PCI devices of the kinds that pods ask for, and the NUMA nodes they are attached to.

For people who look where their devices are: no decision reads this. A device whose NUMA node the firmware
does not tell (-1) has none here. Virtual functions are devices like others.
"""

import re
from dataclasses import dataclass
from typing import Final

from podnuma.agent.discover.tree import Tree

MAX_DEVICES: Final = 4096
"""Entries looked at; a machine with many virtual functions has hundreds."""

_ROOT: Final = "bus/pci/devices"
_ADDRESS: Final = re.compile(r"[0-9a-f]{4,8}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_HEX: Final = re.compile(r"0x[0-9a-f]{4,6}")
# The longest beginning of a class code counts.
_KINDS: Final = {
    "0x0108": "NVMe",
    "0x0207": "InfiniBand",
    "0x02": "network",
    "0x03": "display",
    "0x0b40": "co-processor",
    "0x12": "accelerator",
}


@dataclass(frozen=True, slots=True)
class PciDevice:
    """One device; `vendor` and `device` are ids ("0x10de"), `numa_node` is None where it is not told."""

    address: str
    kind: str
    vendor: str
    device: str
    numa_node: int | None


def read_pci_devices(tree: Tree) -> tuple[PciDevice, ...]:
    """Return the devices below /sys/bus/pci, by address."""
    found = []
    for address in tree.names(_ROOT)[:MAX_DEVICES]:
        if not _ADDRESS.fullmatch(address):
            continue
        kind = _kind(_word(tree, address, "class"))
        if kind:
            node = tree.number(f"{_ROOT}/{address}/numa_node")
            found.append(
                PciDevice(
                    address,
                    kind,
                    _word(tree, address, "vendor"),
                    _word(tree, address, "device"),
                    node if node is not None and node >= 0 else None,
                )
            )
    return tuple(found)


def _word(tree: Tree, address: str, name: str) -> str:
    text = (tree.text(f"{_ROOT}/{address}/{name}") or "").lower()
    return text if _HEX.fullmatch(text) else ""


def _kind(code: str) -> str:
    matching = [beginning for beginning in _KINDS if code.startswith(beginning)]
    return _KINDS[max(matching, key=len)] if matching else ""
