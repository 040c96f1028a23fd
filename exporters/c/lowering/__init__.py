"""From an ONNX graph to steps: each operator has one function here, which fuses what follows it where a kernel can do both.

Where a quantized network has DequantizeLinear, an operator with weights, QuantizeLinear, one kernel computes with the integers, as onnxruntime
does. Whatever has no such kernel is computed in float, between the dequantizing and quantizing steps that stand in the file.
"""

from exporters.c.graph import Graph
from exporters.c.lowering import dense, moving, pointwise, quantizing, recurrent, rows, windows  # noqa: F401, each adds its operators
from exporters.c.lowering.state import LOWERED, Lowering
from exporters.c.steps import Network
from mnist_edge.common.errors import ExportError


def lower(graph: Graph) -> Network:
    """Return the steps of a graph. Raises ExportError, which names an operator, for what no kernel can do."""
    lowering = Lowering(graph)
    for node in graph.nodes:
        if node.name in lowering.done:
            continue
        function = LOWERED.get(node.op)
        if function is None:
            raise ExportError(f"format c has no kernel for operator {node.op} (node {node.name}); it has: {', '.join(sorted(LOWERED))}")
        if any(name == graph.output or name in lowering.consumers for name in node.outputs[1:]):
            raise ExportError(f"format c has no kernel for {node.op} with a second output (node {node.name})")
        function(lowering, node)
    return lowering.network()
