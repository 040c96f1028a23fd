"""Keeps proofs in the user's cache if they cannot be kept with their model: it is the installed reference, or its folder is read-only.

Each artifact has a file there, named after its hash, so that a proof holds for the same bytes in any folder.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, replace
from pathlib import Path

from mnist_edge.common.files import cache_dir, write_atomically
from mnist_edge.common.locks import locked
from mnist_edge.common.shape import Closed, mismatch
from mnist_edge.store.manifest import PROOF, Artifact
from mnist_edge.store.proofs import Proof, merged

#: Names the folder, if it is not to be in the user's cache.
VARIABLE = "MNIST_EDGE_PROOFS_DIR"


def proofs_dir() -> Path | None:
    """Return the folder that this user's proofs are kept in; None for a user without a home folder."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    cache = cache_dir()
    return None if cache is None else cache / "proofs"


def kept_proofs(artifact: Artifact) -> tuple[Proof, ...]:
    """Return the proofs of an artifact that this user has kept. What cannot be read counts as none: verify makes it again."""
    folder = proofs_dir()
    if folder is None:
        return ()
    try:
        entries = json.loads((folder / f"{artifact.sha256}.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return ()
    if mismatch(entries, [Closed(PROOF)]) or any(entry["artifact"] != artifact.sha256 for entry in entries):
        return ()
    return tuple(Proof(**entry) for entry in entries)


def with_kept(artifact: Artifact) -> Artifact:
    """Return an artifact's record with this user's proofs among its own."""
    proofs = artifact.proofs
    for proof in kept_proofs(artifact):
        proofs = merged(proofs, proof)
    return replace(artifact, proofs=proofs)


def keep(artifact: Artifact, proofs: Iterable[Proof]) -> Path:
    """Keep proofs of an artifact for this user, each replacing a weaker or older one, and return the file. Raises OSError."""
    folder = proofs_dir()
    if folder is None:
        raise OSError(0, f"this user has no home folder; name a folder in {VARIABLE}")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{artifact.sha256}.json"
    with locked(folder, wait=True):
        known = kept_proofs(artifact)
        for proof in proofs:
            known = merged(known, proof)
        write_atomically(path, json.dumps([asdict(proof) for proof in known], indent=1).encode() + b"\n")
    return path
