"""What a container waits for before it starts: its decision, room on its CPUs, and a look at the result.

Asks `reconcile` and knows no runtime; `runtimes` ask it.
"""
