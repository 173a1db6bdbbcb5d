"""Memory: what NUMA nodes have left, the node sets that can serve an amount, the one finally used.

others -> memory_map -> hints -> resolve.  Specification: section 4.
"""
