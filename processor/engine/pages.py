"""Memory in pages of its own: none is used before it is written to, and all go back to the system at once.

The C library's heap does neither.
"""

import contextlib
import mmap

#: Linux since 5.14 (madvise(2)); Python has no name for it.
_POPULATE_WRITE = 23


def map_pages(size: int, *, filled: int = 0) -> mmap.mmap:
    """So many bytes of zeros, at least one; the first `filled` of them are about to be written to.

    Those get their pages in one call, which is cheaper than one by one. (Huge pages are cheaper still where
    the system has some at hand; on a virtual machine that gave them back to its host they made a restart
    dearer by half.)
    """
    pages = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if filled:
        # An older kernel gives them one by one.
        with contextlib.suppress(OSError):
            pages.madvise(_POPULATE_WRITE, 0, filled)
    return pages
