"""What the panel of a spatial light modulator (SLM) shows: grey levels, and complex masks as phases."""

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from onnlab.optics import Grid
from onnlab.optics._check import COMPLEX_DTYPES, finite_number, finite_values, on_grid, whole_number

CYCLE = 2 * math.pi


@dataclass(frozen=True)
class PhaseCurve:
    """Calibration of a panel: the phase at some of its grey levels, with straight lines between them.

    Parameters
    ----------
    levels : sequence of int
        Grey levels at which the phase was measured, rising, at least two. Levels outside are not used.
    phases : sequence of float
        The phases in radians, rising. A curve may rise by more or less than a cycle.

    Raises
    ------
    TypeError, ValueError
        If they are no numbers, are not as many, or do not rise.

    Examples
    --------
    >>> PhaseCurve.linear(8).phases[-1]  # one level below a full cycle
    6.258641614573416
    """

    levels: tuple[int, ...]
    phases: tuple[float, ...]

    def __post_init__(self) -> None:
        levels = tuple(whole_number("levels", level, least=0) for level in self.levels)
        phases = tuple(finite_number("phases", phase, "radians") for phase in self.phases)
        if len(levels) != len(phases) or len(levels) < 2:
            raise ValueError(
                f"phases must be as many as levels and at least two, got {len(phases)} phases for "
                f"{len(levels)} levels; give one phase for each level"
            )
        for name, values in (("levels", levels), ("phases", phases)):
            if any(after <= before for before, after in pairwise(values)):
                raise ValueError(
                    f"{name} must rise from one to the next, got {_short(values)}; sort the points, unwrap "
                    "the phases, and for a panel whose phase falls negate both the phases and the mask"
                )
        object.__setattr__(self, "levels", levels)
        object.__setattr__(self, "phases", phases)

    @classmethod
    def linear(cls, bits: int) -> "PhaseCurve":
        r"""Curve of an ideal panel, :math:`\phi = 2\pi g / 2^b`: the level after the last is a full cycle."""
        most = 2 ** whole_number("bits", bits) - 1
        return cls((0, most), (0.0, CYCLE * most / (most + 1)))

    def at_levels(self) -> Tensor:
        """Return the phases of all levels from the first to the last, float64."""
        every = np.arange(self.levels[0], self.levels[-1] + 1)
        return torch.from_numpy(np.interp(every, self.levels, self.phases))

    def to_phase(self, levels: Tensor) -> Tensor:
        """Return the phases in radians, float64, that whole grey levels of any shape give."""
        place = levels.long() - self.levels[0]
        if ((place < 0) | (place > self.levels[-1] - self.levels[0])).any():
            raise ValueError(
                f"levels must lie on the curve, from {self.levels[0]} to {self.levels[-1]}, got "
                f"{levels.min().item()} to {levels.max().item()}; calibrate the panel over all of them"
            )
        return self.at_levels()[place]

    def to_levels(self, phase: Tensor) -> Tensor:
        r"""Return for each phase the grey level whose phase is nearest on the circle, int64.

        A curve that does not reach round the circle leaves a gap. A phase may lie in it by half of the
        largest step between two levels; one that lies deeper is an error.
        """
        levels, away = self._nearest(phase)
        curve = self.at_levels()
        if away > curve.diff().max().item() / 2 + 1e-9:
            raise ValueError(
                f"mask must hold phases that the panel can show, but one is {away:.3g} rad away from all of "
                f"its levels: they rise by {(curve[-1] - curve[0]).item():.3g} rad only; use light for "
                "which the panel reaches a full cycle, or bring the mask into its range"
            )
        return levels

    def flat_level(self) -> int:
        """Return the grey level whose phase is nearest to 0 on the circle, however far away it is."""
        return int(self._nearest(torch.zeros(()))[0])

    def _nearest(self, phase: Tensor) -> tuple[Tensor, float]:
        """Return the nearest levels, and how far from one of them a phase is at the most."""
        around, order = torch.remainder(self.at_levels(), CYCLE).sort()
        # The last level stands a cycle earlier before the first, too, and the first a cycle later at the end.
        around = torch.cat([around[-1:] - CYCLE, around, around[:1] + CYCLE])
        order = torch.cat([order[-1:], order, order[:1]])
        wrapped = torch.remainder(phase.detach().cpu().double(), CYCLE)
        place = torch.bucketize(wrapped, (around[1:] + around[:-1]) / 2)
        return order[place] + self.levels[0], (wrapped - around[place]).abs().max().item()


