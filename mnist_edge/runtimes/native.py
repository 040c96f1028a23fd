"""A network in C on this computer: compiled into a shared library with the system's compiler, or Zig's, and called directly.

The library is kept in the user's cache, under a name that stands for the code, the compiler and the processor, beside its own hash.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from mnist_edge.common.errors import MissingExtraError, ModelError
from mnist_edge.common.extras import is_installed
from mnist_edge.common.files import cache_dir, sha256_bytes, sha256_file, write_atomically
from mnist_edge.runtimes import c_folder, platforms
from mnist_edge.runtimes.c_folder import CFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnist_edge.common.logits import Run

#: No product and sum in one rounding, so that the bits are those of every other target.
_FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-shared", "-fPIC")

#: One call for a whole batch.
_BATCH = """#include "{source}"

void mnist_edge_batch(const uint8_t *pixels, float *logits, void *workspace, int n)
{{
    for (int i = 0; i < n; i++)
        {name}_logits(pixels + 784 * i, logits + {classes} * i, workspace);
}}
"""


def load(path: Path, threads: int = 1) -> Run:
    """Compile a folder of format ``c``, or take the library that was compiled before. It computes on the thread that calls it.

    Raises ModelError if it does not compile or load, MissingExtraError without a compiler.
    """
    import numpy as np

    found = c_folder.read(path)
    library = _library(found)
    try:
        batch = ctypes.CDLL(str(library)).mnist_edge_batch
    except (OSError, AttributeError) as error:
        library.unlink(missing_ok=True)
        raise ModelError(f"{path}: what {version()} made of it cannot be loaded: {error}") from error
    batch.argtypes, batch.restype = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int], None

    def logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        images = np.ascontiguousarray(pixels)
        if images.dtype != np.uint8 or images.shape[1:] != (1, 28, 28):
            raise ModelError(f"{path}: takes uint8 N×1×28×28, and these are {images.dtype} {images.shape}")
        result = np.empty((len(images), found.classes), np.float32)
        workspace = np.empty(-(-found.workspace // 4), np.uint32)  # of this call, so that threads can share the function
        batch(images.ctypes.data, result.ctypes.data, workspace.ctypes.data, len(images))
        return result

    return logits


def version() -> str:
    """Return the compiler, such as ``gcc 12.2.0``. Raises MissingExtraError."""
    command = _compiler()
    if command[0] == sys.executable:
        from importlib.metadata import version

        return f"zig {version('ziglang')}"
    return _version_of(tuple(command))


def missing() -> dict[str, str]:
    """Return the compiler, if there is none, with the line that installs one."""
    try:
        _compiler()
    except MissingExtraError:
        return {"a C compiler": "pip install 'mnist-edge[c]'"}
    return {}


def _compiler() -> list[str]:
    """Return the command: ``$CC``, the system's own, or Zig's from PyPI."""
    if named := os.environ.get("CC"):
        return shlex.split(named)
    if found := next((one for one in ("cc", "gcc", "clang") if shutil.which(one)), None):
        return [found]
    if is_installed("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise MissingExtraError("runtime native needs a C compiler; run: pip install 'mnist-edge[c]'")


@cache
def _version_of(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise ModelError(f"the C compiler {shlex.join(command)} cannot be started: {error.strerror}") from error
    first = done.stdout.partition("\n")[0]
    number = re.findall(r"\d+\.\d+[.\d]*", first.partition("(")[0] if "clang" in first else re.sub(r"\([^)]*\)", "", first))
    if done.returncode or not number:
        raise ModelError(f"the C compiler {shlex.join(command)} does not tell its version")
    return f"{'clang' if 'clang' in first else 'gcc'} {number[0]}"


def _library(found: CFolder) -> Path:
    """Return the compiled library, after checking that it is the one that was compiled."""
    code = found.source.read_bytes() + found.source.with_suffix(".h").read_bytes()
    flags = [*_FLAGS, "-march=native"] if platform.machine() in ("x86_64", "AMD64") else list(_FLAGS)
    about = [version(), *flags, *platforms.here().features, platform.machine(), _BATCH]
    key = sha256_bytes("\n".join([sha256_bytes(code), *about]).encode())
    home = cache_dir()
    kept = (home / "native" / f"{found.name}-{key[:32]}.so") if home else None
    if kept is not None and kept.is_file() and _noted(kept) == sha256_file(kept):
        return kept
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "network.so"
        _compile(found, flags, Path(scratch) / "batch.c", made)
        if kept is None:
            lasting = Path(tempfile.mkdtemp()) / "network.so"
            shutil.copyfile(made, lasting)
            return lasting
        data = made.read_bytes()
    kept.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(kept.with_suffix(".sha256"), sha256_bytes(data).encode())
    write_atomically(kept, data)
    return kept


def _noted(library: Path) -> str:
    note = library.with_suffix(".sha256")
    return note.read_text("ascii", "replace") if note.is_file() else ""


def _compile(found: CFolder, flags: list[str], batch: Path, made: Path) -> None:
    source = str(found.source.absolute()).replace("\\", "\\\\").replace('"', '\\"')
    batch.write_text(_BATCH.format(source=source, name=found.name, classes=found.classes), "utf-8")
    command = [*_compiler(), *flags, "-o", str(made), str(batch)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise ModelError(f"the C compiler {command[0]} cannot be started: {error.strerror}") from error
    if done.returncode or not made.is_file():
        said = next((line for line in done.stderr.splitlines() if "error" in line), (done.stderr.strip().splitlines() or ["nothing"])[-1])
        raise ModelError(f"{found.source}: {version()} cannot compile it: {said.strip()[:300]}")
