"""One artifact, loaded, against PyTorch's answers: on a test set, on the golden inputs, and on inputs that no test set has."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist_edge.common.logits import Run
from mnist_edge.dataset import Dataset
from mnist_edge.proof import golden as goldens
from mnist_edge.proof import parity
from mnist_edge.proof import probes as other_inputs
from mnist_edge.proof.golden import Golden
from mnist_edge.proof.parity import Budget, ParityReport
from mnist_edge.proof.probes import Probes


class Examined(NamedTuple):
    """The findings.

    Attributes:
        report: true if nothing was wrong; its failures cover all inputs.
        logits: float32 N×10, the artifact's answers to the test set; fewer rows if it failed.
        golden_difference: how far its logits were from PyTorch's on the golden inputs; None without golden inputs.
    """

    report: ParityReport
    logits: NDArray[np.float32]
    golden_difference: float | None

    @property
    def golden(self) -> dict[str, float]:
        """What a proof keeps about the golden inputs."""
        return {} if self.golden_difference is None else {"max_difference": self.golden_difference}


def examine(
    run: Run,
    precision: str,
    budget: Budget,
    data: Dataset,
    reference: NDArray[np.float32],
    golden: Golden | None,
    probes: Probes | None = None,
) -> Examined:
    """Run an artifact on all inputs and compare. `reference`, float32 N×10, are PyTorch's answers to `data`.

    Requires: as many rows in `reference` as images in `data`. Ensures: a report, whatever the artifact does; it raises nothing.
    """
    is_exact = precision == "float32"
    report, logits = parity.check(run, reference, data.images, data.labels, budget)
    difference = None
    if golden is not None:
        at_home = goldens.compare(run, golden, goldens.tolerance(precision, 0.0) if is_exact else None)
        report = report.with_failures([f"golden inputs: {failure}" for failure in at_home.failures])
        difference = at_home.max_difference
    if probes is not None:
        report = report.with_failures(other_inputs.failures(run, probes, exact=is_exact))
    return Examined(report, logits, difference)
