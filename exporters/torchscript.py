"""TorchScript, traced and frozen."""

import io
import json
import zipfile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from exporters.registry import Format, Target, register
from mnist_edge.common.errors import ExportError
from mnist_edge.common.version import __version__

if TYPE_CHECKING:
    from mnist_edge.architectures.deployed import Deployed


#: PyTorch puts this after the module's name in a class name if the process has already met another class of that name.
_MANGLED = "___torch_mangle_"


def export(deployed: "Deployed", target: Target) -> dict[str, Any]:
    """Write a TorchScript archive that takes any batch. Its extra file ``mnist_edge.json`` says what it is.

    Returns its versions and any ``warnings``, one line for each thing that the file may not do as the network does.
    Raises ExportError if the network cannot be traced.
    """
    import torch

    from exporters.tracing import collected_warnings
    from mnist_edge.architectures.own import raised

    pixels = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)  # an example of 1 would freeze the batch of some networks
    about = {
        "architecture": target.architecture,
        "classes": list(target.classes),
        "licence": target.licence,
        "name": target.name,
        "producer": f"mnist-edge {__version__}",
    }
    buffer = io.BytesIO()  # else the file's name would become the archive's inner name
    with collected_warnings() as about_the_network:  # leave out the warning that it is deprecated in 2.x: it still works in full
        try:
            # the tracer's own check compares bit for bit and fails on rounding noise; the gate checks instead
            traced = torch.jit.trace(deployed, (pixels,), check_trace=False)
            torch.jit.save(torch.jit.freeze(traced), buffer, _extra_files={"mnist_edge.json": json.dumps(about, sort_keys=True).encode()})
        except (Exception, SystemExit) as error:  # the tracer runs the network, which may raise anything
            raise ExportError(f"{target.name}: TorchScript cannot trace {raised(target.architecture, error)}") from error
    target.path.write_bytes(_canonical(buffer.getvalue()))
    version = torch.__version__.split("+")[0]
    release = ".".join(version.split(".")[:2])
    details = {"torch": version, "oldest_runtime": f"torch {release} (the one that wrote it)"}
    return details | ({"warnings": about_the_network} if about_the_network else {})


def _canonical(archive: bytes) -> bytes:
    """Return the archive without the parts that differ between checkouts or processes and that no runtime needs.

    These are the debug members, which hold this machine's paths; the id, which is a hash that covers them; and the number in
    ``___torch_mangle_7``, which counts the classes that this process has met. Freezing leaves one class, so there is one such name.
    It is at the end of a line in the pickle, so its length may change.
    """
    with zipfile.ZipFile(io.BytesIO(archive)) as source:
        members = {name: source.read(name) for name in source.namelist() if not name.endswith((".debug_pkl", "/.data/serialization_id"))}
    classes = [PurePosixPath(name).stem for name in members if name.endswith(".py")]
    if len(classes) == 1 and classes[0].startswith(_MANGLED):
        members = dict(_renamed(name, content, classes[0], f"{_MANGLED}0") for name, content in members.items())
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w", zipfile.ZIP_STORED) as target:
        for name, content in members.items():
            target.writestr(zipfile.ZipInfo(name), content)  # always dated 1980, whatever the clock says
    return kept.getvalue()


def _renamed(member: str, content: bytes, old: str, new: str) -> tuple[str, bytes]:
    """Rename a class in a member of the archive. Constants contain no names and stay as they are."""
    if not member.endswith((".py", ".pkl")):
        return member, content
    return member.replace(old, new), content.replace(old.encode(), new.encode())


register(
    Format(
        name="torchscript",
        summary="TorchScript, for PyTorch in Python and C++",
        suffix=".torchscript.pt",
        runtime="torchscript",
        export=export,
    )
)
