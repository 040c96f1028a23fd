"""What libraries in C++ say of themselves while they are loaded is kept from the user's screen."""

import os
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Send what is written to standard error nowhere while the block runs, from C++ too; what it raises is raised.

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
