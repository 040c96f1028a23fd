"""ONNX, by `torch.onnx.export` with dynamo."""

import io
import json
import logging
import warnings
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

from exporters.registry import Format, Target, register
from mnist_edge import __version__
from mnist_edge.errors import ExportError, UsageError, one_line

if TYPE_CHECKING:
    import onnx

    from mnist_edge.training.deploy import Deployed

DEFAULT_OPSET = 20

#: torch's converter writes 18 whatever lower number it is asked for.
OLDEST_OPSET = 18

#: Oldest ONNX Runtime that ran LeNet at an opset when 1.15 to 1.23 were tried in turn (1.15 is the first for Python 3.11).
_ORT_OF_OPSET = {18: "1.15", 19: "1.16", 20: "1.17", 21: "1.18", 22: "1.21", 23: "1.23"}

#: The file format's version, by opset: the oldest that ONNX's own table allows for it, so that old runtimes still read it.
_IR_OF_OPSET = {18: 8, 19: 9, 20: 9, 21: 10, 22: 10, 23: 11}


def export(deployed: "Deployed", target: Target) -> dict[str, Any]:
    """Write one self-contained file, with a symbolic batch and nothing of this machine in it.

    Returns ``opset``, ``ir_version`` and ``oldest_runtime``. Raises UsageError for an opset that cannot be written,
    ExportError if torch cannot convert the network.
    """
    import onnx
    import torch

    opset = int(target.options.get("opset", DEFAULT_OPSET))
    newest = max(_IR_OF_OPSET)
    if not OLDEST_OPSET <= opset <= newest:
        raise UsageError(f"--opset {opset}: format onnx writes opsets {OLDEST_OPSET} to {newest}")
    pixels = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)  # an example of 1 would freeze the batch of GRU and ViT
    silence = io.StringIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), redirect_stdout(silence), redirect_stderr(silence):
        warnings.simplefilter("ignore")
        try:
            program = torch.onnx.export(
                deployed,
                (pixels,),
                dynamo=True,
                external_data=False,
                verbose=False,
                opset_version=opset,
                input_names=["pixels"],
                output_names=["logits"],
                dynamic_shapes={"pixels": {0: torch.export.Dim("batch")}},
            )
        except Exception as error:  # the converter raises many kinds, most of them private
            raise ExportError(f"{target.name}: torch.onnx cannot convert {target.architecture}: {one_line(error)}") from error
    if program is None:
        raise ExportError(f"{target.name}: torch.onnx gave no program for {target.architecture}")
    model: onnx.ModelProto = program.model_proto
    written = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if written != opset:
        raise ExportError(f"{target.name}: torch.onnx wrote opset {written} where {opset} was asked for; ask for --opset {written}")
    _strip(model)
    _describe(model, target, opset)
    try:
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:
        raise ExportError(f"{target.name}: the ONNX checker refuses the graph: {one_line(error)}") from error
    target.path.write_bytes(model.SerializeToString(deterministic=True))
    return {"opset": opset, "ir_version": model.ir_version, "oldest_runtime": f"onnxruntime {_ORT_OF_OPSET[opset]}"}


def _strip(model: "onnx.ModelProto") -> None:
    """Remove what names this machine's folders, or the moment: the same weights are to give the same bytes."""
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


def _describe(model: "onnx.ModelProto", target: Target, opset: int) -> None:
    import onnx

    model.ir_version = _IR_OF_OPSET[opset]
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
        },
    )


register(
    Format(
        name="onnx",
        summary="ONNX, for ONNX Runtime and most other engines",
        suffix=".onnx",
        runtime="ort",
        export=export,
        requires=("torch", "onnx", "onnxscript"),
        options=("opset",),
    )
)
