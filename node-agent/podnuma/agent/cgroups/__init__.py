"""Control groups, version 2: which files there are, where they lie, how they are read and written.

    files          one row per file: name, reader, renderer
    kept_files     files that stay open because they are read every few seconds
    layout         which folder is which pod's, by cgroup driver and runtime; detected, not configured
    reader         the kernel's side; nothing in it writes
    new_pods       being told when the kubelet makes the cgroup of a pod
    partitions     which CPUs partitions below a cgroup took out of its effective ones
    lock           one agent or cleanup at a time
    huge_page_use  which huge pages the processes of a pod use
    writers/       two ways to write QoS slices and pods: files (cgroupfs driver), units (systemd driver)

A leaf: of the agent it knows only `model`, the values it reads and writes. The writers translate errno;
above them there is only `WriteRefused`.
"""
