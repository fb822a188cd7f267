"""A drawn optical bench, with rays traced through it."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, get_args

import matplotlib.figure
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Polygon, Rectangle

from onnlab.optics._check import two_lengths
from onnlab.viz.style import MUTED, PALETTE, TEXT, TEXT_WIDTH, Figure, style
from onnlab.viz.units import quantity

Kind = Literal["source", "object", "lens", "mask", "stop", "plane", "camera"]
Rays = Literal["points", "beam", "none"]

_LENS = 1.0  # half the height of a lens; heights on the bench have no unit
_RAYS = 0.72  # largest height that a ray reaches


@dataclass(frozen=True)
class Element:
    """One thing on an optical bench.

    Parameters
    ----------
    kind : str
        ``"source"``, ``"object"``, ``"lens"``, ``"mask"``, ``"stop"``, ``"plane"`` or ``"camera"``.
    position : float
        Place along the axis in metres.
    label : str
        Text above it.
    focal_length : float, optional
        In metres, for a lens and only for a lens; negative for one that spreads light.

    Raises
    ------
    ValueError
        If the kind is unknown, or a focal length is missing, zero or out of place.
    """

    kind: Kind
    position: float
    label: str = ""
    focal_length: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in get_args(Kind):
            raise ValueError(f"kind must be one of {', '.join(map(repr, get_args(Kind)))}, got {self.kind!r}")
        if (self.kind == "lens") != bool(self.focal_length):
            raise ValueError(
                f"focal_length must be given for a lens, not zero, and for nothing else; got "
                f"{self.focal_length!r} for kind {self.kind!r}"
            )


def four_f_bench(
    focal_length: float | tuple[float, float], mask: str = "Fourier mask"
) -> tuple[Element, ...]:
    """Return the elements of a 4f system: object, lens, mask, lens, camera.

    Parameters
    ----------
    focal_length : float or (float, float)
        One focal length in metres, or those of the two lenses.
    mask : str
        Text above the mask.
    """
    first, second = two_lengths("focal_length", focal_length, "the two lenses")
    return (
        Element("object", 0.0, "object"),
        Element("lens", first, "lens 1", first),
        Element("mask", 2 * first, mask),
        Element("lens", 2 * first + second, "lens 2", second),
        Element("camera", 2 * (first + second), "camera"),
    )


def trace_rays(elements: Sequence[Element], height: np.ndarray, slope: np.ndarray) -> np.ndarray:
    r"""Heights of paraxial rays at each element.

    Free space of length :math:`d` turns height :math:`h` and slope :math:`s` into
    :math:`(h + s d, s)`, a lens of focal length :math:`f` turns them into :math:`(h, s - h / f)`.

    Parameters
    ----------
    elements : sequence of Element
        In the order of their positions.
    height, slope : ndarray
        Of the rays at the first element, shape ``(n,)``; the slope in units of height per metre.

    Returns
    -------
    ndarray
        Heights, shape ``(len(elements), n)``.
    """
    heights = []
    position = elements[0].position
    for element in elements:
        height = height + slope * (element.position - position)
        if element.focal_length:
            slope = slope - height / element.focal_length
        position = element.position
        heights.append(height)
    return np.array(heights)


def draw_bench(
    elements: Sequence[Element], *, rays: Rays = "points", distances: bool = True, title: str = ""
) -> matplotlib.figure.Figure:
    """Draw an optical bench from the side, with its distances and traced rays.

    Lengths along the axis are to scale, heights are not. A distance that equals the focal length of a lens
    beside it is marked so.

    Parameters
    ----------
    elements : sequence of Element
        At least two, in the order of their positions; :func:`four_f_bench` makes those of a 4f system.
    rays : str
        ``"points"``: cones from two points of the first element, aimed through the middle of the first
        stop or mask (or else lens). ``"beam"``: a parallel beam. ``"none"``: no rays.
    distances : bool
        Write the distances below the axis.
    title : str
        Text above the drawing.

    Raises
    ------
    ValueError
        If there are fewer than two elements, their positions do not increase, or ``rays`` is unknown.
    """
    if len(elements) < 2:
        raise ValueError(f"elements must be at least two, got {len(elements)}")
    positions = np.array([element.position for element in elements])
    if not (np.diff(positions) > 0).all():
        raise ValueError(f"elements must stand in the order of their positions, got {positions.tolist()}")
    if rays not in get_args(Rays):
        raise ValueError(f"rays must be one of {', '.join(map(repr, get_args(Rays)))}, got {rays!r}")

    length = positions[-1] - positions[0]
    with style():
        fig = Figure(figsize=(TEXT_WIDTH, 2.9 if distances else 2.4), layout="compressed")
        ax = fig.subplots()
        margin = 0.07 * length
        ax.plot(
            [positions[0] - margin, positions[-1] + margin], [0, 0], color=MUTED, lw=0.8, ls=(0, (8, 3, 2, 3))
        )
        bundles = _bundles(elements, rays)
        for colour, heights in bundles:
            ax.fill_between(
                positions, heights.min(1), heights.max(1), color=PALETTE[colour], alpha=0.16, lw=0
            )
            ax.plot(positions, heights, color=PALETTE[colour], lw=1.0, ls="-")
        for number, element in enumerate(elements):
            # A stop is open as far as the rays go: it is what limits them.
            opening = max((float(np.abs(heights[number]).max()) for _, heights in bundles), default=0.4)
            _draw_element(ax, element, length, opening)
            ax.text(element.position, 1.16, element.label, ha="center", va="bottom")
        if distances:
            _draw_distances(ax, elements)
        ax.set_title(title)
        ax.set_xlim(positions[0] - margin, positions[-1] + margin)
        ax.set_ylim(-1.85 if distances else -1.15, 1.45)
        ax.set_axis_off()
    return fig


def _bundles(elements: Sequence[Element], rays: Rays) -> list[tuple[str, np.ndarray]]:
    """Colour and heights ``(elements, rays)`` of each bundle, scaled to fit into the lenses."""
    spread = np.linspace(-1, 1, 5)
    if rays == "none":
        return []
    if rays == "beam":
        bundles = [("vermillion", trace_rays(elements, spread, np.zeros(5)))]
    else:
        kinds = [element.kind for element in elements]
        aim = next(
            (kinds.index(kind) for kind in ("stop", "mask", "lens") if kind in kinds[1:]), len(elements) - 1
        )
        # At the aim a ray has the height a * height + b * slope. The middle ray of a cone has none there.
        one, zero = np.ones(1), np.zeros(1)
        a = trace_rays(elements, one, zero)[aim, 0]
        b = trace_rays(elements, zero, one)[aim, 0]
        slopes = 0.75 * spread / b if abs(b) > 1e-12 else spread
        bundles = []
        for colour, height in (("vermillion", 1.0), ("blue", -1.0)):
            chief = -a * height / b if abs(b) > 1e-12 else 0.0
            bundles.append((colour, trace_rays(elements, np.full(5, height), chief + slopes)))
    largest = max(np.abs(heights).max() for _, heights in bundles)
    return [(colour, heights * _RAYS / largest) for colour, heights in bundles]


def _draw_element(ax: Axes, element: Element, length: float, opening: float) -> None:
    z, unit = element.position, 0.01 * length
    match element.kind:
        case "lens":
            y = np.linspace(-_LENS, _LENS, 61)
            bulge = unit * (1.7 * (1 - y**2) + 0.1 if (element.focal_length or 0) > 0 else 1.4 * y**2 + 0.4)
            outline = np.concatenate([np.stack([z - bulge, y], 1), np.stack([z + bulge, y], 1)[::-1]])
            ax.add_patch(Polygon(outline, facecolor="#CFE6F5E6", edgecolor=PALETTE["blue"], lw=1.1, zorder=3))
        case "mask":
            edges = np.linspace(-_LENS, _LENS, 17)
            for row, low in enumerate(edges[:-1]):
                shade = ("#3A3A3A", "#BDBDBD", "#7A7A7A", "#EDEDED", "#5C5C5C")[row * 3 % 5]
                ax.add_patch(
                    Rectangle(
                        (z - 0.6 * unit, low), 1.2 * unit, edges[1] - edges[0], facecolor=shade, zorder=3
                    )
                )
            ax.add_patch(
                Rectangle(
                    (z - 0.6 * unit, -_LENS), 1.2 * unit, 2 * _LENS, fill=False, ec=TEXT, lw=0.9, zorder=4
                )
            )
        case "stop":
            blade = _LENS - opening
            for low in (-_LENS, opening):
                ax.add_patch(Rectangle((z - 0.4 * unit, low), 0.8 * unit, blade, facecolor=TEXT, zorder=3))
        case "object":
            ax.annotate(
                "", (z, 0.9), (z, -0.9), arrowprops={"arrowstyle": "-|>", "color": TEXT, "lw": 2.0}, zorder=4
            )
        case "camera":
            ax.add_patch(Rectangle((z, -0.85), 0.8 * unit, 1.7, facecolor=PALETTE["green"], zorder=4))
            ax.add_patch(
                FancyBboxPatch(
                    (z + 1.2 * unit, -0.9),
                    2.6 * unit,
                    1.8,
                    boxstyle=f"round,pad=0,rounding_size={0.6 * unit}",
                    mutation_aspect=1 / unit / 12,
                    facecolor="#4A4A4A",
                    edgecolor=TEXT,
                    zorder=3,
                )
            )
        case "source":
            ax.add_patch(
                Rectangle((z - 5 * unit, -0.8), 5 * unit, 1.6, facecolor="#4A4A4A", ec=TEXT, zorder=3)
            )
        case "plane":
            ax.plot([z, z], [-_LENS, _LENS], color=TEXT, lw=1.4, ls=(0, (4, 2)), zorder=3)


def _draw_distances(ax: Axes, elements: Sequence[Element]) -> None:
    lenses = [element for element in elements if element.kind == "lens"]
    same = len({lens.focal_length for lens in lenses}) == 1
    for left, right in pairwise(elements):
        gap = right.position - left.position
        name = next(
            (
                "f" if same else f"f_{lenses.index(lens) + 1}"
                for lens in (left, right)
                if lens.focal_length and abs(lens.focal_length - gap) <= 1e-9 * gap
            ),
            "",
        )
        text = f"${name}$ = {quantity(gap, 'm')}" if name else quantity(gap, "m")
        arrow = {"arrowstyle": "<|-|>", "color": MUTED, "lw": 0.9, "shrinkA": 1, "shrinkB": 1}
        ax.annotate("", (left.position, -1.35), (right.position, -1.35), arrowprops=arrow)
        ax.text((left.position + right.position) / 2, -1.48, text, ha="center", va="top", fontsize=8.5)
    for element in elements:
        ax.plot([element.position] * 2, [-1.45, -1.1], color=MUTED, lw=0.7, ls="-")
