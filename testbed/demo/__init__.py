"""The demo: the two pods of the Kubernetes announcement on two real machines' hardware, and placement.

story          what happens, in order, and what is shown
placement      its last scene: pods that would be refused are bound where they fit, or wait
expectations   what must be true of the result (pure)
background     a demo that keeps running after the command returned, and how to stop it
"""
