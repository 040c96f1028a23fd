"""Runs onnxruntime on another kind of machine: its wheel for that machine, under an emulator (qemu-user).

This proves what a processor answers, not how fast it is: an emulated one is 50 times slower.
`machines` sets up what it needs; nothing is set up by itself.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from mnist_edge.common.errors import FixedBatchError, MissingExtraError, ModelError, unknown_name
from mnist_edge.runtimes import contract, machines, usable_threads
from mnist_edge.runtimes.child import Child
from mnist_edge.runtimes.platforms import Platform

__all__ = ["PLATFORMS", "Machine", "get", "how_to_set_up", "load", "platform_of", "set_up"]

_ANSWERING = Path(__file__).with_name("answering.py")


class Machine(NamedTuple):
    """A machine that can be emulated.

    Attributes:
        name: what ``--platform`` takes.
        summary: what it is, in a few words.
        machine: its kind, as in `Platform.machine`.
        cpu: the emulator's name for its processor.
        processor: the processor's usual name.
    """

    name: str
    summary: str
    machine: str
    cpu: str
    processor: str

    @property
    def parts(self) -> tuple[str, ...]:
        """The `machines.PARTS` that it needs."""
        return ("qemu",) if self.machine == "x86_64" else ("qemu", self.machine)

    def require(self) -> None:
        """Raise MissingExtraError if it is not set up or cannot run here."""
        if self.machine == "x86_64" and (sys.platform != "linux" or platform.machine() != "x86_64"):
            raise MissingExtraError(f"platform {self.name} runs the onnxruntime that is installed here, and so needs Linux on x86_64")
        if missing := [part for part in self.parts if machines.find(part) is None]:
            raise MissingExtraError(
                f"platform {self.name} is emulated, and {' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} not set up; "
                f"run: {how_to_set_up(self.name)}"
            )


PLATFORMS = {
    machine.name: machine
    for machine in (
        Machine("aarch64", "64-bit Arm without extensions, as in a Raspberry Pi 4", "aarch64", "cortex-a72", "Cortex-A72"),
        Machine("aarch64-a76", "64-bit Arm with fp16 and dot product, as in a Raspberry Pi 5", "aarch64", "cortex-a76", "Cortex-A76"),
        Machine("haswell", "x86-64 with AVX2, without AVX-512 and VNNI, as of 2013", "x86_64", "Haswell-v4", "Haswell"),
    )
}


def get(name: str) -> Machine:
    """Return a machine by name. Raises UnknownNameError."""
    if name not in PLATFORMS:
        raise unknown_name("platform", name, PLATFORMS)
    return PLATFORMS[name]


def how_to_set_up(name: str) -> str:
    """Return the command that sets a machine up."""
    return "make aarch64" if machines.clone() and get(name).machine == "aarch64" else f"python -m mnist_edge.runtimes.emulated {name}"


def set_up(name: str, folder: Path | None = None, tell: machines.Tell = lambda line: None) -> Path:
    """Set a machine up in `folder`, or in the usual place, and return that folder; see `machines.set_up`. Raises UnknownNameError too."""
    return machines.set_up(get(name).parts, folder, tell)


def load(path: Path, machine: str, threads: int = 1) -> Child:
    """Load an ONNX file in onnxruntime on an emulated machine; `machine` is a name in `PLATFORMS`.

    Raises ModelError if onnxruntime refuses the file there or the file does not keep the contract, MissingExtraError if the machine is not
    set up, UnknownNameError.
    """
    chosen = get(machine)
    child = Child(
        _command(chosen, contract.onnx_file(path), usable_threads(threads)),
        f"{path}: onnxruntime on {machine}, emulated",
        _environment(chosen),
    )
    try:
        _check(path, child)
    except ModelError:
        child.close()
        raise
    qemu = machines.find("qemu")
    release = machines.about(qemu).get("version", "") if qemu else ""
    child.about["platform"] |= {"emulated": f"qemu {release}".strip(), "processor": chosen.processor}
    return child


def platform_of(child: Child) -> Platform:
    """Return the platform that a child of `load` runs on, as the child saw it. Raises ModelError if the child did not report one."""
    try:
        return Platform.from_json(child.about["platform"])
    except (KeyError, TypeError, AttributeError, ValueError):
        raise ModelError("an emulated machine did not report its platform") from None


def _command(machine: Machine, path: Path, threads: int) -> list[str | Path]:
    machine.require()
    qemu = machines.find("qemu")
    assert qemu is not None
    emulator: list[str | Path] = [qemu / f"qemu-{machine.machine}", "-cpu", machine.cpu]
    arguments: list[str | Path] = [_ANSWERING, path.absolute(), str(threads)]
    if machine.machine == "x86_64":
        return [*emulator, sys.executable, "-P", *arguments]  # -P: this folder has a torch.py
    folder = machines.find(machine.machine)
    assert folder is not None
    return [*emulator, "-L", folder / "root", folder / machines.PYTHON, "-I", *arguments, folder / "packages"]


def _environment(machine: Machine) -> Mapping[str, str]:
    foreign = (
        ("QEMU_",) if machine.machine == "x86_64" else ("QEMU_", "LD_", "PYTHON")
    )  # libraries of this machine, which another machine cannot load
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"ORT_DISABLE_TELEMETRY": "1"}  # without this, its import looks up a host


def _check(path: Path, child: Child) -> None:
    """Raise ModelError unless the file keeps the contract."""
    inputs, outputs = child.about["inputs"], child.about["outputs"]
    kept = [(name, kind, shape[1:]) for name, kind, shape in inputs] == [("pixels", "tensor(uint8)", [1, 28, 28])]
    kept = kept and [(name, kind, len(shape)) for name, kind, shape in outputs] == [("logits", "tensor(float)", 2)]
    if not kept:
        raise ModelError(f"{path}: takes {inputs} and gives {outputs}; the contract is pixels, uint8 N×1×28×28 → logits, float32 N×classes")
    if isinstance(batch := inputs[0][2][0], int):
        raise FixedBatchError(f"{path}: its batch is fixed to {batch}; the contract is any number of images", batch)


def _main(arguments: list[str]) -> int:
    """Set up the parts that the named machines need."""
    from mnist_edge.common.errors import MnistEdgeError, one_line

    folder = None
    if "--to" in arguments[:-1]:
        at = arguments.index("--to")
        folder = Path(arguments[at + 1])
        del arguments[at : at + 2]
    if not arguments or arguments[0].startswith("-"):
        sys.stderr.write(f"usage: python -m mnist_edge.runtimes.emulated MACHINE… [--to FOLDER]; machines: {', '.join(PLATFORMS)}\n")
        return 2
    try:
        for name in arguments:
            where = set_up(name, folder, lambda line: sys.stderr.write(f"{line}\n"))
            sys.stderr.write(f"{name} is set up in {where}\n")
    except (MnistEdgeError, OSError) as error:
        sys.stderr.write(f"error: {error if isinstance(error, MnistEdgeError) else one_line(error)}\n")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(_main(sys.argv[1:]))
