"""The operator: the one process that decides for a whole cluster.

    watch ──► cache ──► node ──► write
    what      what is   the steps  the only
    changes   known     of a node  way out

    placement ──► node     which node is reserved for a pod that has none

`controller` stands between them: it caches what changed, queues the affected nodes and runs
their reconcilers; `app` builds and connects everything. How CPUs are chosen is
decided in podnuma.allocator, what objects look like in podnuma.api. Nothing is imported
here, so that a pure module can be used without loading Kopf.
"""
