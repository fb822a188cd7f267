"""Floor plans of devices, drawn to scale."""

from typing import TYPE_CHECKING, Any

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.patches import Patch

from onnlab.viz._image import fit_height
from onnlab.viz.style import MUTED, PALETTE, TEXT, axes_for, style
from onnlab.viz.units import label_axis

if TYPE_CHECKING:
    from onnlab.hardware import KernelLayout


def show_layout(
    layout: "KernelLayout", *, signs: bool = True, title: str = "", ax: Axes | None = None
) -> matplotlib.figure.Figure:
    """Floor plan of a device to scale: its rectangle, and the sites of its kernels.

    A plus on vermillion marks the site of a positive PSF, a minus on blue that of a negative one; a frame
    holds the two of a kernel together. A site without partner is grey and hatched. Row 0 is on top.

    Parameters
    ----------
    layout : onnlab.hardware.KernelLayout
        Made by :func:`onnlab.hardware.kernel_layout`.
    signs : bool
        Show the pairs of signed kernels. Otherwise all sites are alike.
    title : str
        Text above the plan.
    ax : Axes, optional
        Draw here instead of in a new figure.

    Raises
    ------
    TypeError
        If ``layout`` is no KernelLayout.
    """
    from onnlab.hardware import KernelLayout  # here, so that pictures of light do not load all of part IV

    if not isinstance(layout, KernelLayout):
        raise TypeError(
            f"layout must be a KernelLayout, got {type(layout).__name__}; make it with kernel_layout"
        )
    sites = layout.rectangles.numpy()
    with style():
        fig, axes = axes_for(ax, 5.6)
        if signs:
            _draw_pairs(axes, layout, sites)
        else:
            axes.add_collection(
                PolyCollection(_corners(sites), facecolor=PALETTE["sky"], edgecolor=TEXT, lw=_line(layout))
            )
        half = np.array([layout.height, layout.width]) / 2
        axes.set(xlim=(-half[1], half[1]), ylim=(half[0], -half[0]), aspect="equal", title=title)
        axes.grid(False)
        axes.spines[:].set_visible(True)
        label_axis(axes, "x", "x", "m", half.max())
        label_axis(axes, "y", "y", "m", half.max())
        if ax is None:
            fit_height(fig, axes, 3.7)
    return fig


def _draw_pairs(ax: Axes, layout: "KernelLayout", sites: np.ndarray) -> None:
    """Sites in two colours with their signs, a frame around each pair, and a key."""
    pairs = layout.pairs.numpy()
    side = 0.5 * min(layout.kernel_size)
    centres = layout.centres.numpy()
    key: list[Patch] = []
    for column, (sign, name) in enumerate((("+", "vermillion"), ("−", "blue"))):
        colour, chosen = PALETTE[name], pairs[:, column]
        ax.add_collection(PolyCollection(_corners(sites[chosen]), facecolor=colour, edgecolor="none"))
        strokes = [_bars(centres[chosen], 0.18 * side, side)]
        if sign == "+":
            strokes.append(_bars(centres[chosen], side, 0.18 * side))
        for stroke in strokes:
            ax.add_collection(PolyCollection(_corners(stroke), facecolor="white", edgecolor="none"))
        if len(chosen):
            key.append(Patch(facecolor=colour, label=f"{sign} PSF"))
    first, second = sites[pairs[:, 0]], sites[pairs[:, 1]]
    frames = np.concatenate([first[:, :2], second[:, 2:]], axis=1)
    ax.add_collection(PolyCollection(_corners(frames), facecolor="none", edgecolor=TEXT, lw=_line(layout)))
    if layout.unused:
        look: dict[str, Any] = {"facecolor": "#DDDDDD", "edgecolor": MUTED, "hatch": "////", "lw": 0.6}
        ax.add_collection(PolyCollection(_corners(sites[list(layout.unused)]), **look))
        key.append(Patch(label="unused", **look))
    ax.legend(handles=key, loc="center left", bbox_to_anchor=(1.01, 0.5))


def _line(layout: "KernelLayout") -> float:
    """Width of a line in points: fine where sites are small, for frames must not hide them."""
    return min(0.9, 20 * min(layout.kernel_size) / max(layout.height, layout.width))


def _bars(centres: np.ndarray, height: float, width: float) -> np.ndarray:
    """Edges ``(n, 4)`` of bars around centres."""
    half = np.array([height, width]) / 2
    return np.concatenate([centres - half, centres + half], axis=1)


def _corners(edges: np.ndarray) -> list[np.ndarray]:
    """Corners ``(4, 2)`` as ``(x, y)`` of each rectangle ``(top, left, bottom, right)``."""
    top, left, bottom, right = edges.T
    points = ((left, top), (right, top), (right, bottom), (left, bottom))
    return list(np.stack([np.stack(point, axis=1) for point in points], axis=1))
