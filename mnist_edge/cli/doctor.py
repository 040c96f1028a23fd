"""``mnist-edge doctor``."""

import os
import platform
from pathlib import Path
from typing import Any

from mnist_edge.cli.common import Output, subcommand, table, version_of
from mnist_edge.cli.group import EXIT_FAILED
from mnist_edge.common.text import count


@subcommand("doctor", "doctor", "doctor --json")
def command(models_dir: Path | None, data_dir: Path | None, out: Output) -> int:
    """Show what is installed, which devices, data and models are here, what is missing, and the command that fixes it.

    Exit code 1 if something that the edge side needs is missing.
    """
    from mnist_edge import dataset as datasets
    from mnist_edge import store
    from mnist_edge.common import extras
    from mnist_edge.common.errors import DataError
    from mnist_edge.common.version import __version__
    from mnist_edge.dataset.sources import WAYS_ON, find_mnist

    rows: list[tuple[str, str, str]] = [("mnist-edge", __version__, ""), ("python", platform.python_version(), "")]
    broken = False
    for package in ("numpy", "pillow", "onnxruntime", "click"):
        found = version_of(package)
        broken |= found is None
        rows.append((package, found or "missing", "" if found else "pip install mnist-edge"))
    for package in extras.TRAIN:
        found = version_of(package)
        rows.append((package, found or "not installed", "" if found else f"to train and export: {extras.INSTALL_TRAIN}"))
    rows.append(("devices", *_devices()))
    mnist = find_mnist(data_dir)
    if mnist.raw_dir is None:
        rows.append(("MNIST", "not here", f"{mnist.where()}; {WAYS_ON}"))
    else:
        try:
            for split in ("train", "test"):
                datasets.load("mnist", split, data_dir)
            rows.append(("MNIST", str(mnist.raw_dir), ""))
        except DataError as error:
            rows.append(("MNIST", f"damaged or incomplete in {mnist.raw_dir}", str(error)))
    folder = store.models_dir(models_dir)
    models, problems = store.list_models(folder)
    rows.append(("models folder", f"{folder}: {count(len(models), 'model')}", "; ".join(map(str, problems))))
    place = folder if folder.exists() else folder.absolute().parent
    if not os.access(place, os.W_OK):
        rows.append(("", "not writable", "--models-dir names another"))
    try:
        chosen = store.find(None, folder)
        rows.append(("default model", f"{chosen.name} ({chosen.chosen})", ""))
    except Exception as error:  # the doctor reports any fault instead of failing on it
        broken = True
        rows.append(("default model", "none", str(error)))
    document: dict[str, Any] = {what: {"state": state, "mend": mend} for what, state, mend in rows}
    out.result(document | {"ok": not broken}, table(rows, ["what", "state", "to fix it"]))
    return EXIT_FAILED if broken else 0


def _devices() -> tuple[str, str]:
    from mnist_edge.common.extras import is_installed

    if not is_installed("torch"):
        return "cpu", ""
    try:
        import torch
    except Exception as error:  # torch beside libraries that do not fit it fails in many ways
        return "cpu", f"torch does not load: {' '.join(str(error).split())[:200]}"
    available = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    devices = [device for device, is_here in available.items() if is_here]
    try:
        import torchvision  # noqa: F401
    except Exception as error:
        return ", ".join(
            devices
        ), f"torchvision does not load beside torch {torch.__version__}: {' '.join(str(error).split())[:120]}; reinstall both"
    return ", ".join(devices), ""
