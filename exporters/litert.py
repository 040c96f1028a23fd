"""LiteRT, which was TensorFlow Lite: ``.tflite`` for phones, microcontrollers and Python.

PyTorch exports the network here; the converter litert-torch turns that into a ``.tflite`` file, in a separate process. It is kept in a
separate folder, because it asks for an older PyTorch than this package allows, and for language-model tools that a conversion never imports.
`litert_converter.txt` lists what it does import; those packages are installed without dependencies, beside this environment's PyTorch and NumPy.
The file takes one image, because this converter cannot leave the batch open; the runtime runs one image at a time.

There is no int8. The other converter, onnx2tf, makes an int8 file from our ONNX file and exits with code 0, but that file changed 4,580 of
10,000 answers.
"""

import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from exporters.registry import Format, Target, register
from mnist_edge.common.errors import ExportError
from mnist_edge.common.files import cache_dir

if TYPE_CHECKING:
    from mnist_edge.architectures.deployed import Deployed

#: Where the converter is, if not in the user's cache folder.
CONVERTER = "MNIST_EDGE_LITERT_CONVERTER"

_HERE = Path(__file__).parent
_PACKAGES = _HERE / "litert_converter.txt"


def converter() -> Path:
    """Return the folder that the converter's packages are in, or would be."""
    if named := os.environ.get(CONVERTER):
        return Path(named).expanduser().absolute()
    return (cache_dir() or Path(tempfile.gettempdir()) / "mnist-edge") / "litert-converter"


def export(deployed: "Deployed", target: Target) -> dict[str, Any]:
    """Write a ``.tflite`` file that takes one image, uint8 1×1×28×28.

    Returns its versions and any ``warnings``, as for ONNX. Raises ExportError if the network cannot be exported or converted.
    """
    import torch

    from exporters.tracing import exported

    program, warnings = exported(deployed, target)
    with tempfile.TemporaryDirectory() as scratch:
        source, written = Path(scratch) / "network.pt2", Path(scratch) / "network.tflite"
        torch.export.save(program, source)
        _convert(source, written, target)
        target.path.write_bytes(written.read_bytes())
    wanted = _wanted()
    details = {"batch": 1, "converter": f"litert-torch {wanted['litert-torch']}", "torch": torch.__version__.split("+")[0]}
    return details | {"oldest_runtime": f"ai-edge-litert {wanted['ai-edge-litert']} (the one that its converter is for)"} | warnings


def _convert(source: Path, written: Path, target: Target) -> None:
    """Convert one file to the other, with the converter's folder first on the module path."""
    inherited = os.environ.get("PYTHONPATH")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(converter()), inherited])),
        "JAX_PLATFORMS": "cpu",  # else it would search for a GPU, to no purpose
    }
    command = [sys.executable, "-P", str(_HERE / "litert_convert.py"), str(source), str(written)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode or not written.is_file():
        said = [line for line in done.stderr.splitlines() if line.strip()]
        why = f"{said[-1].strip()[:300]}" if said else f"it ended with code {done.returncode} and said nothing"
        raise ExportError(f"{target.name}: litert-torch cannot convert {target.architecture}: {why}")


def _wanted() -> dict[str, str]:
    """Return the converter's packages, each with its release."""
    lines = (line.partition("#")[0].strip() for line in _PACKAGES.read_text("utf-8").splitlines())
    return dict(line.split("==") for line in lines if line)


def _missing() -> tuple[str, ...]:
    """Return the converter's name unless its folder holds all of its packages in the tested releases: an installation may be incomplete."""
    from importlib.metadata import distributions

    found = {distribution.name: distribution.version for distribution in distributions(path=[str(converter())])}
    return () if _wanted().items() <= found.items() else (f"its converter litert-torch {_wanted()['litert-torch']}",)


def _install() -> str:
    return "python -m pip install --upgrade --no-deps --target " + shlex.join([str(converter()), "-r", str(_PACKAGES)])


register(
    Format(
        name="litert",
        summary="LiteRT (TensorFlow Lite), for Android and small devices",
        suffix=".tflite",
        runtime="litert",
        export=export,
        missing_tools=_missing,
        install_tools=_install,
    )
)
