"""float32, by `torch.onnx.export` with dynamo."""

import io
import logging
from contextlib import redirect_stderr, redirect_stdout
from typing import TYPE_CHECKING, Any

from exporters.onnx.graph import ORT_OF_OPSET, details_of, finish, name_nodes, opset_of
from exporters.registry import Target
from mnist_edge.common.errors import ExportError, UsageError
from mnist_edge.common.options import Option

if TYPE_CHECKING:
    from mnist_edge.architectures.deployed import Deployed

DEFAULT_OPSET = 20

#: torch's converter writes 18, even if it is asked for a lower number.
OLDEST_OPSET = 18

OPSET = Option("opset", f"ONNX operator set to write, {OLDEST_OPSET} or higher.", type=int, default=str(DEFAULT_OPSET))


def export(deployed: "Deployed", target: Target) -> dict[str, Any]:
    """Write one self-contained file with a symbolic batch. Nothing in it identifies this machine.

    Returns ``opset``, ``ir_version``, ``oldest_runtime`` and any ``warnings``, one line for each thing that the file may not do as
    the network does. Raises UsageError for an opset that cannot be written, ExportError if torch cannot convert the network.
    """
    import onnx
    import torch

    from exporters.tracing import collected_warnings, why_not

    opset = int(target.options.get(OPSET.name, DEFAULT_OPSET))
    newest = max(ORT_OF_OPSET)
    if not OLDEST_OPSET <= opset <= newest:
        raise UsageError(f"--opset {opset}: format onnx writes opsets {OLDEST_OPSET} to {newest}")
    pixels = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)  # an example of 1 would freeze the batch of GRU and ViT
    silence = io.StringIO()
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with collected_warnings() as about_the_network, redirect_stdout(silence), redirect_stderr(silence):
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
        except (Exception, SystemExit) as error:  # the converter raises many kinds, most of them private
            raise ExportError(f"{target.name}: torch.onnx cannot convert {why_not(target.architecture, error)}") from error
    if program is None:
        raise ExportError(f"{target.name}: torch.onnx returned no program for {target.architecture}")
    model: onnx.ModelProto = program.model_proto
    written = opset_of(model)
    if written != opset:
        raise ExportError(f"{target.name}: torch.onnx wrote opset {written} although {opset} was asked for; ask for --opset {written}")
    name_nodes(model)
    target.path.write_bytes(finish(model, target))
    return details_of(model) | ({"warnings": about_the_network} if about_the_network else {})
