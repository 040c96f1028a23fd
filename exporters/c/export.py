"""An ONNX artifact as a folder of C99: the network, its header, a self-test, and what CMake and the Arduino tools want."""

from __future__ import annotations

import re
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from exporters.c import graph, lowering, memory, text
from exporters.c.memory import Plan
from exporters.c.steps import Array, Network, Value
from exporters.registry import Target
from mnist_edge.common.errors import ExportError
from mnist_edge.proof import golden as goldens
from mnist_edge.proof.golden import Golden
from mnist_edge.runtimes import native

_TEMPLATES = Path(__file__).parent / "templates"

#: Kernels that give the same bits as onnxruntime: integers, or one operation of floats a result.
_EXACT = frozenset(
    {
        *("table_u8", "conv_u8", "dense_u8", "dense_u8_f32", "pool_u8", "quantize_u8", "dequantize_u8", "pixels_f32"),
        *(
            "channels_first_u8",
            "channels_first_f32",
            "channels_last_u8",
            "channels_last_f32",
            "copy_f32",
            "fill_f32",
            "relu_f32",
            "add_f32",
            "mul_f32",
        ),
    }
)


def export(source: Path, target: Target) -> dict[str, Any]:
    """Write a folder of C from an ONNX file, float32 or static int8.

    Returns ``c_name``, ``workspace_bytes``, ``constant_bytes``, ``macs``, ``bit_for_bit`` (it answers alike wherever it is compiled) and
    ``as_source`` (it gives the very logits that onnxruntime gives for the ONNX file). Raises ExportError for an operator without a kernel.
    """
    network = lowering.lower(graph.read(source))
    plan = memory.plan(network)
    name = c_name(target.name)
    constants = _constant_bytes(network)
    macs = sum(step.macs for step in network.steps)
    as_source = target.precision != "float32" and all(step.kernel in _EXACT and not step.fused for step in network.steps)
    if target.golden is None:
        raise ExportError(f"{target.name}: format c writes a self-test, and has no golden inputs for it")
    pixels, logits = _one_each(target.golden)
    words = {
        "name": name,
        "macro": name.upper(),
        "folder": target.path.name,
        "title": f"{target.name}{'' if target.precision == 'float32' else f' in {target.precision}'}",
        "source": source.name,
        "classes": str(len(target.classes)),
        "last": str(len(target.classes) - 1),
        "golden": str(len(pixels)),
        "constants": f"{constants:,}",
        "workspace": f"{plan.bytes:,}",
        "logits_bytes": str(4 * len(target.classes)),
        "macs": f"{macs:,}",
        "claim": (
            "it gives the very logits that onnxruntime gives for that file, bit for bit"
            if as_source
            else "its logits are within 0.0001 of PyTorch's"
            if target.precision == "float32"
            else "it keeps the budget of its precision"
        ),
        "plan": _table(network, plan),
    }
    _write(
        target.path,
        {
            f"{name}.h": text.header(name, network, plan, constants),
            f"{name}.c": text.source(name, network, plan),
            "README.md": _filled("README.md", words),
            "CMakeLists.txt": _filled("CMakeLists.txt", words),
            "library.properties": _filled("library.properties", words),
            f"examples/{name}/{name}.ino": _filled("example.ino", words),
        },
    )
    logits, tolerance = _expected(source, target, pixels, logits, as_source)
    _write(target.path, {f"{name}_self_test.c": text.self_test(name, pixels.reshape(len(pixels), -1), logits, tolerance)})
    sizes = {"workspace_bytes": plan.bytes, "constant_bytes": constants, "macs": macs}
    return {"c_name": name, **sizes, "bit_for_bit": True, "as_source": as_source, "oldest_runtime": "any C99 compiler"}


def c_name(name: str) -> str:
    """Return a model's name as an identifier of C, such as ``mlp_256``."""
    identifier = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return identifier if identifier[:1].isalpha() else f"model_{identifier}"


def _constant_bytes(network: Network) -> int:
    arrays = {id(one): one for step in network.steps for one in step.arguments if isinstance(one, Array)}
    return sum(array.bytes for array in arrays.values())


def _write(folder: Path, files: dict[str, str]) -> None:
    for file, content in files.items():
        path = folder / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, "utf-8", newline="\n")


def _one_each(golden: Golden) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Choose one golden input a class: pixels, uint8 N×1×28×28, and PyTorch's logits, float32 N×classes."""
    answers = golden.logits.argmax(axis=1)
    chosen = [int(np.flatnonzero(answers == answer)[0]) for answer in np.unique(answers)]
    return golden.pixels[chosen], golden.logits[chosen]


def _expected(
    source: Path, target: Target, pixels: NDArray[np.uint8], pytorch: NDArray[np.float32], as_source: bool
) -> tuple[NDArray[np.float32], float]:
    """Return the logits that the self-test asks for, and how far an answer may be from them; 0: bit for bit.

    They are PyTorch's, or onnxruntime's where they have to be equal. A lower precision that need not be equal may be as far as `goldens.tolerance`
    says, given how far the C itself is.
    """
    if as_source:
        from mnist_edge.runtimes import ort

        return ort.load(source)(pixels), 0.0
    distance = 0.0 if target.precision == "float32" else float(np.abs(native.load(target.path)(pixels) - pytorch).max())
    return pytorch, goldens.tolerance(target.precision, distance)


def _filled(template: str, words: dict[str, str]) -> str:
    return Template((_TEMPLATES / template).read_text("utf-8")).substitute(words)


def _table(network: Network, plan: Plan) -> str:
    """Return the memory plan as a table in Markdown."""
    rows = ["| value | from byte | bytes | needed in steps |", "|---|---|---|---|"]
    for place in sorted(plan.places, key=lambda one: (one.first, one.offset)):
        owner = place.owner
        name = owner.name if isinstance(owner, Value) else f"scratch of {network.steps[place.first].layer}"
        rows.append(f"| {name} | {place.offset:,} | {owner.bytes:,} | {place.first + 1} to {place.last + 1} |")
    return "\n".join(rows)
