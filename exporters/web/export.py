"""An ONNX file as the folder of a page: HTML, one module of JavaScript, WebAssembly, golden inputs and a README."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from exporters.c import export as c
from mnist_edge.common.errors import ExportError
from mnist_edge.common.files import sha256_bytes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mnist_edge.proof.golden import Golden

_PAGE = Path(__file__).parent / "page"

#: The same for every model.
PAGE_FILES = ("index.html", "page.css", "page.js")


def write(
    source: Path, folder: Path, name: str, golden: Golden, *, precision: str, tolerance: float, classes: Sequence[str]
) -> dict[str, Any]:
    """Write the page of an ONNX file into a new folder. Return what the manifest keeps: the compiler, and the figures of the C.

    `golden` are the model's golden inputs with PyTorch's logits, `tolerance` is how far the page's logits may be from those
    (`mnist_edge.proof.golden.tolerance`), and `classes` is what each logit stands for. The page also holds the logits that the module gives
    here, in wasmtime, and answers only where a browser gives the same bits.

    Raises ExportError for an operator that has no C or a module that does not answer the golden inputs; ModelError, MissingExtraError.
    """
    from mnist_edge.runtimes import wasm, wasm_build

    with tempfile.TemporaryDirectory() as scratch:
        details = c.write(source, Path(scratch) / "c", name)
        module = wasm_build.build(Path(scratch) / "c")
    own = wasm.load_module(module, source)(golden.pixels)
    distance = float(np.abs(own - golden.logits).max())
    if not distance <= tolerance or (own.argmax(1) != golden.logits.argmax(1)).any():
        raise ExportError(
            f"{source}: as WebAssembly its logits are {distance:.3g} from PyTorch's on the golden inputs; at most {tolerance:.3g} is allowed"
        )
    inputs = np.ascontiguousarray(golden.pixels).tobytes() + b"".join(a.astype("<f4").tobytes() for a in (golden.logits, own))
    folder.mkdir()
    for file in PAGE_FILES:
        (folder / file).write_bytes((_PAGE / file).read_bytes())
    (folder / "model.wasm").write_bytes(module)
    (folder / "golden.bin").write_bytes(inputs)
    about = {
        "name": name,
        "precision": precision,
        "classes": list(classes),
        "golden": {"inputs": len(golden.pixels), "tolerance": tolerance},
        "sha256": {"model.wasm": sha256_bytes(module), "golden.bin": sha256_bytes(inputs)},
    }
    (folder / "model.json").write_text(json.dumps(about, indent=2) + "\n", "utf-8")
    readme = (_PAGE / "README.md").read_text("utf-8")
    (folder / "README.md").write_text(readme.replace("MODEL", name).replace("PRECISION", precision), "utf-8")
    return details | {"compiler": wasm_build.compiler_version(), "wasm_bytes": len(module)}
