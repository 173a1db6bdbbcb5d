"""Pods that wait for a node: which node is reserved for which pod, in which order, and why others still wait.

    reconciler         chooses the node of each gated pod, one pass after the other
    placing_nodes      the nodes on which pods may be placed, as the allocator sees them
    scheduler_view     whether the scheduler would accept a node
    refused_pods       when pods whose write the API server did not take are tried again
    reserving          has the chosen nodes reserve what pods need, several at once
    device_nomination  the node of a pod whose ResourceClaims are not allocated yet
    ungating           removes the scheduling gate
    waiting            reports why a pod waits
    outlook            what keeps a pod from each node; pure

One worker chooses; a reservation is stored and held by the node's own reconciler.
"""
