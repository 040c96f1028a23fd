"""This package's own runtimes. Each is declared here, and lies in a file of its own."""

from mnist_edge.runtimes.runtime import Runtime


def _chip(name: str, summary: str, limits: str = "") -> Runtime:
    limits = f"one image at a time{f'; {limits}' if limits else ''}"
    return Runtime(
        name, summary, (), "mnist_edge.runtimes.chips", ("c",), ("float32", "int8-static"), False, "", limits, (), True, target=name
    )


RUNTIMES = {
    runtime.name: runtime
    for runtime in (
        Runtime(
            "ort",
            "ONNX Runtime, on the CPU; no PyTorch needed",
            ("onnxruntime",),
            "mnist_edge.runtimes.ort",
            ("onnx",),
            install="pip install onnxruntime",
        ),
        Runtime(
            "openvino",
            "OpenVINO, on the CPU, in float32 even where it would choose bfloat16",
            ("openvino",),
            "mnist_edge.runtimes.openvino",
            ("onnx",),
            install="pip install 'mnist-edge[openvino]'",
        ),
        Runtime(
            "tract",
            "tract, in Rust, on the CPU",
            ("tract",),
            "mnist_edge.runtimes.tract",
            ("onnx",),
            ("float32", "int8-dynamic", "int8-static"),
            install="pip install 'mnist-edge[tract]'",
        ),
        Runtime(
            "ort-web",
            "onnxruntime-web under node: WebAssembly, as in a browser",
            (),
            "mnist_edge.runtimes.ort_web",
            ("onnx",),
            install="",
            knows_what_is_missing=True,
        ),
        Runtime(
            "litert",
            "a LiteRT (TensorFlow Lite) file, on the CPU; no PyTorch needed",
            ("ai_edge_litert",),
            "mnist_edge.runtimes.litert",
            ("litert",),
            install="pip install 'mnist-edge[litert]'",
            limits="one image at a time",
        ),
        Runtime(
            "executorch",
            "an ExecuTorch file, on the CPU; its Python package needs PyTorch",
            ("torch", "executorch"),
            "mnist_edge.runtimes.executorch",
            ("executorch",),
            install="pip install 'mnist-edge[executorch]'",
            limits="one image at a time",
        ),
        Runtime(
            "native",
            "a network in C, compiled here; no ONNX Runtime needed",
            (),
            "mnist_edge.runtimes.native",
            ("c",),
            install="",
            knows_what_is_missing=True,
        ),
        Runtime(
            "wasm",
            "WebAssembly in wasmtime: a page's module, or C, compiled here",
            ("wasmtime",),
            "mnist_edge.runtimes.wasm",
            ("web", "c"),
            ("float32", "int8-static"),
            install="pip install 'mnist-edge[c]'",
            limits="one image at a time",
        ),
        _chip("cortex-m0", "a network in C on an emulated micro:bit, without a floating-point unit", "256 KiB of flash, 16 KiB of RAM"),
        _chip("cortex-m3", "a network in C on an emulated Cortex-M3, without a floating-point unit"),
        _chip("cortex-m4", "a network in C on an emulated Cortex-M4, with its DSP instructions"),
        _chip("cortex-m7", "a network in C on an emulated Cortex-M7, with its DSP instructions"),
        _chip("riscv32", "a network in C on an emulated RV32IMAC, without a floating-point unit"),
        _chip("c-aarch64", "a network in C on an emulated 64-bit Arm with Linux"),
        _chip("c-riscv64", "a network in C on an emulated 64-bit RISC-V with Linux"),
        Runtime(
            "torchscript",
            "a TorchScript file in PyTorch",
            ("torch",),
            "mnist_edge.runtimes.torchscript",
            ("torchscript",),
            ("float32",),
        ),
        Runtime(
            "torch",
            "the network itself in PyTorch, from its weights",
            ("torch", "safetensors"),
            "mnist_edge.runtimes.torch",
            from_weights=True,
        ),
    )
}
