"""Everything that a training's result depends on, and what this machine supports of it."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch

from mnist_edge.architectures.recipe import Augmentation, Precision, Recipe
from mnist_edge.common.errors import UsageError
from mnist_edge.dataset import EVERY_TWELFTH, Rule


@dataclass(frozen=True)
class Settings:
    """Everything that a training's result depends on, except the machine.

    Attributes:
        architecture, arguments: the network.
        recipe: how it is trained.
        seed: random seed for weights, order, augmentation and dropout.
        device: ``cpu``, ``cuda`` or ``mps``.
        threads: PyTorch's; another number changes the last bits.
        data: name, number of images and hash of the training set.
        licence: SPDX identifier of the trained weights.
        train_images: the part of the training set that was asked for; None for all of it, and in runs of older versions.
        processes: how many train together; another number changes the bits.
        held_out: the rule by which images are held out; ``every-twelfth`` in runs of older versions.
    """

    architecture: str
    arguments: dict[str, Any]
    recipe: Recipe
    seed: int
    device: str
    threads: int
    data: dict[str, Any]
    licence: str
    train_images: int | None = None
    processes: int = 1
    held_out: Rule = EVERY_TWELFTH

    def to_json(self) -> dict[str, Any]:
        """Return the settings as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> "Settings":
        """Return the settings that `to_json` wrote. Raises KeyError or TypeError for anything else."""
        recipe = dict(body["recipe"])
        if recipe["augmentation"] is not None:
            recipe["augmentation"] = Augmentation(**recipe["augmentation"])
        return cls(**{**body, "recipe": Recipe(**recipe)})


def choose_device(name: str) -> str:
    """Return ``cpu``, ``cuda`` or ``mps`` for a name or ``auto``. Raises UsageError if this machine does not have it."""
    has = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if name == "auto":
        return next(device for device in ("cuda", "mps", "cpu") if has[device])
    if not has.get(name, False):
        raise UsageError(f"no device {name!r} on this machine; available: {', '.join(device for device in has if has[device])}")
    return name


def computes_in(precision: Precision, device: str) -> bool:
    """Say whether the device itself multiplies in this precision. If not, bfloat16 is slower than float32."""
    if precision == "float32":
        return True
    if device == "cpu":
        has = torch.cpu.get_capabilities()
        return bool(has.get("avx512_bf16") or has.get("amx_bf16"))
    return device == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
