"""The test bed: everything podnuma is tried on that is not podnuma.

A real control plane built from source, kwok nodes, machines as folders of files, and the demo.
The product never imports this package; tests and the Makefile do.
"""
