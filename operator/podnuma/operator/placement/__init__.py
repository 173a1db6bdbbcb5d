"""Pods that wait for a node: which one is reserved for which pod, in which order, and what they are told.

One worker chooses; what is reserved is stored and held by the node's own reconciler.
"""
