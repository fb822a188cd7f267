"""Metasurfaces as layouts for a mask shop or an electron-beam writer: GDSII and OASIS, and back."""

import importlib
import json
import math
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from onnlab.distill.checkpoint import write_whole
from onnlab.hardware.export_metasurface import check_metasurface
from onnlab.hardware.metasurface import Metasurface
from onnlab.optics._check import intensity, positive_length, whole_number

SUFFIXES = (".gds", ".oas")
USER_UNIT = 1e-6  # layouts speak of micrometres
TOP = "METASURFACE"
LABEL_LAYER = 255  # text is not written by the beam; it tells a reader what the lattice is
EPOCH = datetime(2000, 1, 1)  # GDSII asks for a date, and bytes must not depend on the day


@dataclass(frozen=True, eq=False)
class PillarLayout:
    """Pillars of a layout file, back on their lattice.

    Parameters
    ----------
    widths : Tensor
        Full widths in metres ``(ny, nx)``, float64, whole multiples of the database unit; 0 for no pillar.
    period : float
        Lattice constant in metres.
    shape : {"square", "circle"}
        Cross-section of a pillar.
    database_unit : float
        Step of all coordinates in the file, in metres.
    """

    widths: Tensor
    period: float
    shape: str
    database_unit: float


def export_layout(
    metasurface: Metasurface,
    path: str | os.PathLike[str],
    *,
    classes: int | None = None,
    database_unit: float = 1e-9,
    layer: int = 1,
) -> PillarLayout:
    r"""Write a metasurface as a layout: a cell for each width, placed where the pillars of this width stand.

    Widths are rounded to the database unit :math:`u`, so by :math:`u/2` at the most. The pillar of row
    :math:`i` and column :math:`j` stands at :math:`x = (j - n_x // 2)\,p`, :math:`y = (i - n_y // 2)\,p` with
    the period :math:`p`, rounded to :math:`u` place by place, so that no error adds up. A width of an odd
    number of units has its centre half a unit to the upper right. Circles are polygons on the circle, less
    than :math:`u` away from it. The same metasurface gives the same bytes.

    OASIS keeps the places of a cell as one list of steps. GDSII has no such list and names the cell at each
    place, so that its file is more than ten times larger: 28 MB for a million pillars of 173 widths.

    Parameters
    ----------
    metasurface : Metasurface
        Its pillars. Its aperture is not written: a stop is made in another step.
    path : path
        The file, ending in ``.gds`` (GDSII) or ``.oas`` (OASIS). An older one is replaced.
    classes : int, optional
        Use only so many widths, at equal distances from the smallest to the largest; each pillar gets the
        nearest. Without it, all widths stay.
    database_unit : float
        Step :math:`u` of all coordinates in metres.
    layer : int
        Layer of the pillars, 0 to 254. A text on layer 255 tells size, period and cross-section.

    Returns
    -------
    PillarLayout
        The pillars as they stand in the file; :func:`read_layout` returns the same.

    Raises
    ------
    ImportError
        If gdstk is not installed: it comes with ``pip install "onnlab[fab]"``.
    TypeError
        If ``metasurface`` is none.
    ValueError
        If the suffix is another, a width is negative, not finite, larger than the period or less than the
        database unit, or there are no pillars.
    """
    path = _checked_path(path)
    check_metasurface(metasurface)
    unit = positive_length("database_unit", database_unit)
    layer = whole_number("layer", layer, least=0, most=LABEL_LAYER - 1)
    gdstk = _gdstk()
    period, shape = metasurface.atoms.period, metasurface.atoms.shape
    units = _in_units(metasurface.widths, period, unit)
    if classes is not None:
        units = _classified(units, whole_number("classes", classes, least=2))
    scale = unit / USER_UNIT
    library = gdstk.Library("onnlab", unit=USER_UNIT, precision=unit)
    top = library.new_cell(TOP)
    ny, nx = units.shape
    about = {"database_unit": unit, "nx": nx, "ny": ny, "period": period, "shape": shape}
    top.add(gdstk.Label(json.dumps(about, sort_keys=True), (0, 0), layer=LABEL_LAYER))
    y, x = (_lattice(n, period, unit) for n in (ny, nx))
    for width, place in _by_width(units):
        cell = library.new_cell(f"W{width}")  # GDSII repeats the name at each place: a short one
        cell.add(gdstk.Polygon(_outline(width, shape) * scale, layer=layer))
        at = np.stack([x[place % nx], y[place // nx]], axis=1)
        reference = gdstk.Reference(cell, tuple(at[0] * scale))
        if len(at) > 1:
            reference.repetition = gdstk.Repetition(offsets=(at[1:] - at[0]) * scale)
        top.add(reference)
    with tempfile.TemporaryDirectory() as folder:
        whole = Path(folder) / path.name
        if path.suffix.lower() == ".gds":
            library.write_gds(whole, timestamp=EPOCH)
        else:
            library.write_oas(whole)
        write_whole(path, whole.read_bytes())
    return PillarLayout(torch.from_numpy(units * unit), period, shape, unit)


def read_layout(path: str | os.PathLike[str]) -> PillarLayout:
    """Read a layout of :func:`export_layout` back: measure each pillar, and find its place on the lattice.

    Parameters
    ----------
    path : path
        The file, ending in ``.gds`` or ``.oas``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ImportError
        If gdstk is not installed: it comes with ``pip install "onnlab[fab]"``.
    ValueError
        If the file is damaged or not one of :func:`export_layout`, or a pillar is off its place.
    """
    path = _checked_path(path)
    gdstk = _gdstk()
    if not path.is_file():
        raise FileNotFoundError(f"{path} must be a layout file, and there is none; export_layout writes it")
    try:
        library = (gdstk.read_gds if path.suffix.lower() == ".gds" else gdstk.read_oas)(path)
        (top,) = (cell for cell in library.cells if cell.name == TOP)
        (label,) = (label for label in top.labels if label.layer == LABEL_LAYER)
        about = json.loads(label.text)
    except (RuntimeError, OSError, ValueError) as error:
        raise ValueError(
            f"{path} must be a complete layout of export_layout ({error}); export it again"
        ) from error
    unit, period, shape = about["database_unit"], about["period"], about["shape"]
    units = np.zeros((about["ny"], about["nx"]), dtype=np.int64)
    y, x = (_lattice(n, period, unit) for n in units.shape)
    for width, at in _placed(top, library.unit / unit):
        column, row = (
            np.rint(at[:, k] * unit / period).astype(np.int64) + n // 2
            for k, n in enumerate(units.shape[::-1])
        )
        inside = (row >= 0) & (row < len(y)) & (column >= 0) & (column < len(x))
        if (
            not inside.all()
            or (at != np.stack([x[column], y[row]], axis=1)).any()
            or units[row, column].any()
        ):
            raise ValueError(
                f"{path} must have its pillars on a lattice of {period} m, one at each place; it was edited"
            )
        units[row, column] = width
    return PillarLayout(torch.from_numpy(units * unit), period, shape, unit)


def _gdstk() -> Any:
    try:
        return importlib.import_module("gdstk")
    except ImportError as error:
        raise ImportError(
            'layouts need gdstk, which is not installed; run pip install "onnlab[fab]"'
        ) from error


def _checked_path(path: str | os.PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(
            f"path must end in .gds (GDSII) or .oas (OASIS), got {path.name!r}; choose one of them"
        )
    return path


def _in_units(widths: Tensor, period: float, unit: float) -> np.ndarray:
    """Widths in whole database units, int64; zeros stay, and no pillar is lost or touches a neighbour's."""
    widths = intensity(widths.detach().cpu().double(), "widths")
    units = np.rint(widths.numpy() / unit).astype(np.int64)
    if units.ndim != 2 or not units.any():
        raise ValueError(f"widths must be (ny, nx) with at least one pillar, got {tuple(units.shape)}")
    if ((units == 0) & (widths.numpy() > 0)).any():
        raise ValueError(
            f"database_unit must not exceed the widths, got {unit} m for a pillar that would "
            "vanish; give a finer one"
        )
    if widths.max() > period:
        raise ValueError(
            f"widths must not exceed the period of {period} m, got {widths.max().item():.4g} m: "
            "pillars overlap; are both in metres?"
        )
    return units


def _classified(units: np.ndarray, classes: int) -> np.ndarray:
    pillars = units[units > 0]
    levels = np.rint(np.linspace(pillars.min(), pillars.max(), classes)).astype(np.int64)
    nearest = levels[np.searchsorted((levels[1:] + levels[:-1]) / 2, units)]
    return np.where(units > 0, nearest, 0)


def _by_width(units: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield each width and the flat indices of its pillars, both rising."""
    flat = units.ravel()
    order = np.argsort(flat, kind="stable")  # equal widths keep the order of their places
    widths, first = np.unique(flat[order], return_index=True)
    for width, place in zip(widths.tolist(), np.split(order, first[1:]), strict=True):
        if width:
            yield width, place


def _lattice(n: int, period: float, unit: float) -> np.ndarray:
    """Places of ``n`` pillars in database units, the origin at ``n // 2``."""
    return np.rint((np.arange(n) - n // 2) * period / unit).astype(np.int64)


def _outline(width: int, shape: str) -> np.ndarray:
    """Corners ``(n, 2)`` in database units, exactly ``width`` from side to side along both axes."""
    if shape == "square":
        corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1]]) * width
    else:
        # Sides within an eighth of a unit of the arc: rounding does more. A corner at each end of both axes.
        sides = 4 * math.ceil(math.pi / math.acos(max(0.0, 1 - 0.25 / width)) / 4)
        angle = 2 * math.pi * np.arange(sides) / sides
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        corners = np.rint(width / 2 * (1 + circle)).astype(np.int64)
    return corners - width // 2


def _placed(top: Any, scale: float) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the width of each cell and the places ``(n, 2)`` of its references, in database units."""
    single: dict[str, list[tuple[float, float]]] = {}  # in GDSII a million of them: no array for each
    listed: dict[str, list[np.ndarray]] = {}
    for reference in top.references:
        offsets = reference.repetition.get_offsets()
        if len(offsets):
            listed.setdefault(reference.cell_name, []).append(offsets + reference.origin)
        else:
            single.setdefault(reference.cell_name, []).append(reference.origin)
    cells = {cell.name: cell for cell in top.dependencies(False)}
    for name in single.keys() | listed.keys():
        (left, _), (right, _) = cells[name].bounding_box()
        at = np.concatenate([np.reshape(single.get(name, []), (-1, 2)), *listed.get(name, [])])
        yield round((right - left) * scale), np.rint(at * scale).astype(np.int64)
