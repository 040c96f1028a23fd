"""The training loop: seeded, resumable at every epoch, and silent. A listener is told what happens."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from itertools import islice
from typing import Any, Protocol, cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, OneCycleLR
from torch.optim.swa_utils import AveragedModel

from mnist_edge.architectures.deployed import Deployed
from mnist_edge.architectures.own import told_as_its_own
from mnist_edge.architectures.recipe import Recipe
from mnist_edge.common.errors import TrainingError
from mnist_edge.training.augment import augment
from mnist_edge.training.processes import ALONE, Processes

#: Images per step when nothing is learned; this affects only memory.
EVALUATION_BATCH = 1000


@dataclass(frozen=True)
class Epoch:
    """The results of an epoch.

    Attributes:
        epoch: counted from 1.
        loss, accuracy: over the augmented training images, measured while the weights changed.
        validation_loss, validation_accuracy: over the held-out images, after the epoch.
        lr: learning rate after the last step.
        seconds: wall time of the epoch, validation included.
    """

    epoch: int
    loss: float
    accuracy: float
    validation_loss: float
    validation_accuracy: float
    lr: float
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the figures as JSON values."""
        return asdict(self)


class Listener(Protocol):
    """Receives what happens during a training."""

    def on_batch(self, epoch: int, batch: int, batches: int, loss: float) -> None:
        """A step is done. Epochs and batches count from 1."""

    def on_epoch(self, epoch: Epoch) -> None:
        """An epoch is done, and its checkpoint is on the disk."""


@dataclass(frozen=True)
class Images:
    """Images on the device: uint8 N×1×28×28 and int64 N."""

    pixels: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


class Trainer:
    """A network in training: weights, optimiser and schedule, which go into a checkpoint and come back from it.

    `name` is what a user calls the network. Of several `processes`, each trains on its share of every batch. If there are `teachers`, the
    network learns the mean of their probabilities for each changed image, not its label (Hinton, Vinyals and Dean, "Distilling the Knowledge
    in a Neural Network", 2015, at temperature 1).
    """

    def __init__(
        self,
        name: str,
        deployed: Deployed,
        recipe: Recipe,
        seed: int,
        training: Images,
        validation: Images,
        processes: Processes = ALONE,
    ) -> None:
        self.name, self.recipe, self.seed = name, recipe, seed
        self._learning = deployed
        self._average = None
        if recipe.average:
            with told_as_its_own(name, advice="its recipe asks for an average of the weights, which needs a copy; set average=0"):
                self._average = AveragedModel(deployed, avg_fn=_average_with(recipe.average), use_buffers=True)
        self.training, self.validation, self.processes = training, validation, processes
        self.parameters = [parameter for parameter in deployed.parameters() if parameter.requires_grad]
        self.batches = math.ceil(len(training) / recipe.batch_size)
        self.optimizer = _optimizer(deployed, recipe)
        self.schedule = _schedule(self.optimizer, recipe, self.batches)
        self.done = 0
        self.teachers: Sequence[Deployed] = ()

    @property
    def deployed(self) -> Deployed:
        """What the training makes: the average of the weights if the recipe asks for it, else the weights themselves."""
        if self._average is None:
            return self._learning
        return cast(Deployed, self._average.module)

    def state(self) -> dict[str, Any]:
        """Return everything that the next epoch depends on."""
        state = {
            "epoch": self.done,
            "network": self._learning.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict(),
        }
        return state | {"average": self.deployed.network.state_dict()} if self._average else state

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to the point at which `state` was taken."""
        self._learning.network.load_state_dict(state["network"])
        if self._average:
            self.deployed.network.load_state_dict(state["average"])
            self._average.n_averaged.fill_(state["epoch"] * self.batches)
        self.optimizer.load_state_dict(state["optimizer"])
        self.schedule.load_state_dict(state["schedule"])
        self.done = state["epoch"]

    def epochs(self, listener: Listener) -> Iterator[Epoch]:
        """Train the epochs that are left, one at a time.

        All randomness in an epoch comes from the seed and the epoch's number, so a resumed run equals an uninterrupted one.
        Raises TrainingError if the loss is not finite, or the network raises anything.
        """
        while self.done < self.recipe.epochs:
            started = time.perf_counter()
            number = self.done + 1
            loss, accuracy = self._train(number, listener)
            validation_loss, validation_accuracy = self._validate()
            if not math.isfinite(validation_loss):
                raise TrainingError(
                    f"the held-out loss is {validation_loss} after epoch {number}; try a lower --lr than {self.recipe.lr:g}"
                )
            self.done = number
            lr = float(self.optimizer.param_groups[0]["lr"])
            yield Epoch(number, loss, accuracy, validation_loss, validation_accuracy, lr, round(time.perf_counter() - started, 3))

    def _train(self, number: int, listener: Listener) -> tuple[float, float]:
        random = torch.Generator().manual_seed(self.seed * 1_000_003 + number)
        own = self.seed + (self.processes.rank << 32)  # each process changes and drops out its own images; the order is everybody's
        torch.manual_seed(own * 1_000_003 + number + 500_000)  # dropout draws from the global stream, which is a different one
        order = torch.randperm(len(self.training), generator=random).to(self.training.labels.device)
        if not self.processes.is_first:
            random.manual_seed(own * 1_000_003 + number)
        self._learning.train()
        loss_sum, correct = 0.0, torch.zeros((), dtype=torch.int64, device=order.device)
        for batch, indices in enumerate(order.split(self.recipe.batch_size), start=1):
            share = self.processes.share(indices)
            pixels, labels = self.training.pixels[share].float(), self.training.labels[share]
            if self.recipe.augmentation is not None:
                pixels = augment(pixels, self.recipe.augmentation, random)
            with self._told_as_its_own(f"epoch {number}, batch {batch} of {self.batches}"):
                loss, logits = loss_of(self._learning, self.recipe, pixels, self._targets(pixels, labels))
                loss = loss * (len(share) / len(indices))
                self.optimizer.zero_grad()
                loss.backward()
            right = (logits.detach().argmax(dim=1) == labels).sum()
            total, right = self.processes.sum_gradients(self.parameters, loss, right)
            value = total.item()
            if not math.isfinite(value):
                raise TrainingError(
                    f"the loss is {value} in epoch {number}, batch {batch} of {self.batches}; try a lower --lr than {self.recipe.lr:g}"
                )
            with self._told_as_its_own(f"epoch {number}, batch {batch} of {self.batches}"):
                self.optimizer.step()
            if self._average:
                self._average.update_parameters(self._learning)
            self.schedule.step()
            loss_sum += value * len(indices)
            correct += right.to(torch.int64)
            listener.on_batch(number, batch, self.batches, value)
        return loss_sum / len(self.training), int(correct) / len(self.training)

    @torch.no_grad()
    def _targets(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Return what is to be learned: labels, int64 N, or the teachers' probabilities, float32 N×10."""
        if not self.teachers:
            return labels
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.recipe.precision == "bfloat16"):
            answers = [teacher(pixels) for teacher in self.teachers]
        return torch.stack([logits.float().softmax(dim=1) for logits in answers]).mean(dim=0)

    @torch.no_grad()
    def _validate(self) -> tuple[float, float]:
        deployed = self.deployed
        self.processes.average_buffers(self._learning)
        if self._average:
            self.processes.average_buffers(deployed)
        deployed.eval()
        loss, correct = 0.0, 0
        batches = zip(self.validation.pixels.split(EVALUATION_BATCH), self.validation.labels.split(EVALUATION_BATCH), strict=True)
        for pixels, labels in islice(batches, self.processes.rank, None, self.processes.count):
            with self._told_as_its_own(f"epoch {self.done + 1}, held-out images"):
                logits = deployed(pixels)
            loss += cross_entropy(logits, labels, reduction="sum").item()
            correct += int((logits.argmax(dim=1) == labels).sum())
        loss, correct = self.processes.sum(torch.tensor([loss, correct], dtype=torch.float64)).tolist()
        return loss / len(self.validation), correct / len(self.validation)

    def _told_as_its_own(self, when: str) -> AbstractContextManager[None]:
        """Report an error of the network as the network's own, and say what happens to the training."""
        kept = f"the {self.done} finished epochs are kept"
        if self.done < 2:
            kept = "the first epoch is kept" if self.done else "no epoch is kept"
        return told_as_its_own(
            self.name,
            TrainingError,
            advice=f"in {when}; {kept}, and --resume continues from there",
            memory=f"free some and continue with --resume ({kept}), or start over with a smaller --batch-size than {self.recipe.batch_size}",
        )


