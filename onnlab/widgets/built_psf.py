"""The explorable of chapter 11: the spot of a lens as it is built, and what its errors cost a network."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Generator, Tensor

from onnlab.hardware import YieldCurve
from onnlab.hardware._planes import rough_surface
from onnlab.optics import Grid, circular_aperture, psf
from onnlab.optics._check import finite_number, not_negative, whole_number
from onnlab.optics.grid import centred_index
from onnlab.optics.propagation import polar
from onnlab.widgets._explorable import SIZE, Explorable
from onnlab.widgets._traits import Block, Length

ACROSS = (
    63  # cells along the diameter of the lens: no more than half of the window, for the PSF is twice as wide
)
SIDE = 64  # of the screen of the noise
FAMILIES = ("noise", "levels", "shift", "defocus")


def _opening(side: int) -> Tensor:
    # In cells, not metres: then its rim is the same for every diameter, to the last bit.
    return circular_aperture(Grid((side, side), 1.0, 1.0), ACROSS / 2, torch.float64)


def _standard(screen: Tensor) -> Tensor:
    """Return a screen ``(64, 64)`` with mean 0 and variance 1 over the lens."""
    share = _opening(SIDE) / _opening(SIDE).sum()
    bare = screen.double() - (share * screen).sum()
    spread = (share * bare.square()).sum().sqrt()
    if spread <= 1e-6 * screen.abs().max():  # what rounding leaves of a constant
        raise ValueError("screen must vary, got one value everywhere; draw it, for example with torch.randn")
    return (bare / spread).to(screen.dtype)


def _screen() -> Tensor:
    # Patches of four cells: their halo stays near the spot.
    return _standard(rough_surface((SIDE, SIDE), (1.0, 1.0), 4.0, Generator().manual_seed(11)).float())


class BuiltPSF(Explorable):
    r"""The spot of a lens with errors, live, beside the accuracy of a network with the same errors.

    The phase of a flat lens is rounded to levels, a rough surface is added, the sensor stands out of focus,
    and the spot lies beside its place:

    .. math:: P(x, y) = A\, \exp\Big(i\big[\delta_L + \sigma s - \tfrac{\pi z r^2}{\lambda f^2}
        + \tfrac{2\pi x d}{\lambda f}\big]\Big)

    with the opening :math:`A`, the error :math:`\delta_L` of rounding the phase :math:`-\pi r^2/(\lambda f)`
    to :math:`L` even levels, and a screen :math:`s` of variance 1. All these are computed in the browser.
    The accuracies are not: they are read off what :func:`~onnlab.hardware.yield_curve` has measured, for one
    error at a time and linearly between two sizes. What is given for them cannot be changed later.

    Parameters
    ----------
    curves : mapping of str to onnlab.hardware.YieldCurve, optional
        Accuracy by the size of ``"noise"`` (:math:`\sigma` in radians), ``"levels"`` (:math:`L`),
        ``"shift"`` and ``"defocus"`` (metres): any of them, their sizes ascending. A slider goes from no
        error as far as its curve.
    noise : float
        Phase error :math:`\sigma`, in radians rms over the lens.
    levels : int
        Phase levels :math:`L`; the slider takes powers of two up to 256.
    shift : float
        How far the spot lies to the right of its place, :math:`d`, in metres, as
        :class:`~onnlab.hardware.LateralShift` moves PSFs.
    defocus : float
        How far the sensor is too far away, :math:`z`, in metres.
    shown : {"noise", "levels", "shift", "defocus"}
        Whose curve is drawn: the first unless given, then that of the slider moved last.
    screen : Tensor or array
        The rough surface, ``(64, 64)``, one sample for a cell. Mean and variance over the lens are made 0
        and 1. Left out, it is drawn with a correlation length of four cells.
    diameter, focal_length, wavelength : float
        Of the lens, which has 63 cells across, and of the light, in metres.

    Examples
    --------
    >>> curve = yield_curve(student, digits.validation, PhaseNoise, [0, 0.5, 1, 1.5], devices=5, seed=0)
    >>> BuiltPSF({"noise": curve}, noise=0.5)
    """

    module = "built_psf"

    table = traitlets.Dict().tag(sync=True)
    noise = traitlets.Float(0.0).tag(sync=True)
    levels = traitlets.Int(256).tag(sync=True)
    shift = traitlets.Float(0.0).tag(sync=True)
    defocus = traitlets.Float(0.0).tag(sync=True)
    shown = traitlets.Enum(FAMILIES, "noise").tag(sync=True)
    screen = Block(_screen)
    diameter = Length(0.63e-3)
    focal_length = Length(0.025)
    wavelength = Length(532e-9)

    def __init__(self, curves: Mapping[str, YieldCurve] | None = None, **state: Any) -> None:
        table = {name: _row(name, curve) for name, curve in (curves or {}).items()}
        super().__init__(**{"table": table, "shown": next(iter(table), "noise")} | state)

    @traitlets.validate("noise", "levels", "shift", "defocus")
    def _check_size(self, proposal: dict) -> float:
        name, value = proposal["trait"].name, proposal["value"]
        if name == "levels":
            return whole_number(name, value, least=2)
        if name == "noise":
            return not_negative(name, value, "radians")
        return finite_number(name, value, "metres")

    @traitlets.validate("shown")
    def _check_shown(self, proposal: dict) -> str:
        if self.table and proposal["value"] not in self.table:
            raise ValueError(
                f"shown must be one of the given curves, {', '.join(self.table)}, got {proposal['value']!r}"
            )
        return proposal["value"]

    @traitlets.validate("screen")
    def _check_screen(self, proposal: dict) -> Tensor:
        if proposal["value"].shape != (SIDE, SIDE):
            got = tuple(proposal["value"].shape)
            raise ValueError(f"screen must have shape {(SIDE, SIDE)}, got {got}; pad or resample it")
        return _standard(proposal["value"])

    @property
    def grid(self) -> Grid:
        """Grid of the lens: 128 x 128 samples, twice as wide as the lens."""
        return Grid((SIZE, SIZE), self.diameter / ACROSS, self.wavelength)

    @property
    def aperture(self) -> Tensor:
        """Transmission of the opening: float64, ``(128, 128)``."""
        return _opening(SIZE)

    @property
    def phase(self) -> Tensor:
        """Error of the phase in radians, without the ramp of the shift: float64, ``(128, 128)``."""
        squares = centred_index(SIZE).square()[:, None] + centred_index(SIZE).square()
        pitch = self.diameter / ACROSS
        # In turns, and without powers, so that Python and the browser round alike to the last bit.
        turns = squares * (-pitch * pitch / (2 * self.wavelength * self.focal_length))
        rounding = torch.floor(turns * self.levels + 0.5) / self.levels - turns
        margin = (SIZE - SIDE) // 2
        rough = torch.nn.functional.pad(self.screen.double(), (margin,) * 4)
        blur = turns * (self.defocus / self.focal_length)
        return 2 * math.pi * (rounding + blur) + self.noise * rough

    @property
    def pupil(self) -> Tensor:
        """Transmission of the lens, less that of the perfect one: complex128, ``(128, 128)``."""
        ramp = 2 * math.pi / (self.wavelength * self.focal_length) * self.shift * self.grid.x
        return self.aperture * polar(torch.ones_like(self.phase), self.phase + ramp, torch.complex128)

    @property
    def psf(self) -> Tensor:
        """Share of the light on each sample, by :func:`onnlab.optics.psf`: float64, ``(128, 128)``."""
        return psf(self.pupil, self.grid, self.focal_length)[0]

    @property
    def strehl(self) -> float:
        """Strehl ratio: brightness in the middle of the spot, wherever it lies; 1 for a perfect one."""
        field = polar(torch.ones_like(self.phase), self.phase, torch.complex128)
        return self._relative(self.aperture * field)

    @property
    def at_place(self) -> float:
        """Brightness at the place where the spot should be; 1 for a perfect one."""
        return self._relative(self.pupil)

    def _relative(self, pupil: Tensor) -> float:
        both = torch.stack([pupil, self.aperture.to(pupil.dtype)])
        middle = psf(both, self.grid, self.focal_length)[0][:, SIZE // 2, SIZE // 2]
        return (middle[0] / middle[1]).item()

    def accuracy(self, error: str) -> tuple[float, float]:
        """Mean and standard deviation of the accuracy with this error alone, of its present size.

        Linear between two sizes, of levels over their logarithm; NaN outside of the curve, or without one.
        """
        if error not in self.table:
            return math.nan, math.nan
        row, scale = self.table[error], np.log2 if error == "levels" else np.asarray
        at, sizes = scale(float(getattr(self, error))), scale(row["sizes"])
        mean, std = (
            math.nan if row[name] is None else float(np.interp(at, sizes, row[name], math.nan, math.nan))
            for name in ("mean", "std")
        )
        return mean, std


def _row(name: str, curve: YieldCurve) -> dict[str, Any]:
    if name not in FAMILIES:
        raise ValueError(
            f"curves must be named {', '.join(FAMILIES)}, got {name!r}; rename it or leave it out"
        )
    if not isinstance(curve, YieldCurve):
        raise TypeError(
            f"curves must be of YieldCurve, got {type(curve).__name__} for {name}; use yield_curve"
        )
    sizes = list(curve.sizes)
    if len(sizes) < 2 or sizes != sorted(set(sizes)) or (name == "levels" and sizes[0] < 2):
        least = ", from 2 levels" if name == "levels" else ""
        raise ValueError(
            f"the sizes of {name} must be two at least and ascend{least}, got {sizes}; sort them"
        )
    spread = None if curve.accuracy.shape[1] == 1 else curve.std.tolist()
    return {"sizes": sizes, "mean": curve.mean.tolist(), "std": spread}
