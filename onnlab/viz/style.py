"""The one style of all figures, and a figure that shows itself once in a notebook."""

import io
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import MappingProxyType
from typing import Any, cast

import matplotlib
import matplotlib.figure
import numpy as np
from cycler import cycler
from matplotlib.axes import Axes

PALETTE: Mapping[str, str] = MappingProxyType(
    {
        "black": "#000000",
        "orange": "#E69F00",
        "sky": "#56B4E9",
        "green": "#009E73",
        "yellow": "#F0E442",
        "blue": "#0072B2",
        "vermillion": "#D55E00",
        "purple": "#CC79A7",
    }
)
"""Eight colours that stay apart with every common colour vision (Okabe & Ito 2008)."""

# The four colours with a contrast of 3 to 1 on white come first. Dashes tell lines apart without colour.
LINE_COLOURS = ("blue", "vermillion", "green", "purple", "orange", "sky")
DASHES = ("-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (1, 3)))

TEXT = "#222222"
MUTED = "#666666"
TEXT_WIDTH = 7.2  # inches: the width of a page of the book
PIXELS_PER_INCH = 96  # of a browser; the picture holds twice as many, for sharp screens

_RC: Mapping[str, Any] = {
    # White paper in light and dark pages: the only background that suits every colour map.
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same
    "font.size": 9.5,
    "axes.titlesize": 10.5,
    "axes.labelsize": 9.5,
    "xtick.labelsize": 8.5,
    "ytick.labelsize": 8.5,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "text.color": TEXT,
    "axes.labelcolor": TEXT,
    "axes.titlecolor": TEXT,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.8,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#E4E4E4",
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": TEXT,
    "ytick.labelcolor": TEXT,
    "lines.linewidth": 1.8,
    "lines.markersize": 4.5,
    "axes.prop_cycle": cycler(color=[PALETTE[name] for name in LINE_COLOURS]) + cycler(linestyle=DASHES),
    "image.cmap": "inferno",
}


def style() -> AbstractContextManager[None]:
    """Return a context with the style of the book, for figures of your own.

    Settings outside the context are as before, so importing this package changes nothing.

    Examples
    --------
    >>> with style():
    ...     fig, (left, right) = subplots(1, 2)
    """
    settings: Any = dict(_RC)  # matplotlib types each key
    return matplotlib.rc_context(settings)


class Figure(matplotlib.figure.Figure):
    """A matplotlib figure that a notebook shows when it is the value of a cell.

    pyplot does not know it. So it is shown exactly once, needs no ``%matplotlib`` line, and leaves memory
    when you drop it.
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        buffer = io.BytesIO()
        with style():
            self.savefig(buffer, format="png", dpi=2 * PIXELS_PER_INCH)
        # Only the width: a fixed height would distort the picture on a narrow screen.
        return buffer.getvalue(), {"width": round(self.get_figwidth() * PIXELS_PER_INCH)}


def subplots(
    rows: int = 1, columns: int = 1, *, width: float = TEXT_WIDTH, height: float | None = None
) -> tuple[Figure, np.ndarray]:
    """Make a figure in the style of the book with ``rows`` x ``columns`` axes.

    Parameters
    ----------
    rows, columns : int
        How many axes.
    width, height : float, optional
        Size in inches; by default as wide as the page, each axes three quarters as high as wide.

    Returns
    -------
    (Figure, ndarray of Axes)
        The axes have shape ``(rows, columns)``, also where there is one only.

    Raises
    ------
    ValueError
        If ``rows`` or ``columns`` is below 1.
    """
    if rows < 1 or columns < 1:
        raise ValueError(f"rows and columns must be at least 1, got {rows} and {columns}; ask for (1, 1)")
    with style():
        fig = Figure(figsize=(width, height or 0.75 * width * rows / columns), layout="compressed")
        return fig, fig.subplots(rows, columns, squeeze=False)


def axes_for(
    ax: Axes | None, width: float, height: float | None = None
) -> tuple[matplotlib.figure.Figure, Axes]:
    """Return ``ax`` and its figure, or those of a new figure of the given size in inches."""
    if ax is None:
        fig, axes = subplots(width=width, height=height)
        return fig, axes[0, 0]
    return cast(matplotlib.figure.Figure, ax.figure), ax
