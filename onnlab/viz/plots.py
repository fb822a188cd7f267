"""Line plots and grids of images."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike
from torch import Tensor

from onnlab.viz._check import as_array
from onnlab.viz.colours import SIGNED_MAP
from onnlab.viz.style import MUTED, TEXT_WIDTH, axes_for, style, subplots
from onnlab.viz.units import label_axis

Values = Tensor | ArrayLike
Curves = Values | Mapping[str, Values]


def show_profile(
    x: Values,
    curves: Curves,
    *,
    title: str = "",
    x_label: str = "x",
    x_unit: str = "m",
    y_label: str = "intensity",
    y_unit: str = "arb. u.",
    log: bool = False,
    marks: Mapping[str, float] | None = None,
    ax: Axes | None = None,
) -> matplotlib.figure.Figure:
    """Curves over one coordinate, with units and SI prefixes.

    Parameters
    ----------
    x : Tensor or array
        Coordinates ``(n,)`` in ``x_unit``, for example ``grid.x``.
    curves : array, or mapping of names to arrays
        Real values ``(n,)``. Names go into a legend.
    title : str
        Text above the plot.
    x_label, x_unit : str
        Name and SI unit of the coordinate (``"m"``, ``"1/m"``, or ``""``); the prefix is chosen for you.
    y_label, y_unit : str
        Name and unit of the values, written as given.
    log : bool
        Logarithmic values.
    marks : mapping of names to floats, optional
        Vertical lines at these coordinates.
    ax : Axes, optional
        Draw here instead of in a new figure.

    Raises
    ------
    TypeError, ValueError
        If something is complex, not finite, or not of the length of ``x``.
    """
    position = _line(x, "x")
    named = {name: _line(values, name or "curves", position) for name, values in _named(curves).items()}
    with style():
        fig, ax = axes_for(ax, TEXT_WIDTH, 3.2)
        for name, values in named.items():
            ax.plot(position, values, label=name)
        ax.set_yscale("log" if log else "linear")
        ax.set_title(title)
        ax.set_ylabel(f"{y_label} ({y_unit})" if y_unit else y_label)
        if position.min() < position.max():
            ax.set_xlim(position.min(), position.max())
        for name, where in (marks or {}).items():
            ax.axvline(where, color=MUTED, linestyle=":", linewidth=1.2)
            ax.annotate(
                name,
                (where, 1),
                xycoords=("data", "axes fraction"),
                xytext=(3, -3),
                textcoords="offset points",
                va="top",
                color=MUTED,
            )
        label_axis(ax, "x", x_label, x_unit)
        if any(named):
            ax.legend()
    return fig


def show_history(
    history: Curves,
    *,
    title: str = "",
    x_label: str = "step",
    y_label: str = "loss",
    log: bool = True,
    ax: Axes | None = None,
) -> matplotlib.figure.Figure:
    """Curves of training: one value for each step, counted from 1.

    Parameters
    ----------
    history : array, or mapping of names to arrays
        Real values ``(n,)``; the curves may differ in length.
    title, x_label, y_label : str
        Texts of the plot.
    log : bool
        Logarithmic values; then all have to be positive.
    ax : Axes, optional
        Draw here instead of in a new figure.

    Raises
    ------
    TypeError, ValueError
        If something is complex, not finite, not a line, or not positive on logarithmic axes.
    """
    named = {name: _line(values, name or "history") for name, values in _named(history).items()}
    for name, values in named.items():
        if log and values.min() <= 0:
            raise ValueError(
                f"{name or 'history'} must be positive with log=True, got a minimum of {values.min():.3g}; "
                "use log=False"
            )
    with style():
        fig, ax = axes_for(ax, TEXT_WIDTH, 3.0)
        for name, values in named.items():
            marker = "o" if len(values) <= 30 else ""
            ax.plot(np.arange(1, len(values) + 1), values, label=name, marker=marker)
        ax.set_yscale("log" if log else "linear")
        ax.set(title=title, xlabel=x_label, ylabel=y_label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if any(named):
            ax.legend()
    return fig


def image_grid(
    images: Values,
    titles: Sequence[object] = (),
    *,
    columns: int = 8,
    limits: tuple[float, float] | None = None,
    signed: bool = False,
    title: str = "",
) -> matplotlib.figure.Figure:
    """Small images side by side, all on one scale so that they can be compared.

    Parameters
    ----------
    images : Tensor or array
        Shape ``(n, ny, nx)``, ``(n, 1, ny, nx)`` grey or ``(n, 3, ny, nx)`` red, green, blue in [0, 1].
    titles : sequence
        What to write above each image, for example its label.
    columns : int
        Images in a row.
    limits : (float, float), optional
        Values of black and white. By default 0 (or the least, if negative) and the largest.
    signed : bool
        Blue below zero, vermillion above, on a scale that is symmetric about it.
    title : str
        Text above all.

    Raises
    ------
    TypeError, ValueError
        If the images are complex, not finite or of another shape, or there are more titles than images.
    """
    array = _real(images, "images")
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or array.shape[1] not in (1, 3) or array.size == 0:
        raise ValueError(
            f"images must have shape (n, ny, nx), (n, 1, ny, nx) or (n, 3, ny, nx), got {array.shape}; "
            "put a single image into a batch with image[None]"
        )
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    if len(titles) > len(array):
        raise ValueError(f"titles must be at most {len(array)}, one for each image, got {len(titles)}")
    if limits is None:
        low, high = min(0.0, float(array.min())), float(array.max())
        size = max(high, -low) or 1.0
        limits = (-size, size) if signed else (low, high if high > low else low + size)
    columns = min(columns, len(array))
    rows = -(-len(array) // columns)
    side = TEXT_WIDTH / max(columns, 4)
    height = rows * (side + 0.22 * bool(titles)) + 0.35 * bool(title)
    fig, axes = subplots(rows, columns, width=side * columns, height=height)
    with style():
        for ax, image, text in zip_longest(axes.flat, array, titles):
            ax.set_axis_off()
            if image is not None:
                pixels = np.moveaxis(image, 0, -1)
                cmap = SIGNED_MAP if signed else "gray"
                ax.imshow(
                    pixels.squeeze(-1) if len(image) == 1 else pixels, cmap, vmin=limits[0], vmax=limits[1]
                )
                ax.set_title("" if text is None else str(text), fontsize=9, pad=3)
        fig.suptitle(title)
    return fig


def _named(curves: Curves) -> Mapping[str, Values]:
    return curves if isinstance(curves, Mapping) else {"": curves}


def _real(values: Values, name: str) -> np.ndarray:
    array = as_array(values, name)
    if array.dtype.kind == "c":
        raise TypeError(f"{name} must be real, got complex numbers; use abs() ** 2, .real or .angle()")
    return array


def _line(values: Values, name: str, position: np.ndarray | None = None) -> np.ndarray:
    array = _real(values, name)
    if array.ndim != 1 or array.size == 0:
        raise ValueError(
            f"{name} must be a line (n,), got {array.shape}; choose a row, as in {name}[ny // 2]"
        )
    if position is not None and array.shape != position.shape:
        raise ValueError(f"{name} must be as long as x, {len(position)}, got {len(array)}")
    return array
