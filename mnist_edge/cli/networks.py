"""``--allow-network``, for every command that may build a model's network."""

import functools
from collections.abc import Callable
from typing import Any

from mnist_edge.cli.common import option
from mnist_edge.common import trust


def builds_networks(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--allow-network``. When the command ends, everything allowed meanwhile is forgotten."""

    @functools.wraps(function)
    def wrapped(*args: Any, allow_network: tuple[str, ...], **kwargs: Any) -> Any:
        with trust.allowing(allow_network):
            return function(*args, **kwargs)

    add = option(
        "--allow-network",
        multiple=True,
        metavar="PACKAGE.MODULE:CLASS",
        help="Allow the code of this network to run, if the model names it; may be repeated.",
    )
    decorated: Callable[..., Any] = add(wrapped)
    return decorated
