"""What the tracer and the exporter say about a network reaches the user, with the line of its code."""

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import own
import pytest
import torch

import exporters
from exporters import Target
from mnist_edge import architectures
from mnist_edge.architectures import build
from mnist_edge.architectures.deployed import Deployed
from mnist_edge.common import trust
from mnist_edge.common.errors import ExportError


@pytest.fixture(autouse=True)
def _allowed() -> Iterator[None]:
    with trust.allowing(f"own:{name}" for name, kind in vars(own).items() if isinstance(kind, type)):
        yield


def export(folder: Path, format_name: str, network: str) -> list[str]:
    chosen = exporters.find(format_name)
    deployed = Deployed(build(network), 0.1307, 0.3081).eval().requires_grad_(False)
    target = Target(folder / f"m{chosen.suffix}", "m", network, tuple("0123456789"), "MIT")
    warned: list[str] = chosen.export(deployed, target).get("warnings", [])
    return warned


def place(text: str) -> str:
    line = next(i for i, line in enumerate(Path(own.__file__).read_text().splitlines(), start=1) if text in line)
    return f"own.py:{line}: "


@pytest.mark.parametrize(
    ("format_name", "network", "line", "message"),
    [
        ("torchscript", "Bright", "if x.mean() > 0.5:", "is decided once, while the file is written"),
        ("torchscript", "Three", "if x.shape[0] == 3:", "is decided once, while the file is written"),
        ("onnx", "Three", "if x.shape[0] == 3:", "depends on the batch's size"),
        ("onnx", "UpToHundred", "if x.shape[0] > 100:", "depends on the batch's size"),
        ("onnx", "Assigns", None, "forward sets self.seen; the file does not"),
    ],
)
def test_what_the_file_does_not_do_as_the_network_is_said(
    tmp_path: Path, format_name: str, network: str, line: str | None, message: str
) -> None:
    [warned] = export(tmp_path, format_name, f"own:{network}")
    assert message in warned
    assert "\n" not in warned
    if line is not None:
        assert place(line) in warned
    else:
        assert ".py" not in warned


def test_a_branch_on_values_is_refused_by_onnx_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="your network own:Bright: an if, or a number, depends on the values of the images") as caught:
        export(tmp_path, "onnx", "own:Bright")
    assert place("if x.mean() > 0.5:").rstrip(": ") in str(caught.value)


@pytest.mark.slow
def test_layers_of_pytorchs_own_are_not_blamed_on_who_uses_them(tmp_path: Path) -> None:
    """A GRU sets its weights anew and asks about the batch's size while it is exported."""
    assert export(tmp_path, "onnx", "own:Recurrent") == []


@pytest.mark.parametrize("format_name", ["torchscript", "onnx"])
def test_what_a_network_raises_while_it_is_exported_is_its_own(tmp_path: Path, format_name: str) -> None:
    with pytest.raises(ExportError, match=r"your network own:(Raises: KeyError: 'pixel'|Exits: SystemExit: 0) \(\S*own\.py:\d+\)"):
        export(tmp_path, format_name, "own:Raises" if format_name == "onnx" else "own:Exits")


def test_listening_leaves_warnings_and_logging_as_they_were(tmp_path: Path) -> None:
    logger = logging.getLogger("torch.fx.experimental.symbolic_shapes")
    before = (logger.level, logger.propagate, list(logger.handlers), list(warnings.filters), warnings.showwarning)
    export(tmp_path, "torchscript", "own:Three")
    assert (logger.level, logger.propagate, list(logger.handlers), list(warnings.filters), warnings.showwarning) == before


def exported_by_torch(deployed: Deployed, pixels: torch.Tensor) -> None:
    """The part of torch.onnx.export that says anything about a network."""
    shapes = {"pixels": {0: torch.export.Dim("batch")}}
    torch.export.export(deployed, (pixels,), dynamic_shapes=shapes, strict=False, prefer_deferred_runtime_asserts_over_guards=True)


NETWORKS: list[tuple[str, dict[str, object]]] = [(name, {}) for name in architectures.names()] + [("resnet-tiny", {"use_conv": True})]

#: Traced in a second; the others are proofs.
QUICK = ("lenet", "mlp-256", "gru", "vit-cls")


@pytest.mark.parametrize(
    ("name", "arguments"), [pytest.param(*network, marks=[] if network[0] in QUICK else pytest.mark.proof) for network in NETWORKS]
)
def test_none_of_our_networks_is_traced_with_a_warning(tmp_path: Path, name: str, arguments: dict[str, object]) -> None:
    from exporters.tracing import collected_warnings

    deployed = Deployed(build(name, arguments), 0.1307, 0.3081).eval().requires_grad_(False)
    pixels = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
    with collected_warnings() as traced:
        torch.jit.trace(deployed, (pixels,), check_trace=False)
    with collected_warnings() as exported:
        exported_by_torch(deployed, pixels)
    assert (traced, exported) == ([], [])


def test_that_part_says_the_same_as_the_whole(tmp_path: Path) -> None:
    from exporters.tracing import collected_warnings

    deployed = Deployed(build("own:Three"), 0.1307, 0.3081).eval().requires_grad_(False)
    with collected_warnings() as exported:
        pixels = torch.zeros(2, 1, 28, 28, dtype=torch.uint8)
        exported_by_torch(deployed, pixels)
    assert exported == export(tmp_path, "onnx", "own:Three")
