"""Networks and formats of other distributions, by entry point."""

import warnings
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import TypeVar

from mnist_edge.common.errors import PluginWarning, one_line

T = TypeVar("T")


def register_plugins(group: str, kind: type[T], register: Callable[[T], object]) -> None:
    """Register what other distributions offer in an entry point group; what fails to load is a `PluginWarning`."""
    for point in entry_points(group=group):
        try:
            loaded = point.load()
            if not isinstance(loaded, kind):
                raise TypeError(f"{point.value} is {type(loaded).__name__}, not {kind.__name__}")
            register(loaded)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # whatever another distribution raises, sys.exit included, everything else must work
            what = f"{kind.__name__.lower()} {point.name!r} ({point.value})"
            warnings.warn(f"{what} could not be loaded: {one_line(error)}", PluginWarning, stacklevel=2)
