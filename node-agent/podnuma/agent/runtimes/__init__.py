"""Real container runtimes behind the agent's ports.

    inventory    which containers exist, by NRI events or CRI lists
    plugin       answers NRI's questions from the start hook and the plan
    mechanisms   the ways to write: NRI, CRI, systemd units, cgroup files
    start_priority   an update from outside never blocks a container that is starting
    assembly     finds out what this node has and puts the parts together

Imports the leaves `nri`, `cri` and `cgroups`; nothing above `app` imports this.
"""
