"""ONNX: float32 by `torch.onnx.export`, fp16 and int8 by ONNX Runtime's own tools."""

from exporters.onnx.diagnosis import layer_costs
from exporters.onnx.export import OPSET, export
from exporters.onnx.quantization import CALIBRATION_METHOD, KEEP_FLOAT, to_dynamic_int8, to_fp16, to_static_int8
from exporters.registry import Format, Reduction, register

register(
    Format(
        name="onnx",
        summary="ONNX, for ONNX Runtime and most other engines",
        suffix=".onnx",
        runtime="ort",
        export=export,
        requires=("torch", "onnx", "onnx_ir", "onnxscript"),
        options=(OPSET,),
        reductions={
            "fp16": Reduction(to_fp16, options=(KEEP_FLOAT,), layer_costs=layer_costs),
            "int8-dynamic": Reduction(to_dynamic_int8, options=(KEEP_FLOAT,), layer_costs=layer_costs),
            "int8-static": Reduction(to_static_int8, options=(KEEP_FLOAT, CALIBRATION_METHOD), calibrated=True, layer_costs=layer_costs),
        },
    )
)
