"""Networks in C on emulated chips, as far as it can be told without an emulator: what is missing, what is too large, what a firmware answers."""

import struct
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from mnist_edge import store
from mnist_edge.common import logits
from mnist_edge.common.errors import MissingExtraError, ModelError, UnknownNameError
from mnist_edge.common.text import measured
from mnist_edge.runtimes import RUNTIMES, Runtime, c_folder, chips, machines, platforms
from mnist_edge.runtimes.child import Child, ChildError
from mnist_edge.runtimes.chips import firmware, targets
from mnist_edge.runtimes.chips.firmware import Memory
from mnist_edge.store.manifest import Manifest

REFERENCE = Path(__file__).resolve().parents[2] / "models" / "lenet"
OURS = [runtime for runtime in RUNTIMES.values() if runtime.module == chips.__name__]
PIXELS = np.zeros((3, 1, 28, 28), np.uint8)


def a_network(folder: Path, constants: int = 10, workspace: int = 8, code: str = "void tiny_logits(void) {}\n") -> Path:
    folder.mkdir()
    numbers = {"WORKSPACE_BYTES": workspace, "CONSTANT_BYTES": constants, "MACS": 100, "CLASSES": 10}
    (folder / "tiny.h").write_text("".join(f"#define TINY_{name} {number}\n" for name, number in numbers.items()))
    (folder / "tiny.c").write_text(code)
    return folder


def test_every_target_is_a_runtime_of_its_name() -> None:
    assert {runtime.name: runtime.target for runtime in OURS} == {name: name for name in targets.TARGETS}
    with pytest.raises(UnknownNameError, match="cortex-m4"):
        targets.get("cortex-m44")


