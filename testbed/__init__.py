"""The test bed: everything that podnuma is tested on.

A real control plane built from source, kwok nodes, recorded machines as folders of files, and the demo.
The product never imports this package; tests and the Makefile do.
"""
