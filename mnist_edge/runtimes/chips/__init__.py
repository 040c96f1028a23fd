"""Runs a network in C on emulated chips and processors: Cortex-M, RISC-V and 64-bit Arm, each a runtime; `targets` lists them.

Zig compiles it, for it comes by pip alone, is one release for all targets, and gives the same bytes everywhere. QEMU runs it and counts the
instructions, which are not cycles: nothing here says how many milliseconds a real chip takes. The firmware paints its stack to see how deep it is.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
import threading
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mnist_edge.common.errors import ModelError
from mnist_edge.common.extras import is_installed, lacks
from mnist_edge.runtimes import c_folder, contract, machines
from mnist_edge.runtimes.child import Child
from mnist_edge.runtimes.chips import firmware, targets
from mnist_edge.runtimes.platforms import Platform

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mnist_edge.common.logits import Run
    from mnist_edge.runtimes.chips.firmware import Memory

_ZIG = "ziglang"
_INSTALL_ZIG = "pip install 'mnist-edge[c]'"

#: Where pixels go in at once: fewer bytes than any pipe holds, so that neither side waits for the other.
_BATCH = 32

#: Seconds that a firmware may take to start, and per multiplication: an emulated chip without a floating-point unit does some 2 million a second,
#: and the computer may be busy with other work.
_START_SECONDS, _MAC_SECONDS = 60.0, 1e-5


class Emulated:
    """A network on an emulated chip: from pixels, uint8 N×1×28×28, to logits, float32 N×classes. Threads take turns.

    Attributes:
        figures: what the images so far took: see `mnist_edge.common.logits.Run`.
    """

    def __init__(self, child: Child, memory: Memory, workspace: int, classes: int, macs: int) -> None:
        self._child, self._classes, self._turn = child, classes, threading.Lock()
        self._flash, self._workspace, self._stack = memory.network, workspace, 0
        self._images, self._ticks, self._most_ticks = 0, 0, 0
        ticks, instructions = child.about["ticks"], child.about["instructions"]
        self._per_tick = instructions / ticks if ticks else 0.0
        self._at_once = max(1, min(_BATCH, 16_000_000 // max(macs, 1)))
        self._limit = _START_SECONDS + self._at_once * macs * _MAC_SECONDS

    def __call__(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return logits, float32 N×classes. Raises ModelError if the firmware ends, stops answering, or there are no pixels to give it."""
        if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.shape[1:] != (1, 28, 28):
            raise ModelError(
                f"a chip takes uint8 N×1×28×28, and this is {getattr(pixels, 'dtype', type(pixels).__name__)} {np.shape(pixels)}"
            )
        parts = [np.empty((0, self._classes), np.float32)]
        with self._turn:
            for start in range(0, len(pixels), self._at_once):
                batch = pixels[start : start + self._at_once]
                rows = self._child(batch, self._limit)
                if rows.shape != (len(batch), self._classes + 2):
                    raise ModelError(f"the firmware answered {rows.shape[0]} rows of {rows.shape[1]} for {len(batch)} images")
                self._note(rows[:, self._classes :].copy().view(np.uint32))
                parts.append(rows[:, : self._classes])
        return np.concatenate(parts)

    @property
    def figures(self) -> dict[str, int]:
        """What the network takes: bytes by the linker, and of all images so far the deepest stack and the emulator's count of instructions."""
        if not self._images:
            return {}
        figures = {"flash_bytes": self._flash, "ram_bytes": self._workspace + self._stack, "stack_bytes": self._stack}
        if self._per_tick:
            figures["instructions"] = round(self._ticks * self._per_tick / self._images)
            figures["most_instructions"] = round(self._most_ticks * self._per_tick)
        return figures

    def _note(self, costs: NDArray[np.uint32]) -> None:
        ticks, stacks = costs[:, 0], costs[:, 1]
        self._images += len(costs)
        self._ticks += int(ticks.sum(dtype=np.uint64))
        self._most_ticks = max(self._most_ticks, int(ticks.max()))
        self._stack = max(self._stack, int(stacks.max()))


def load(path: Path, threads: int = 1, *, target: str) -> Run:
    """Compile a folder of format ``c`` for a target and start it in the emulator, which ends with the returned object.

    A chip has one thread, so `threads` changes nothing. Raises ModelError if it does not compile, is too large for the target or does not start,
    MissingExtraError.
    """
    chosen, network = targets.get(target), c_folder.read(Path(path))
    if lacking := missing(target):
        raise lacks(f"runtime {target}", lacking)
    ports = contract.Port("pixels", "uint8", (None, 1, 28, 28)), contract.Port("logits", "float32", (None, network.classes))
    contract.check(path, ports[:1], ports[1:])
    emulator = _emulator(chosen.emulator)
    assert emulator is not None
    with tempfile.TemporaryDirectory() as scratch:
        built, memory = firmware.build(network, chosen, Path(scratch))
        child = Child([*emulator, *chosen.arguments, built], f"{path}: on an emulated {chosen.machine}", limit=_START_SECONDS)
    return Emulated(child, memory, network.workspace, network.classes, firmware.macs_of(network))


def version(*, target: str) -> str:
    """Return the compiler, such as ``zig 0.17.1``. Raises ModelError if it does not tell."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return f"zig {version(_ZIG)}"
    except PackageNotFoundError:
        raise lacks(f"runtime {target}", {_ZIG: _INSTALL_ZIG}) from None


def runs_on(*, target: str) -> Platform:
    """Return the emulated chip or processor, not this computer. Raises MissingExtraError, ModelError if QEMU does not report its version."""
    chosen = targets.get(target)
    emulator = _emulator(chosen.emulator)
    if emulator is None:
        raise lacks(f"runtime {target}", missing(target))
    emulated = f"qemu {_release(emulator)}"
    return Platform(chosen.system, chosen.machine, chosen.features, chosen.processor, emulated)


def missing(target: str) -> dict[str, str]:
    """Return what is missing on this machine, by name, each with the command that installs it."""
    lacking = {} if is_installed(_ZIG) else {_ZIG: _INSTALL_ZIG}
    emulator = targets.get(target).emulator
    if _emulator(emulator) is None:
        lacking[emulator] = how_to_set_up()
    return lacking


def how_to_set_up() -> str:
    """Return the command that puts the emulators into a folder, without root."""
    return "make chips" if machines.clone() else "python -m mnist_edge.runtimes.chips"


def _emulator(program: str) -> tuple[str, ...] | None:
    """Return the command that starts an emulator: of the folder that was set up, else the system's own; None if there is none."""
    if program.startswith("qemu-system"):
        if command := machines.system_emulator(program):
            return command
    elif (part := machines.find("qemu")) and (part / program).is_file():
        return (str(part / program),)
    found = shutil.which(program) or shutil.which(f"{program}-static")
    return (found,) if found else None


@cache
def _release(emulator: tuple[str, ...]) -> str:
    try:
        said = subprocess.run([*emulator, "--version"], capture_output=True, text=True, errors="replace", check=True).stdout
    except (OSError, subprocess.CalledProcessError) as error:
        raise ModelError(f"{emulator[-1]}: does not report its version: {error}") from error
    found = re.search(r"version (\d+\.\d+(\.\d+)?)", said)
    if not found:
        raise ModelError(f"{emulator[-1]}: does not report its version, but {said[:80]!r}")
    return found[1]
