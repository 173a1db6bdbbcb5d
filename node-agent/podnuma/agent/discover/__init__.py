"""What machine this is, read from a sysfs tree below any root.

    machine      everything at once: the entry, `discover`
    current      the machine now: discovered again when hardware comes or goes
    tree         files below a root, and what was wrong with them
    cpus         CPUs, cores, sockets, caches
    core_kinds   performance and efficient cores
    memory       NUMA nodes, their memory and distances
    huge_pages   huge pages of a NUMA node
    pci          PCI devices and their NUMA nodes, for people

A leaf: knows the kernel's files and the allocator's topology values, nothing else. It never raises for what a
file says; it returns findings that name the file and what to do. It raises OSError where a process may open
no more files.
"""
