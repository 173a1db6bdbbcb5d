"""What the end-to-end suite needs beside pytest: clusters, a shell on a node, what the kernel says.

A `cluster` is a kubeconfig and a way to run commands on a node; the scenarios do not know whether that
node is the virtual machine of this test bed or belongs to an existing cluster. They compare sets of
CPUs per container (`observe`), not how these came about.
"""
