"""What this node should look like, as far as the API server has said.

    state       the PodAllocations and the NodeTopology of this node, the last that could be read
    acceptance  which of these grants are taken: of two that overlap, the one that runs

Reads no file: what is on the node is found out by `reconcile`.
"""
