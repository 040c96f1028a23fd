"""Emulated machines for tests: made by the first that needs one, and kept in the clone."""

from once import lacking

from mnist_edge.common.errors import MissingExtraError
from mnist_edge.runtimes import emulated


def emulator(machine: str) -> None:
    """Set a machine up, or skip the test; where nothing may be wanting, as in CI, fail it."""
    try:
        emulated.set_up(machine)
        emulated.get(machine).require()
    except MissingExtraError as error:
        lacking(str(error))
