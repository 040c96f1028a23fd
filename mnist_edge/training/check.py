"""Tries a network before an hour is spent on training it, and again before it is published.

The trial uses a copy and throws it away: the network that is trained is never touched, and the random numbers afterwards are the same.
"""

import random
import shutil
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.parameter import is_lazy

from mnist_edge.architectures import build
from mnist_edge.architectures.deployed import Deployed, torch_logits
from mnist_edge.architectures.own import called, is_out_of_memory, raised, told_as_its_own
from mnist_edge.common.errors import TrainingError, UsageError, one_line
from mnist_edge.proof.steady import difference, find_unsteadiness, with_extremes
from mnist_edge.training.loop import loss_of
from mnist_edge.training.result import weights_of
from mnist_edge.training.settings import Settings

#: The number of images that a network is tried on, in addition to a black, a white and a noisy one; also at the end of a training.
_FEW, _AT_THE_END = 5, 300


def check_network(settings: Settings, pixels: NDArray[np.uint8], images: int) -> int:
    """Try a network once, in training and in use, and return the size of its weights in bytes.

    It is tried on `pixels`, uint8 N×1×28×28. An epoch has this many `images`.
    Warns of a softmax at the end. Raises UsageError, in one line, for a network that

    - raises anything, or does not turn float32 N×1×28×28 into float32 N×10, in training mode and in eval mode;
    - has nothing to train;
    - answers NaN or infinity, or answers differently the second time or in another batch;
    - cannot be saved, or answers differently after it was saved and loaded;
    - cannot be trained on the last batch, or on a process's share of it.
    """
    _check_shares(settings, images)
    name = settings.architecture
    tried = with_extremes(pixels[:_FEW])
    with _nothing_moved(), told_as_its_own(name):
        deployed = assemble(settings)
        with torch.no_grad():
            _check_logits(name, deployed.eval()(_on_device(tried, settings)), len(tried), "in eval mode")
        _check_trainable(name, deployed.network)
        _check_step(settings, deployed, tried)
        if _least_share(images, settings.recipe.batch_size, settings.processes) == 1:
            _check_single(settings, deployed, tried[-1:], images)
        deployed = _as_used(deployed)
        logits = deployed(torch.from_numpy(tried))
        _check_logits(name, logits, len(tried), "in eval mode, on the CPU")
        if not logits.isfinite().all():
            which = ["a black image", "a white image", "an image of noise", *["a training image"] * _FEW][
                int((~logits.isfinite().all(1)).nonzero()[0])
            ]
            raise UsageError(f"{called(name)} answers NaN or infinity to {which}; look for a division by zero or a logarithm of it")
        _warn_of_softmax(name, logits)
        if (unsteady := find_unsteadiness(lambda images: torch_logits(deployed, images), tried)) is not None:
            raise UsageError(f"{called(name)}: {unsteady}")
        weights = _saved(name, deployed.network)
        if (lost := _lost_by_saving(settings, deployed, weights, tried)) is not None:
            raise UsageError(lost)
    return len(weights)


def check_trained(settings: Settings, deployed: Deployed, pixels: NDArray[np.uint8], logits: NDArray[np.float32]) -> None:
    """Raise TrainingError unless a trained network's weights, loaded into a new one, answer as it does, in batches of any size.

    `logits`, float32 N×10, are its answers to `pixels`, uint8 N×1×28×28.
    """
    name = settings.architecture
    with _nothing_moved(), told_as_its_own(name, TrainingError):
        unsteady = find_unsteadiness(lambda images: torch_logits(deployed, images), pixels[:16], logits[:16])
        problem = (
            f"{called(name)}: {unsteady}"
            if unsteady
            else _lost_by_saving(settings, deployed, weights_of(deployed.network), pixels[:_AT_THE_END])
        )
    if problem is not None:
        raise TrainingError(f"not published: {problem}")


def check_disk(folder: Path, weights: int) -> None:
    """Raise TrainingError if the disk has no room for a training with this many bytes of weights."""
    # a checkpoint holds the weights, perhaps their average, and at most two numbers of the optimiser's for each; it is written beside the one before
    needed, free = 9 * weights + 2**21, shutil.disk_usage(folder).free
    if free < needed:
        raise TrainingError(
            f"{folder}: the disk has {free / 1e6:.1f} MB left, and the training needs {needed / 1e6:.1f} MB; free some, or name another --models-dir"
        )


