"""Pillars narrower than a wave: what each width does to light of each colour."""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from onnlab.optics import SamplingWarning
from onnlab.optics._check import COMPLEX_DTYPES, finite_values, is_true, one_of, positive_length, whole_number
from onnlab.optics.propagation import polar

SHAPES = ("square", "circle")

# Published fits: wavelength (metres) -> (a, b, c), with the width in micrometres.
NITRIDE_FITS = {
    635e-9: (5.03593, 0.0244, 0.28081),
    532e-9: (2.28293, 0.03756, 0.07134),
    450e-9: (1.87336, 0.0474, 0.03191),
}


@dataclass(frozen=True, eq=False)
class MetaAtoms:
    r"""A library of pillars on a square lattice: the transmission of each width in each colour.

    Widths between two entries have a modulus and an unwrapped phase on the straight line between them. A
    width of zero is a place without a pillar: it has the transmission 1, to which the phases refer.

    Parameters
    ----------
    widths : Tensor
        Full widths (sides or diameters) in metres, ``(n,)``, increasing, at least two.
    transmission : Tensor
        Complex transmission ``(n, colours)``, of modulus at most 1.
    wavelengths : tuple of float
        In metres, one for each colour.
    period : float
        Lattice constant in metres.
    height : float
        Height of the pillars in metres.
    shape : {"square", "circle"}
        Their cross-section.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or size, or the widest pillar is wider than the period.

    Warns
    -----
    SamplingWarning
        If the period is not below the shortest wavelength: then the lattice is a grating, which sends light
        into orders of its own. Or if the phase turns by more than :math:`\pi/2` from one width to the next.

    Notes
    -----
    *Local periodicity* is assumed here and wherever this library is used: each pillar acts as it would in
    an endless lattice of its like, whatever its neighbours are.
    """

    widths: Tensor
    transmission: Tensor
    wavelengths: tuple[float, ...]
    period: float
    height: float
    shape: str

    def __post_init__(self) -> None:
        _check_library(self)

    @classmethod
    def silicon_nitride(cls, step: float = 1e-9) -> "MetaAtoms":
        r"""Return the published pillars of silicon nitride for red, green and blue (635, 532, 450 nm).

        .. math:: \frac{\phi}{2\pi} = a \left(1 - e^{-(w^2 - b w)/c}\right), \qquad w \text{ in micrometres}

        with one triple (a, b, c) for each colour: square pillars 750 nm high, 293 nm apart, 65 to 237 nm
        wide. The modulus is 1: the fits are of the phase alone.

        Parameters
        ----------
        step : float
            Distance of the widths in the table, in metres, at most.

        Notes
        -----
        Source: Choi et al. (2025), Nat. Commun. 16, 5623, where 65 to 237 nm are called *half*-widths. A
        pillar 474 nm wide has no room in a period of 293 nm, so here :math:`w` is the full width. The fits
        agree: at 237 nm a pillar fills the share :math:`(237/293)^2` of its cell, and this share of the
        phase of a solid film, :math:`(n - 1) h/\lambda` with :math:`n \approx 2`, is 0.77 turns in red; the
        fit gives 0.83, and with half-widths it would give 0.20.

        From 65 to 237 nm the phase grows monotonically, by 0.78 turns in red, 1.05 in green and 1.35 in
        blue. So red does **not** reach every phase: see :attr:`coverage`. The lattice has a single order
        in air and, for :math:`\lambda/n_\mathrm{glass} > 293` nm, in a substrate of silica, too.
        """
        first, last = 65e-9, 237e-9
        count = math.ceil(round((last - first) / positive_length("step", step), 6))
        widths = torch.linspace(first, last, count + 1, dtype=torch.float64)
        w = widths * 1e6
        turns = [a * -torch.expm1(-(w.square() - b * w) / c) for a, b, c in NITRIDE_FITS.values()]
        phase = 2 * math.pi * torch.stack(turns, dim=1)
        transmission = polar(torch.ones_like(phase), phase, torch.complex128)
        return cls(widths, transmission, tuple(NITRIDE_FITS), period=293e-9, height=750e-9, shape="square")

    @cached_property
    def phase(self) -> Tensor:
        """Unwrapped phase ``(n, colours)`` in radians, float64."""
        return torch.from_numpy(np.unwrap(self.transmission.to(torch.complex128).angle().numpy(), axis=0))

    @property
    def coverage(self) -> tuple[float, ...]:
        r"""Range of the phase in each colour, in radians. Below :math:`2\pi` some phases are out of reach."""
        phase = self.phase
        return tuple((phase.amax(0) - phase.amin(0)).tolist())

    def colour(self, wavelength: float) -> int:
        """Return the column of a wavelength (metres); raise ValueError if the library does not have it."""
        wavelength = positive_length("wavelength", wavelength)
        for column, own in enumerate(self.wavelengths):
            if math.isclose(own, wavelength, rel_tol=1e-6):
                return column
        known = ", ".join(f"{1e9 * value:g}" for value in self.wavelengths)
        raise ValueError(
            f"wavelength must be one of the library's, {known} nm, got {1e9 * wavelength:g} nm; take "
            "the nearest of them, or make MetaAtoms from a table for this wavelength"
        )

    def only(self, wavelengths: Sequence[float]) -> "MetaAtoms":
        """Return the library with these of its wavelengths (metres) alone, in this order."""
        columns = [self.colour(wavelength) for wavelength in wavelengths]
        own = tuple(self.wavelengths[column] for column in columns)
        return replace(self, transmission=self.transmission[:, columns], wavelengths=own)

    def transmit(self, widths: Tensor) -> Tensor:
        """Return the complex transmission ``(colours, *widths.shape)`` of pillars, differentiable in widths.

        Raises ValueError if a width is neither zero nor within the table.
        """
        table = self.widths.to(widths)
        self.check_widths(widths.detach())
        upper = torch.searchsorted(table, widths.detach().contiguous()).clamp(1, len(table) - 1)
        lower = upper - 1
        # Between its neighbours; a rounding error beyond the ends of the table does no harm.
        share = (widths - table[lower]) / (table[upper] - table[lower])
        phase = self.phase.T.to(widths)
        modulus = self.transmission.abs().T.to(widths)
        empty = widths == 0
        bare = float(table[0]) > 0 and is_true(empty.any())
        columns = []
        for p, m in zip(phase, modulus, strict=True):
            turn, size = p[lower] + share * (p[upper] - p[lower]), m[lower] + share * (m[upper] - m[lower])
            if bare:
                turn, size = turn.where(~empty, 0.0), size.where(~empty, 1.0)
            columns.append(torch.complex(size * torch.cos(turn), size * torch.sin(turn)))
        return torch.stack(columns)

    def nearest(self, phase: Tensor, wavelength: float) -> Tensor:
        """Return the widths in the table whose phase at ``wavelength`` is nearest to ``phase`` (radians).

        Phases count modulo one turn. Result: shape, dtype and device of ``phase``.
        """
        turn = 2 * math.pi
        values, order = self.phase[:, self.colour(wavelength)].remainder(turn).sort()
        # The last entry, a turn earlier, stands before the first, and the first, a turn later, behind it.
        values = torch.cat([values[-1:] - turn, values, values[:1] + turn])
        order = torch.cat([order[-1:], order, order[:1]])
        wanted = phase.detach().to(torch.float64).remainder(turn)
        values, order = values.to(wanted.device), order.to(wanted.device)
        above = torch.searchsorted(values, wanted.contiguous()).clamp(1, len(values) - 1)
        below = above - 1
        index = torch.where(wanted - values[below] < values[above] - wanted, below, above)
        return self.widths.to(wanted.device)[order[index]].to(phase.dtype)

    def check_widths(self, widths: Tensor) -> None:
        """Raise ValueError unless every width is zero or within the table."""
        finite_values(widths, "widths")
        table = self.widths.to(widths)
        slack = 1e-6 * table[-1]
        outside = (widths != 0) & ((widths < table[0] - slack) | (widths > table[-1] + slack))
        if is_true(outside.any()):
            low, high = (1e9 * float(end) for end in self.widths[[0, -1]])
            raise ValueError(
                f"widths must be 0 (no pillar) or from {low:g} to {high:g} nm, as in the library, got "
                f"{1e9 * float(widths[outside][0]):.4g} nm; clamp them, or give lengths in metres"
            )


