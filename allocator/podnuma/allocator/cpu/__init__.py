"""CPUs: the order they are picked in, the rule a node picks by, the node sets that can serve a count.

order -> pack, distribute -> pick;  hints.  Specification: sections 2, 3.
"""
