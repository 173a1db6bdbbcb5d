"""Makes the kernel have what is desired. One pass: read, plan, apply, verify, judge.

    reconciler       the passes, one at a time, and the order of their steps
    snapshot         what one pass saw, planned, wrote and found
    time_slices      lets the event loop run between two pieces of a pass

    actual_state     read: the pods and containers that are there, and the values of their cgroups
    sandboxes        read: pods whose processes are not in their containers' cgroups, as with Kata and gVisor
    elsewhere        read: containers whose processes are not even in the cgroup of their pod
    unread           read: what stays in force for a pod whose PodAllocation cannot be read
    pause            read: reasons to apply nothing, because another program pins containers here

    planned          plan: what follows from what was read, computed again only where that changed

    apply            write: in order, each through the first mechanism that takes it
    unreliable       write: mechanisms that have no success at a cgroup, where the next one is tried
    runtime_updates  write: updates by the runtime that are under way, whose CPUs nobody else gets yet
    late_writes      write: own ones that may be carried out late, told from what others change
    write_log        write: what is logged of it

    verify           verify: the values of cgroups against their targets
    processes        verify: what the main processes of containers may run on
    drift            verify: values that another program changed, told from those that are not there yet
    contention       verify: cgroups that another program keeps changing, where this agent backs off
    kubelet_resize   verify: changes by a kubelet that resizes a pod, which are neither drift nor contention
    isolation        verify: who is on CPUs that another container has exclusively
    throttling       verify: how often quotas hold containers back
    pages_in_use     verify: huge pages in use that no pod was granted

    verdicts         judge: whether each container ran on its CPUs from its start, and since when

`loop` and `start` ask for passes; `status` reports on them.
"""
