"""Control groups, version 2: which files there are, where they lie, how they are read and written.

    files     one row per file: name, reader, renderer
    layout    which folder is which pod's, per cgroup driver and runtime; found by looking, not configured
    reader    the kernel's side; nothing in it writes
    writers/  two ways to write the slices and the pods: files (cgroupfs driver), units (systemd driver)

A leaf but for `plan.places`, the values it reads and writes. errno is translated in the writers;
above them there is only `WriteRefused`.
"""
