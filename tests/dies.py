"""A function that kills the process that calls it, in a module that a new process imports in no time: those of tests import torch."""

import os
import signal


def die(*arguments: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)
