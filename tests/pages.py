"""Pages of the reference LeNet for tests, written without the gate, and the page's module under node."""

import json
import shutil
import struct
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from once import lacking
from PIL import Image

from exporters.registry import Target
from exporters.web.export import export
from mnist_edge import store
from mnist_edge.image import INKS
from mnist_edge.proof.golden import Golden

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "exporters" / "web" / "page"
LENET = store.Model.read(ROOT / "models" / "lenet")
SOURCES = {"int8-static": "lenet.int8-static.onnx", "float32": "lenet.onnx"}


def write(folder: Path, precision: str = "int8-static") -> Path:
    """Write the page of LeNet into a new folder."""
    manifest = LENET.manifest
    about = (manifest.name, manifest.architecture, manifest.classes, manifest.licence)
    target = Target(folder, *about, precision, golden=Golden.read(LENET.path(manifest.golden)))
    export(LENET.folder / SOURCES[precision], target)
    return folder


def node() -> str:
    found = shutil.which("node")
    if found is None:
        lacking("node is not on this machine")
    return found


def as_module(folder: Path) -> Path:
    """Copy the page's script under a name that node takes for a module."""
    return Path(shutil.copyfile(PAGE / "page.js", folder / "page.mjs"))


def run(script: Path, *arguments: str | Path) -> str:
    done = subprocess.run([node(), script, *arguments], capture_output=True, text=True, check=False, timeout=600)
    assert done.returncode == 0, done.stderr
    return done.stdout


def prepared(pictures: Sequence[tuple[Image.Image, str]], scratch: Path) -> list[dict[str, Any]]:
    """Return what the page's `prepare` makes of pictures, each with its ink, in the form that prepare.mjs prints."""
    with (scratch / "pictures").open("wb") as file:
        for image, ink in pictures:
            rgba = image.convert("RGBA")
            file.write(struct.pack("<3I", *rgba.size, INKS.index(ink)) + rgba.tobytes())
    lines = run(Path(__file__).parent / "web" / "prepare.mjs", as_module(scratch), scratch / "pictures").splitlines()
    assert len(lines) == len(pictures)
    return [json.loads(line) for line in lines]
