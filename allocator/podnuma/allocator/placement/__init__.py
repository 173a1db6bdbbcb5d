"""Which node a pod should go to, when the allocators of all nodes are known.

    packing        how good one decision is, compared with those of other nodes
    likely_pods    how many CPUs of a gap will be lost, by the sizes of pods that are likely to come
    fleet          the nodes, and the best one for a pod
    device_wishes  where the devices that a pod asks for can be on each node

A decision itself is the allocator's, so a pod that is bound to the node that is named here is admitted
there, as long as nothing else came in between.
"""
