"""The C files of a network, as text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from exporters.c.memory import Plan
from exporters.c.steps import SIZES, Argument, Array, Network, Scratch, Value, float_text, float_texts

_KERNELS = Path(__file__).parent / "kernels"

#: The width of the files' lines.
_WIDTH = 140


def header(name: str, network: Network, plan: Plan, constants: int) -> str:
    """Return the .h file, with the memory plan as a table."""
    macro = name.upper()
    classes = network.logits.elements
    macs = sum(step.macs for step in network.steps)
    return f"""/* Made by mnist-edge. Pixels in, logits out; README.md says how to use it. */
#ifndef {macro}_H
#define {macro}_H

#include <stdint.h>

#define {macro}_WORKSPACE_BYTES {plan.bytes} /* RAM that the caller lends, aligned to 4 bytes; the stack comes on top */
#define {macro}_CONSTANT_BYTES {constants} /* flash that the weights take; the code comes on top */
#define {macro}_MACS {macs} /* multiplications with addition for one image */
#define {macro}_CLASSES {classes}

#ifdef __cplusplus
extern "C" {{
#endif

/* pixels: 28 rows of 28, 0 to 255, bright ink on a dark ground. workspace: {macro}_WORKSPACE_BYTES bytes; what it holds does not matter
   before, and is of no use afterwards. Nothing else is written to, so calls with workspaces of their own may run at the same time. */
void {name}_logits(const uint8_t pixels[784], float logits[{macro}_CLASSES], void *workspace);

/* The most likely class, 0 to {classes - 1}. */
int {name}_predict(const uint8_t pixels[784], void *workspace);

/* In {name}_self_test.c: 0 if the network answers here as it has to; else the number of the first image that it answers otherwise, from 1. */
int {name}_self_test(void *workspace);

#ifdef __cplusplus
}}
#endif
#endif
"""


def self_test(name: str, pixels: NDArray[np.uint8], logits: NDArray[np.float32], tolerance: float) -> str:
    """Return the self-test: `pixels`, uint8 N×784, with `logits`, float32 N×classes, and how far an answer may be from them."""
    images, classes = logits.shape
    arrays = [Array("golden_pixels", "uint8_t", pixels), Array("golden_logits", "float", logits)]
    body = "\n".join(_array(one) for one in arrays)
    rule = "bit for bit" if tolerance == 0 else f"within {tolerance:.3g}"
    return f"""/* {images} images with the logits that {name}_logits has to give, {rule}. */
#include "{name}.h"

{body}
int {name}_self_test(void *workspace)
{{
    for (int i = 0; i < {images}; i++) {{
        float logits[{name.upper()}_CLASSES];
        {name}_logits(golden_pixels + 784 * i, logits, workspace);
        for (int j = 0; j < {classes}; j++) {{
            const float difference = logits[j] - golden_logits[{classes} * i + j];
            if (!(difference <= {float_text(np.float32(tolerance))} && difference >= -{float_text(np.float32(tolerance))}))
                return i + 1;
        }}
    }}
    return 0;
}}
"""


def source(name: str, network: Network, plan: Plan) -> str:
    """Return the .c file."""
    needs = dict.fromkeys(need for step in network.steps for need in step.needs)
    parts = [f'#include "{name}.h"\n\n#include <stdint.h>\n', _kernel("common")]
    parts += [_kernel(need) for need in _ordered(needs)]
    for step in network.steps:
        parts += [_array(one) for one in step.arguments if isinstance(one, Array)]
    parts.append(_function(name, network, plan))
    return "\n".join(parts)


def _ordered(needs: dict[str, None]) -> list[str]:
    order = [need for need in ("window", "dot_u8", "math_f32", "rows_f32", "dense_f32") if need in needs]
    return [*order, *(need for need in needs if need not in order)]


def _kernel(name: str) -> str:
    return (_KERNELS / f"{name}.c").read_text("utf-8")


def _array(array: Array) -> str:
    flat = np.ascontiguousarray(array.values).ravel()
    words = float_texts(flat) if array.type == "float" else [str(one) for one in flat.tolist()]
    body = "\n".join(f"    {line}" for line in filled(words, _WIDTH - 4))
    return f"static const {array.type} {array.name}[{len(flat)}] = {{\n{body}\n}};\n"


def filled(words: Sequence[str], width: int) -> Iterator[str]:
    """Return lines of up to `width` characters, words with commas between them, as textwrap fills them; for millions of weights it is too slow."""
    line: list[str] = []
    taken = -1
    for index, word in enumerate(words):
        size = len(word) + (index < len(words) - 1)
        if line and taken + 1 + size > width:
            yield ", ".join(line) + ","
            line, taken = [], -1
        line.append(word)
        taken += 1 + size
    if line:
        yield ", ".join(line)


def _function(name: str, network: Network, plan: Plan) -> str:
    lines = []
    for index, step in enumerate(network.steps):
        lines.append(f"    /* {step.layer} */")
        shape = next((one for one in step.arguments if isinstance(one, str) and one.startswith("{")), None)
        call = ", ".join(f"shape{index}" if one is shape and shape else _argument(one, network, plan) for one in step.arguments)
        if shape:
            lines.append(f"    static const conv_shape shape{index} = {shape};")
        lines.append(f"    {step.kernel}({call});")
    body = "\n".join(lines)
    return f"""ALONE void {name}_logits(const uint8_t pixels[784], float logits[{name.upper()}_CLASSES], void *workspace)
{{
    uint8_t *const memory = (uint8_t *)workspace;

{body}
}}

ALONE int {name}_predict(const uint8_t pixels[784], void *workspace)
{{
    float logits[{name.upper()}_CLASSES];
    int best = 0;
    {name}_logits(pixels, logits, workspace);
    for (int i = 1; i < {name.upper()}_CLASSES; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}}
"""


def _argument(argument: Argument, network: Network, plan: Plan) -> str:
    if isinstance(argument, Array):
        return argument.name
    if isinstance(argument, (Value, Scratch)):
        root = argument.root if isinstance(argument, Value) else argument
        start = argument.start if isinstance(argument, Value) else 0
        if root is network.pixels or root is network.logits:
            return ("pixels" if root is network.pixels else "logits") + (f" + {start}" if start else "")
        place = f"memory + {plan.offset(argument) + start * SIZES[argument.type]}"
        return place if argument.type == "uint8_t" else f"({argument.type} *)(void *)({place})"
    return str(argument)
