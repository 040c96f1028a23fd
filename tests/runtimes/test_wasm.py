"""WebAssembly in wasmtime: C compiled here answers as the native C does, bit for bit; what is missing is named; what is broken is refused."""

import sys
from pathlib import Path

import numpy as np
import pages
import pytest

from exporters.c.export import export
from exporters.registry import Target
from mnist_edge.common.errors import MissingExtraError, ModelError
from mnist_edge.dataset import drawn
from mnist_edge.proof.golden import Golden
from mnist_edge.runtimes import RUNTIMES, wasm, wasm_build


def write_c(folder: Path, precision: str) -> Path:
    manifest = pages.LENET.manifest
    about = (manifest.name, manifest.architecture, manifest.classes, manifest.licence)
    target = Target(folder, *about, precision, golden=Golden.read(pages.LENET.path(manifest.golden)))
    export(pages.LENET.folder / pages.SOURCES[precision], target)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["int8-static", "float32"])
def test_it_answers_as_native_c_does(precision: str, tmp_path: Path) -> None:
    folder = write_c(tmp_path / "lenet.c", precision)
    images = drawn.draw("test", 300).images
    answers = RUNTIMES["wasm"].load(folder)(images)
    assert answers.tobytes() == RUNTIMES["native"].load(folder)(images).tobytes()
    assert wasm_build.build(folder) == wasm_build.build(folder)
    assert RUNTIMES["wasm"].load(folder)(images[:0]).shape == (0, 10)


@pytest.mark.slow
def test_code_that_does_not_compile_is_refused(tmp_path: Path) -> None:
    folder = write_c(tmp_path / "lenet.c", "int8-static")
    source = folder / "lenet.c"
    source.write_text(source.read_text("utf-8").replace("int lenet_predict(", "int lenet predict(", 1), "utf-8")
    with pytest.raises(ModelError, match=r"lenet\.c: (zig|clang) \S+ cannot compile it to WebAssembly: .*error") as caught:
        RUNTIMES["wasm"].load(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_without_c_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no network in C"):
        RUNTIMES["wasm"].load(tmp_path)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('(module (import "a" "b" (func)))', "cannot load its module: .*import"),
        ("(module)", "cannot load its module"),
        (
            '(module (memory (export "memory") 1) (func (export "run")) (func (export "classes") (result i32) i32.const 10)'
            '(func (export "pixels") (result i32) i32.const 65500) (func (export "logits") (result i32) i32.const 0))',
            "its pixels or logits lie outside of its memory",
        ),
    ],
)
def test_another_module_is_refused(text: str, reason: str, tmp_path: Path) -> None:
    """One that wants something of its host, one that is no network, and one whose pixels would be written beyond its memory."""
    import wasmtime

    (tmp_path / "model.wasm").write_bytes(bytes(wasmtime.wat2wasm(text)))
    with pytest.raises(ModelError, match=reason):
        RUNTIMES["wasm"].load(tmp_path)


def test_a_trap_is_one_line(tmp_path: Path) -> None:
    import wasmtime

    text = (
        '(module (memory (export "memory") 1) (func (export "run") unreachable) (func (export "classes") (result i32) i32.const 10)'
        '(func (export "pixels") (result i32) i32.const 0) (func (export "logits") (result i32) i32.const 1024))'
    )
    run = wasm.load_module(bytes(wasmtime.wat2wasm(text)), tmp_path)
    with pytest.raises(ModelError, match=r"wasmtime \S+ stopped: .*unreachable") as caught:
        run(np.zeros((1, 1, 28, 28), np.uint8))
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wasmtime", None)
    with pytest.raises(
        MissingExtraError, match=r"^runtime wasm needs wasmtime, which is not installed; run: pip install 'mnist-edge\[c\]'$"
    ):
        RUNTIMES["wasm"].load(tmp_path)
    monkeypatch.setitem(sys.modules, "ziglang", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert wasm_build.missing() == ("wasmtime", "ziglang")
    with pytest.raises(
        MissingExtraError, match=r"^compiling C to WebAssembly needs ziglang, which is not installed; run: pip install 'mnist-edge\[c\]'$"
    ):
        wasm_build.compiler_version()


def test_without_a_compiler_a_page_still_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ziglang", None)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert RUNTIMES["wasm"].version().startswith("wasmtime ") and "(" not in RUNTIMES["wasm"].version()
