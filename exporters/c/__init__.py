"""C99 for microcontrollers and everything else, made from the model's own ONNX artifact."""

import exporters.onnx  # noqa: F401, the format that this one is made from
from exporters.c.export import export
from exporters.registry import Format, Reduction, register

register(
    Format(
        name="c",
        summary="C99 without any library, for microcontrollers and everything else",
        suffix=".c",
        runtime="native",
        export=export,
        source="onnx",
        requires=("onnx",),
        reductions={"int8-static": Reduction(export)},
    )
)
