"""What a model keeps of a proof: this artifact, on this runtime, on this kind of machine, on this data; and which of two is the stronger."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from mnist_edge.common.text import count, data_name


@dataclass(frozen=True)
class Proof:
    """One artifact, on one runtime, on one kind of machine, answered one data set as PyTorch did.

    Attributes:
        artifact: the artifact's SHA-256.
        runtime: the runtime's name, such as ``ort``.
        parity: the figures (`ParityReport.to_json`), the budget, the batches, the data set and its hash; ``unproven`` says why it is no
            proof, where it was published by force.
        version: the runtime's release, such as ``onnxruntime 1.32.0``; empty where it was not recorded (schemas 1 to 3).
        options: the runtime's own options that were set.
        platform: where it ran (`Platform.to_json`); None where it was not recorded.
        golden: ``max_difference``, how far the logits were from PyTorch's on the golden inputs; empty in manifests of schema 1.
        measured: what the images took where the runtime tells, such as ``ram_bytes`` and ``instructions`` of an emulated chip
            (`mnist_edge.common.logits.Run`); empty, and not written, elsewhere.
    """

    artifact: str
    runtime: str
    parity: dict[str, Any]
    version: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    platform: dict[str, Any] | None = None
    golden: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, int] = field(default_factory=dict)

    @property
    def unproven(self) -> str:
        """Why it is no proof, in words; empty for one."""
        return str(self.parity.get("unproven") or "")

    def is_of_same_place(self, other: Proof) -> bool:
        """Say whether both are of the same artifact, runtime with its options, and kind of machine."""
        return self._subject() == other._subject() and kind_of(self.platform) == kind_of(other.platform)

    def is_replaced_by(self, other: Proof) -> bool:
        """Say whether another that is no weaker makes this one needless: it was made in the same place, or this one does not say where it was made."""
        if self._subject() != other._subject():
            return False
        if self.platform is None:  # it was made on a real machine, so only another one makes it needless
            return not (other.platform or {}).get("emulated")
        return kind_of(self.platform) == kind_of(other.platform)

    def _subject(self) -> tuple[object, ...]:
        return self.artifact, self.runtime, self.options

    def describe(self) -> str:
        """Return what it was proven on, in words."""
        images = f"on {count(self.parity['images'], 'test image')} of {data_name(self.parity['data']['name'])}"
        if self.unproven:
            return f"{images} (unproven)"
        budget = self.parity["budget"]["equal_answers"]
        return images if budget == 1 else f"{images}, at least {100 * budget:.2f} % equal"


def kind_of(platform: Mapping[str, Any] | None) -> tuple[object, ...] | None:
    """Return what two platforms of one kind have in common: system, machine, and the processor features that change arithmetic."""
    return None if platform is None else (platform["system"], platform["machine"], tuple(platform["features"]))


def is_weaker(proof: Proof, other: Proof) -> bool:
    """Say whether a proof is weaker than another.

    What counts, in this order: that it is one at all, that its images are not drawn by the program, their number, and the budget.
    """
    return _strength(proof.parity) < _strength(other.parity)


def merged(proofs: Iterable[Proof], new: Proof) -> tuple[Proof, ...]:
    """Return the proofs with a new one among them.

    It takes the place of those of the same artifact, runtime and options that are no stronger, and were made on the same kind of machine
    or do not say where. Beside a stronger one of the same release and kind of machine it is left out.
    """
    proofs = tuple(proofs)
    if any(proof.is_of_same_place(new) and proof.version == new.version and is_weaker(new, proof) for proof in proofs):
        return proofs
    return (*(proof for proof in proofs if is_weaker(new, proof) or not proof.is_replaced_by(new)), new)


def _strength(parity: Mapping[str, Any]) -> tuple[bool, bool, int, float, float]:
    budget = parity["budget"]
    return (
        not parity.get("unproven"),
        parity["data"]["name"] != "drawn",
        parity["images"],
        budget["equal_answers"],
        -budget.get("accuracy_drop", 1.0),  # manifests of schema 1 name none
    )
