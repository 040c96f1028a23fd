"""Runs onnxruntime-web under node: the WebAssembly that a browser runs, without the browser, in a separate process."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnist_edge.common.errors import ModelError
from mnist_edge.common.files import cache_dir

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mnist_edge.common.logits import Run

#: The folder whose ``node_modules`` has onnxruntime-web. Not the working folder, which may hold anybody's code.
FOLDER_VARIABLE = "MNIST_EDGE_ORT_WEB_DIR"

#: The release that the tests passed with. Another installed release is used too, and `version` names it.
_PACKAGE = "onnxruntime-web"
_RELEASE = "1.30.0"

#: Without the packages' install scripts; none is needed.
_INSTALL = "npm install --ignore-scripts --prefix"

_SCRIPT = Path(__file__).with_suffix(".mjs")


def load(path: Path, threads: int = 1) -> Run:
    """Load an ONNX file in a separate process, which ends with the returned object.

    Raises ModelError if onnxruntime-web refuses it or it does not take pixels and give logits, MissingExtraError.
    """
    from mnist_edge.runtimes import contract, usable_threads
    from mnist_edge.runtimes.child import Child

    path = Path(path)
    if not path.is_file():
        raise ModelError(f"{path}: there is no such file")
    node, folder = _found()
    child = Child([node, _SCRIPT, folder, path.resolve(), str(usable_threads(threads))], f"{path}: onnxruntime-web")
    try:
        contract.check(path, *([_port(port) for port in child.about[ports]] for ports in ("inputs", "outputs")))
    except ModelError:
        child.close()
        raise
    turn = threading.Lock()

    def logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        with turn:
            return child(pixels)

    return logits


def version() -> str:
    """Return names and versions, such as ``onnxruntime-web 1.30.0 (node 20.20)``. Raises MissingExtraError, ModelError."""
    node, folder = _found()
    try:
        said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
        package = json.loads((_package(folder) / "package.json").read_text("utf-8"))["version"]
    except (OSError, ValueError, KeyError, subprocess.CalledProcessError) as error:
        raise ModelError(f"onnxruntime-web: its version cannot be determined: {error}") from error
    return f"onnxruntime-web {package} (node {'.'.join(said.strip().removeprefix('v').split('.')[:2])})"


def missing() -> dict[str, str]:
    """Return what is missing on this machine, by name, each with the command that installs it."""
    lacking = {}
    if shutil.which("node") is None:
        lacking["node"] = "apt-get install nodejs"
    folder = _folder()
    if folder is not None and (_package(folder) / "package.json").is_file():
        return lacking
    if shutil.which("npm") is None:  # which comes with node, but not everywhere
        lacking["npm"] = "apt-get install npm"
    if folder is None:
        lacking[_PACKAGE] = f"export {FOLDER_VARIABLE}=/opt/ort-web && {_INSTALL} /opt/ort-web {_PACKAGE}@{_RELEASE}"
    else:
        lacking[_PACKAGE] = f"{_INSTALL} {shlex.quote(str(folder))} {_PACKAGE}@{_RELEASE}"
    return lacking


def _folder() -> Path | None:
    """Return the folder that has, or is to have, ``node_modules``; None if no folder is named and the user has no home folder."""
    if given := os.environ.get(FOLDER_VARIABLE):
        return Path(given).absolute()
    cache = cache_dir()
    return cache and cache / "ort-web"


def _found() -> tuple[str, Path]:
    """Return node and the folder that has ``node_modules``. Raises MissingExtraError."""
    from mnist_edge.common.extras import lacks

    node, folder = shutil.which("node"), _folder()
    if lacking := missing():
        raise lacks("runtime ort-web", lacking)
    assert node and folder
    return node, folder


def _package(folder: Path) -> Path:
    return folder / "node_modules" / _PACKAGE


def _port(told: dict[str, Any]) -> Any:
    from mnist_edge.runtimes.contract import Port

    shape = tuple(size if isinstance(size, int) else None for size in told.get("shape", ()))
    return Port(told["name"], told.get("type", "no tensor"), shape)
