"""Memory that a computation frees stays with the process.

glibc gives large blocks back to the system as soon as they are free. A forward pass then asks for the same pages again,
and each costs a fault and a clearing: on a virtual machine a depthwise convolution took 1.2 ms or 8 ms, depending on
where the heap happened to end. It matters most to what is timed.
"""

from __future__ import annotations

import ctypes
import os
from functools import cache

__all__ = ["keep_memory"]

TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
"""Names of glibc's mallopt, from malloc.h."""
LARGEST = 2**31 - 1
BLOCKS = (2**30, 2**25)
"""Up to which size blocks come from the heap, in bytes; the first one that this glibc takes."""


@cache
def keep_memory() -> bool:
    """Whether freed memory is kept from now on. False with other allocators, and where the environment sets glibc's own
    limits (MALLOC_TRIM_THRESHOLD_, MALLOC_MMAP_THRESHOLD_), which count then.
    """
    if any(name.startswith(("MALLOC_TRIM", "MALLOC_MMAP")) for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return False
    return any(mallopt(MMAP_THRESHOLD, size) for size in BLOCKS) and bool(mallopt(TRIM_THRESHOLD, LARGEST))
