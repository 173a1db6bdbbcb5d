"""The node agent: makes the cgroups of one node say what its PodAllocations say.

    apiserver -> desired -> plan -> reconcile -> status

    apiserver   watches in, statuses out
    desired     what this node should look like: its PodAllocations and its NodeTopology
    plan        what each cgroup should have, and in which order to write it; pure
    reconcile   passes: read the kernel, plan, write, verify
    devices     which devices the kubelet gave to a pod that waits for them
    start       what a container waits for before it starts; asks reconcile
    status      what is reported: statuses and metrics
    runtimes    the node: NRI or CRI with systemd or files, or a simulated one; asks start
    loop        when to run a pass, and what to report after it
    cleanup     gives the cgroups of a node back

    model       the values that all of them share; imports none of them
    cgroups, nri, cri, podresources, discover   leaves: import `model` at most
    settings    what the process is told

Data flows one way; the loop is closed outside this process, by the kernel and the API server. `app` is the
only module that puts the parts together. This file stays empty of code, so that a pure module can be
imported without a client library.
"""
