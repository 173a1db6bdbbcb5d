"""What the agent reports: the status of each PodAllocation, that of its NodeTopology, and metrics.

    reporter               what a pass found, as statuses and gauges
    allocation_status      phase and values of one allocation; pure
    allocation_conditions  its conditions, each listed only while it is true; pure
    container_status       what its status says of each container; pure
    node_status            hardware, agent and conditions of the node, repeated as a heartbeat
    registration           creates the NodeTopology of a node that has none
    metrics                counters and gauges

Writes nothing itself: statuses are handed to `apiserver.status_writer`.
"""
