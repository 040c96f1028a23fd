"""Artifacts with other proofs than their own, and verifying in one line."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from mnist_edge.dataset import Dataset
from mnist_edge.proof import verification
from mnist_edge.proof.verification import Verified
from mnist_edge.runtimes import platforms
from mnist_edge.store import Model
from mnist_edge.store.manifest import Artifact, Manifest, Reference


def with_parity(artifact: Artifact, **figures: Any) -> Artifact:
    """Return an artifact whose proofs have other figures."""
    return replace(artifact, proofs=tuple(replace(proof, parity=proof.parity | figures) for proof in artifact.proofs))


def with_bytes(artifact: Artifact, sha256: str, bytes: int, **other: Any) -> Artifact:
    """Return an artifact of other bytes, with the same proofs as if they were made of it."""
    proofs = tuple(replace(proof, artifact=sha256) for proof in artifact.proofs)
    return replace(artifact, sha256=sha256, bytes=bytes, proofs=proofs, **other)


def verify(model: Model, stored: Reference, data: Dataset, runtime: str | None = None) -> list[Verified]:
    """Verify on a data set."""
    return list(verification.verify(model, verification.trials(model, runtime), stored, data))


def verify_quickly(model: Model, runtime: str | None = None) -> list[Verified]:
    """Verify on the golden inputs."""
    return list(verification.verify_quickly(model, verification.trials(model, runtime)))


def as_if_made_elsewhere(folder: Path, **changes: object) -> None:
    """Rewrite a model's proofs as another machine or another release of the runtime would have written them."""
    manifest = Manifest.read(folder)
    artifacts = tuple(
        replace(one, proofs=tuple(replace(proof, **changes) for proof in one.proofs))  # type: ignore[arg-type]
        for one in manifest.artifacts
    )
    replace(manifest, artifacts=artifacts).write(folder)


def elsewhere() -> dict[str, object]:
    return platforms.here()._replace(features=("avx", "other"), processor="Other").to_json()
