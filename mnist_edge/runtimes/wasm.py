"""WebAssembly in wasmtime: the module of a page as it stands, or the C of an artifact, compiled here."""

from __future__ import annotations

import threading
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import wasmtime

from mnist_edge.common.errors import ModelError, one_line
from mnist_edge.runtimes import wasm_build

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnist_edge.common.logits import Run

#: The module in the folder of a page.
MODULE = "model.wasm"

_PIXELS = 28 * 28


def load(path: Path, threads: int = 1) -> Run:
    """Load a folder: a page with its module, or C, which is compiled first. Raises ModelError, MissingExtraError.

    The module imports nothing, so it can reach nothing but its own memory. It takes one image at a time and computes on the thread that calls it,
    so `threads` changes nothing.
    """
    path = Path(path)
    page = path / MODULE
    return load_module(page.read_bytes() if page.is_file() else wasm_build.build(path), path)


def load_module(module: bytes, path: Path) -> Run:
    """Return a module as a function from pixels to logits. `path` is what messages name. Raises ModelError."""
    try:
        engine = wasmtime.Engine()
        store = wasmtime.Store(engine)
        instance = wasmtime.Instance(store, wasmtime.Module(engine, module), [])
        exports = instance.exports(store)
        memory, run = exports["memory"], exports["run"]
        pixels_at, logits_at, classes = (int(exports[name](store)) for name in ("pixels", "logits", "classes"))
        if classes < 1 or max(pixels_at + _PIXELS, logits_at + 4 * classes) > memory.data_len(store):
            raise ModelError(f"{path}: its pixels or logits lie outside of its memory")
    except (wasmtime.WasmtimeError, wasmtime.Trap, KeyError, TypeError, ValueError) as error:
        raise ModelError(f"{path}: {_wasmtime()} cannot load its module: {one_line(error)}") from error
    turn = threading.Lock()

    def logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        answers = np.empty((len(pixels), classes), np.float32)
        with turn:  # a store belongs to one thread at a time
            try:
                for image, answer in zip(np.ascontiguousarray(pixels).reshape(len(pixels), _PIXELS), answers, strict=True):
                    memory.write(store, image, pixels_at)
                    run(store)
                    answer[:] = np.frombuffer(memory.read(store, logits_at, logits_at + 4 * classes), "<f4")
            except (wasmtime.WasmtimeError, wasmtime.Trap) as error:
                raise ModelError(f"{path}: {_wasmtime()} stopped: {one_line(error)}") from error
        return answers

    return logits


def version() -> str:
    """Return names and versions, such as ``wasmtime 50.0.1 (zig 0.17.0)``; the compiler only where there is one."""
    from mnist_edge.common.errors import MissingExtraError

    try:
        return f"{_wasmtime()} ({wasm_build.compiler_version()})"
    except MissingExtraError:
        return _wasmtime()


def _wasmtime() -> str:
    return f"wasmtime {metadata.version('wasmtime')}"
