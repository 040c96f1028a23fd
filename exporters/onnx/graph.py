"""What every ONNX file of ours has in common: names that say where a node comes from, and nothing of this machine."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from exporters.registry import Target
from mnist_edge import __version__

if TYPE_CHECKING:
    import onnx

#: The file format's version, by opset: the oldest that ONNX's own table allows for it, so that old runtimes still read it.
IR_OF_OPSET = {18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}

#: Oldest ONNX Runtime that ran LeNet at an opset when 1.15 to 1.23 were tried in turn (1.15 is the first for Python 3.11).
ORT_OF_OPSET = {18: "1.15", 19: "1.16", 20: "1.17", 21: "1.18", 22: "1.21", 23: "1.23"}

#: Dynamic quantization first turns a Gemm into a MatMul and an Add, and adds this to its name.
GEMM_AS_MATMUL = "_MatMul"

#: Where torch.onnx says which modules a node comes from, outermost first.
_SCOPES = "pkg.torch.onnx.name_scopes"


def finish(model: "onnx.ModelProto", target: Target) -> bytes:
    """Strip and describe a graph, and return its bytes: the same weights give the same ones."""
    import onnx

    _strip(model)
    _drop_unused_domains(model)
    model.ir_version = IR_OF_OPSET[opset_of(model)]
    model.producer_name, model.producer_version = "mnist-edge", __version__
    model.domain = ""
    model.model_version = 0
    model.graph.name = target.name
    onnx.helper.set_model_props(
        model,
        {
            "architecture": target.architecture,
            "classes": json.dumps(target.classes),
            "input": "pixels: uint8 N×1×28×28, ink bright on a dark ground; normalisation is part of the graph",
            "licence": target.licence,
            "name": target.name,
            "output": "logits: float32 N×10",
            "precision": target.precision,
        },
    )
    return bytes(model.SerializeToString(deterministic=True))


def details_of(model: "onnx.ModelProto") -> dict[str, Any]:
    """Return what the manifest keeps of any graph."""
    opset = opset_of(model)
    return {"opset": opset, "ir_version": model.ir_version, "oldest_runtime": f"onnxruntime {ORT_OF_OPSET[opset]}"}


def opset_of(model: "onnx.ModelProto") -> int:
    """Return the version of the standard operators that a graph is written in."""
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def name_nodes(model: "onnx.ModelProto") -> None:
    """Name each node after its module and its operator, such as ``fc1/Gemm``; a number tells the second from the first."""
    import ast

    taken: set[str] = set()
    for node in model.graph.node:
        scopes = next((entry.value for entry in node.metadata_props if entry.key == _SCOPES), "[]")
        modules = [scope for scope in ast.literal_eval(scopes)[:-1] if scope.startswith("network.")]
        stem = name = f"{modules[-1].removeprefix('network.')}/{node.op_type}" if modules else node.op_type
        number = 1
        while name in taken:
            number += 1
            name = f"{stem}_{number}"
        taken.add(name)
        node.name = name


def layers(model: "onnx.ModelProto") -> Iterator["onnx.NodeProto"]:
    """Yield the nodes that hold or multiply weights: what quantization changes."""
    yield from (node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul", "GRU"))


def layers_in_float(model: "onnx.ModelProto") -> set[str]:
    """Return the names of the layers that a reduced graph has in float32 still, as the float32 graph calls them."""
    import onnx

    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    found = set()
    for node in layers(model):
        weight = node.input[1]
        if kinds.get(weight, onnx.TensorProto.FLOAT) == onnx.TensorProto.FLOAT and "DequantizeLinear" not in weight:
            found.add(node.name.removesuffix(GEMM_AS_MATMUL))
    return found


def _drop_unused_domains(model: "onnx.ModelProto") -> None:
    """Leave out sets of operators that no node uses: ONNX Runtime's preprocessing names all that it knows, and an older one refuses them."""
    used = {"", "ai.onnx", *(node.domain for node in model.graph.node)}
    kept = [entry for entry in model.opset_import if entry.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def _strip(model: "onnx.ModelProto") -> None:
    """Remove what names this machine's folders, or the moment."""
    del model.metadata_props[:]
    model.doc_string = ""
    graphs = [model.graph, *model.functions]
    while graphs:
        graph = graphs.pop()
        graph.doc_string = ""
        del graph.metadata_props[:]
        for value in (*graph.value_info, *getattr(graph, "initializer", ())):
            del value.metadata_props[:]
            value.doc_string = ""
        for value in (*(graph.input if hasattr(graph, "initializer") else ()), *(graph.output if hasattr(graph, "initializer") else ())):
            del value.metadata_props[:]
            value.doc_string = ""
        for node in graph.node:
            del node.metadata_props[:]
            node.doc_string = ""
            for attribute in node.attribute:
                graphs += [attribute.g] if attribute.HasField("g") else []
                graphs += attribute.graphs
