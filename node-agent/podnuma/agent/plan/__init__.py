"""What this node's cgroups should say, and in which order to say it. Pure: no files, no clock, no client.

    targets      allocations + shared pool + what was seen -> what each cgroup should have
    write_order  seen + targets -> writes that never give a CPU before it is taken

Speaks of pods and containers, never of paths: those are the layout's.
"""
