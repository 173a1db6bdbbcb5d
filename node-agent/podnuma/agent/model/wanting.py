"""Errors of the kernel that say nothing of what was asked for: there were no means to ask.

A process that may open no more files, or gets no memory, finds every file unreadable. Who takes that for
"it is not there" draws conclusions from nothing.
"""

import errno

_WANTING = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def unless_wanting(error: OSError) -> None:
    """Raise an error that is for want of a descriptor or of memory; return for any other."""
    if error.errno in _WANTING:
        raise error
