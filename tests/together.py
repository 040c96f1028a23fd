"""Run by torchrun: what each process holds after it has talked with the others, as one line of JSON each, in a folder."""

import json
import sys
from pathlib import Path

import torch
from torch import nn

from mnist_edge.training.processes import joined


def main(folder: Path) -> None:
    with joined() as processes:
        rank = processes.rank
        used, half_used, unused = (nn.Parameter(torch.zeros(2, 3)) for _ in range(3))
        (used * (rank + 1)).sum().backward()
        if rank == 1:
            (half_used * 5).sum().backward()
        loss, right = processes.sum_gradients([used, half_used, unused], torch.tensor(rank + 0.5), torch.tensor(3 + rank))
        norm = nn.BatchNorm1d(3)
        norm.running_mean = torch.tensor([0.1, 2.0 * rank, 7.0])
        norm.num_batches_tracked = torch.tensor(4 + rank)
        processes.average_buffers(norm)
        held = {
            "share": processes.share(torch.arange(10, 17)).tolist(),
            "first": processes.from_first({"said": [1, 2]} if rank == 0 else None),
            "gradients": [None if p.grad is None else p.grad.tolist() for p in (used, half_used, unused)],
            "figures": [loss.item(), right.item()],
            "mean": [*norm.running_mean.tolist(), 0.1 - torch.tensor(0.1).item() + norm.running_mean[0].item()],
            "seen": norm.num_batches_tracked.item(),
        }
    (folder / f"{rank}.json").write_text(json.dumps(held))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
