"""An ONNX file as a folder of C99: the network, its header, a self-test, and what CMake and the Arduino tools want."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from exporters.c import graph, lowering, memory, text
from exporters.c.steps import Array, Network


def write(source: Path, folder: Path, name: str) -> dict[str, Any]:
    """Write a network as C into a new folder. Return what the manifest keeps: workspace, constants, multiplications.

    `name` is the model's; as an identifier of C it begins every public name. Raises ExportError for an operator that has no kernel.
    """
    network = lowering.lower(graph.read(source))
    plan = memory.plan(network)
    identifier = c_name(name)
    constants = flash_bytes(network)
    folder.mkdir()
    (folder / f"{identifier}.h").write_text(text.header(identifier, network, plan, constants), "utf-8")
    (folder / f"{identifier}.c").write_text(text.source(identifier, network, plan), "utf-8")
    return {"c_name": identifier, "workspace_bytes": plan.bytes, "constant_bytes": constants, "macs": sum(step.macs for step in network.steps)}


def c_name(name: str) -> str:
    """Return a model's name as an identifier of C, such as ``mlp_256``."""
    identifier = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")
    return identifier if identifier[:1].isalpha() else f"model_{identifier}"


def flash_bytes(network: Network) -> int:
    """Return how many bytes the constants take."""
    arrays = {id(one): one for step in network.steps for one in step.arguments if isinstance(one, Array)}
    return sum(array.bytes for array in arrays.values())
