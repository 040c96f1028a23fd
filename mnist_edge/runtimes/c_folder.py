"""A network in C, as format ``c`` writes it: where its parts are, for every runtime that compiles it."""

from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from mnist_edge.common.errors import ModelError

_DEFINE = re.compile(r"^#define (\w+)_(WORKSPACE_BYTES|CLASSES) (\d+)\b", re.MULTILINE)


class CFolder(NamedTuple):
    """The parts of a folder with a network in C.

    Attributes:
        name: what its public functions' names begin with.
        source: the C file of the network.
        self_test: the C file of its self-test; None if there is none.
        workspace: bytes of memory that a call needs, aligned to 4.
        classes: how many logits it gives.
    """

    name: str
    source: Path
    self_test: Path | None
    workspace: int
    classes: int


def read(folder: Path) -> CFolder:
    """Find the parts of a network in C. Raises ModelError if they are not there."""
    for header in sorted(folder.glob("*.h")) if folder.is_dir() else []:
        found = {
            kind: int(number) for name, kind, number in _DEFINE.findall(header.read_text("utf-8", "replace")) if name == header.stem.upper()
        }
        source = header.with_suffix(".c")
        if len(found) == 2 and source.is_file():
            self_test = folder / f"{header.stem}_self_test.c"
            return CFolder(header.stem, source, self_test if self_test.is_file() else None, found["WORKSPACE_BYTES"], found["CLASSES"])
    raise ModelError(f"{folder}: no network in C, which is a folder with NAME.c and NAME.h; export it again with --format c")
