"""Control groups, version 2: which files there are, where they lie, how they are read and written.

    files       one row per file: name, reader, renderer
    layout      which folder is which pod's, per cgroup driver and runtime; found by looking, not configured
    reader      the kernel's side; nothing in it writes
    partitions  which CPUs partitions below a cgroup took out of its effective ones
    writers/    two ways to write the slices and the pods: files (cgroupfs driver), units (systemd driver)

A leaf: of the agent it knows only `model`, the values it reads and writes. The writers translate errno;
above them there is only `WriteRefused`.
"""