def _check_library(atoms: MetaAtoms) -> None:
    widths, transmission = atoms.widths, atoms.transmission
    if not isinstance(widths, Tensor) or not widths.is_floating_point() or widths.ndim != 1:
        raise TypeError(f"widths must be a float tensor (n,) in metres, got {widths!r:.60}")
    finite_values(widths, "widths")
    whole_number("the number of widths", len(widths), least=2)
    if float(widths[0]) < 0 or not bool((widths.diff() > 0).all()):
        raise ValueError("widths must be >= 0 and increase; sort the table by width, without doubles")
    if not isinstance(transmission, Tensor) or transmission.dtype not in COMPLEX_DTYPES:
        raise TypeError("transmission must be a complex tensor (n, colours); use torch.polar(modulus, phase)")
    if tuple(transmission.shape) != (len(widths), len(atoms.wavelengths)) or not atoms.wavelengths:
        raise ValueError(
            f"transmission must have shape (widths, wavelengths) = ({len(widths)}, "
            f"{len(atoms.wavelengths)}), got {tuple(transmission.shape)}; one column for each colour"
        )
    finite_values(transmission, "transmission")
    largest = float(transmission.abs().max())
    if largest > 1 + 1e-6:
        raise ValueError(
            f"transmission must have a modulus of at most 1, got {largest:.4g}: a pillar has "
            " no gain; divide by the light that comes in"
        )
    shortest = min(positive_length("wavelengths", w) for w in atoms.wavelengths)
    positive_length("height", atoms.height)
    one_of("shape", atoms.shape, SHAPES)
    if float(widths[-1]) > positive_length("period", atoms.period):
        raise ValueError(
            f"period must be at least the widest pillar, {float(widths[-1]):.4g} m, got "
            f"{atoms.period:.4g} m; give full widths, not half of a table of twice them"
        )
    if atoms.period >= shortest:
        _warn(
            f"a period of {atoms.period:.3g} m is a grating; use less than the wavelength, {shortest:.3g} m"
        )
    step = float(atoms.phase.diff(dim=0).abs().max())
    if step > math.pi / 2:
        _warn(
            f"the phase turns by {step:.2g} rad from one width to the next, and may be unwrapped wrongly: "
            "give more widths, so that it turns by at most pi / 2"
        )


def _warn(text: str) -> None:
    warnings.warn(text, SamplingWarning, stacklevel=5)
