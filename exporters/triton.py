"""A model repository for NVIDIA's Triton Inference Server: the model's own ONNX artifact, byte for byte, and what Triton is told about it."""

from __future__ import annotations

import shutil
from pathlib import Path
from string import Template
from typing import Any

from exporters.onnx.graph import details_of
from exporters.registry import Format, Reduction, Target, register

#: The largest batch that Triton makes of waiting requests, or takes as one. The file itself takes any number.
MAX_BATCH = 64

#: How many requests may wait; Triton refuses more, as 503. By its own default, any number may.
MAX_WAITING = 1024

_CONFIG = Template("""\
# $name: pixels, uint8 N×1×28×28, ink bright on a dark ground → logits, float32 N×$classes.
name: "$name"
backend: "onnxruntime"
max_batch_size: $max_batch
input [ { name: "pixels" data_type: TYPE_UINT8 dims: [ 1, 28, 28 ] } ]
output [ { name: "logits" data_type: TYPE_FP32 dims: [ $classes ] label_filename: "labels.txt" } ]

# The proof was made on a processor, so the model runs on one. One instance with one thread answers as the proof did; raise count for more cores.
instance_group [ { kind: KIND_CPU count: 1 } ]
parameters { key: "intra_op_thread_count" value: { string_value: "1" } }
parameters { key: "inter_op_thread_count" value: { string_value: "1" } }

# Requests that are waiting are answered together; no request waits for others to come.
dynamic_batching {
  max_queue_delay_microseconds: 0
  default_queue_policy { max_queue_size: $max_waiting }
}

# Ready only after it has answered once.
model_warmup [ {
  name: "a black image"
  batch_size: 1
  inputs { key: "pixels" value: { data_type: TYPE_UINT8 dims: [ 1, 28, 28 ] zero_data: true } }
} ]
""")


def export(source: Path, target: Target) -> dict[str, Any]:
    """Write a model repository from an ONNX file in any precision: ``NAME/config.pbtxt``, ``NAME/labels.txt``, ``NAME/1/model.onnx``.

    NAME is the model's, with the precision behind it where that is lower, so that several repositories can be served together.

    Returns ``model``, which is NAME, and what the ONNX format records about a graph. Raises OSError.
    """
    import onnx

    name = target.name if target.precision == "float32" else f"{target.name}-{target.precision}"
    folder = target.path / name
    (folder / "1").mkdir(parents=True)
    shutil.copyfile(source, folder / "1" / "model.onnx")
    words = {"name": _quoted(name), "classes": len(target.classes), "max_batch": MAX_BATCH, "max_waiting": MAX_WAITING}
    (folder / "config.pbtxt").write_text(_CONFIG.substitute(words), "utf-8", newline="\n")
    (folder / "labels.txt").write_text("".join(f"{label}\n" for label in target.classes), "utf-8", newline="\n")
    return {"model": name} | details_of(onnx.load(source))


def _quoted(name: str) -> str:
    """Return a name as it stands between the quotes of a protobuf's text. It is printable, but may hold quotes."""
    return name.replace("\\", "\\\\").replace('"', '\\"')


register(
    Format(
        name="triton",
        summary="a model repository for Triton Inference Server",
        suffix=".triton",
        runtime="ort",
        export=export,
        source="onnx",
        requires=("onnx",),
        reductions={precision: Reduction(export) for precision in ("fp16", "int8-dynamic", "int8-static")},
    )
)
