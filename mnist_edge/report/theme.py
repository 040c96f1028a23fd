"""Two sets of colours, for light and for dark pages, that can be told apart with any colour vision (Okabe and Ito, 2008)."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mnist_edge.store.marks import marked_png

if TYPE_CHECKING:
    from matplotlib.colors import Colormap
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Theme:
    """Colours, as ``#rrggbb``.

    Attributes:
        name: ``light`` or ``dark``.
        paper, panel: the page, and a field on it.
        text, faint, rule: text, less important text, and lines.
        first, second: the two things compared.
    """

    name: str
    paper: str
    panel: str
    text: str
    faint: str
    rule: str
    first: str
    second: str


LIGHT = Theme("light", "#ffffff", "#f4f6f8", "#1b1f24", "#5d666f", "#d9dfe5", "#0072b2", "#d55e00")
DARK = Theme("dark", "#12161b", "#1c222a", "#e8ecf0", "#9aa5b1", "#343c46", "#56b4e9", "#e69f00")

#: Pixels per inch: twice what a page needs, for fine screens.
DPI = 160


@contextmanager
def canvas(theme: Theme, width: float, height: float, row_gap: float = 0.02) -> "Iterator[Figure]":
    """Give a figure of this size, in inches, in the theme's colours; everything drawn in the block uses them too."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    style = {
        "font.size": 9,
        "axes.titlesize": 10,
        "axes.titlelocation": "left",
        "axes.titlepad": 9,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.facecolor": theme.paper,
        "axes.edgecolor": theme.rule,
        "axes.labelcolor": theme.faint,
        "axes.titlecolor": theme.text,
        "text.color": theme.text,
        "xtick.color": theme.rule,
        "ytick.color": theme.rule,
        "xtick.labelcolor": theme.faint,
        "ytick.labelcolor": theme.faint,
        "grid.color": theme.rule,
        "grid.linewidth": 0.6,
        "axes.grid": False,
        "axes.axisbelow": True,
        "legend.frameon": False,
        "figure.facecolor": theme.paper,
        "text.parse_math": False,  # a model's name may hold a $
        "savefig.facecolor": theme.paper,
    }
    with drawn_in(style):
        yield Figure(figsize=(width, height), dpi=DPI, layout=ConstrainedLayoutEngine(hspace=row_gap))


@contextmanager
def drawn_in(style: dict[str, Any]) -> Iterator[None]:
    """Draw in this style only: a matplotlibrc in the working folder, which may come from anybody, could start LaTeX."""
    import matplotlib

    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(style)
        yield


def to_png(figure: "Figure") -> bytes:
    """Return a figure as a PNG file's bytes, the same for the same figure: no date, no program's name."""
    import numpy as np
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from PIL import Image

    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # once; savefig does it twice, and packs a PNG that has to be read again
    drawn = Image.fromarray(np.asarray(canvas.buffer_rgba()))
    # half the size; a median cut is slower than octrees, but it keeps the colours of paper and panel
    return marked_png(drawn.convert("RGB").quantize(256, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE))


def size_of(png: bytes) -> tuple[int, int]:
    """Return width and height of a PNG in pixels."""
    from PIL import Image

    return Image.open(io.BytesIO(png)).size


def shades(low: str, high: str) -> "Colormap":
    """Return the colours between two, evenly spaced."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("shades", [low, high])


def readable_on(colour: str, theme: Theme) -> str:
    """Return the theme's text or paper, whichever stands out more on a colour (contrast ratio of WCAG 2.2)."""
    return max((theme.text, theme.paper), key=lambda ink: contrast(ink, colour))


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours, 1 to 21 (WCAG 2.2, "contrast ratio")."""
    low, high = sorted(map(_luminance, (first, second)))
    return (high + 0.05) / (low + 0.05)


def _luminance(colour: str) -> float:
    from matplotlib.colors import to_rgb

    linear = [channel / 12.92 if channel <= 0.04045 else ((channel + 0.055) / 1.055) ** 2.4 for channel in to_rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def bare(axes: Any) -> None:
    """Take the ticks and the frame off a field."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)
