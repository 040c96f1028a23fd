"""``manifest.json``: what a model is, how it came to be, what it scores, and the hash of each of its files.

The manifest carries a hash of itself, so that an edit is noticed like a damaged file. This protects against accidents and
careless edits, not against someone who recomputes the hash.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

from mnist_edge.common.contract import CLASSES, LOGITS, PIXELS
from mnist_edge.common.errors import ModelError, NotAModelError
from mnist_edge.common.files import sha256_bytes, write_atomically
from mnist_edge.common.shape import FILE_NAME as PLAIN_NAME
from mnist_edge.common.shape import Closed, mismatch
from mnist_edge.common.version import __version__
from mnist_edge.store.proofs import Proof, is_weaker

FILE_NAME = "manifest.json"

#: Raised whenever an older program would misread a newer manifest.
SCHEMA = 4


@dataclass(frozen=True)
class FileRecord:
    """A file of the model's folder: its name, SHA-256 and size in bytes."""

    file: str
    sha256: str
    bytes: int


@dataclass(frozen=True)
class Artifact(FileRecord):
    """What an export wrote: a file or a folder. Its hash and size are those of `read_tree`.

    Attributes:
        format: the exporter's name, such as ``onnx``.
        precision: ``float32``, ``fp16``…
        runtime: its usual runtime, which ran it in the gate, such as ``ort``.
        oldest_runtime: the oldest release that can run it, in words, such as ``onnxruntime 1.17``.
        proofs: one at least, each of another runtime, release or kind of machine; the newest comes last.
        details: what the format records about itself, such as the opset.
        members: of a folder, each file's hash by its name; empty for a file.
    """

    format: str
    precision: str
    runtime: str
    oldest_runtime: str
    proofs: tuple[Proof, ...]
    details: dict[str, Any] = field(default_factory=dict)
    inputs: list[dict[str, Any]] = field(default_factory=lambda: [PIXELS])
    outputs: list[dict[str, Any]] = field(default_factory=lambda: [LOGITS])
    members: dict[str, str] = field(default_factory=dict)

    @classmethod
    def from_json(cls, body: Mapping[str, Any]) -> Self:
        """Return the artifact of a manifest's entry."""
        return cls(**{**body, "proofs": tuple(Proof(**proof) for proof in body["proofs"])})

    @property
    def proof(self) -> Proof:
        """The strongest proof on its usual runtime; the first one if several are equally strong."""
        strongest = self.proofs[0]
        for proof in self.proofs[1:]:
            if proof.runtime == self.runtime and (strongest.runtime != self.runtime or is_weaker(strongest, proof)):
                strongest = proof
        return strongest

    @property
    def parity(self) -> dict[str, Any]:
        """The figures of `proof`."""
        return self.proof.parity

    @property
    def quantize(self) -> str:
        """The value of ``--quantize`` that makes it."""
        return quantize_of(self.precision)

    @property
    def unproven(self) -> str:
        """Why it is not proven, in words: it was published by force. Empty for a proven one."""
        return self.proof.unproven

    @property
    def label(self) -> str:
        """What to call it wherever it is shown: its file's name, and whether it is unproven."""
        return f"{self.file} (unproven)" if self.unproven else self.file


def quantize_of(precision: str) -> str:
    """Return what ``--quantize`` takes for a precision: ``none``, ``fp16``, ``dynamic``, ``static``."""
    return "none" if precision == "float32" else precision.removeprefix("int8-")


@dataclass(frozen=True)
class Reference(FileRecord):
    """PyTorch's logits on a test set, float32 N×10 in NumPy's ``.npy`` format. `data` names the set and its hash."""

    data: dict[str, Any]


