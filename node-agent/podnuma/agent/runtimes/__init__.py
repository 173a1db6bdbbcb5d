"""Container runtimes behind the agent's interfaces.

    backend          what a backend gives to the agent: containers, mechanisms, tasks
    real             finds out what this node has and puts the parts together
    container_cache  which containers exist, by NRI events or CRI lists
    missed           containers that NRI never told of
    pod_tree         where the kubelet has its pods, and that it has moved
    nri_plugin       answers NRI's questions from the start hook and the plan
    mechanisms       the ways to write: NRI, CRI, systemd units, cgroup files
    patience         stops asking for a while when a mechanism does not answer
    start_priority   an update from outside never blocks a container that is starting
    restore          gives containers and QoS slices back
    simulated/       a fake node for tests and the demo

Imports the leaves `nri`, `cri` and `cgroups`; only `app` and `cleanup` import this.
"""
