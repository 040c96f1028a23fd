"""C of an artifact → a WebAssembly module without imports, by zig's compiler or the system's clang."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

from mnist_edge.common.errors import ModelError
from mnist_edge.common.extras import is_installed, lacks
from mnist_edge.common.files import cache_dir
from mnist_edge.runtimes import c_folder

INSTALL = "pip install 'mnist-edge[c]'"

#: What a module exports beside its memory: the addresses of the pixels and of the logits, the number of logits, and the network's run.
EXPORTS = ("pixels", "logits", "classes", "run")

#: Floats are rounded after each operation, as everywhere.
_FLAGS = ("-std=c99", "-O3", "-ffp-contract=off", "-msimd128", "-mbulk-memory", "-nostdlib", "-ffreestanding")
_LINK = ("-Wl,--no-entry", "-Wl,--strip-all", "-Wl,-z,stack-size=32768")

_GLUE = """
#include "{name}.h"

static uint8_t image[784];
static float answer[{classes}];
static uint64_t workspace[{words}];

__attribute__((export_name("pixels"))) uint8_t *place_of_pixels(void) {{ return image; }}
__attribute__((export_name("logits"))) float *place_of_logits(void) {{ return answer; }}
__attribute__((export_name("classes"))) int number_of_classes(void) {{ return {classes}; }}
__attribute__((export_name("run"))) void run(void) {{ {name}_logits(image, answer, workspace); }}
"""


def build(folder: Path) -> bytes:
    """Return the module of a folder with ``NAME.c`` and ``NAME.h``; the same folder and compiler give the same bytes.

    It exports its memory and `EXPORTS`, and imports nothing. Raises ModelError if the folder holds no such C or the compiler refuses it;
    MissingExtraError if there is no compiler.
    """
    found = c_folder.read(folder)
    with tempfile.TemporaryDirectory() as scratch:
        glue, module = Path(scratch) / "glue.c", Path(scratch) / "network.wasm"
        glue.write_text(_GLUE.format(name=found.name, classes=found.classes, words=-(-found.workspace // 8)), "utf-8")
        include = str(found.source.parent.absolute())
        words = [*_compiler(), *_FLAGS, "-I", include, str(found.source.absolute()), str(glue), *_LINK, "-o", str(module)]
        caches = str(cache_dir() or scratch)
        environment = {"ZIG_GLOBAL_CACHE_DIR": f"{caches}/zig", "ZIG_LOCAL_CACHE_DIR": f"{scratch}/zig"} | os.environ
        done = subprocess.run(words, cwd=scratch, env=environment, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode or not module.is_file():
            said = next((line.strip() for line in done.stderr.splitlines() if "error" in line), f"it ended with code {done.returncode}")
            raise ModelError(f"{folder}: {compiler_version()} cannot compile it to WebAssembly: {said[:300]}")
        return module.read_bytes()


def missing() -> tuple[str, ...]:
    """Return the names of what is not here for building a module and running it; `INSTALL` installs all of it."""
    runtime = () if is_installed("wasmtime") else ("wasmtime",)
    return runtime if is_installed("ziglang") or _clang() else (*runtime, "ziglang")


def compiler_version() -> str:
    """Return the compiler that `build` uses, such as ``zig 0.17.0`` or ``clang 19.1.7``. Raises MissingExtraError."""
    return _version(_compiler())


@cache
def _version(compiler: tuple[str, ...]) -> str:
    is_zig = len(compiler) > 1
    question = [*compiler[:3], "version"] if is_zig else [compiler[0], "--version"]
    said = subprocess.run(question, capture_output=True, text=True, check=False).stdout
    found = re.search(r"\d+\.\d+[\w.+-]*", said)
    return f"{'zig' if is_zig else 'clang'} {found[0] if found else '(release not known)'}"


def _compiler() -> tuple[str, ...]:
    if is_installed("ziglang"):
        return (sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-freestanding")
    if clang := _clang():
        return (clang, "--target=wasm32")
    raise lacks("compiling C to WebAssembly", {"ziglang": INSTALL})


def _clang() -> str | None:
    """Return clang, if its linker for WebAssembly is there as well."""
    clang = shutil.which("clang")
    return clang if clang and (shutil.which("wasm-ld") or list(Path(clang).resolve().parent.glob("wasm-ld*"))) else None
