"""Names → networks: this package's own files, entry points of other distributions, and ``package.module:Class``."""

import inspect
import pkgutil
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from torch import nn

from mnist_edge.architectures.own import called, place
from mnist_edge.architectures.recipe import OLD_NAMES, Recipe
from mnist_edge.common import trust
from mnist_edge.common.errors import UnknownNameError, UsageError, among, one_line, unknown_name
from mnist_edge.common.plugins import register_plugins

ENTRY_POINTS = "mnist_edge.architectures"


@dataclass(frozen=True)
class Architecture:
    """A network that can be trained by name.

    Attributes:
        name: the name that ``train`` takes.
        network: a class or function that returns the `nn.Module`; ``--set`` takes its keyword arguments.
        summary: what it is, in a few words.
        tutorial: the tutorial's recipe, None where there is no tutorial.
        best: our recipe.
        tutorial_accuracy: share of the test set, 0 to 1, that the tutorial reports; None where it reports none.
        seed: `tutorial`, as 0.1 called it; given instead of it, it is a DeprecationWarning.
    """

    name: str
    network: Callable[..., nn.Module]
    summary: str
    tutorial: Recipe | None = None
    best: Recipe = field(default_factory=Recipe)
    tutorial_accuracy: float | None = None
    seed: Recipe | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.seed is not None and self.tutorial is None:
            warnings.warn(f"network {self.name}: its recipe seed= is now called tutorial=", DeprecationWarning, stacklevel=3)
            object.__setattr__(self, "tutorial", self.seed)
        object.__setattr__(self, "seed", self.tutorial)

    def recipe(self, name: str) -> Recipe:
        """Return the recipe called ``best`` or ``tutorial``. A name of 0.1 is a FutureWarning. Raises UnknownNameError."""
        if name in OLD_NAMES:
            warnings.warn(f"the recipe {name} is now called {OLD_NAMES[name]}", FutureWarning, stacklevel=2)
            name = OLD_NAMES[name]
        recipes = {"best": self.best} | ({"tutorial": self.tutorial} if self.tutorial else {})
        if name not in recipes:
            raise UnknownNameError(f"{self.name} has no recipe {name!r}{among(name, recipes)}")
        return recipes[name]


_registered: dict[str, Architecture] = {}


def register(architecture: Architecture) -> Architecture:
    """Add a network. Raises UsageError if the name is taken."""
    taken = _registered.get(architecture.name)
    if taken is not None:
        raise UsageError(f"network {architecture.name!r} is registered twice: {_origin(taken)} and {_origin(architecture)}")
    _registered[architecture.name] = architecture
    return architecture


def names() -> list[str]:
    """Return the names of all registered networks, in alphabetical order."""
    _load_all()
    return sorted(_registered)


def find(name: str) -> Architecture:
    """Return a network by its name, or as ``package.module:Class``, which has to be allowed first (`mnist_edge.common.trust.allow`).

    Raises UnknownNameError, NotAllowedError, and UsageError where it cannot be imported.
    """
    trust.check_allowed(name)
    if ":" in name:
        return _from_path(name)
    _load_all()
    if name not in _registered:
        raise unknown_name("network", name, _registered)
    return _registered[name]


def build(name: str, arguments: Mapping[str, Any] | None = None) -> nn.Module:
    """Build a network with these arguments. Raises what `find` raises, and UsageError for arguments that it does not take."""
    architecture = find(name)
    arguments = arguments or {}
    parameters = inspect.signature(architecture.network).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    for key in arguments:
        if not parameters:
            raise UnknownNameError(f"network {name} takes no arguments")
        if key not in parameters and not takes_any:
            raise unknown_name(f"argument of network {name}", key, parameters)
        default = parameters[key].default if key in parameters else None
        if isinstance(default, bool) != isinstance(arguments[key], bool) and isinstance(default, (bool, int, float)):
            wanted = "true or false" if isinstance(default, bool) else f"a number, such as {default}"
            raise UsageError(f"argument {key} of network {name} takes {wanted}, not {arguments[key]!r}")
    try:
        with _working_folder() if ":" in name else nullcontext():
            network = architecture.network(**arguments)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a network may reject its arguments with any exception, even an assertion or sys.exit
        reason = f"{one_line(error)} ({place(error.__traceback__)})" if place(error.__traceback__) else str(error)
        raise UsageError(f"{called(name)}: cannot be built with {dict(arguments)}: {reason}") from error
    if not isinstance(network, nn.Module):
        raise UsageError(f"network {name}: {_origin(architecture)} returned {type(network).__name__}, not a torch.nn.Module")
    return network


@cache
def _load_all() -> None:
    package = Path(__file__).parent
    for module in pkgutil.iter_modules([str(package)]):
        import_module(f"mnist_edge.architectures.{module.name}")
    register_plugins(ENTRY_POINTS, Architecture, register)


def _from_path(path: str) -> Architecture:
    module_name, _, attribute = path.partition(":")
    try:
        with _working_folder():
            network = getattr(import_module(module_name), attribute)
    except ModuleNotFoundError as error:
        raise UsageError(
            f"network {path}: {error}; run from the folder that holds {module_name.split('.')[0]}.py, or install it"
        ) from error
    except AttributeError as error:
        raise UsageError(f"network {path}: {error}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the user's own module, which may raise anything, or call sys.exit
        raise UsageError(f"network {path}: {module_name} cannot be imported: {one_line(error)}") from error
    if not (isinstance(network, type) and issubclass(network, nn.Module)):
        raise UsageError(f"network {path}: {attribute} is not a class derived from torch.nn.Module")
    return Architecture(path, network, "your own")


@contextmanager
def _working_folder() -> Iterator[None]:
    """Find modules in the working folder first, as ``python -m`` does, while a network that was allowed is imported or built.

    Afterwards, the folder is the last place searched for modules that the network imports while it runs, until `trust.allowing` ends.
    """
    here = str(Path.cwd())
    before = sys.path[:]
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path[:] = before
        trust.keep_on_path(here)


def _origin(architecture: Architecture) -> str:
    network = architecture.network
    return f"{getattr(network, '__module__', '?')}:{getattr(network, '__qualname__', network)}"
