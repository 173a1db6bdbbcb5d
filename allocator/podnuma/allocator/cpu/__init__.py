"""CPUs: the order they are picked in, the rule a node picks by, the node sets that can serve a count.

order        in which order sockets, NUMA nodes, cores and caches are used up
pack         CPUs packed: whole NUMA nodes, sockets and cores first
distribute   CPUs spread evenly over NUMA nodes
pick         the one of them that a node uses, by its settings
hints        which sets of NUMA nodes can give a number of CPUs
"""
