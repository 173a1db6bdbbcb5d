"""Two ways to write a cgroup, chosen once by the cgroup driver of the node.

Where systemd is the driver, a bare write to a unit's own file is undone by the next daemon-reload: there the
value has to be a property of the unit. Without systemd in charge the file is all there is.
"""
