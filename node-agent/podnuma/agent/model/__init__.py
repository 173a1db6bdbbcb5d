"""The values that every part of the agent shares: cgroups, their contents, containers.

    cgroup_ref     which cgroup: a QoS slice, a pod, a container; never a path, those are the layout's
    cgroup_values  what is in one, what should be in it, and one write to it
    containers     what a runtime says about containers that exist and about one that is to start
    wanting        errors of a process without file descriptors or memory left

Nothing here knows files, clients or clocks. Everything else in the agent may import it, the leaves included.
"""