def test_a_module_is_told_the_target_by_every_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    code = """
from mnist_edge.runtimes.platforms import Platform
def missing(target): return {} if target == "b" else {target: "buy one"}
def load(path, threads, target): return lambda pixels: target
def version(target): return f"chip {target}"
def processor(target): return (target,)
def runs_on(target): return Platform("bare metal", target, ())
"""
    (tmp_path / "manychips.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    a, b = (Runtime(name, "x", (), "manychips", ("c",), knows_what_is_missing=True, target=name) for name in "ab")
    assert b.load(Path("x"))(PIXELS) == "b"
    assert (b.version(), b.processor(), b.platform().machine) == ("chip b", ("b",), "b")
    with pytest.raises(MissingExtraError, match="runtime a needs a, which is not installed; run: buy one"):
        a.load(Path("x"))


@pytest.mark.parametrize("told", ["None", "'a chip'", "1/0"])
def test_a_runtime_that_does_not_know_where_it_runs_proves_nothing(told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "lost.py").write_text(f"def runs_on(): return {told}\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lost", raising=False)
    with pytest.raises(ModelError, match="^runtime lost"):
        Runtime("lost", "x", (), "lost").platform()


def test_every_other_runtime_runs_here() -> None:
    assert RUNTIMES["ort"].platform() == RUNTIMES["native"].platform() == platforms.here()


@pytest.mark.parametrize("runtime", OURS, ids=lambda runtime: runtime.name)
def test_what_is_missing_is_named_with_the_line_that_installs_it(runtime: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv(machines.ENVIRONMENT, str(tmp_path))
    monkeypatch.setattr(chips, "is_installed", lambda name: False)
    emulator = targets.get(runtime.target).emulator
    install = "make chips" if machines.clone() else "python -m mnist_edge.runtimes.chips"
    assert runtime.missing() == {"ziglang": "pip install 'mnist-edge[c]'", emulator: install}
    with pytest.raises(MissingExtraError, match=f"{runtime.name} needs ziglang and {emulator}, which are not installed; run: pip install"):
        runtime.load(a_network(tmp_path / "network"))
    with pytest.raises(MissingExtraError, match=emulator):
        runtime.platform()
    (tmp_path / emulator).write_text("#!/bin/sh\necho QEMU emulator version 9.8.7\n")
    (tmp_path / emulator).chmod(0o755)
    monkeypatch.setattr(chips, "is_installed", lambda name: True)
    assert runtime.missing() == {}
    seen = runtime.platform()
    assert seen.emulated == "qemu 9.8.7" and not seen.same_kind(platforms.here())


def test_what_was_set_up_comes_before_what_the_system_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(machines.ENVIRONMENT, str(tmp_path))
    for path in ("qemu-system/bin/qemu-system-arm", "qemu/qemu-riscv64"):
        (tmp_path / path).parent.mkdir(parents=True)
        (tmp_path / path).touch()
    for part in ("qemu-system", "qemu"):
        (tmp_path / part / "about.json").write_text('{"version": "10"}')
    assert machines.system_emulator("qemu-system-riscv32") is None
    command = chips._emulator("qemu-system-arm")
    assert command is not None and command[-1] == str(tmp_path / "qemu-system/bin/qemu-system-arm") and "--library-path" in command
    assert chips._emulator("qemu-riscv64") == (str(tmp_path / "qemu" / "qemu-riscv64"),)


@pytest.mark.parametrize(("constants", "workspace"), [(262_145, 8), (10, 16_385)])
def test_what_is_too_large_is_refused_with_the_figures_before_it_is_compiled(
    constants: int, workspace: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(firmware, "_zig", lambda *arguments: pytest.fail("it was compiled"))
    network = c_folder.read(a_network(tmp_path / "network", constants, workspace))
    words = f"too large for Cortex-M0 .*needs more than {constants:,} bytes of flash and more than {workspace:,} bytes of RAM, and there are 262,144 and 16,384"
    with pytest.raises(ModelError, match=words):
        firmware.build(network, targets.get("cortex-m0"), tmp_path)


def elf(wide: bool, sections: dict[str, int]) -> bytes:
    """Return an ELF file that has these sections, with the table behind the names."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name in sections) + b".shstrtab\0"
    start = 64 if wide else 52
    table = start + len(names)
    head = bytearray(b"\x7fELF" + bytes([2 if wide else 1, 1, 1]) + bytes(start - 7))
    struct.pack_into("<Q" if wide else "<I", head, 40 if wide else 32, table)
    struct.pack_into("<HHH", head, 58 if wide else 46, 64 if wide else 40, len(sections) + 1, len(sections))
    entries = b""
    for name, size in (sections | {".shstrtab": len(names)}).items():
        offset = start if name == ".shstrtab" else 0
        entry = struct.pack("<IIQQQQ" if wide else "<IIIIII", names.index(name.encode()), 1, 0, 0, offset, size)
        entries += entry.ljust(64 if wide else 40, b"\0")
    return bytes(head) + names + entries


@pytest.mark.parametrize("wide", [False, True])
def test_sizes_of_sections(wide: bool) -> None:
    sizes = firmware.section_sizes(elf(wide, {".network": 65_980, ".stack": 4096}))
    assert sizes[".network"] == 65_980 and sizes[".stack"] == 4096


class Fake:
    """A child that answers rows of ten logits, and what they cost: 1, 2, 3 ticks… and a stack of 100 bytes, more for the third image."""

    def __init__(self, columns: int = 12) -> None:
        self.columns, self.answered, self.limits = columns, 0, [0.0]
        self.about = {"ticks": 10, "instructions": 400}

    def __call__(self, pixels: np.ndarray, limit: float) -> np.ndarray:
        rows = np.zeros((len(pixels), self.columns), np.float32)
        for row in rows:
            self.answered += 1
            row[0] = self.answered
            row[-2:] = np.array([self.answered, 300 if self.answered == 3 else 100], np.uint32).view(np.float32)
        self.limits.append(limit)
        return rows


def test_figures_are_of_all_images_so_far() -> None:
    run = chips.Emulated(Fake(), Memory(500, 1, 2, 3), 40, 10, 1000)  # type: ignore[arg-type]
    assert logits.figures(run) == {}
    assert run(PIXELS[:0]).shape == (0, 10)
    assert run(PIXELS[:2])[:, 0].tolist() == [1, 2]
    assert logits.figures(run) == {"flash_bytes": 500, "ram_bytes": 140, "stack_bytes": 100, "instructions": 60, "most_instructions": 80}
    run(PIXELS[:1])
    assert logits.figures(run) == {"flash_bytes": 500, "ram_bytes": 340, "stack_bytes": 300, "instructions": 80, "most_instructions": 120}


def test_a_processor_that_does_not_count_says_nothing_of_instructions() -> None:
    child = Fake()
    child.about = {"ticks": 0, "instructions": 0}
    run = chips.Emulated(child, Memory(500, 1, 2, 3), 40, 10, 1000)  # type: ignore[arg-type]
    run(PIXELS)
    assert logits.figures(run) == {"flash_bytes": 500, "ram_bytes": 340, "stack_bytes": 300}


def test_a_large_network_gets_fewer_images_at_once_and_more_time() -> None:
    small, large = Fake(), Fake()
    images = np.zeros((40, 1, 28, 28), np.uint8)
    for child, macs in ((small, 1000), (large, 100_000_000)):
        chips.Emulated(child, Memory(1, 1, 1, 1), 40, 10, macs)(images)  # type: ignore[arg-type]
    assert len(small.limits) - 1 == 2 and len(large.limits) - 1 == 40
    assert max(small.limits) < 100 < 1000 < max(large.limits)


def test_rows_and_pixels_that_are_not_what_they_should_be_are_refused() -> None:
    with pytest.raises(ModelError, match="answered 3 rows of 11 for 3 images"):
        chips.Emulated(Fake(11), Memory(1, 1, 1, 1), 40, 10, 1)(PIXELS)  # type: ignore[arg-type]
    for wrong in (PIXELS.astype(np.float32), PIXELS[:, 0], PIXELS[0, 0, 0].tolist()):
        with pytest.raises(ModelError, match="a chip takes uint8"):
            chips.Emulated(Fake(), Memory(1, 1, 1, 1), 40, 10, 1)(wrong)  # type: ignore[arg-type]


def child_that(does: str, limit: float | None = None) -> Child:
    return Child([sys.executable, "-c", f"import sys, time\nout = sys.stdout.buffer\n{does}"], "a chip", limit=limit)


READY = 'out.write(b"{}\\n"); out.flush(); sys.stdin.buffer.read(4); '


def test_a_child_that_hangs_is_ended() -> None:
    with pytest.raises(ModelError, match="^a chip: did not answer within 1 seconds"):
        child_that("time.sleep(60)", 1)
    child = child_that(READY + "time.sleep(60)")
    with pytest.raises(ChildError, match="^a chip: did not answer within 1 seconds"):
        child(PIXELS, 1)
    with pytest.raises(ChildError, match="^a chip: has ended"):
        child(PIXELS, 1)


@pytest.mark.parametrize("does", ["out.write(bytes(3))", "out.write(bytes([3, 0, 0, 0, 12, 0, 0, 0]) + bytes(50))", "sys.exit('a fault')"])
def test_an_answer_that_breaks_off_is_none(does: str) -> None:
    with pytest.raises(ChildError, match="^a chip: ended with code"):
        child_that(READY + does)(PIXELS, 30)


def test_a_limit_that_was_kept_does_no_harm_later() -> None:
    child = child_that(READY + "out.write(bytes([0, 0, 0, 0, 12, 0, 0, 0])); out.flush(); time.sleep(60)")
    assert child(PIXELS[:0], 1).shape == (0, 12)
    time.sleep(1.2)
    assert child._process.poll() is None
    child.close()


def test_figures_of_a_function_that_wraps_another() -> None:
    def run(pixels: np.ndarray) -> np.ndarray:
        return pixels

    assert logits.figures(run) == {}
    run.__wrapped__ = SimpleNamespace(figures={"instructions": 3})  # type: ignore[attr-defined]
    assert logits.figures(run) == {"instructions": 3}


@pytest.mark.parametrize("told", [{"ram": 1.5}, {"ram": -1}, {"ram": True}, {1: 1}, [1], "many"])
def test_figures_that_no_manifest_could_keep_are_refused(told: object) -> None:
    with pytest.raises(ModelError, match="figures"):
        logits.figures(SimpleNamespace(figures=told))  # type: ignore[arg-type]


def test_what_was_measured_is_kept_and_nothing_else_changes(tmp_path: Path) -> None:
    model = store.find(REFERENCE)
    (proof, *_) = model.artifacts[0].proofs
    before = model.manifest.to_json()
    assert "measured" not in before["artifacts"][0]["proofs"][0]
    kept = replace(proof, measured={"ram_bytes": 2376, "instructions": 861_123})
    changed = model.manifest.with_artifact(replace(model.artifacts[0], proofs=(kept,)))
    changed.write(tmp_path)
    read = next(one for one in Manifest.read(tmp_path).artifacts if one.file == model.artifacts[0].file)
    assert read.proofs == (kept,)
    broken = model.manifest.with_artifact(replace(model.artifacts[0], proofs=(replace(kept, measured={"ram_bytes": "much"}),)))  # type: ignore[dict-item]
    broken.write(tmp_path)
    with pytest.raises(ModelError, match="measured"):
        Manifest.read(tmp_path)


def test_figures_in_words() -> None:
    figures = {"flash_bytes": 65_980, "ram_bytes": 2376, "stack_bytes": 192, "instructions": 861_123, "most_instructions": 861_151}
    assert measured(figures) == "65,980 bytes of flash, 2,376 bytes of RAM, 861,123 instructions an image"
    assert measured({}) == ""
