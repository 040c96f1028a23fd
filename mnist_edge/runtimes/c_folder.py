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
        source: its one C file, without the self-test.
        workspace: bytes of memory that a call needs, aligned to 4.
        classes: how many logits it gives.
    """

    name: str
    source: Path
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
            return CFolder(header.stem, source, found["WORKSPACE_BYTES"], found["CLASSES"])
    raise ModelError(f"{folder}: no network in C, which is a folder with NAME.c and NAME.h; export it again with --format c")
