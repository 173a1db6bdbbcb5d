"""What machine this is, read from a sysfs tree below any root.

A leaf: knows the kernel's files and the allocator's topology values, nothing else. `machine.discover`
is the entry; it never raises for what it finds, it returns findings that name the file and what to do.
"""
