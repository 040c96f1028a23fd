"""A page that reads digits in the browser, made from the model's own ONNX artifact: its C as WebAssembly, in a folder for any static server."""

import exporters.onnx  # noqa: F401, the format that this one is made from
from exporters.registry import Format, Reduction, register
from exporters.web.export import export
from mnist_edge.runtimes import wasm_build

register(
    Format(
        name="web",
        summary="a page to draw digits on, for any static server: HTML and WebAssembly",
        suffix=".web",
        runtime="wasm",
        export=export,
        source="onnx",
        requires=("onnx",),
        missing_tools=wasm_build.missing,
        install_tools=lambda: wasm_build.INSTALL,
        reductions={"int8-static": Reduction(export)},
    )
)
