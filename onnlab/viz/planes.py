"""Pictures of planes of light: complex fields, intensities, kernels, and several planes of a bench."""

from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, Normalize
from numpy.typing import ArrayLike
from torch import Tensor

from onnlab.optics import Grid
from onnlab.viz._check import as_intensity, as_plane
from onnlab.viz._image import (
    KEY_HEIGHT,
    KEY_WIDTH,
    add_colour_bar,
    add_scale_bar,
    aspect,
    colour_key,
    draw_image,
    fit_height,
    intensity_norm,
)
from onnlab.viz.colours import PHASE_MAP, SIGNED_MAP, domain_colours, readable_on
from onnlab.viz.style import TEXT_WIDTH, axes_for, style, subplots

Values = Tensor | ArrayLike


def show_field(
    field: Values,
    grid: Grid,
    *,
    title: str = "",
    gamma: float = 1.0,
    width: float | None = None,
    split: bool = False,
    ax: Axes | None = None,
) -> matplotlib.figure.Figure:
    """Picture of a complex field: phase as hue, amplitude as brightness, with a key.

    Row 0 is on top, as in any image, so y grows downwards.

    Parameters
    ----------
    field : Tensor or array
        One plane ``(ny, nx)``; leading axes of size 1 are dropped.
    grid : Grid
        The grid of the field.
    title : str
        Text above the picture.
    gamma : float
        Brightness is ``(amplitude / largest) ** gamma``: below one brings out faint parts.
    width : float, optional
        Show only this many metres around the origin.
    split : bool
        Show amplitude and phase side by side instead. Phase is left grey where the amplitude is below a
        thousandth of the largest, for there it means nothing.
    ax : Axes, optional
        Draw here instead of in a new figure.

    Raises
    ------
    TypeError, ValueError
        If the field is not one finite plane of the size of its grid, or ``gamma`` or ``width`` is not
        positive.
    """
    values = as_plane(field, "field", grid)
    if split:
        if ax is not None:
            raise ValueError(
                "ax must be None with split=True, which needs two axes; leave one of the two out"
            )
        return _split_field(values, grid, title, gamma, width)
    with style():
        fig, axes = axes_for(ax, 5.6)
        draw_image(axes, domain_colours(values, gamma=gamma), grid, width)
        axes.set_title(title)
        colour_key(axes, gamma)
        if ax is None:
            fit_height(fig, axes, 3.7, at_least=KEY_HEIGHT)
    return fig


def show_intensity(
    intensity: Values,
    grid: Grid,
    *,
    title: str = "",
    scale_bar: bool = True,
    gamma: float = 1.0,
    decades: float | None = None,
    peak: float | None = None,
    width: float | None = None,
    label: str = "intensity (arb. u.)",
    ax: Axes | None = None,
) -> matplotlib.figure.Figure:
    """Picture of an intensity with a scale bar and a colour bar.

    Parameters
    ----------
    intensity : Tensor or array
        One plane ``(ny, nx)`` of real values that are not negative.
    grid : Grid
        The grid of the intensity.
    title : str
        Text above the picture.
    scale_bar : bool
        Draw a bar of a round length, at most a quarter of the width.
    gamma : float
        Colours follow ``intensity ** gamma``: below one brings out faint parts.
    decades : float, optional
        Logarithmic colours, over this many powers of ten below the peak. Excludes ``gamma``.
    peak : float, optional
        Intensity of the brightest colour, the largest by default. Give it to compare pictures.
    width : float, optional
        Show only this many metres around the origin.
    label : str
        Name and unit beside the colour bar.
    ax : Axes, optional
        Draw here instead of in a new figure.

    Raises
    ------
    TypeError, ValueError
        If the intensity is complex, negative, not finite or not of the size of its grid, or an option is not
        positive.
    """
    values = as_intensity(intensity, "intensity", grid)
    norm = intensity_norm(values, gamma, decades, peak)
    with style():
        fig, axes = axes_for(ax, 5.2)
        image = draw_image(axes, values, grid, width, norm=norm)
        axes.set_title(title)
        if scale_bar:
            add_scale_bar(axes)
        clipped = peak is not None and values.max() > peak
        add_colour_bar(axes, image, label, "max" if clipped else "neither")
        if ax is None:
            fit_height(fig, axes, 3.7)
    return fig


def show_kernel(
    kernel: Values,
    grid: Grid | None = None,
    *,
    title: str = "",
    label: str = "weight",
    ax: Axes | None = None,
) -> matplotlib.figure.Figure:
    """Picture of signed values: blue below zero, white at zero, vermillion above.

    Kernels of up to 7 x 7 weights without a grid show their numbers.

    Parameters
    ----------
    kernel : Tensor or array
        One plane ``(ny, nx)`` of real values.
    grid : Grid, optional
        With it the axes are in metres, without it in pixels.
    title, label : str
        Text above the picture and beside the colour bar.
    ax : Axes, optional
        Draw here instead of in a new figure.

    Raises
    ------
    TypeError, ValueError
        If the values are complex, not finite, not one plane, or not of the size of the grid.
    """
    values = as_plane(kernel, "kernel", grid)
    if values.dtype.kind == "c":
        raise TypeError("kernel must be real, got complex numbers; use show_field, or its .real and .imag")
    largest = np.abs(values).max() or 1.0
    norm = Normalize(-largest, largest)
    with style():
        fig, axes = axes_for(ax, 4.5)
        image = draw_image(axes, values, grid, None, norm=norm, cmap=SIGNED_MAP)
        axes.set_title(title)
        add_colour_bar(axes, image, label)
        if grid is None and max(values.shape) <= 7:
            for (row, column), value in np.ndenumerate(values):
                text, colour = f"{value:.2g}".replace("-", "−"), readable_on(SIGNED_MAP(norm(value)))
                axes.text(column, row, text, ha="center", va="center", color=colour)
        if ax is None:
            fit_height(fig, axes, 3.1)
    return fig


