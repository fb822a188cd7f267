"""What all pictures of planes share: pixels in metres, the scale bar, the key of colours."""

from typing import cast

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colorbar import Colorbar
from matplotlib.colors import Colormap, LogNorm, Normalize, PowerNorm
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator
from matplotlib.transforms import Affine2DBase, ScaledTranslation

from onnlab.optics import Grid
from onnlab.viz.colours import domain_colours
from onnlab.viz.style import MUTED, TEXT
from onnlab.viz.units import label_axis, quantity, round_length

KEY_WIDTH, KEY_HEIGHT = 1.2, 1.7  # inches that the key of colours takes


def draw_image(
    ax: Axes,
    values: np.ndarray,
    grid: Grid | None,
    width: float | None,
    *,
    norm: Normalize | None = None,
    cmap: Colormap | None = None,
) -> AxesImage:
    """Draw samples as pixels centred on their coordinates in metres, or on their indices without a grid."""
    if grid is None:
        ny, nx = values.shape[:2]
        extent = (-0.5, nx - 0.5, ny - 0.5, -0.5)
    else:
        x, y = grid.x.numpy(), grid.y.numpy()
        extent = (x[0] - grid.dx / 2, x[-1] + grid.dx / 2, y[-1] + grid.dy / 2, y[0] - grid.dy / 2)
    image = ax.imshow(values, extent=extent, norm=norm, cmap=cmap, interpolation="nearest")
    ax.grid(False)
    ax.spines[:].set_visible(True)
    if grid is None:
        label_axis(ax, "x", "column", "")
        label_axis(ax, "y", "row", "")
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(nbins=8, integer=True))
        return image
    if width is not None:
        if not width > 0:
            raise ValueError(f"width must be positive (metres), got {width!r}; leave it out to show all")
        half = width / 2
        ax.set_xlim(max(-half, extent[0]), min(half, extent[1]))
        ax.set_ylim(min(half, extent[2]), max(-half, extent[3]))
    label_axis(ax, "x", "x", "m")
    label_axis(ax, "y", "y", "m")
    return image


def aspect(ax: Axes) -> float:
    """Height of what is visible over its width."""
    return float(abs(np.ptp(ax.get_ylim()) / np.ptp(ax.get_xlim())))


def fit_height(fig: matplotlib.figure.Figure, ax: Axes, image_width: float, at_least: float = 0.0) -> None:
    """Make a figure as high as its picture of ``image_width`` inches needs, with room for its labels."""
    labels = 0.85 if ax.get_title() else 0.6
    fig.set_figheight(max(image_width * min(aspect(ax), 1.4) + labels, at_least))


def add_colour_bar(ax: Axes, image: AxesImage, label: str = "", extend: str = "neither") -> Colorbar:
    """Draw a colour bar as high as the picture beside it."""
    bar = ax.figure.colorbar(image, cax=ax.inset_axes((1.03, 0, 0.045, 1)), extend=extend)
    bar.set_label(label)
    return bar


def add_scale_bar(ax: Axes, colour: str = "white") -> Rectangle:
    """Draw a bar of a round length, at most a quarter of the visible width, onto an image in metres.

    Parameters
    ----------
    ax : Axes
        With an image whose extent is in metres.
    colour : str
        ``"white"`` with a dark rim, which can be read on every colour; anything else is drawn without rim.

    Returns
    -------
    Rectangle
        The bar; its width is the length in metres.
    """
    left, right = ax.get_xlim()
    bottom, top = ax.get_ylim()
    length = round_length((right - left) / 4)
    rim = [withStroke(linewidth=1.8, foreground="#000000B0")] if colour == "white" else []
    corner = left + 0.05 * (right - left), bottom + 0.05 * (top - bottom)
    bar = Rectangle(corner, length, 0.018 * (top - bottom), facecolor=colour, path_effects=rim)
    ax.add_patch(bar)
    ax.annotate(
        quantity(length, "m"),
        (corner[0], corner[1] + bar.get_height()),
        xytext=(0, 2.5),
        textcoords="offset points",
        color=colour,
        ha="left",
        va="bottom",
        fontsize=8.5,
        path_effects=rim,
    )
    return bar


def intensity_norm(values: np.ndarray, gamma: float, decades: float | None, peak: float | None) -> Normalize:
    """Scale from black (zero, or ``decades`` below the peak) to the brightest colour (the peak)."""
    for name, option in (("gamma", gamma), ("decades", decades), ("peak", peak)):
        if option is not None and not option > 0:
            raise ValueError(f"{name} must be positive, got {option!r}")
    top = values.max() or 1.0 if peak is None else peak
    if decades is None:
        return Normalize(0.0, top) if gamma == 1 else PowerNorm(gamma, 0.0, top)
    if gamma != 1:
        raise ValueError(f"gamma must be 1 with decades, got {gamma!r}; choose one of the two")
    return LogNorm(top * 10.0**-decades, top, clip=True)


def colour_key(beside: Axes, gamma: float | None) -> None:
    """Draw the wheel beside a picture: phase by angle, amplitude by radius.

    ``gamma`` is None where it differs from picture to picture.
    """
    # Its size and gap are in inches, measured from the middle of the right edge of the picture.
    figure = cast(matplotlib.figure.Figure, beside.figure)
    inches = figure.dpi_scale_trans + ScaledTranslation(1, 0.5, cast(Affine2DBase, beside.transAxes))
    ax = beside.inset_axes((0.45, -0.3, 0.6, 0.6), transform=inches)
    axis = np.linspace(-1, 1, 241)
    z = axis - 1j * axis[:, None]  # row 0 is on top, and the imaginary axis points up
    colours = domain_colours(z, peak=1.0, gamma=gamma or 1.0)
    inside = np.clip((1 - np.abs(z)) * 120 + 0.5, 0, 1)  # a soft rim
    ax.imshow(np.dstack([colours, inside]), extent=(-1, 1, -1, 1))
    power = {None: "$^γ$", 1.0: ""}.get(gamma, f"$^{{{gamma}}}$")
    for text, x, y, gap, colour in (
        ("0", 1, 0, (4, 0), TEXT),
        ("π/2", 0, 1, (0, 7), TEXT),
        ("±π", -1, 0, (-4, 0), TEXT),
        ("−π/2", 0, -1, (0, -7), TEXT),
        ("phase (rad)", 0, 1, (0, 24), TEXT),
        (f"brightness:\namplitude{power}", 0, -1, (0, -30), MUTED),
    ):
        ax.annotate(
            text,
            (x, y),
            gap,
            textcoords="offset points",
            ha=("center", "left", "right")[x],
            va="center",
            fontsize=8.5,
            color=colour,
        )
    ax.set(xlim=(-1, 1), ylim=(-1, 1), aspect="equal")
    ax.set_axis_off()
