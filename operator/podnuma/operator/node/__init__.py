"""One node: which settings hold, what its pods get, and what follows from it.

The reconciler runs the steps of one node in order, over the node's state. Each step is a module.

    reconciler         the steps of one node, in order
    state              what is remembered of a node: decisions, and the allocator that holds them
    pod_state          what is remembered of one of its pods

    profile_selection  which NodeProfile applies, and whether its settings are valid; pure
    profile_selector   step: selects, and keeps the rules that follow
    settings           step: NodeTopology.spec
    allocations        step: brings decisions and PodAllocations into line
    releases           step: frees what pods held that are gone
    reservations       step: what a pod holds before it is bound
    nominations        the node that the scheduler tries first, and keeps room on
    admission          step: decides pods
    resize             step: resizes in place
    eviction           step: evicts rejected pods
    eviction_policy    whether and when a pod is evicted; pure
    leftover           step: removes what a node that is gone left behind

    decision_writer    stores a decision, then holds it
    device_lookup      when the devices of a pod are looked for, and what is said when they are missing
    devices            where the devices of a pod are

    status             NodeTopology.status
    readiness          its conditions; pure
    findings           events about what an agent found
    pod_conditions     the condition of a refused pod
    resource_topology  the NodeResourceTopology for other schedulers
"""
