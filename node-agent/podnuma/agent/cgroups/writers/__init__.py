"""Two ways to write a cgroup, chosen once by the cgroup driver of the node.

    systemd   unit properties
    bus       the system bus that they are set through
    cgroupfs  files
    hugetlb   the huge page limits of pods, always by file
    refusals  how a write can fail

Where systemd is the driver, a bare write to a unit's own file is undone by the next daemon-reload: there the
value has to be a property of the unit. Without systemd in charge the file is all there is.
"""
