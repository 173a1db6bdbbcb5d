"""The only way out: conditional writes of the leader, stored decisions and Kubernetes Events.

writer            every write to the API server, by the leader only
leader_election   which process leads, and for how long it may write
allocation_store  creates, restores and deletes PodAllocations
decision          a decision about one pod, and whether a PodAllocation says the same
event_recorder    events, in the background
last_write        what was last written into a status
"""