def assemble(settings: Settings) -> Deployed:
    """Build a network as it is trained: with its normalisation, on its device, in the memory format that its precision needs."""
    deployed = Deployed(build(settings.architecture, settings.arguments), settings.recipe.mean, settings.recipe.std).to(settings.device)
    if any(map(is_lazy, deployed.parameters())):  # they take their shapes from the first image
        with torch.no_grad():
            deployed.eval()(_on_device(np.zeros((2, 1, 28, 28), np.uint8), settings))
    if settings.recipe.precision == "bfloat16" or settings.recipe.channels_last:
        deployed = deployed.to(memory_format=torch.channels_last)  # in which bfloat16 convolutions are fastest, a third and more
    return deployed


def _as_used(deployed: Deployed) -> Deployed:
    return deployed.to("cpu").to(memory_format=torch.contiguous_format).eval().requires_grad_(False)


@contextmanager
def _nothing_moved() -> Iterator[None]:
    """Restore the random numbers after the block. The training itself seeds those of devices."""
    python, numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng(devices=[]):
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)


def _on_device(pixels: NDArray[np.uint8], settings: Settings) -> Tensor:
    return torch.from_numpy(pixels).to(settings.device)


def _check_logits(name: str, logits: object, images: int, when: str, *, allowed: tuple[torch.dtype, ...] = (torch.float32,)) -> None:
    if not isinstance(logits, Tensor):
        what = type(logits).__name__
    elif logits.shape != (images, 10):
        what = f"a tensor of {tuple(logits.shape)}"
    elif logits.dtype not in allowed:
        what = str(logits.dtype).removeprefix("torch.")
    else:
        return
    raise UsageError(
        f"{called(name)} answers {images} images with {what} {when}; it should be one float32 tensor of ({images}, 10), the logits"
    )


def _check_trainable(name: str, network: nn.Module) -> None:
    parameters = list(network.parameters())
    if not any(parameter.requires_grad for parameter in parameters):
        why = "all its parameters are frozen (requires_grad is False)" if parameters else "it has no parameters"
        raise UsageError(f"{called(name)}: there is nothing to train, because {why}")


def _check_step(settings: Settings, deployed: Deployed, pixels: NDArray[np.uint8]) -> None:
    """Take a training step. Before it, a last layer of zeros may still hide a fault of the network."""
    name = settings.architecture
    images = _on_device(pixels, settings).float()
    labels = torch.arange(len(pixels), device=settings.device) % 10
    bfloat16 = settings.recipe.precision == "bfloat16"
    allowed = (torch.float32, torch.bfloat16) if bfloat16 else (torch.float32,)
    deployed.train()
    with torch.autocast(images.device.type, torch.bfloat16, enabled=bfloat16):
        logits = deployed(images)
    _check_logits(name, logits, len(pixels), "in training mode", allowed=allowed)
    loss = cross_entropy(logits.float(), labels)
    if not loss.requires_grad:
        raise UsageError(
            f"{called(name)}: there is nothing to train, because its answer depends on no parameter (no_grad or detach in forward?)"
        )
    optimizer = torch.optim.Adam(deployed.parameters(), lr=1e-3)
    loss.backward()
    optimizer.step()


def _check_single(settings: Settings, deployed: Deployed, pixels: NDArray[np.uint8], images: int) -> None:
    """Take a step on one image, as the last batch will be."""
    name, size = settings.architecture, settings.recipe.batch_size
    try:
        loss_of(
            deployed.train(),
            settings.recipe,
            _on_device(pixels, settings).float(),
            torch.zeros(1, dtype=torch.int64, device=settings.device),
        )[0].backward()
    except Exception as error:  # the user's own network, which may raise anything
        if is_out_of_memory(error):
            raise
        last = "a last batch of one" if settings.processes == 1 else f"one image to one of {settings.processes} processes"
        raise UsageError(
            f"{raised(name, error)}; {images:,} training images in batches of {size} leave {last}, and it cannot be trained on one image: "
            f"take --batch-size {_nearest_size(images, size, settings.processes, 2)}"
        ) from error