def loss_of(deployed: Deployed, recipe: Recipe, pixels: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return loss and logits of a step, computed in the recipe's precision; `targets` are labels, int64 N, or probabilities, float32 N×10."""
    with torch.autocast(pixels.device.type, torch.bfloat16, enabled=recipe.precision == "bfloat16"):
        logits = deployed(pixels)
    return cross_entropy(logits.float(), targets), logits


def _average_with(decay: float) -> Callable[[Tensor, Tensor, Tensor | int], Tensor]:
    """Return the function that moves an average towards the newest weights: fast at first, because the first weights are random."""

    def moved(average: Tensor, newest: Tensor, done: Tensor | int) -> Tensor:
        if not newest.is_floating_point():
            return newest
        step = int(done) + 1
        return average.lerp(newest, 1 - min(decay, (1 + step) / (10 + step)))

    return moved


def _optimizer(deployed: Deployed, recipe: Recipe) -> torch.optim.Optimizer:
    parameters = list(deployed.parameters())
    fused = parameters[0].device.type in ("cpu", "cuda")
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=recipe.lr, momentum=recipe.momentum, weight_decay=recipe.weight_decay, fused=fused)
    kind = torch.optim.AdamW if recipe.optimizer == "adamw" else torch.optim.Adam
    return kind(parameters, lr=recipe.lr, weight_decay=recipe.weight_decay, fused=fused)


def _schedule(optimizer: torch.optim.Optimizer, recipe: Recipe, batches: int) -> LRScheduler:
    if recipe.schedule == "constant":
        return ConstantLR(optimizer, factor=1.0, total_iters=0)
    # OneCycleLR refuses to be stepped beyond its last step, which is taken after the last batch
    return OneCycleLR(optimizer, recipe.lr, total_steps=recipe.epochs * batches + 1, pct_start=recipe.warmup, cycle_momentum=False)
