"""Errors of the clean room: pillars that come out wider or narrower than they were drawn."""

from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from onnlab.hardware import _planes as planes
from onnlab.hardware.atoms import MetaAtoms
from onnlab.hardware.benches import Masks, PSFs
from onnlab.hardware.errors import OpticalError, PhaseNoise
from onnlab.hardware.metasurface import Metasurface
from onnlab.optics._check import finite_number, not_negative


@dataclass(frozen=True)
class WidthError(OpticalError):
    r"""Pillars of a wrong width: :math:`w' = w + b + \sigma g`, with Gaussian noise :math:`g`.

    A width beyond the library stops at its end, and a place without a pillar stays without one.

    A mask of a 4f system is taken to be made of pillars, in each sample all of the width whose phase is the
    nearest; it is multiplied by :math:`t(w')/t(w)`. Of the pillars behind PSFs nothing is known but the
    library: they get the :class:`PhaseNoise` of its mean square slope, :math:`\sigma^2 \langle(d\phi/dw)^2
    \rangle`, which tells nothing of a bias. If you have the pillars, use :meth:`on_metasurface`.

    Parameters
    ----------
    sigma : float
        Standard deviation :math:`\sigma` in metres.
    atoms : MetaAtoms
        The library; one of its wavelengths is that of the light.
    bias : float
        Mean error :math:`b` in metres; negative for too narrow pillars.
    correlation_length : float
        In metres, as for :class:`PhaseNoise`; 0 for pillars (or samples of a mask) that differ one by one.
    """

    sigma: float
    atoms: MetaAtoms
    bias: float = 0.0
    correlation_length: float = 0.0

    def __post_init__(self) -> None:
        not_negative("sigma", self.sigma, "metres")
        finite_number("bias", self.bias, "metres")
        not_negative("correlation_length", self.correlation_length, "metres")
        if not isinstance(self.atoms, MetaAtoms):
            raise TypeError(
                f"atoms must be MetaAtoms, got {type(self.atoms).__name__}; use MetaAtoms.silicon_nitride()"
            )

    def phase_noise(self, wavelength: float) -> PhaseNoise:
        """Return the rough surface that stands for pillars of all widths alike."""
        phase = self.atoms.phase[:, self.atoms.colour(wavelength)]
        slope = phase.diff() / self.atoms.widths.double().diff()
        return PhaseNoise(self.sigma * float(slope.square().mean().sqrt()), self.correlation_length)

    def on_masks(self, masks: Masks, generator: Generator) -> Masks:
        """Return the masks behind wrong pillars."""
        t, colour = masks.transmission, self.atoms.colour(masks.grid.wavelength)
        widths = self.atoms.nearest(t.detach().angle().double().cpu(), masks.grid.wavelength)
        surface = planes.rough_surface(
            tuple(t.shape[1:]), masks.plane.pitch, self.correlation_length, generator
        )
        before, after = (self.atoms.transmit(one)[colour] for one in (widths, self._etched(widths, surface)))
        return replace(masks, transmission=t * (after / before).to(t))

    def on_psfs(self, psfs: PSFs, generator: Generator) -> PSFs:
        """Return the PSFs with a halo."""
        if self.bias:
            raise ValueError(
                f"bias must be 0 for PSFs, got {self.bias!r}: its effect depends on the pillars; use "
                "on_metasurface with them, and their PSFs as MeasuredPSFs"
            )
        noise = self.phase_noise(psfs.bench.needed("wavelength", self))
        return noise.on_psfs(psfs, generator)

    def on_metasurface(self, surface: Metasurface, generator: Generator) -> Metasurface:
        """Return a metasurface as it comes out of the clean room, of the same library."""
        widths, period = surface.widths, self.atoms.period
        noise = planes.rough_surface(
            tuple(widths.shape), (period, period), self.correlation_length, generator
        )
        return surface.with_widths(self._etched(widths, noise.to(widths)))

    def _etched(self, widths: Tensor, surface: Tensor) -> Tensor:
        narrowest, widest = float(self.atoms.widths[0]), float(self.atoms.widths[-1])
        etched = (widths + self.bias + self.sigma * surface).clamp(narrowest, widest)
        return torch.where(widths == 0, widths, etched)
