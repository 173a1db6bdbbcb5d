"""Pods that wait for a node: which node is reserved for which pod, in which order, and why others still wait.

One worker chooses; a reservation is stored and held by the node's own reconciler.
"""
