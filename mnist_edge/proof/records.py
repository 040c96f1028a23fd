"""Decides whether a comparison is a proof, records it, and says whether an artifact is proven here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mnist_edge.common.files import sha256_bytes
from mnist_edge.common.text import count
from mnist_edge.runtimes import platforms
from mnist_edge.store.proofs import Proof, kind_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnist_edge.dataset import Dataset
    from mnist_edge.proof.parity import ParityReport
    from mnist_edge.runtimes import Runtime
    from mnist_edge.store.manifest import Artifact

#: A proof needs at least this many images. If none of n images changed its answer, at most 3/n of all answers change, with 95 %
#: certainty (the rule of three: Hanley and Lippman-Hand, "If Nothing Goes Wrong, Is Everything All Right?", 1983). For 1,000 that is
#: 0.3 %, the loosest share that a precision's own budget allows.
SMALLEST = 1000


def shortcomings(labels: NDArray[np.uint8], classes: Sequence[str]) -> str:
    """Return why images with these labels, uint8 N, are too few for a proof, in words; nothing if they are enough."""
    if len(labels) < SMALLEST:
        return f"{count(len(labels), 'test image')} {'is' if len(labels) == 1 else 'are'} too few for a proof, which needs {SMALLEST:,}"
    absent = [name for index, name in enumerate(classes) if index not in labels]
    return f"no test image shows {' or '.join(absent)}, and a proof needs every class" if absent else ""


def figures(report: ParityReport, data: Dataset, unproven: str = "", logits: NDArray[np.float32] | None = None) -> dict[str, Any]:
    """Return what is recorded of a report on `data`; `unproven` says why it is not a proof, if it is not.

    `logits`, float32 N×10, are given for an artifact that has to answer bit for bit alike wherever it runs: their hash is recorded.
    """
    from mnist_edge.dataset import describe
    from mnist_edge.proof.parity import batches_checked

    kept = report.to_json() | {"batches": list(batches_checked(len(data))), "data": describe(data)}
    if logits is not None:
        kept["logits_sha256"] = hash_of(logits)
    return kept | {"unproven": unproven} if unproven else kept


def hash_of(logits: NDArray[np.float32]) -> str:
    """Return the SHA-256 of logits, as little-endian bytes."""
    return sha256_bytes(logits.astype("<f4").tobytes())


def other_bits(artifact: Artifact, logits: NDArray[np.float32], data_sha256: str) -> str:
    """Say that logits are not those that the artifact was proven to give for the same data; nothing if they are, or that is not known."""
    proven = [proof for proof in artifact.proofs if proof.parity["data"]["sha256"] == data_sha256 and "logits_sha256" in proof.parity]
    if not artifact.details.get("bit_for_bit") or not proven or proven[0].parity["logits_sha256"] == hash_of(logits):
        return ""
    return f"the logits are not bit for bit those of {_place(proven[0])}"


def doubts(details: Mapping[str, Any]) -> str:
    """Return why images alone do not prove an artifact whose exporter gave warnings; nothing if it gave none."""
    warned = details.get("warnings") or ()
    return f"the exporter warned: {'; '.join(map(str, warned))}" if warned else ""


def why_not_proven(artifact: Artifact, runtime: Runtime, options: Mapping[str, Any] | None = None) -> str:
    """Return why an artifact is not proven with this release of a runtime on this kind of machine; nothing if it is.

    Raises MissingExtraError where the runtime is not installed.
    """
    if artifact.unproven:
        return artifact.unproven
    defaults = {option.name: option.default for option in runtime.options}
    options = {name: value for name, value in (options or {}).items() if str(value) != defaults.get(name)}  # a default changes nothing
    version, here = runtime.version(), runtime.platform()
    proofs = [proof for proof in artifact.proofs if proof.runtime == runtime.name and not proof.unproven]
    if any(is_proof_of(proof, version, here, options) for proof in proofs):
        return ""
    on_this_kind = [proof for proof in proofs if kind_of(proof.platform) == kind_of(here.to_json())]
    proven = sorted(
        {_release(proof) for proof in on_this_kind} or {_place(proof) for proof in proofs} or {f"runtime {artifact.proof.runtime}"}
    )
    return f"not proven with {version}{_set(options)} on {here.describe()}, only with {' and '.join(proven)}"


def is_proof_of(proof: Proof, version: str, platform: platforms.Platform, options: Mapping[str, Any] | None = None) -> bool:
    """Say whether a proof is of this release of its runtime, with these options, on this kind of machine."""
    same = kind_of(proof.platform) == kind_of(platform.to_json())
    return same and proof.version == version and proof.options == dict(options or {}) and not proof.unproven


def _set(options: Mapping[str, Any]) -> str:
    """Return the options that were set, as a user types them."""
    words = " ".join(f"--{name.replace('_', '-')} {value}" for name, value in options.items())
    return f" and {words}" if words else ""


def _release(proof: Proof) -> str:
    return f"{proof.version or proof.runtime}{_set(proof.options)}"


def _place(proof: Proof) -> str:
    platform = platforms.Platform.from_json(proof.platform).describe() if proof.platform else "a machine that was not recorded"
    return f"{_release(proof)} on {platform}"
