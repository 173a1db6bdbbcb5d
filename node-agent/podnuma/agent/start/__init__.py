"""What a container waits for before it starts: its decision, room on its CPUs, and a look at the result.

    gate   whether it may be created now; waits for the operator's decision
    hook   the one object that runtimes ask: makes room, answers with values, and checks them

Asks `reconcile` and knows no runtime; `runtimes` ask it.
"""
