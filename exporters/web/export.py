"""An ONNX artifact as the folder of a page: HTML, one module of JavaScript, WebAssembly, golden inputs and a README."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from exporters.c.export import export as export_c
from exporters.registry import Target
from mnist_edge.common.errors import ExportError
from mnist_edge.common.files import sha256_bytes
from mnist_edge.proof import golden as goldens

_PAGE = Path(__file__).parent / "page"

#: The same for every model.
PAGE_FILES = ("index.html", "page.css", "page.js")


def export(source: Path, target: Target) -> dict[str, Any]:
    """Write the folder of a page from an ONNX file, float32 or static int8.

    The page answers only where a browser answers the golden inputs as PyTorch did, with the bits that the module gives here, in wasmtime.

    Returns what format ``c`` returns, ``compiler`` and ``wasm_bytes``. Raises ExportError for an operator without a kernel, or a module that does
    not answer the golden inputs as PyTorch did; ModelError, MissingExtraError.
    """
    from mnist_edge.runtimes import wasm, wasm_build

    golden = target.golden
    if golden is None:
        raise ExportError(f"{target.name}: format web writes a self-test, and has no golden inputs for it")
    with tempfile.TemporaryDirectory() as scratch:
        code = Path(scratch) / "code"
        details = export_c(source, replace(target, path=code))
        module = wasm_build.build(code)
    own = wasm.load_module(module, source)(golden.pixels)
    distance = float(np.abs(own - golden.logits).max())
    tolerance = goldens.tolerance(target.precision, distance)
    if not distance <= tolerance or (own.argmax(axis=1) != golden.logits.argmax(axis=1)).any():
        raise ExportError(
            f"{target.name}: as WebAssembly it does not answer the golden inputs as PyTorch did; logits differ by {distance:.3g}"
        )
    inputs = b"".join([np.ascontiguousarray(golden.pixels).tobytes(), *(logits.astype("<f4").tobytes() for logits in (golden.logits, own))])
    about = {
        "name": target.name,
        "precision": target.precision,
        "classes": list(target.classes),
        "golden": {"inputs": len(golden.pixels), "tolerance": tolerance},
        "sha256": {"model.wasm": sha256_bytes(module), "golden.bin": sha256_bytes(inputs)},
    }
    readme = (_PAGE / "README.md").read_text("utf-8").replace("MODEL", target.name).replace("PRECISION", target.precision)
    files = {name: (_PAGE / name).read_bytes() for name in PAGE_FILES} | {
        wasm.MODULE: module,
        "golden.bin": inputs,
        "model.json": (json.dumps(about, indent=2) + "\n").encode(),
        "README.md": readme.encode(),
    }
    target.path.mkdir()
    for name, content in files.items():
        (target.path / name).write_bytes(content)
    return details | {
        "compiler": wasm_build.compiler_version(),
        "wasm_bytes": len(module),
        "oldest_runtime": "any browser with WebAssembly SIMD (2023)",
    }
