"""TorchScript, traced and frozen."""

import io
import json
import re
import zipfile
from typing import TYPE_CHECKING, Any

from exporters.registry import Format, Target, register
from mnist_edge.common.errors import ExportError
from mnist_edge.common.version import __version__

if TYPE_CHECKING:
    from mnist_edge.architectures.deployed import Deployed


_MANGLED = re.compile(rb"___torch_mangle_(\d+)")


def export(deployed: "Deployed", target: Target) -> dict[str, Any]:
    """Write a TorchScript archive that takes any batch. Its extra file ``mnist_edge.json`` says what it is.

    Returns its versions and, if there are any, ``warnings``: a line for each thing in the network that the file may not do as the network does.
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
    buffer = io.BytesIO()  # a file's name would become the archive's inner name
    with collected_warnings() as about_the_network:  # and not that it is deprecated in 2.x: it is still complete
        try:
            # the tracer's own check compares bit for bit and stumbles over float noise; the gate checks instead
            traced = torch.jit.trace(deployed, (pixels,), check_trace=False)
            torch.jit.save(torch.jit.freeze(traced), buffer, _extra_files={"mnist_edge.json": json.dumps(about, sort_keys=True).encode()})
        except (Exception, SystemExit) as error:  # the tracer runs the network, which may raise anything
            raise ExportError(f"{target.name}: TorchScript cannot trace {raised(target.architecture, error)}") from error
    target.path.write_bytes(_canonical(buffer.getvalue()))
    details = {"torch": torch.__version__.split("+")[0], "oldest_runtime": f"torch {_release(torch.__version__)} (the one that wrote it)"}
    return details | ({"warnings": about_the_network} if about_the_network else {})


def _canonical(archive: bytes) -> bytes:
    """Return the archive without what differs from one checkout, or one process, to another and runs nowhere.

    That is the debug members, which hold this machine's paths; the id, which is a hash over them too; and the numbers in
    ``___torch_mangle_7``, which count the classes that this process has met: they are numbered anew. Names of classes end
    at a line's end in the pickles, so that another length does no harm.
    """
    numbers: dict[bytes, bytes] = {}

    def renumber(match: re.Match[bytes]) -> bytes:
        return b"___torch_mangle_" + numbers.setdefault(match.group(1), str(len(numbers)).encode())

    kept = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as source, zipfile.ZipFile(kept, "w", zipfile.ZIP_STORED) as target:
        for member in source.infolist():
            if member.filename.endswith((".debug_pkl", "/.data/serialization_id")):
                continue
            name, content = member.filename.encode(), source.read(member)
            if name.endswith((b".py", b".pkl")):
                content = _MANGLED.sub(renumber, content)
            entry = zipfile.ZipInfo(_MANGLED.sub(renumber, name).decode())  # dated 1980, whatever the clock says
            target.writestr(entry, content)
    return kept.getvalue()


def _release(version: str) -> str:
    match = re.match(r"\d+\.\d+", version)
    return match.group() if match else version


register(
    Format(
        name="torchscript",
        summary="TorchScript, for PyTorch in Python and C++",
        suffix=".torchscript.pt",
        runtime="torchscript",
        export=export,
    )
)
