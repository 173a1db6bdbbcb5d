"""The demo: the two pods of the Kubernetes announcement on two real machines' hardware.

story    what happens, in order, and what is shown
expect   what must be true of what was shown (pure)
kept     a demo that goes on after the command returned, and how to end it
"""
