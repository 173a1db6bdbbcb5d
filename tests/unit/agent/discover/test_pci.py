"""PCI devices from sysfs: the kinds that pods ask for, with the NUMA node that the firmware tells."""

from podnuma.agent.discover.pci import PciDevice, read_pci_devices
from podnuma.agent.discover.tree import Tree


def write(root, address, **files):
    folder = root / "bus" / "pci" / "devices" / address
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(f"{text}\n")


def test_devices_have_a_kind_ids_and_a_numa_node(tmp_path):
    write(tmp_path, "0000:17:00.0", **{"class": "0x030200"}, vendor="0x10de", device="0x2330", numa_node=1)
    write(tmp_path, "0000:31:00.1", **{"class": "0x020000"}, vendor="0x8086", device="0x159b", numa_node=-1)
    write(tmp_path, "0000:40:00.0", **{"class": "0x010802"}, vendor="0x144d", device="0xa80a")
    write(tmp_path, "0000:00:1f.0", **{"class": "0x060100"}, vendor="0x8086", device="0x7a06", numa_node=0)
    tree = Tree(tmp_path)
    assert read_pci_devices(tree) == (
        PciDevice("0000:17:00.0", "display", "0x10de", "0x2330", 1),
        PciDevice("0000:31:00.1", "network", "0x8086", "0x159b", None),
        PciDevice("0000:40:00.0", "NVMe", "0x144d", "0xa80a", None),
    )
    assert tree.findings == []


def test_a_machine_without_pci_has_no_devices(tmp_path):
    assert read_pci_devices(Tree(tmp_path)) == ()


def test_senseless_files_are_findings_and_cost_only_their_device(tmp_path):
    write(tmp_path, "0000:17:00.0", **{"class": "what"}, numa_node=0)
    write(tmp_path, "0000:18:00.0", **{"class": "0x120000"}, vendor="?", device="0x1", numa_node="north")
    write(tmp_path, "surprise", **{"class": "0x120000"})
    tree = Tree(tmp_path)
    assert read_pci_devices(tree) == (PciDevice("0000:18:00.0", "accelerator", "", "", None),)
    assert "numa_node" in tree.findings[0].path
