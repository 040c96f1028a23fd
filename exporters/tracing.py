"""Puts into plain words what PyTorch's tracer and exporter say about a network, with the line of its code.

A warning about a network means that the file may not answer as the network does. PyTorch's messages about itself are left out.
"""

import logging
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import torch
from torch.jit._trace import TracerWarning

from exporters.registry import Target
from mnist_edge.architectures.own import called, place, place_now, raised
from mnist_edge.common.errors import ExportError

if TYPE_CHECKING:
    from mnist_edge.architectures.deployed import Deployed

#: The tracer's words for each problem, and what they mean.
_MEANINGS = {
    "Python boolean": "an if (or an assert) on a value is decided once, while the file is written",
    "Python integer": "a number taken from a tensor, such as int(x.shape[0]), is written into the file as it was for the example",
    "Python number": "a number taken from a tensor is written into the file as it was for the example",
    "Python float": "a number taken from a tensor is written into the file as it was for the example",
    "Python index": "a number taken from a tensor is written into the file as it was for the example",
    "NumPy array": "what numpy computes is written into the file as it was for the example",
    "Using len": "len(x) is written into the file as it was for the example; x.shape[0] is not",
    "Iterating over a tensor": "a loop over a tensor is written into the file with as many steps as the example had",
    "registered as constants": "a tensor made in forward is written into the file as a constant; make it in __init__ with self.register_buffer(…)",
    "assigned during export": "forward sets {names}; the file does not, and keeps the old value",
    "not properly registered as a parameter": "a trainable tensor is not an nn.Parameter; the file keeps it as a constant",
}

_DEPENDS_ON_THE_BATCH = (
    "something depends on the batch's size, and the file has it as it was for the example, a batch of 2; "
    "write it without an if on x.shape[0], len(x) and int(x.shape[0])"
)

#: The place that asked for a condition: ``(folder/mine.py:12 in forward)``.
_PLACE = re.compile(r"\(([^():]+):(\d+) in [^()]*\)")

#: Loggers and words that torch.export uses when a graph holds only for some batch sizes.
_GUARDS, _GUARD, _SUPPRESSED = "torch.fx.experimental.symbolic_shapes", "[guard added]", "[guard suppressed]"


@contextmanager
def collected_warnings() -> Iterator[list[str]]:
    """Give a list. While the block runs, it fills with one line for each message about the network. Nothing is printed."""
    found: list[str] = []
    listener = _GuardListener(found)
    logger = logging.getLogger(_GUARDS)
    level, propagate, others = logger.level, logger.propagate, logger.handlers[:]
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        TracerWarning.ignore_lib_warnings()  # about PyTorch's own layers, which PyTorch vouches for

        def hear(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
            if _is_about_the_network(str(message), category) and (line := _in_plain_words(str(message))):
                _add(found, line)

        warnings.showwarning = hear
        logger.handlers = [listener]
        logger.setLevel(logging.INFO)
        logger.propagate = False
        try:
            yield found
        finally:
            logger.handlers = others
            logger.setLevel(level)
            logger.propagate = propagate


def exported(deployed: "Deployed", target: Target) -> tuple[torch.export.ExportedProgram, dict[str, list[str]]]:
    """Export a network for one image, uint8 1×1×28×28, and return it with the entry ``warnings`` for its details, if there are any.

    Raises ExportError if torch.export cannot follow the network.
    """
    pixels = torch.zeros(1, 1, 28, 28, dtype=torch.uint8)
    with collected_warnings() as about_the_network:
        try:
            program = torch.export.export(deployed, (pixels,))
        except (Exception, SystemExit) as error:  # the network runs here, and may raise anything
            raise ExportError(f"{target.name}: torch.export cannot export {why_not(target.architecture, error)}") from error
    return program, {"warnings": about_the_network} if about_the_network else {}


def why_not(architecture: str, error: BaseException) -> str:
    """Say what stopped an export, with the line of the user's code: the innermost exception in torch's chain."""
    while (cause := error.__cause__ or error.__context__) is not None:
        error = cause
    if "data-dependent" not in str(error):
        return raised(architecture, error)
    where = place(error.__traceback__)
    return f"{called(architecture)}: an if, or a number, depends on the values of the images" + (f" ({where})" if where else "")


def _is_about_the_network(message: str, category: type[Warning]) -> bool:
    """Say whether a warning counts: all from the tracer do; from the exporter, only UserWarnings known to be about the network."""
    return issubclass(category, TracerWarning) or any(words in message for words in _MEANINGS)


def _in_plain_words(message: str) -> str | None:
    """Return what a warning means; None if it is only about PyTorch's own layers: the recurrent ones set `_flat_weights`."""
    named = re.findall(r"self\.(?:network\.)?([\w.]+)", message)
    theirs = [f"self.{name}" for name in named if not name.endswith("._flat_weights")]
    if named and not theirs:
        return None
    names = ", ".join(theirs) or "an attribute"
    return next((meaning.format(names=names) for words, meaning in _MEANINGS.items() if words in message), " ".join(message.split())[:200])


def _add(found: list[str], what: str) -> None:
    where = place_now()
    line = f"{where}: {what}" if where else what
    if line not in found:
        found.append(line)


class _GuardListener(logging.Handler):
    """Collects the conditions on the batch's size that torch.export assumes from now on."""

    def __init__(self, found: list[str]) -> None:
        super().__init__(logging.INFO)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        where = _PLACE.findall(text)
        if _GUARD not in text or _SUPPRESSED in text or not text.startswith("eval") or not where:
            return
        file, line = where[-1]
        if (place_now() or "").endswith(f"{PurePath(file).name}:{line}"):  # or a layer of PyTorch's own asked
            _add(self._found, _DEPENDS_ON_THE_BATCH)
