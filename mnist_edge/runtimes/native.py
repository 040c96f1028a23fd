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
from contextlib import suppress
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
_BATCH = """#include "{name}.c"

void mnist_edge_batch(const uint8_t *pixels, float *logits, void *workspace, int n)
{{
    for (int i = 0; i < n; i++)
        {name}_logits(pixels + 784 * i, logits + {classes} * i, workspace);
}}
"""

_SELF_TEST = '#include "{name}_self_test.c"\n'


def load(path: Path, threads: int = 1) -> Run:
    """Compile a folder of format ``c``, or take the library that was compiled before. It computes on the thread that calls it.

    Raises ModelError if it does not compile or load, or fails its own self-test, MissingExtraError without a compiler.
    """
    import numpy as np

    found = c_folder.read(path)
    try:
        batch = _library(found).mnist_edge_batch
    except (OSError, AttributeError) as error:
        raise ModelError(f"{path}: the library that {version()} made from it cannot be loaded: {error}") from error
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
    if (named := os.environ.get("CC", "")).strip():
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
        raise ModelError(f"the C compiler {shlex.join(command)} does not report its version")
    return f"{'clang' if 'clang' in first else 'gcc'} {number[0]}"


def _library(found: CFolder) -> ctypes.CDLL:
    """Load the library that was compiled before, if it is unchanged; else compile it, and keep it if the cache can be written to."""
    flags = [*_FLAGS, "-march=native"] if platform.machine() in ("x86_64", "AMD64") else list(_FLAGS)
    kept = _kept(found, flags)
    if kept is not None and _is_sound(kept):
        return ctypes.CDLL(str(kept))
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:  # Windows cannot remove a library that is in use
        made = Path(scratch) / "network.so"
        _compile(found, flags, Path(scratch) / "batch.c", made)
        library = ctypes.CDLL(str(made))
        _check(found, library)
        if kept is not None:
            with suppress(OSError):
                kept.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(kept.with_suffix(".sha256"), sha256_file(made).encode())
                write_atomically(kept, made.read_bytes())
        return library


def _check(found: CFolder, library: ctypes.CDLL) -> None:
    """Run the folder's self-test. Raises ModelError if it fails."""
    if found.self_test is None:
        return
    workspace = (ctypes.c_uint32 * -(-found.workspace // 4))()
    if image := getattr(library, f"{found.name}_self_test")(workspace):
        raise ModelError(
            f"{found.source}: compiled by {version()}, it fails its own self-test at image {image}; try another compiler, with CC="
        )


def _kept(found: CFolder, flags: list[str]) -> Path | None:
    """Return where the library of this code, this compiler and this processor is kept; None without a home folder."""
    home = cache_dir()
    if home is None:
        return None
    files = (found.source, found.source.with_suffix(".h"), *filter(None, [found.self_test]))
    code = b"".join(file.read_bytes() for file in files)
    command = _compiler()
    program = Path(shutil.which(command[0]) or command[0])
    changed = program.stat().st_mtime_ns if program.exists() else 0  # another compiler may say that it is the same release
    about = [version(), *command, str(program), str(changed), *flags, *platforms.here().features, platform.machine(), _BATCH]
    key = sha256_bytes("\n".join([sha256_bytes(code), *about]).encode())
    return home / "native" / f"{found.name}-{key[:32]}.so"


def _is_sound(library: Path) -> bool:
    try:
        return library.with_suffix(".sha256").read_text("ascii", "replace") == sha256_file(library)
    except OSError:
        return False


def _compile(found: CFolder, flags: list[str], batch: Path, made: Path) -> None:
    text = _BATCH + (_SELF_TEST if found.self_test else "")
    batch.write_text(text.format(name=found.name, classes=found.classes), "utf-8")
    command = [*_compiler(), *flags, "-iquote", str(found.source.parent.absolute()), "-o", str(made), str(batch)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise ModelError(f"the C compiler {command[0]} cannot be started: {error.strerror}") from error
    if done.returncode or not made.is_file():
        said = next((line for line in done.stderr.splitlines() if "error" in line), (done.stderr.strip().splitlines() or ["nothing"])[-1])
        raise ModelError(f"{found.source}: {version()} cannot compile it: {said.strip()[:300]}")
