"""What a proof is worth: how large it has to be, and which of two is the stronger."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnist_edge.dataset import Dataset, describe
from mnist_edge.errors import ParityError
from mnist_edge.files import sha256_file
from mnist_edge.manifest import Artifact
from mnist_edge.parity import ParityReport, batches_checked
from mnist_edge.text import count, data_name

#: A proof takes at least this many images. Where none of n images changed its answer, at most 3/n of all answers change, with 95 %
#: certainty (the rule of three: Hanley and Lippman-Hand, "If Nothing Goes Wrong, Is Everything All Right?", 1983). For 1,000 that is
#: 0.3 %, the loosest share that a precision's own budget allows.
SMALLEST = 1000


def shortcomings(labels: NDArray[np.uint8], classes: Sequence[str]) -> str:
    """Return why images with these labels, uint8 N, are too few for a proof, in words; nothing where they are enough."""
    if len(labels) < SMALLEST:
        return f"{count(len(labels), 'test image')} {'is' if len(labels) == 1 else 'are'} too few for a proof, which takes {SMALLEST:,}"
    absent = [name for index, name in enumerate(classes) if index not in labels]
    return f"no test image shows {' or '.join(absent)}, and a proof takes every class" if absent else ""


def record(report: ParityReport, data: Dataset, unproven: str = "") -> dict[str, Any]:
    """Return what the manifest keeps of a report on `data`; `unproven` says why it is no proof, if it is none."""
    kept = report.to_json() | {"batches": list(batches_checked(len(data))), "data": describe(data)}
    return kept | {"unproven": unproven} if unproven else kept


def doubts(details: Mapping[str, Any]) -> str:
    """Return why images alone do not prove an artifact whose exporter had something to warn of; nothing where it had not."""
    warned = details.get("warnings") or ()
    return f"the exporter warned: {'; '.join(map(str, warned))}" if warned else ""


def is_weaker(proof: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Say whether a proof, as a manifest keeps it, is weaker than another.

    What counts, in this order: that it is one at all, that its images are not drawn by the program, their number, and the budget.
    """
    return _strength(proof) < _strength(other)


def keep_stronger(folder: Path, known: Artifact | None, new: Artifact, force: bool = False) -> Artifact:
    """Return the record to keep where `new` takes the place of `known` in a model's folder.

    For the same bytes that is the record with the stronger proof. Raises ParityError where other bytes with a weaker proof would
    replace a file that is there and sound, unless `force`.
    """
    if known is None or not is_weaker(new.parity, known.parity):
        return new
    if new.sha256 == known.sha256:
        return replace(known, golden=new.golden)
    if force or not _is_sound(folder, known):
        return new
    raise ParityError(
        f"{folder / known.file}: not replaced, because its proof, {_words(known.parity)}, is stronger than this one, {_words(new.parity)}; "
        "prove it on as much, or add --force"
    )


def _strength(proof: Mapping[str, Any]) -> tuple[bool, bool, int, float, float]:
    budget = proof["budget"]
    return (
        not proof.get("unproven"),
        proof["data"]["name"] != "drawn",
        proof["images"],
        budget["equal_answers"],
        -budget.get("accuracy_drop", 1.0),  # manifests of schema 1 name none
    )


def _words(proof: Mapping[str, Any]) -> str:
    images = f"on {count(proof['images'], 'test image')} of {data_name(proof['data']['name'])}"
    if proof.get("unproven"):
        return f"{images} (unproven)"
    budget = proof["budget"]["equal_answers"]
    if budget == 1:
        return images
    return f"{images}, at least {100 * budget:.2f} % equal"


def _is_sound(folder: Path, artifact: Artifact) -> bool:
    try:
        return sha256_file(folder / artifact.file) == artifact.sha256
    except OSError:
        return False
