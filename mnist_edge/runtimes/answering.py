"""Answers batches with onnxruntime as a child process, on another machine. `child` describes the protocol.

Run as a file, by a Python that has numpy and onnxruntime and nothing of this package::

    python answering.py FILE.onnx THREADS [FOLDER WITH PACKAGES]
"""

import json
import os
import struct
import sys
from importlib.util import module_from_spec, spec_from_file_location
from typing import IO, Any

#: In the place of a number of rows: a message follows.
_MESSAGE = 0xFFFFFFFF


def _platform() -> dict[str, Any]:
    """Return this machine's platform by the file beside this one, without its package."""
    spec = spec_from_file_location("platforms", os.path.join(os.path.dirname(os.path.abspath(__file__)), "platforms.py"))  # noqa: PTH100, PTH118, PTH120
    assert spec is not None and spec.loader is not None
    platforms = module_from_spec(spec)
    sys.dont_write_bytecode = True  # bytecode for another Python would land in this folder
    spec.loader.exec_module(platforms)
    fields: dict[str, Any] = platforms.here().to_json()
    return fields


def _load(path: str, threads: int) -> tuple[Any, dict[str, Any]]:
    """Return a session, and what the parent needs to know first."""
    import onnxruntime as ort

    ort.set_default_logger_severity(4)
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    about = {
        "version": ort.__version__,
        "platform": _platform(),
        "inputs": [[i.name, i.type, i.shape] for i in session.get_inputs()],
        "outputs": [[o.name, o.type, o.shape] for o in session.get_outputs()],
    }
    return session, about


def _answer(session: Any, source: IO[bytes], target: IO[bytes]) -> None:
    """Answer batches until the parent ends."""
    import numpy as np

    while len(header := source.read(4)) == 4:
        (count,) = struct.unpack("<I", header)
        pixels = np.frombuffer(source.read(count * 784), np.uint8).reshape(count, 1, 28, 28)
        try:
            logits = session.run(["logits"], {"pixels": pixels})[0].astype("<f4", copy=False)
        except Exception as error:  # onnxruntime's exceptions share no base class
            message = _one_line(error).encode()
            target.write(struct.pack("<II", _MESSAGE, len(message)) + message)
        else:
            target.write(struct.pack("<II", *logits.shape) + logits.tobytes())
        target.flush()


def _one_line(error: Exception) -> str:
    return " ".join((str(error) or type(error).__name__).split())[:300]


def _main(path: str, threads: str, *packages: str) -> None:
    sys.path[:0] = packages
    target = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    try:
        session, about = _load(path, int(threads))
    except Exception as error:  # as above; numpy or onnxruntime may also be missing
        target.write(json.dumps({"error": _one_line(error)}).encode() + b"\n")
        target.flush()
        return
    target.write(json.dumps(about).encode() + b"\n")
    target.flush()
    _answer(session, sys.stdin.buffer, target)


if __name__ == "__main__":
    _main(*sys.argv[1:])
