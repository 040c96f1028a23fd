"""How this process treats memory while it trains."""

import ctypes
import sys

#: Parameters of mallopt(3), from glibc's malloc.h.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3

_GIBIBYTE = 2**30


def keep_freed_memory() -> None:
    """Let the C library keep freed memory, for the whole process, instead of returning it to the system and asking for it again.

    A step frees and takes the same few megabytes. Measured with LeNet on two cores: 615,000 page faults in the first epoch, 47,000
    in later ones, and 10 with this; 5.1, 4.3 and 3.8 s. Does nothing without glibc.
    """
    if not sys.platform.startswith("linux"):
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return
    mallopt(_M_MMAP_THRESHOLD, _GIBIBYTE)
    mallopt(_M_TRIM_THRESHOLD, _GIBIBYTE)
