"""What this node's cgroups shall say, and in which order to say it. Pure: no files, no clock, no client.

    places   the cgroups that are planned: QoS slices, pods, containers; what was seen and is wanted there
    wanted   allocations + shared pool + what was seen -> wanted values
    order    seen + wanted -> steps that never give a CPU before it is taken

Speaks of pods and containers, never of paths: those are the layout's.
"""
