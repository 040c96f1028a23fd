"""The packages that the edge installation leaves out, and the command that installs them."""

from collections.abc import Mapping
from importlib.util import find_spec

from mnist_edge.common.errors import MissingExtraError

#: Import name of each package of the extra ``train``.
TRAIN = ("torch", "torchvision", "onnx", "onnx_ir", "onnxscript", "safetensors", "rich", "matplotlib", "jinja2")

INSTALL_TRAIN = "pip install 'mnist-edge[train]'"


def is_installed(module: str) -> bool:
    """Say whether `module` can be imported, without importing it."""
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):  # ValueError: blocked by ``sys.modules[module] = None``
        return False


def require(purpose: str, *modules: str, install: str = INSTALL_TRAIN) -> None:
    """Raise `MissingExtraError` unless all `modules` can be imported. Nothing is ever installed automatically.

    `purpose`, in the singular, begins the message; `install` is the command that installs the modules.
    """
    missing = {module: install for module in modules if not is_installed(module)}
    if missing:
        raise lacks(purpose, missing)


def lacks(purpose: str, missing: Mapping[str, str]) -> MissingExtraError:
    """Return an error that says what is missing, by name, with the command that installs each; the same command appears once."""
    names = list(missing)
    which = f"{names[0]}, which is" if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}, which are"
    return MissingExtraError(f"{purpose} needs {which} not installed; run: {' && '.join(dict.fromkeys(missing.values()))}")
