"""A container runtime that runs nothing: for demonstrations, tests and scale runs without a node.

    kernel    a cgroup tree of plain files in which "effective" is what cgroup v2 would make of it
    runtime   the pods that the API server binds to this node become containers in that tree
    backend   both, as the backend of a node

It implements the same interfaces as the real runtimes. What it writes is real files below --cgroup-root,
so everything above it (reader, plan, verifier, status) is the code that runs on nodes.
"""
