"""What the agent reports: the status of each PodAllocation, that of its NodeTopology, and metrics.

    reporter           what a pass found, as statuses and gauges
    allocation_status  phase, conditions and values of one allocation; pure
    node_status        hardware, agent and conditions of the node, repeated as a heartbeat
    metrics            counters and gauges

Writes nothing itself: statuses are handed to `apiserver.status_writer`.
"""
