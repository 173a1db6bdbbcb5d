"""What the agent tells: the status of each PodAllocation, that of its NodeTopology, and metrics.

    reporter           what a pass found, told to the API server and the metrics
    allocation_status  phase, conditions and values of one allocation; pure
    node_status        hardware, agent and conditions of the node, repeated as a heartbeat
    metrics            counters and gauges

Writes nothing itself: statuses are handed to `apiserver.status_writer`.
"""
