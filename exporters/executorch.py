"""ExecuTorch, PyTorch's own runtime for the edge: ``.pte``, with XNNPACK for whatever it can compute and portable kernels for the rest.

The file takes one image. With a symbolic batch, ExecuTorch gives no warning but writes a file that refuses more images than it has planned
memory for (15 of 256 for LeNet) or that is frozen at the example's number (the GRU). So the batch is fixed at 1, and the runtime runs one
image at a time.
"""

import logging
from typing import TYPE_CHECKING, Any

from exporters.registry import Format, Target, register
from mnist_edge.common.errors import ExportError

if TYPE_CHECKING:
    from mnist_edge.architectures.deployed import Deployed


def export(deployed: "Deployed", target: Target) -> dict[str, Any]:
    """Write a ``.pte`` file that takes one image, uint8 1×1×28×28.

    Returns its versions and any ``warnings``, as for ONNX. Raises ExportError if the network cannot be exported or lowered.
    """
    from importlib.metadata import version

    import torch

    from exporters.tracing import collected_warnings, exported
    from mnist_edge.architectures.own import raised
    from mnist_edge.runtimes.quiet import quiet

    program, warnings = exported(deployed, target)
    logging.getLogger("torch.utils._pytree").setLevel(logging.ERROR)  # a warning about a class in torchao
    with quiet():  # its import prints about the processor
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower
    with collected_warnings():  # the warnings from here on are about its own passes
        try:
            lowered = to_edge_transform_and_lower(program, partitioner=[XnnpackPartitioner()]).to_executorch()
        except (Exception, SystemExit) as error:  # it raises many kinds, most of them private
            raise ExportError(f"{target.name}: ExecuTorch cannot lower {raised(target.architecture, error)}") from error
    target.path.write_bytes(lowered.buffer)
    release = version("executorch")
    oldest = f"executorch {release} (the one that wrote it)"
    return {"batch": 1, "executorch": release, "torch": torch.__version__.split("+")[0], "oldest_runtime": oldest} | warnings


register(
    Format(
        name="executorch",
        summary="ExecuTorch, for PyTorch's own runtime on phones and small devices",
        suffix=".pte",
        runtime="executorch",
        export=export,
        requires=("torch", "executorch"),
        install="pip install 'mnist-edge[train,executorch]'",
    )
)
