"""Memory: what NUMA nodes have left, the node sets that can serve an amount, the one finally used.

others       huge pages in use that no grant accounts for
memory_map   what every NUMA node has, and how much of it is charged
hints        which sets of NUMA nodes can give an amount
resolve      the set that an allocation finally uses
"""