@dataclass(frozen=True)
class Plane:
    """One picture of :func:`show_planes`.

    Parameters
    ----------
    title : str
        Text above it.
    values : Tensor or array
        Complex: a field, coloured by phase. Real: an intensity, or signed values if some are negative.
    grid : Grid
        The grid of the values.
    gamma : float
        Below one brings out faint parts.
    width : float, optional
        Show only this many metres around the origin.
    """

    title: str
    values: Values
    grid: Grid
    gamma: float = 1.0
    width: float | None = None


def show_planes(
    planes: Sequence[Plane | tuple[str, Values, Grid]], *, columns: int | None = None
) -> matplotlib.figure.Figure:
    """Planes of a bench side by side, each on its own scale, with scale bars and one key of phases.

    Parameters
    ----------
    planes : sequence of Plane or of (title, values, grid)
        In the order in which light passes them.
    columns : int, optional
        Pictures in a row; by default all up to four, then four.

    Raises
    ------
    TypeError, ValueError
        If there is no plane, ``columns`` is below 1, or a plane does not fit its grid.
    """
    shown = [plane if isinstance(plane, Plane) else Plane(*plane) for plane in planes]
    if not shown:
        raise ValueError("planes must hold at least one plane, got none")
    columns = min(len(shown), 4) if columns is None else columns
    if columns < 1:
        raise ValueError(f"columns must be at least 1, got {columns}")
    rows = -(-len(shown) // columns)
    panels = [_panel(plane) for plane in shown]
    gammas = {plane.gamma for plane, (colours, _, _) in zip(shown, panels, strict=True) if colours.ndim == 3}
    has_key = bool(gammas)
    side = min((TEXT_WIDTH - KEY_WIDTH * has_key) / columns, 3.4)
    with style():
        fig, axes = subplots(rows, columns, width=side * columns + KEY_WIDTH * has_key)
        for ax in axes.flat[len(shown) :]:
            ax.set_axis_off()
        for ax, plane, (colours, norm, cmap) in zip(axes.flat, shown, panels, strict=False):
            draw_image(ax, colours, plane.grid, plane.width, norm=norm, cmap=cmap)
            ax.set(title=plane.title, xticks=[], yticks=[], xlabel="", ylabel="")
            add_scale_bar(ax, "black" if cmap is SIGNED_MAP else "white")
        tallest = max(aspect(ax) for ax in axes.flat[: len(shown)])
        fig.set_figheight(max(rows * (side * min(tallest, 1.4) + 0.25) + 0.1, KEY_HEIGHT * has_key))
        if has_key:
            colour_key(axes[0, -1], gammas.pop() if len(gammas) == 1 else None)
    return fig


def _panel(plane: Plane) -> tuple[np.ndarray, Normalize | None, Colormap | None]:
    """What to draw for one plane: colours or values, with their norm and colour map."""
    values = as_plane(plane.values, f"the values of {plane.title!r}", plane.grid)
    if values.dtype.kind == "c":
        return domain_colours(values, gamma=plane.gamma), None, None
    if values.min() < -1e-5 * np.abs(values).max():
        largest = np.abs(values).max()
        return values, Normalize(-largest, largest), SIGNED_MAP
    values = np.maximum(values, 0.0)
    return values, intensity_norm(values, plane.gamma, None, None), None


def _split_field(
    values: np.ndarray, grid: Grid, title: str, gamma: float, width: float | None
) -> matplotlib.figure.Figure:
    amplitude = np.abs(values)
    meaningful = amplitude > 1e-3 * amplitude.max()
    phase = np.ma.masked_where(~meaningful, np.angle(values))
    fig, axes = subplots(1, 2)
    left, right = axes[0]
    with style():
        norm = intensity_norm(amplitude, gamma, None, None)
        add_colour_bar(left, draw_image(left, amplitude, grid, width, norm=norm), "amplitude (arb. u.)")
        right.set_facecolor("#BBBBBB")
        image = draw_image(right, phase, grid, width, norm=Normalize(-np.pi, np.pi), cmap=PHASE_MAP)
        bar = add_colour_bar(right, image, "phase (rad)")
        bar.set_ticks([-np.pi, -np.pi / 2, 0, np.pi / 2, np.pi], labels=["−π", "−π/2", "0", "π/2", "π"])
        fit_height(fig, left, 2.3)
        left.set_title(title)
    return fig
