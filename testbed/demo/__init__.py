"""The demo: the two pods of the Kubernetes announcement on two real machines' hardware.

story          what happens, in order, and what is shown
expectations   what must be true of the result (pure)
background     a demo that keeps running after the command returned, and how to stop it
"""