def _check_shares(settings: Settings, images: int) -> None:
    """Refuse batches that leave a process without an image."""
    size, processes = settings.recipe.batch_size, settings.processes
    if not _least_share(images, size, processes):
        raise UsageError(
            f"{images:,} training images in batches of {size} leave none for one of {processes} processes: "
            f"take --batch-size {_nearest_size(images, size, processes, 1)}"
        )


def _least_share(images: int, size: int, processes: int) -> int:
    """Return the smallest number of images that a process gets of any batch."""
    return min(size, images % size or size) // processes


def _nearest_size(images: int, size: int, processes: int, share: int) -> int:
    """Return the batch size nearest to `size` that leaves every process at least `share` images of each batch."""
    fitting = (n for n in range(2, max(size, 2) + images) if _least_share(images, n, processes) >= share)
    return min(fitting, key=lambda n: (abs(n - size), n), default=images)


def _warn_of_softmax(name: str, logits: Tensor) -> None:
    if (logits >= 0).all() and torch.allclose(logits.sum(dim=1), torch.ones(len(logits)), atol=1e-4):
        warnings.warn(
            f"{called(name)} answers with numbers that are never negative and sum to 1, as behind a softmax; leave the softmax out: the loss "
            "applies its own, and with two a network learns slowly and is never confident",
            stacklevel=2,
        )


def _saved(name: str, network: nn.Module) -> bytes:
    try:
        return weights_of(network)
    except (RuntimeError, ValueError, AttributeError) as error:  # weights that share memory, or state that is no tensor
        if "share memory" in str(error):
            raise UsageError(f"{called(name)}: its weights cannot be saved: two parameters share memory; give each its own") from error
        raise UsageError(f"{called(name)}: its weights cannot be saved: {one_line(error)}") from error


def _lost_by_saving(settings: Settings, deployed: Deployed, weights: bytes, pixels: NDArray[np.uint8]) -> str | None:
    """Return what is wrong with a network that answers differently after its weights were saved and loaded; None if nothing is."""
    torch.manual_seed(settings.seed + 1)  # else random values made in __init__ would be the same
    name = settings.architecture
    again = Deployed(build(name, settings.arguments), settings.recipe.mean, settings.recipe.std)
    try:
        again.network.load_state_dict(safetensors.torch.load(weights))
    except RuntimeError as error:
        return f"{called(name)}: its saved weights do not fit a newly built network: {one_line(error)}"
    again = _as_used(again)
    before, after = torch_logits(deployed, pixels), torch_logits(again, pixels)
    if not (off := difference(before, after)):
        return None
    unsaved = _unsaved(deployed.network, again.network)
    where = (
        f"{unsaved} is not among its weights; keep it by self.register_buffer(…), or as an nn.Parameter"
        if unsaved
        else "it keeps something that is not among its weights; keep all of it as parameters or by self.register_buffer(…)"
    )
    return f"{called(name)} answers differently by {off:.3g} after it was saved and loaded: {where}"


def _unsaved(network: nn.Module, again: nn.Module) -> str | None:
    """Return what differs between two networks with the same weights: an attribute that is neither a parameter nor a saved buffer."""
    others = dict(again.named_modules())
    for path, module in network.named_modules():
        other = others.get(path)
        buffers = {key: value for key, value in module._buffers.items() if key in module._non_persistent_buffers_set}
        for key, value in (buffers | {k: v for k, v in vars(module).items() if not k.startswith("_")}).items():
            if key != "training" and _differ(value, getattr(other, key, None)):
                kind = "its buffer" if key in buffers else "its attribute"
                return f"{kind} {path + '.' if path else ''}{key}"
    return None


def _differ(a: Any, b: Any) -> bool:
    """Say whether two values that a module may keep are different, as far as that can be told."""
    if isinstance(a, Tensor):
        return not (isinstance(b, Tensor) and torch.equal(a.detach().cpu(), b.detach().cpu()))
    if isinstance(a, np.ndarray):
        return not (isinstance(b, np.ndarray) and np.array_equal(a, b))
    if isinstance(a, (bool, int, float, str)):
        return bool(a != b)
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) != len(b) or any(map(_differ, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() != b.keys() or any(_differ(a[key], b[key]) for key in a)
    return False
