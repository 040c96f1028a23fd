"""Keeps messages of C++ libraries about themselves off the user's screen while they load."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Discard everything written to standard error while the block runs, even from C++. Exceptions pass through.

    This is the whole process's standard error, so keep the block short.
    """
    try:
        kept = os.dup(2)
    except OSError:  # a daemon may have closed it
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(nowhere)
        os.close(kept)
