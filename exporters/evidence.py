"""The gate's findings: the figures for a manifest and, for a refused artifact, everything that shows why it was refused."""

import json
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from exporters.reference import Answers
from mnist_edge.common.files import unused, write_atomically
from mnist_edge.proof import parity, records
from mnist_edge.store.publishing import FAILED

#: A refused artifact is kept with at least this many images, and at most this many pictures of them.
_WORST, _PICTURES = 20, 100


def keep_evidence(
    folder: Path,
    name: str,
    artifact: Path,
    report: parity.ParityReport,
    answers: Answers,
    logits: NDArray[np.float32],
) -> Path | None:
    """Save the refused artifact, the figures, the images that changed most or changed their answer, and both outputs.

    Returns None if it cannot be saved: the verdict stands with or without its evidence.
    """
    data, expected = answers.data, answers.logits
    folder = unused(folder / FAILED / f"{name}-{artifact.name}-{time.strftime('%Y%m%d-%H%M%S')}")
    try:
        folder.mkdir(parents=True)
        artifact.rename(folder / artifact.name)
        write_atomically(folder / "report.json", json.dumps(records.figures(report, data), indent=1).encode())
        if len(logits) == len(expected):
            difference = np.nan_to_num(np.abs(logits - expected), nan=np.inf).max(axis=1)
            worst = np.argsort(-difference, kind="stable")[:_WORST]
            shown = sorted({*report.changed, *worst.tolist()})
            np.savez(folder / "outputs.npz", indices=shown, reference=expected[shown], artifact=logits[shown], labels=data.labels[shown])
            for index in shown[:_PICTURES]:
                Image.fromarray(data.images[index, 0]).save(folder / f"{index:05d}-label-{data.labels[index]}.png")
    except OSError:
        return None
    return folder
