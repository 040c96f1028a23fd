"""What all our ONNX files have in common: names that say where each node comes from, and nothing that identifies this machine."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from exporters.registry import Target
from mnist_edge.common.errors import ExportError, one_line
from mnist_edge.common.version import __version__

if TYPE_CHECKING:
    import onnx

#: For each opset, the oldest ONNX Runtime that ran LeNet when 1.15 to 1.23 were tried in turn (1.15 is the first for Python 3.11).
ORT_OF_OPSET = {18: "1.15", 19: "1.16", 20: "1.17", 21: "1.18", 22: "1.21", 23: "1.23"}

#: Dynamic quantization first turns a Gemm into a MatMul and an Add, and adds this to its name.
GEMM_AS_MATMUL = "_MatMul"

#: The metadata in which torch.onnx lists the modules that a node comes from, outermost first.
_SCOPES = "pkg.torch.onnx.name_scopes"


def finish(model: "onnx.ModelProto", target: Target) -> bytes:
    """Strip, describe and check a graph, and return its bytes. The same weights give the same bytes.

    Raises ExportError for a graph that ONNX's own checker refuses.
    """
    import onnx

    model = _cleaned(model)
    model.ir_version = onnx.helper.find_min_ir_version_for(model.opset_import, ignore_unknown=True)  # so that old runtimes can read it
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
    _check(model, target)
    return bytes(model.SerializeToString(deterministic=True))


def details_of(model: "onnx.ModelProto") -> dict[str, Any]:
    """Return what the manifest records about any graph."""
    opset = opset_of(model)
    return {"opset": opset, "ir_version": model.ir_version, "oldest_runtime": f"onnxruntime {ORT_OF_OPSET[opset]}"}


def opset_of(model: "onnx.ModelProto") -> int:
    """Return the version of the standard operators that a graph is written in."""
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def name_nodes(model: "onnx.ModelProto") -> None:
    """Name each node after its module and its operator, such as ``fc1/Gemm``. A number distinguishes the second from the first."""
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
    """Yield the nodes that hold or multiply weights: quantization changes these."""
    yield from (node for node in model.graph.node if node.op_type in ("Conv", "Gemm", "MatMul", "GRU"))


def layers_in_float(model: "onnx.ModelProto") -> set[str]:
    """Return the names of the layers that are still float32 in a reduced graph, as the float32 graph calls them."""
    import onnx

    kinds = {tensor.name: tensor.data_type for tensor in model.graph.initializer}
    found = set()
    for node in layers(model):
        weight = node.input[1]
        if kinds.get(weight, onnx.TensorProto.FLOAT) == onnx.TensorProto.FLOAT and "DequantizeLinear" not in weight:
            found.add(node.name.removesuffix(GEMM_AS_MATMUL))
    return found


def _cleaned(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Return a copy without the paths of this machine's folders, without functions, and without operator sets that no node uses.

    ONNX Runtime's preprocessing lists all the operator sets that it knows, and an older ONNX Runtime refuses any that it does not know.
    """
    import onnx_ir
    from onnx_ir.passes import Sequential
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass, InlinePass, RemoveUnusedOpsetsPass

    whole = onnx_ir.from_proto(model)
    Sequential(InlinePass(), RemoveUnusedOpsetsPass(), ClearMetadataAndDocStringPass())(whole)
    for graph in whole.graph.subgraphs():  # the passes leave its tensors unchanged
        for value in (*graph.inputs, *graph.initializers.values(), *(output for node in graph for output in node.outputs)):
            value.metadata_props.clear()
            value.doc_string = None
    cleaned = onnx_ir.to_proto(whole)
    graph = cleaned.graph
    # onnx-ir writes shape notes differently and drops empty texts: an equivalent file, but not the bytes of the files published so far
    del graph.value_info[:]
    graph.value_info.extend(model.graph.value_info)
    for part in (cleaned, graph, *graph.node, *graph.value_info, *graph.initializer, *graph.input, *graph.output):
        del part.metadata_props[:]
        part.doc_string = ""
    return cleaned


def _check(model: "onnx.ModelProto", target: Target) -> None:
    """Raise ExportError for a graph that ONNX's own checker refuses. The checker skips operators that it does not know, such as com.microsoft's."""
    import onnx

    checked = onnx.ModelProto()
    checked.CopyFrom(model)
    # the type notes on inner tensors go: ONNX Runtime's fp16 tool does not update them around layers that stay in float
    del checked.graph.value_info[:]
    try:
        onnx.checker.check_model(checked, full_check=True)
    except Exception as error:
        what = f"the graph in {target.precision}"
        raise ExportError(f"{target.name}: the ONNX checker refuses {what}: {one_line(error)}") from error
