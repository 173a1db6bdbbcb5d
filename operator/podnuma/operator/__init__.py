"""The operator: the one process that decides for a whole cluster.

    watch ──► cache ──► node ──► write
    what      what is   the steps  the only
    changes   known     of a node  way out

    placement ──► node     which node is reserved for a pod that has none

    app             builds and connects everything, and runs it
    controller      caches what changed, queues the nodes that it affects, runs their reconcilers
    node_steps      which parts the steps of a node are made of
    reports         the queues of statuses that are written
    profile_status  NodeProfile.status
    snapshot        the state in numbers, at each scrape
    metrics         what is counted
    settings        what the process is told
    credentials     how it proves to the API server who it is

How CPUs are chosen is decided in podnuma.allocator, what objects look like in podnuma.api. Nothing is
imported here, so that a pure module can be used without loading Kopf.
"""
