"""What a shell can complete: names of models, networks, formats and runtimes. Nothing here imports torch."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

Complete = Callable[[click.Context, click.Parameter, str], "list[CompletionItem]"]

#: The networks of this package; listing them from their registry would import torch.
NETWORKS = (
    "cnn-keras",
    "cnn-small",
    "convnet",
    "gru",
    "lenet",
    "lenet5",
    "mlp-256",
    "mlp-512",
    "mnistnet",
    "resnet-tiny",
    "resnet18",
    "vgg",
    "vit",
    "vit-cls",
)


def _completes(names: Callable[[click.Context], "list[str]"], or_files: bool = False) -> Complete:
    """Return a function that proposes names; where none fits and `or_files`, the shell proposes files."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> "list[CompletionItem]":
        from click.shell_completion import CompletionItem

        fitting = [CompletionItem(name) for name in names(ctx) if name.startswith(incomplete)]
        return fitting or ([CompletionItem(incomplete, type="file")] if or_files else [])

    return complete


def _models(ctx: click.Context) -> list[str]:
    from mnist_edge.store import REFERENCE_MODEL, models_dir
    from mnist_edge.store.manifest import FILE_NAME

    folder = models_dir(ctx.params.get("models_dir"))
    try:
        there = {entry.name for entry in os.scandir(folder) if not entry.name.startswith(".") and Path(entry.path, FILE_NAME).is_file()}
    except OSError:
        there = set()
    return sorted({*there, REFERENCE_MODEL})


def _restorable(ctx: click.Context) -> list[str]:
    from mnist_edge.store import models_dir
    from mnist_edge.store.housekeeping import restorable

    found = restorable(models_dir(ctx.params.get("models_dir")))
    return sorted({name for one in found for name in (one.name, one.path.name)})


def _formats(ctx: click.Context) -> list[str]:
    import exporters

    return [format.name for format in exporters.formats()]


def _precisions(ctx: click.Context) -> list[str]:
    import exporters
    from mnist_edge.store.manifest import quantize_of

    return sorted({quantize_of(precision) for format in exporters.formats() for precision in format.precisions})


def _runtimes(ctx: click.Context) -> list[str]:
    from mnist_edge.runtimes import runtimes

    return list(runtimes())


def _platforms(ctx: click.Context) -> list[str]:
    from mnist_edge.runtimes.emulated import PLATFORMS

    return list(PLATFORMS)


models = _completes(_models, or_files=True)
restorable_models = _completes(_restorable)
networks = _completes(lambda ctx: list(NETWORKS))
formats = _completes(_formats)
precisions = _completes(_precisions)
runtimes = _completes(_runtimes)
platforms = _completes(_platforms)
recipes = _completes(lambda ctx: ["best", "tutorial"])
data = _completes(lambda ctx: ["mnist", "drawn"], or_files=True)
files = _completes(lambda ctx: [], or_files=True)
