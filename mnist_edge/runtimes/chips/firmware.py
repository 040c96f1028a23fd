"""Compiles a network in C and the harness for a target, and reads from the linked file how much memory each takes."""

from __future__ import annotations

import os
import re
import string
import struct
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from mnist_edge.common.errors import ModelError
from mnist_edge.common.files import cache_dir
from mnist_edge.runtimes.c_folder import CFolder
from mnist_edge.runtimes.chips.targets import Target

_HERE = Path(__file__).parent

#: Optimised for speed. Without a C library, whose sizes would count as the network's; no product and sum in one rounding.
_FLAGS = (
    *("-O2", "-std=c99", "-ffreestanding", "-ffp-contract=off", "-fno-sanitize=undefined", "-fno-pic", "-fno-stack-protector", "-g0", "-w"),
    *("-ffunction-sections", "-fdata-sections", "-fno-unwind-tables", "-fno-asynchronous-unwind-tables"),
)


class Memory(NamedTuple):
    """Bytes that the sections of a linked firmware take."""

    network: int
    harness: int
    stack: int
    harness_ram: int


def build(network: CFolder, target: Target, folder: Path) -> tuple[Path, Memory]:
    """Compile and link into `folder`. Return the firmware and its sizes.

    Raises ModelError if it does not compile, or is larger than the target.
    """
    where = network.source.parent
    _refuse_at_once(network, target)
    macro = network.name.upper()
    macros = {
        "NETWORK_HEADER": f'"{network.name}.h"',
        "LOGITS_NAME": f'"{network.name}_logits"',
        "WORKSPACE_BYTES": f"{macro}_WORKSPACE_BYTES",
        "CLASSES": f"{macro}_CLASSES",
        "STACK_BYTES": str(target.stack_bytes),
    }
    defined = [f"-D{name}={value}" for name, value in macros.items()]
    compiler = ["cc", "-target", target.triple, f"-mcpu={target.cpu}", *_FLAGS, "-I", str(where.absolute())]
    objects = [folder / f"{network.name}.o"]
    _zig([*compiler, "-c", str(network.source.absolute()), "-o", str(objects[0])], folder, f"{where}: cannot be compiled for {target.name}")
    for source in ("harness.c", *target.sources):  # their names have a hyphen, which no network's has; the linker script goes by it
        objects.append(folder / f"chip-{source}.o")
        command = [*compiler, *defined, "-c", str(_HERE / source), "-o", str(objects[-1])]
        _zig(command, folder, f"{where}: does not fit {target.name}'s harness")
    script, firmware = folder / "memory.ld", folder / "firmware.elf"
    template = string.Template((_HERE / "memory.ld").read_text("utf-8"))
    script.write_text(template.safe_substitute(flash=hex(target.flash_at), ram=hex(target.ram_at)), "utf-8")
    linker = [
        "build-exe",
        "-target",
        target.triple,
        f"-mcpu={target.cpu}",
        "-O",
        "ReleaseFast",
        "-fstrip",
        "-fcompiler-rt",
        "-fentry=start",
    ]
    linker += ["--script", str(script), "--gc-sections", *map(str, objects), f"-femit-bin={firmware}"]
    _zig(linker, folder, f"{where}: cannot be linked for {target.name}")
    sizes = section_sizes(firmware.read_bytes())
    memory = Memory(*(sizes.get(f".{name}", 0) for name in Memory._fields))
    flash, ram = memory.network + memory.harness, memory.stack + memory.harness_ram
    if flash > target.flash_bytes or ram > target.ram_bytes:
        raise ModelError(_too_large(network, target, f"{flash:,}", f"{ram:,}", f" ({target.stack_bytes:,} of it stack)"))
    return firmware, memory


def macs_of(network: CFolder) -> int:
    """Return how many multiplications an image takes; 0 if the header does not say."""
    return _number(network, "MACS")


def section_sizes(elf: bytes) -> dict[str, int]:
    """Return the sizes of an ELF file's sections, 32 or 64 bits, little-endian. Source: Tool Interface Standard, ELF, version 1.2."""
    wide = elf[4] == 2
    (table,) = struct.unpack_from("<Q" if wide else "<I", elf, 40 if wide else 32)
    entry, count, names = struct.unpack_from("<HHH", elf, 58 if wide else 46)
    headers = [struct.unpack_from("<IIQQQQ" if wide else "<IIIIII", elf, table + entry * index) for index in range(count)]
    texts = headers[names][4]
    return {elf[texts + name : elf.index(b"\0", texts + name)].decode(): size for name, _, _, _, _, size in headers}


def _refuse_at_once(network: CFolder, target: Target) -> None:
    """Raise ModelError if the weights or the workspace alone are too large: compiling megabytes takes minutes."""
    constants = _number(network, "CONSTANT_BYTES")
    if constants > target.flash_bytes or network.workspace > target.ram_bytes:
        raise ModelError(_too_large(network, target, f"more than {constants:,}", f"more than {network.workspace:,}", ""))


def _too_large(network: CFolder, target: Target, flash: str, ram: str, of_it: str) -> str:
    return (
        f"{network.source.parent}: too large for {target.machine} ({target.processor}): it needs {flash} bytes of flash and {ram} bytes of RAM{of_it}, "
        f"and there are {target.flash_bytes:,} and {target.ram_bytes:,}"
    )


def _number(network: CFolder, what: str) -> int:
    text = network.source.with_suffix(".h").read_text("utf-8", "replace")
    found = re.search(rf"^#define {network.name.upper()}_{what} (\d+)\b", text, re.MULTILINE)
    return int(found[1]) if found else 0


def _zig(arguments: list[str], folder: Path, what: str) -> None:
    """Run Zig. What it compiles for itself, a library for each processor, is kept in the user's cache. Raises ModelError with its first error."""
    home = cache_dir()
    places = {"ZIG_GLOBAL_CACHE_DIR": str(home / "zig" if home else folder / "zig"), "ZIG_LOCAL_CACHE_DIR": str(folder / "zig")}
    done = subprocess.run(
        [sys.executable, "-m", "ziglang", *arguments],
        cwd=folder,
        env=os.environ | places,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode:
        lines = (
            [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        )
        raise ModelError(f"{what}: {lines[0].strip()}")
