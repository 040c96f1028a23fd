"""What a finished training leaves: weights, history, PyTorch's answers, and the manifest that says how it came to be."""

import json
import platform
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
from safetensors.torch import save
from torch import nn

from mnist_edge import dataset as datasets
from mnist_edge.architectures.deployed import Deployed, torch_logits
from mnist_edge.dataset import Dataset
from mnist_edge.proof import golden
from mnist_edge.proof.confidence import Threshold
from mnist_edge.store import publishing
from mnist_edge.store.manifest import Manifest
from mnist_edge.training.loop import Epoch
from mnist_edge.training.settings import Settings

WEIGHTS, HISTORY, CURVES = "weights.safetensors", "history.jsonl", "curves.png"


def versions() -> dict[str, str]:
    """Return the versions that a training's bits depend on."""
    return {
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
    }


def weights_of(network: nn.Module) -> bytes:
    """Return a network's weights as a safetensors file. Raises RuntimeError for weights that share memory."""
    weights: bytes = save({key: value.contiguous() for key, value in network.state_dict().items()})
    return weights


def write_model(
    folder: Path,
    name: str,
    settings: Settings,
    deployed: Deployed,
    history: list[Epoch],
    seconds: float,
    held_out: int,
    threshold: Threshold,
    test: Dataset,
    logits: np.ndarray[Any, np.dtype[np.float32]],
) -> None:
    """Write weights, history, curves, PyTorch's answers, golden inputs and manifest into a folder. Raises OSError.

    `held_out` is the number of training images that were held out.
    """
    (folder / WEIGHTS).write_bytes(weights_of(deployed.network))
    (folder / HISTORY).write_text("".join(json.dumps(epoch.to_json()) + "\n" for epoch in history))
    _draw_curves(history, name, folder / CURVES)
    correct = int((logits.argmax(axis=1) == test.labels).sum())
    recipe = settings.recipe
    Manifest(
        name=name,
        architecture=settings.architecture,
        arguments=settings.arguments,
        parameters=sum(parameter.numel() for parameter in deployed.network.parameters()),
        normalisation={"mean": recipe.mean, "std": recipe.std},
        licence=settings.licence,
        weights=publishing.record_of(folder / WEIGHTS),
        training={
            "recipe": recipe.to_json(),
            "data": settings.data | {"held_out": held_out, "held_out_by": settings.held_out},
            "train_images": settings.train_images,
            "seed": settings.seed,
            "epochs": len(history),
            "device": settings.device,
            "threads": settings.threads,
            "processes": settings.processes,
            "seconds": seconds,
            "finished": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "versions": versions(),
        },
        scores={
            "validation_accuracy": history[-1].validation_accuracy,
            "confidence": threshold.to_json(),
            "test_accuracy": correct / len(test),
            "test_correct": correct,
            "test_data": datasets.describe(test),
        },
        history=publishing.record_of(folder / HISTORY),
        references=(publishing.write_reference(folder, logits, datasets.describe(test)),),
        golden=publishing.write_golden(folder, golden.choose(lambda pixels: torch_logits(deployed, pixels)).to_bytes()),
    ).write(folder)


def _draw_curves(history: list[Epoch], name: str, path: Path) -> None:
    from mnist_edge.report.figures import curves

    try:
        path.write_bytes(curves([epoch.to_json() for epoch in history], name))
    except Exception as error:  # a missing font must not cost a training
        warnings.warn(f"no curves were drawn: {error}", stacklevel=2)
