"""Phase masks as pictures for a spatial light modulator (SLM), and back."""

import io
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

import onnlab
from onnlab.distill.checkpoint import write_whole
from onnlab.hardware.panel import PhaseCurve
from onnlab.optics import Grid, PhaseMask
from onnlab.optics._check import on_grid, real_plane, whole_number

DEPTHS = (8, 16)  # what a PNG of grey levels can hold


@dataclass(frozen=True, eq=False)
class SLMImage:
    """What a picture for an SLM shows.

    Parameters
    ----------
    phase : Tensor
        Phase in radians that the panel gives behind the mask's samples, ``(ny, nx)``, float64.
    grid : Grid
        Of the mask: its shape, the pitch of the panel's pixels, the wavelength.
    levels : Tensor
        Grey levels of all pixels ``(rows, columns)``, int64; round the mask that of the phase nearest to 0.
    bits : int
        Bits of a grey level in the file.
    curve : PhaseCurve
        The panel's calibration.
    """

    phase: Tensor
    grid: Grid
    levels: Tensor
    bits: int
    curve: PhaseCurve


def export_slm(
    mask: PhaseMask | Tensor,
    path: str | os.PathLike[str],
    bits: int = 8,
    *,
    grid: Grid,
    panel: tuple[int, int] | None = None,
    curve: PhaseCurve | None = None,
) -> SLMImage:
    r"""Write a phase mask as a PNG of grey levels, with its calibration and sampling as metadata.

    Each sample becomes the level :math:`g` whose phase :math:`\phi(g)` on the curve is nearest to it, modulo
    :math:`2\pi`. One sample is one pixel of the panel; :func:`onto_panel` resamples a mask that is coarser.
    The same mask gives the same bytes. Row 0 of the mask is the top row of the picture.

    Parameters
    ----------
    mask : PhaseMask or Tensor
        Phase in radians, ``(ny, nx)``, of any range.
    path : path
        The file, ending in ``.png``. An older one is replaced.
    bits : {8, 16}
        Bits of a grey level. For a panel of 10 bits take 16, and a curve of the levels 0 to 1023.
    grid : Grid
        Grid of the mask. Its pitch is that of the panel's pixels.
    panel : (int, int), optional
        Pixels ``(rows, columns)`` of the panel. The mask's origin comes to its origin; the pixels round the
        mask have the phase nearest to 0 that the curve has. That of the mask unless given.
    curve : PhaseCurve, optional
        Calibration of the panel; :meth:`PhaseCurve.linear` unless given.

    Returns
    -------
    SLMImage
        What the panel will show; :func:`read_slm` returns the same.

    Raises
    ------
    TypeError
        If the mask is no phase mask and no real tensor.
    ValueError
        If the suffix is another, the mask is not finite, is a stack, does not match its grid or not fit the
        panel; if ``bits`` are too few for the curve; if the panel cannot show a phase of the mask.
    """
    path = Path(path)
    if path.suffix.lower() != ".png":
        raise ValueError(f"path must end in .png, got {path.name!r}; SLMs are fed with pictures")
    phase = _phase(mask, grid)
    if bits not in DEPTHS:
        raise ValueError(f"bits must be 8 or 16, got {bits!r}; for a panel of 10 bits take 16 and a curve")
    curve = PhaseCurve.linear(bits) if curve is None else curve
    if curve.levels[-1] >= 2**bits:
        raise ValueError(
            f"bits must hold the levels of the curve, up to {curve.levels[-1]}, got {bits}; use bits=16 and "
            "levels below 65536"
        )
    rows, columns = grid.shape if panel is None else (whole_number("panel", n) for n in panel)
    top, left = _corner(grid, (rows, columns))
    levels = torch.full((rows, columns), curve.flat_level())
    levels[top : top + grid.ny, left : left + grid.nx] = curve.to_levels(phase)
    about = {
        "bits": bits,
        "curve": asdict(curve),
        "grid": asdict(grid),
        "panel": [rows, columns],
        "version": onnlab.__version__,
    }
    write_whole(path, _png(levels.numpy().astype(f"uint{bits}"), about))
    return _shown(levels, grid, bits, curve)


def read_slm(path: str | os.PathLike[str]) -> SLMImage:
    """Read a picture of :func:`export_slm`: the phase that the panel shows, and what it was made for.

    Parameters
    ----------
    path : path
        The file.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is damaged, or was not written by :func:`export_slm`.
    """
    try:
        with Image.open(path) as picture:
            levels = np.array(picture)
            about = json.loads(picture.text["onnlab"])  # type: ignore[attr-defined]  # a PNG has it
    except FileNotFoundError:
        raise
    except (AttributeError, KeyError) as error:
        raise ValueError(
            f"{path} must be a file of export_slm, got a picture without its metadata; some programs drop "
            "them when they save: export it again"
        ) from error
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path} must be a complete PNG ({error}); export it again") from error
    if list(levels.shape) != about["panel"]:
        raise ValueError(
            f"{path} must have the {about['panel']} pixels that it was made with, got {list(levels.shape)}; "
            "it was scaled or cropped: export it again"
        )
    shape, pitch = tuple(about["grid"]["shape"]), tuple(about["grid"]["pitch"])
    grid = Grid(shape, pitch, about["grid"]["wavelength"])
    return _shown(
        torch.from_numpy(levels.astype(np.int64)), grid, about["bits"], PhaseCurve(**about["curve"])
    )


def _phase(mask: object, grid: Grid) -> Tensor:
    if isinstance(mask, PhaseMask):
        mask = mask.phi
    if not isinstance(mask, Tensor) or mask.is_complex():
        got = mask.dtype if isinstance(mask, Tensor) else type(mask).__name__
        raise TypeError(
            f"mask must be a PhaseMask or a real tensor of phases, got {got}; a panel turns the phase only: "
            "make phases of a complex mask with double_phase"
        )
    phase = real_plane(mask, "mask")
    on_grid(phase, grid, "mask")
    if phase.ndim > 2:
        raise ValueError(
            f"mask must be one mask (ny, nx), got a stack {tuple(phase.shape)}; export them one by one"
        )
    return phase


def _corner(grid: Grid, panel: tuple[int, int]) -> tuple[int, int]:
    """Row and column of the panel where the mask begins: both have their origin at ``n // 2``."""
    if grid.ny > panel[0] or grid.nx > panel[1]:
        raise ValueError(
            f"mask must fit the panel of {panel[0]} x {panel[1]} pixels, got {grid.ny} x {grid.nx}; "
            "crop it, or make it for fewer samples"
        )
    return panel[0] // 2 - grid.ny // 2, panel[1] // 2 - grid.nx // 2


def _png(levels: np.ndarray, about: dict[str, Any]) -> bytes:
    info, buffer = PngInfo(), io.BytesIO()
    info.add_text("onnlab", json.dumps(about, sort_keys=True))
    Image.fromarray(levels).save(buffer, "png", pnginfo=info)
    return buffer.getvalue()


def _shown(levels: Tensor, grid: Grid, bits: int, curve: PhaseCurve) -> SLMImage:
    top, left = _corner(grid, (levels.shape[0], levels.shape[1]))
    inside = levels[top : top + grid.ny, left : left + grid.nx]
    return SLMImage(curve.to_phase(inside), grid, levels, bits, curve)