def double_phase(transmission: Tensor) -> Tensor:
    r"""Return a phase that acts as a complex mask, for a panel that has no amplitude.

    .. math:: a\,e^{i\phi} = \tfrac{1}{2}\left(e^{i(\phi + \delta)} + e^{i(\phi - \delta)}\right),
        \qquad \delta = \arccos a

    Neighbours take turns: pixels with an even sum of row and column get :math:`\phi + \delta`, the others
    :math:`\phi - \delta`. Light cannot tell them apart where it leaves at small angles. What is left over,
    :math:`\pm i \sin\delta\, e^{i\phi}`, leaves at the steepest angle that the pixels know, and a stop keeps
    it from the camera. So the pixels must be much finer than the mask: see :func:`onto_panel`.

    Parameters
    ----------
    transmission : Tensor
        Complex mask ``(..., ny, nx)``, passive: none of its values is larger than 1.

    Returns
    -------
    Tensor
        Phase in radians, of the same shape.

    Raises
    ------
    TypeError, ValueError
        If it is not complex, not finite, or has gain.

    Notes
    -----
    Sources: Hsueh & Sawchuk (1978), DOI 10.1364/AO.17.003874; in a chequerboard: Mendoza-Yero et al. (2014),
    DOI 10.1364/OL.39.001740.
    """
    _check_transmission(transmission)
    amplitude = transmission.abs()
    if amplitude.max() > 1 + 1e-6:
        raise ValueError(
            f"transmission must not exceed 1: a panel has no gain, got {amplitude.max().item():.6g}; "
            "divide it by its largest value"
        )
    rows, columns = (torch.arange(n, device=transmission.device) for n in transmission.shape[-2:])
    sign = 1 - 2 * ((rows[:, None] + columns) % 2)
    return transmission.angle() + sign * torch.acos(amplitude.clamp(max=1))


def onto_panel(transmission: Tensor, grid: Grid, panel: Grid) -> Tensor:
    """Return a mask on the pixels of a panel: each pixel takes the sample that covers its centre.

    Both have their origins at one place. Pixels beyond the mask are dark: 0.

    Parameters
    ----------
    transmission : Tensor
        Complex mask ``(..., ny, nx)`` on ``grid``, for example on ``fourier_grid`` of a 4f system.
    grid, panel : Grid
        Of the mask and of the panel.

    Returns
    -------
    Tensor
        Complex mask ``(..., *panel.shape)``.

    Raises
    ------
    TypeError, ValueError
        If the mask is not complex, or not on its grid; if it is larger than the panel or finer than its
        pixels; if the wavelengths differ.
    """
    _check_transmission(transmission)
    on_grid(transmission, grid, "transmission")
    if grid.wavelength != panel.wavelength:
        raise ValueError(
            f"panel must be for the mask's wavelength of {grid.wavelength} m, got {panel.wavelength} m; "
            "make the mask for this light: its size and its phase depend on it"
        )
    for k, axis in enumerate("yx"):
        (low, high), (bottom, top) = (_reach(one.shape[k], one.pitch[k]) for one in (grid, panel))
        if low < bottom * (1 + 1e-9) or high > top * (1 + 1e-9):
            raise ValueError(
                f"panel must be as large as the mask, but along {axis} the mask reaches from {low:.4g} m to "
                f"{high:.4g} m and the panel from {bottom:.4g} m to {top:.4g} m; a shorter focal length "
                "makes a smaller mask"
            )
        if grid.pitch[k] < panel.pitch[k] * (1 - 1e-9):
            raise ValueError(
                f"panel must have pixels no larger than the mask's samples, {grid.pitch[k]:.4g} m along "
                f"{axis}, got {panel.pitch[k]:.4g} m; a longer focal length makes larger samples"
            )
    rows, columns = (
        _covering(axis, step, n)
        for axis, step, n in ((panel.y, grid.dy, grid.ny), (panel.x, grid.dx, grid.nx))
    )
    # One dark row and column more: the sample of the pixels beyond the mask.
    padded = torch.nn.functional.pad(transmission, (0, 1, 0, 1))
    return padded[..., rows[:, None], columns]


def _reach(n: int, step: float) -> tuple[float, float]:
    """Outer edges of ``n`` cells in metres."""
    return -(n // 2 + 0.5) * step, (n - n // 2 - 0.5) * step


def _covering(pixels: Tensor, step: float, n: int) -> Tensor:
    """Index of the sample whose cell holds each pixel's centre; ``n`` where there is none."""
    # The small number settles centres on an edge, which rounding would throw to either side.
    place = torch.floor(pixels / step + 0.5 + 1e-9).long() + n // 2
    return place.where((place >= 0) & (place < n), torch.tensor(n))


def _check_transmission(transmission: object) -> None:
    if not isinstance(transmission, Tensor) or transmission.dtype not in COMPLEX_DTYPES:
        got = transmission.dtype if isinstance(transmission, Tensor) else type(transmission).__name__
        raise TypeError(
            f"transmission must be complex64 or complex128, got {got}; use mask.transmission(torch.complex64)"
        )
    if transmission.ndim < 2:
        raise ValueError(
            f"transmission must have shape (..., ny, nx), got {tuple(transmission.shape)}; "
            "add the missing axes"
        )
    finite_values(transmission, "transmission")


def _short(values: tuple[float, ...]) -> str:
    shown = ", ".join(f"{value:.6g}" for value in values[:4])
    return f"{shown}, ..." if len(values) > 4 else shown
