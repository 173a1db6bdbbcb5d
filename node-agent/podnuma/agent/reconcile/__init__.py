"""Makes the kernel have what is desired. One pass: read, plan, apply, verify, judge.

    reconciler  the passes, one at a time
    planned     what follows from what was seen, worked out anew only where that changed
    snapshot    what one pass saw, planned, wrote and found
    apply       writes in order, each through the first mechanism that takes it
    verify      compares what the kernel has with what it shall have; reads only
    drift       values that another program changed, told from those that are not there yet
    contention  cgroups that somebody else keeps changing, where this agent gives way
    isolation   who is on CPUs that another has for itself
    sandboxes   pods whose processes are not in their containers' cgroups, as with Kata and gVisor
    verdicts    since when each container has run on its CPUs
    pause       reasons to apply nothing: others who pin containers here

Above it there are only those who ask for a pass and those who report on one.
"""
