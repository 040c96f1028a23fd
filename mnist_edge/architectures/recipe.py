"""How a network is trained, as data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any, Literal, Self

from mnist_edge.common.errors import UsageError

#: Mean and standard deviation of MNIST's training pixels divided by 255.
MNIST_MEAN, MNIST_STD = 0.1307, 0.3081

#: The name of a recipe up to 0.1 → its name now.
OLD_NAMES: Mapping[str, Literal["tutorial"]] = MappingProxyType({"seed": "tutorial"})

Precision = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Augmentation:
    """Random changes of each image: affine ones, drawn evenly from ±each bound, and elastic ones.

    Attributes:
        rotation: degrees.
        scale: share of the size, in each direction.
        shear: horizontal displacement per unit of height.
        shift: share of the image's side.
        elastic: standard deviation, as a share of the image's side, of the random shifts of the points of a coarse grid, and with them,
            smoothly, everything between (after Simard et al., "Best Practices for Convolutional Neural Networks", 2003).
        pen: how far strokes get broader or thinner; 1 is a pixel on each side.
    """

    rotation: float = 11.0
    scale: float = 0.15
    shear: float = 0.2
    shift: float = 0.07
    elastic: float = 0.0
    pen: float = 0.0


@dataclass(frozen=True)
class Recipe:
    """Optimiser, schedule, augmentation and length of a training.

    Attributes:
        name: ``best`` (ours) or ``tutorial`` (the tutorial's). What 0.1 called it, ``seed``, is read as ``tutorial``.
        epochs: passes over the training images.
        batch_size: images per step.
        optimizer: ``adam``, ``adamw`` or ``sgd``.
        lr: learning rate; the highest one if there is a schedule.
        momentum: the momentum of ``sgd``.
        weight_decay: decoupled in ``adamw``.
        schedule: ``constant``, or ``onecycle`` (Smith and Topin, "Super-Convergence", 2018): a rise and a cosine fall.
        warmup: share of the steps in which ``onecycle`` rises.
        mean, std: normalisation of pixels divided by 255.
        augmentation: None for the images as they are.
        precision: of the forward and backward pass; weights, optimiser and held-out images stay in float32. ``bfloat16`` (Micikevicius
            et al., "Mixed Precision Training", 2018) halves the time of large convolutions where the processor multiplies in it.
        drawn: digits that the program draws itself, added to the training images, as a share of their number: ways of writing that
            MNIST's writers did not have, such as curled 9s, crossed 7s and flagged 1s. None are held out.
        channels_last: keep images with their channels last, as bfloat16 always does. A CPU then trains convolutions faster by a third in float32,
            too, with other last bits.
        hands: how varied the drawn digits are (`dataset.drawn.draw`); ``few`` in recipes of older versions.
        average: the decay of a running average of the weights, which becomes the network (Polyak and Juditsky, "Acceleration of Stochastic
            Approximation by Averaging", 1992); 0 for the last weights, as in recipes of older versions.
    """

    name: Literal["best", "tutorial"] = "best"
    epochs: int = 25
    batch_size: int = 128
    optimizer: Literal["adam", "adamw", "sgd"] = "adamw"
    lr: float = 3e-3
    momentum: float = 0.0
    weight_decay: float = 0.05
    schedule: Literal["constant", "onecycle"] = "onecycle"
    warmup: float = 0.3
    mean: float = MNIST_MEAN
    std: float = MNIST_STD
    precision: Precision = "float32"
    augmentation: Augmentation | None = Augmentation()
    drawn: float = 0.15
    hands: Literal["few", "many"] = "few"
    channels_last: bool = False
    average: float = 0.0

    def __post_init__(self) -> None:
        if not 0 <= self.average < 1:
            raise UsageError(f"a recipe's average must be at least 0 and below 1, not {self.average}")
        object.__setattr__(self, "name", OLD_NAMES.get(self.name, self.name))  # unfinished runs and plug-ins of 0.1 hold the old one

    def changed(
        self, *, epochs: int | None = None, batch_size: int | None = None, lr: float | None = None, precision: Precision | None = None
    ) -> Self:
        """Return the recipe with every value changed that is not None. Raises UsageError for a value that makes no sense."""
        for name, value in (("epochs", epochs), ("batch-size", batch_size), ("lr", lr)):
            if value is not None and not value > 0:
                raise UsageError(f"--{name} must be above 0, not {value}")
        return replace(
            self,
            epochs=self.epochs if epochs is None else epochs,
            batch_size=self.batch_size if batch_size is None else batch_size,
            lr=self.lr if lr is None else lr,
            precision=self.precision if precision is None else precision,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON values."""
        return asdict(self)


def tutorial_recipe(
    epochs: int,
    *,
    batch_size: int = 64,
    optimizer: Literal["adam", "sgd"] = "adam",
    lr: float = 1e-3,
    momentum: float = 0.0,
    mean: float = 0.5,
    std: float = 0.5,
) -> Recipe:
    """Return a tutorial's recipe: constant rate, no augmentation, no weight decay."""
    return Recipe(
        "tutorial",
        epochs,
        batch_size,
        optimizer,
        lr,
        momentum,
        weight_decay=0.0,
        schedule="constant",
        mean=mean,
        std=std,
        augmentation=None,
        drawn=0.0,
    )
