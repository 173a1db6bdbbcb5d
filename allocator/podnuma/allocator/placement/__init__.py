"""Which node a pod should go to, when the allocators of all nodes are known.

`packing` says how good one decision is, compared with those of other nodes; `fleet` holds the nodes and
finds the best one. A decision itself is the allocator's, so a pod that is bound to the node that is
named here is admitted there, as long as nothing else came in between.
"""
