"""Several processes that train one network together, as torchrun starts them.

Each takes its share of every batch. The gradients of the shares are summed, so that all take the step of the whole batch and keep equal weights.
The first process alone writes, prints and publishes.

The sum is one plain all-reduce a step. DistributedDataParallel would overlap it with the backward pass, but it arranges its buckets anew after
the first step of a process, so that with three processes or more a resumed training would add in another order than an undisturbed one.
"""

import os
import pickle
import re
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.distributed.rendezvous import rendezvous

from mnist_edge.common.errors import MnistEdgeError, TrainingError, UsageError, one_line

#: How long another process waits for the first to report the same error, before it reports its own.
_PATIENCE = timedelta(seconds=3)

#: Seconds that it then gives the first to print, because torchrun ends all processes once one has ended.
_HEAD_START = 1.0


@dataclass(frozen=True)
class Processes:
    """This process, and how many train together.

    Attributes:
        rank: the number of this process; the first is 0.
        count: the number of processes.
        restarts: how often torchrun has started them again after one of them died.
        store: where they leave notes for each other; None for a process that is alone.
    """

    rank: int = 0
    count: int = 1
    restarts: int = 0
    store: Store | None = None

    @property
    def is_first(self) -> bool:
        """True for the process that writes, prints and publishes."""
        return self.rank == 0

    def share(self, indices: Tensor) -> Tensor:
        """Return this process's part of a batch. The parts differ by one image at most."""
        return indices if self.count == 1 else indices.tensor_split(self.count)[self.rank]

    def from_first(self, value: Any = None) -> Any:
        """Return the first process's `value` in all of them. Raises TrainingError if a process is gone."""
        if self.count == 1:
            return value
        body = torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8) if self.is_first else torch.empty(0, dtype=torch.uint8)
        length = torch.tensor([len(body)])
        with _gone():
            dist.broadcast(length, 0)
            body = body if self.is_first else torch.empty(int(length), dtype=torch.uint8)
            dist.broadcast(body, 0)
        return pickle.loads(body.numpy().tobytes())

    def sum(self, figures: Tensor) -> Tensor:
        """Return the sum of all processes' `figures`, the same bits in all of them. Raises TrainingError if a process is gone."""
        if self.count > 1:
            with _gone():
                dist.all_reduce(figures)
        return figures

    def sum_gradients(self, parameters: Sequence[nn.Parameter], *figures: Tensor) -> Sequence[Tensor]:
        """Replace the gradients by the sums of all processes', and return the sums of the scalar `figures`, in one all-reduce.

        A parameter that no process used keeps no gradient, as in a single process. Raises TrainingError if a process is gone.
        """
        if self.count == 1:
            return figures
        used = torch.tensor([parameter.grad is not None for parameter in parameters], device=figures[0].device)
        gradients = [(torch.zeros_like(p) if p.grad is None else p.grad).flatten() for p in parameters]
        everything = self.sum(torch.cat([*gradients, used, *(figure.detach().reshape(1) for figure in figures)]))
        *sums, used, totals = everything.split([*(p.numel() for p in parameters), len(parameters), len(figures)])
        for parameter, total, is_used in zip(parameters, sums, used.tolist(), strict=True):
            if is_used:
                parameter.grad = torch.empty_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad.copy_(total.view_as(parameter))  # copied, because the optimiser relies on the gradient's memory format
        return [*totals]

    def average_buffers(self, network: nn.Module) -> None:
        """Average what each process gathered from its own images: BatchNorm's running means and variances. Counts become the first's."""
        if self.count == 1:
            return
        for buffer in network.buffers():
            mean = buffer.contiguous().clone()
            with _gone():
                dist.broadcast(mean, 0)
            if buffer.is_floating_point():
                mean += self.sum((buffer - mean).contiguous()) / self.count  # a buffer that is the same everywhere keeps its bits
            buffer.copy_(mean)

    def take_device(self, device: str) -> None:
        """Give each process of this machine a GPU of its own. Raises UsageError if there are too few, or the device cannot be shared."""
        if self.count == 1 or device == "cpu":
            return
        if device != "cuda":
            raise UsageError(f"several processes cannot train on {device}; take --device cpu, or start one process without torchrun")
        number, local = torch.cuda.device_count(), int(os.environ["LOCAL_WORLD_SIZE"])
        if local > number:
            raise UsageError(
                f"{local} processes on this machine need a GPU each, and it has {number}; start {number}, or take --device cpu"
            )
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))

    def told_by_another(self, error: BaseException) -> bool:
        """Say whether another process reports this `error`, or the one that it comes from. If not, this process has to.

        The first process speaks for all. Another one speaks only if the first does not fail within three seconds.
        """
        if self.store is None:
            return False
        failed, spoken = "failed", "spoken"
        with suppress(RuntimeError):  # the store is torchrun's, and may be gone
            if self.is_first:
                self.store.set(failed, "")
                return isinstance(error, TrainingError) and self.store.check([spoken])
            with suppress(dist.DistStoreError):  # it was not there in time
                self.store.wait([failed], _PATIENCE)
                time.sleep(_HEAD_START)
                return True
            self.store.set(spoken, "")
        return isinstance(error, KeyboardInterrupt) and not self.is_first

    def name_it(self, error: MnistEdgeError) -> MnistEdgeError:
        """Return the error with the name of the process that it happened in, if that is not the first."""
        return error if self.is_first else type(error)(f"process {self.rank + 1} of {self.count}, on {socket.gethostname()}: {error}")


#: A process that trains by itself.
ALONE = Processes()


@contextmanager
def joined() -> Iterator[Processes]:
    """Join the processes that torchrun started with this one; without torchrun, there is only this one. Raises TrainingError."""
    if not dist.is_available() or not dist.is_torchelastic_launched() or os.environ["WORLD_SIZE"] == "1":
        yield ALONE
        return
    restarts = int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0))
    with _gone():
        store, rank, count = next(rendezvous("env://"))
        store = PrefixStore(
            f"mnist-edge/{restarts}", store
        )  # a restart may find the store of the processes that died, with their addresses
        dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", store=store, rank=rank, world_size=count)
    try:
        yield Processes(rank, count, restarts, store)
    finally:
        with suppress(RuntimeError):  # a process is gone
            dist.destroy_process_group()


@contextmanager
def _gone() -> Iterator[None]:
    """Turn what a backend raises into one line. All that it can say is that it no longer hears from a process."""
    try:
        yield
    except RuntimeError as error:
        raise TrainingError(
            f"a process of this training ended or cannot be reached ({_without_source(one_line(error))}); the finished epochs are kept: "
            "start all of them again with --resume"
        ) from error


def _without_source(message: str) -> str:
    """Leave out the line of gloo's own source, with which its messages begin."""
    return re.sub(r"\[/[^\]]*\] ", "", message)
