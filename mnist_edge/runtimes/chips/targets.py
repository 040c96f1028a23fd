"""The emulated chips and processors that a network in C is compiled for: what the compiler, the linker and the emulator need to know of each."""

from __future__ import annotations

from typing import NamedTuple

from mnist_edge.common.errors import unknown_name


class Target(NamedTuple):
    """A chip with its board, or a processor with Linux.

    Attributes:
        name: the runtime's name.
        triple, cpu: what Zig calls it.
        flash_at, ram_at: where its memories begin.
        flash_bytes, ram_bytes: how large they are.
        stack_bytes: how much of the RAM the network's stack gets.
        sources: the C files of the harness, beside ``harness.c``.
        emulator: the program.
        arguments: its arguments, before the firmware.
        system, machine, features, processor: as in `Platform`.
    """

    name: str
    triple: str
    cpu: str
    flash_at: int
    flash_bytes: int
    ram_at: int
    ram_bytes: int
    stack_bytes: int
    sources: tuple[str, ...]
    emulator: str
    arguments: tuple[str, ...]
    system: str
    machine: str
    features: tuple[str, ...]
    processor: str


#: An instruction takes a nanosecond, so that counters which go with the clock count instructions.
_COUNTED = ("-icount", "shift=0,sleep=off")

_BARE = ("-display", "none", "-monitor", "none", "-serial", "none", "-semihosting-config", "enable=on,target=native", *_COUNTED)

_MB = 1 << 20


#: The boards with megabytes read zeros below their RAM instead of stopping at a fault, and a stack that is too deep would run on there. So what is
#: used begins this much higher: such a stack stays in memory, and the harness sees it.
_BELOW = _MB


def _cortex(number: int, cpu: str, board: str, name: str, flash: int = 4 * _MB, ram: int = 4 * _MB, stack: int = 16384) -> Target:
    hard = "hf" if "+" in cpu else ""
    below = _BELOW if ram > _BELOW else 0
    return Target(
        f"cortex-m{number}",
        f"thumb-freestanding-eabi{hard}",
        cpu,
        0,
        flash,
        0x20000000 + below,
        ram - below,
        stack,
        ("semihosting.c", "cortex_m.c"),
        "qemu-system-arm",
        ("-M", board, *_BARE, "-kernel"),
        "bare metal",
        f"Cortex-M{number}",
        ("fpu",) if hard else (),
        name,
    )


def _linux(machine: str, cpu: str, emulated: str, features: tuple[str, ...], processor: str) -> Target:
    return Target(
        f"c-{machine}",
        f"{machine}-freestanding",
        cpu,
        0x10000000,
        64 * _MB,
        0x20000000,
        256 * _MB,
        65536,
        ("linux.c",),
        f"qemu-{machine}",
        ("-cpu", emulated),
        "Linux",
        machine,
        features,
        processor,
    )


TARGETS = {
    target.name: target
    for target in (
        _cortex(0, "cortex_m0", "microbit", "nRF51822 of the BBC micro:bit", 256 * 1024, 16 * 1024, 4096),
        _cortex(3, "cortex_m3", "mps2-an385", "MPS2 AN385"),
        _cortex(4, "cortex_m4+vfp4d16sp", "mps2-an386", "MPS2 AN386"),  # Zig's cortex_m4 has no floating-point unit
        _cortex(7, "cortex_m7+fp_armv8d16sp", "mps2-an500", "MPS2 AN500"),
        Target(
            "riscv32",
            "riscv32-freestanding",
            "generic_rv32+m+a+c",
            0x80000000,
            64 * _MB,
            0x84000000,
            64 * _MB,
            16384,
            ("semihosting.c", "riscv32.c"),
            "qemu-system-riscv32",
            ("-M", "virt", "-bios", "none", *_BARE, "-kernel"),
            "bare metal",
            "riscv32",
            (),
            "RV32IMAC",
        ),
        _linux("aarch64", "cortex_a53", "cortex-a53", ("asimd",), "Cortex-A53"),
        _linux("riscv64", "baseline_rv64", "rv64", (), "RV64GC"),
    )
}


def get(name: str) -> Target:
    """Return a target by name. Raises UnknownNameError."""
    if name not in TARGETS:
        raise unknown_name("target", name, TARGETS)
    return TARGETS[name]