@dataclass(frozen=True)
class Manifest:
    """The manifest of one model.

    Attributes:
        name: the model's name, which is its folder's.
        architecture: a registered name, or ``package.module:Class``.
        arguments: the network's own arguments.
        parameters: number of trained parameters.
        normalisation: ``{"mean": m, "std": s}``, applied to pixels divided by 255; it is part of every artifact.
        licence: SPDX identifier, ``NOASSERTION`` if none was given.
        weights: the safetensors file.
        training: recipe, data and its hash, seed, epochs, device, versions, time.
        scores: accuracies, each with the data set that it was measured on.
        references: PyTorch's answers for `verify`, one per data set, which is told by its hash.
        artifacts: at most one per file name; a second one exists only while the file is being replaced.
        golden: a few inputs with PyTorch's answers, for a check without a data set; None in manifests of schema 1.
    """

    name: str
    architecture: str
    arguments: dict[str, Any]
    parameters: int
    normalisation: dict[str, float]
    licence: str
    weights: FileRecord
    training: dict[str, Any]
    scores: dict[str, Any]
    history: FileRecord
    references: tuple[Reference, ...] = ()
    artifacts: tuple[Artifact, ...] = ()
    classes: tuple[str, ...] = CLASSES
    golden: FileRecord | None = None

    def with_artifact(self, artifact: Artifact) -> Self:
        """Return the manifest with `artifact`, which replaces one with the same file name."""
        others = (other for other in self.artifacts if other.file != artifact.file)
        return replace(self, artifacts=tuple(sorted((*others, artifact), key=lambda a: a.file)))

    def with_reference(self, reference: Reference) -> Self:
        """Return the manifest with `reference`, which replaces one on the same data."""
        others = (other for other in self.references if other.data["sha256"] != reference.data["sha256"])
        return replace(self, references=(*others, reference))

    def reference_on(self, sha256: str) -> Reference | None:
        """Return PyTorch's answers to the data set with this hash, None if they are not stored."""
        return next((reference for reference in self.references if reference.data["sha256"] == sha256), None)

    def to_json(self) -> dict[str, Any]:
        """Return the manifest as JSON values, its own hash last."""
        body: dict[str, Any] = {"schema": SCHEMA, "program": f"mnist-edge {__version__}", **asdict(self)}
        for proof in (proof for artifact in body["artifacts"] for proof in artifact["proofs"]):
            if not proof["measured"]:
                del proof["measured"]
        return body | {"sha256": _own_hash(body)}

    def write(self, folder: Path) -> None:
        """Write ``manifest.json`` into `folder` in one step. Raises OSError."""
        text = json.dumps(self.to_json(), indent=1, ensure_ascii=False, allow_nan=False)
        write_atomically(folder / FILE_NAME, text.encode() + b"\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read and check ``manifest.json`` of `folder`. Raises NotAModelError if it is missing, ModelError if it is damaged, edited or too new."""
        path = folder / FILE_NAME
        try:
            if path.exists() and not path.is_file():
                raise ModelError(f"{path}: not a regular file; move it away")
            body = json.loads(path.read_bytes(), parse_constant=_refuse_constant)
        except FileNotFoundError:
            raise NotAModelError(f"{folder}: no {FILE_NAME} in it, so it is not a model; mnist-edge list shows the models") from None
        except OSError as error:
            raise ModelError(f"{path}: {error.strerror or error}") from error
        except (ValueError, RecursionError) as error:
            raise ModelError(f"{path}: not JSON ({error}); restore it, or train or export the model again") from error
        if not isinstance(body, dict) or not isinstance(body.get("schema"), int):
            raise ModelError(f"{path}: not a manifest of this program")
        if body["schema"] > SCHEMA:
            raise ModelError(
                f"{path}: schema {body['schema']}, written by {body.get('program')}; this program reads up to {SCHEMA}: upgrade mnist-edge"
            )
        if body.pop("sha256", None) != _own_hash(body):
            raise ModelError(f"{path}: edited or damaged (its own hash does not match); restore it, or train or export the model again")
        schema = body.pop("schema")
        body.pop("program", None)
        if wrong := mismatch(body, _SHAPE if schema >= 4 else _SHAPE_3):
            raise ModelError(f"{path}: not readable: {wrong}; restore it, or train or export the model again")
        _rename_recipe(body)
        artifacts = [one if schema >= 4 else _since_4(one) for one in body["artifacts"]]
        if wrong := _mismatched_proof(artifacts):
            raise ModelError(f"{path}: not readable: {wrong}; restore it, or train or export the model again")
        return cls(
            **body
            | {
                "weights": FileRecord(**body["weights"]),
                "history": FileRecord(**body["history"]),
                "references": tuple(Reference(**reference) for reference in body["references"]),
                "artifacts": tuple(map(Artifact.from_json, artifacts)),
                "classes": tuple(body["classes"]),
                "golden": FileRecord(**body["golden"]) if body.get("golden") else None,
            }
        )


_FILE = {"file": PLAIN_NAME, "sha256": str, "bytes": int}
_DATA = {"name": str, "split": str, "images": int, "sha256": str}
_BUDGET = {"equal_answers": float, "logit_difference": (float, None), "?accuracy_drop": float}
_PARITY = {"images": int, "equal_answers": int, "max_difference": float, "accuracy": float, "reference_accuracy": float,
           "budget": Closed(_BUDGET), "data": _DATA, "?unproven": str}  # fmt: skip
_GOLDEN = {"?max_difference": float}
_PLATFORM = {"system": str, "machine": str, "features": [str], "?processor": str, "?emulated": str, "?used": [str]}
#: The shape of a proof in JSON.
PROOF = {"artifact": str, "runtime": str, "parity": _PARITY, "version": str, "options": {str: object}, "platform": (_PLATFORM, None),
          "golden": _GOLDEN, "?measured": {str: int}}  # fmt: skip
_MADE = {"format": str, "precision": str, "runtime": str, "oldest_runtime": str, "?details": dict, "?inputs": [dict], "?outputs": [dict]}
_ARTIFACT = _FILE | _MADE | {"proofs": [Closed(PROOF)], "members": {str: str}}
_ARTIFACT_3 = _FILE | _MADE | {"parity": _PARITY, "?golden": _GOLDEN}
_RECIPE = {"name": str, "epochs": int, "batch_size": int, "optimizer": str, "lr": float, "weight_decay": float, "schedule": str,
           "?precision": str, "augmentation": ({"rotation": float, "scale": float, "shear": float, "shift": float, "?elastic": float, "?pen": float}, None),
           "?drawn": float, "?hands": str, "?channels_last": bool, "?average": float}  # fmt: skip
_TRAINING = {"recipe": _RECIPE, "data": _DATA | {"held_out": int, "?held_out_by": str}, "seed": int, "epochs": int, "device": str, "threads": int,
             "seconds": float, "finished": str, "versions": {"torch": str}}  # fmt: skip
_SCORES = {"validation_accuracy": float, "test_accuracy": float, "test_correct": int, "test_data": _DATA,
           "?confidence": {"threshold": float, "reliable": float, "answered": float}}  # fmt: skip

#: What a manifest holds, down to all that this program reads of it.
_BODY = {
    "name": str, "architecture": str, "arguments": {str: object}, "parameters": int, "normalisation": {"mean": float, "std": float},
    "licence": str, "weights": Closed(_FILE), "training": _TRAINING, "scores": _SCORES, "history": Closed(_FILE),
    "references": [Closed(_FILE | {"data": _DATA})], "classes": [str], "?golden": (Closed(_FILE), None),
}  # fmt: skip
_SHAPE = Closed(_BODY | {"artifacts": [Closed(_ARTIFACT)]})

#: The same up to schema 3, in which an artifact had one proof, which did not say where it was made.
_SHAPE_3 = Closed(_BODY | {"artifacts": [Closed(_ARTIFACT_3)]})


def _rename_recipe(body: dict[str, Any]) -> None:
    """Call the tutorial's recipe what it is called now; up to 0.1 it was called ``seed``."""
    recipe = body["training"]["recipe"]
    if recipe["name"] == "seed":
        recipe["name"] = "tutorial"


def _since_4(artifact: Mapping[str, Any]) -> dict[str, Any]:
    """Return an artifact's entry of schema 1 to 3 as it is since schema 4."""
    entry = {key: value for key, value in artifact.items() if key not in ("parity", "golden")}
    return entry | {"proofs": [asdict(Proof(entry["sha256"], entry["runtime"], artifact["parity"], golden=artifact.get("golden", {})))]}


def _mismatched_proof(artifacts: Iterable[Mapping[str, Any]]) -> str:
    """Return what is wrong with the first artifact that has no proof, or one of something else, in words; an empty text if each has its own."""
    for index, artifact in enumerate(artifacts):
        if not artifact["proofs"]:
            return f"artifacts[{index}].proofs is empty"
        for place, proof in enumerate(artifact["proofs"]):
            if proof["artifact"] != artifact["sha256"]:
                return f"artifacts[{index}].proofs[{place}] belongs to another artifact"
            if proof["platform"] is not None and not (proof["platform"]["system"] and proof["platform"]["machine"]):
                return f"artifacts[{index}].proofs[{place}].platform lacks the system or the machine"
    return ""


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number")


def _own_hash(body: Mapping[str, Any]) -> str:
    return sha256_bytes(json.dumps(body, sort_keys=True, separators=(",", ":")).encode())
