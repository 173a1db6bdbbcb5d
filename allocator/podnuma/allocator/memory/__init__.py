"""Memory: what NUMA nodes have left, the node sets that can serve an amount, the one finally used.

tables -> hints -> resolve.  Specification: section 4.
"""
