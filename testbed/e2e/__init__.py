"""What the end-to-end suite needs beside pytest: clusters, a shell on a node, what the kernel says.

A `cluster` is a kubeconfig and a way to run commands on a node; whether that node is the virtual
machine of this testbed or one of a cluster given by its owner, the scenarios do not know. They speak
of sets of CPUs per container (`observe`), never of how these came about.
"""
