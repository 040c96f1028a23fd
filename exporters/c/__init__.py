"""C99 for microcontrollers and everything else, made from the model's own ONNX artifact."""

from collections.abc import Mapping
from typing import Any

import exporters.onnx  # noqa: F401, the format that this one is made from
from exporters.c.export import export
from exporters.registry import Format, Reduction, register
from mnist_edge.common.options import Option
from mnist_edge.runtimes import RUNTIMES

#: Runtimes that emulate a chip, by the names that ``--target`` takes.
_CHIPS = {"microbit": "cortex-m0"} | {name: name for name, one in RUNTIMES.items() if one.module == "mnist_edge.runtimes.chips"}

#: The chip that is asked if no other is named, where its emulator is there.
_USUAL = "cortex-m4"

#: Multiplications for one image up to which it is: 10,000 images then take about a minute.
_QUICK = 1_000_000

#: What ``--target`` takes instead of a chip.
_NONE = "none"

TARGET = Option(
    "target",
    f"Also prove it on this emulated chip before it is published; may be repeated. {_NONE}: on no chip. "
    f"Left out: {_USUAL}, if its emulator is there and the network is small.",
    choices=(*_CHIPS, _NONE),
    multiple=True,
    metavar="CHIP",
)


def _chips(options: Mapping[str, Any], details: Mapping[str, Any]) -> tuple[str, ...]:
    if named := options.get(TARGET.name):
        return tuple(dict.fromkeys(_CHIPS[name] for name in named if name != _NONE))
    return (_USUAL,) if 0 < details.get("macs", 0) <= _QUICK and not RUNTIMES[_USUAL].missing() else ()


register(
    Format(
        name="c",
        summary="C99 without any library, for microcontrollers and everything else",
        suffix=".c",
        runtime="native",
        export=export,
        source="onnx",
        further=_chips,
        requires=("onnx",),
        options=(TARGET,),
        reductions={"int8-static": Reduction(export)},
    )
)
