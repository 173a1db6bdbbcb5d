"""CPUs that cgroups below another one have as partitions.

A partition takes its CPUs out of the effective ones of all cgroups above it. They are theirs all the same:
CRI-O makes one of a container that asks for no load balancing (cri-o/cri-o#7485), after it has claimed the
CPUs in every cgroup from the top down to the container. A cgroup without a claim has no partition below it;
kernels before 6.7 have neither such claims nor partitions that are not right below another one.
"""

import os
from pathlib import Path

from podnuma.agent.cgroups import files
from podnuma.agent.cgroups.files import File
from podnuma.allocator import cpuset
from podnuma.allocator.cpuset import CpuSet


def below(folder: Path | str, cpus: CpuSet) -> CpuSet:
    """Return which of these CPUs cgroups below a folder have and claim."""
    wanted = CpuSet(cpus & _value(folder, files.CLAIMED_CPUS))
    if not wanted:
        return cpuset.EMPTY
    try:
        with os.scandir(folder) as entries:
            inside = [entry.path for entry in entries if entry.is_dir()]
    except OSError:
        inside = []
    found = 0
    for each in inside:
        if claimed := CpuSet(wanted & _value(each, files.CLAIMED_CPUS)):
            found |= claimed & _value(each, files.EFFECTIVE_CPUS) | below(each, claimed)
    return CpuSet(found)


def _value(folder: Path | str, file: File[CpuSet]) -> CpuSet:
    return files.value_in(file, files.read_bytes(f"{folder}/{file.name}")) or cpuset.EMPTY
