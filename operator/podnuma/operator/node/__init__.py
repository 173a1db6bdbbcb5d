"""One node: which settings hold, what its pods get, and what follows from it.

The reconciler runs the steps of one node in order, over the node's state. Each step is a module.
"""
