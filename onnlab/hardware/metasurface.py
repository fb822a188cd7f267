"""A metasurface: pillars on a lattice, whose widths set the phase of the light behind them."""

import torch
from torch import Tensor, nn

from onnlab.hardware.atoms import MetaAtoms
from onnlab.hardware.sensor import sensor_psf
from onnlab.optics import Grid
from onnlab.optics._check import COMPLEX_DTYPES, real_plane
from onnlab.optics.elements import hold


class Metasurface(nn.Module):
    r"""Pillars of given widths on the lattice of a library: a phase plate for each colour at once.

    .. math:: t_\lambda[n] = a[n]\; t_\lambda(w[n])

    The local-periodic approximation: each pillar transmits as in an endless lattice of its like.

    Parameters
    ----------
    widths : Tensor
        Full widths ``(ny, nx)`` in metres; 0 for no pillar. A ``Parameter`` stays that very object.
    atoms : MetaAtoms
        The library that they are from.
    aperture : Tensor, optional
        Real transmission ``(ny, nx)`` of a stop around the pillars, 0 to 1; all open unless given. A
        ``Parameter`` stays that very object.

    Raises
    ------
    TypeError, ValueError
        If ``widths`` is not a finite real plane within the library, or ``aperture`` does not fit it.
    """

    widths: Tensor
    aperture: Tensor | None

    def __init__(self, widths: Tensor, atoms: MetaAtoms, aperture: Tensor | None = None) -> None:
        super().__init__()
        if not isinstance(atoms, MetaAtoms):
            raise TypeError(
                f"atoms must be MetaAtoms, got {type(atoms).__name__}; use MetaAtoms.silicon_nitride()"
            )
        real_plane(widths, "widths")
        if widths.ndim != 2:
            raise ValueError(
                f"widths must have shape (ny, nx), got {tuple(widths.shape)}; one metasurface for each plane"
            )
        atoms.check_widths(widths.detach())
        self.atoms = atoms
        hold(self, "widths", widths)
        hold(self, "aperture", None if aperture is None else _checked_aperture(aperture, widths))

    @classmethod
    def from_phase(
        cls, phase: Tensor, atoms: MetaAtoms, wavelength: float, aperture: Tensor | None = None
    ) -> "Metasurface":
        """Return the pillars of a library whose phase at ``wavelength`` comes nearest to ``phase``.

        The phase ``(ny, nx)`` is in radians, modulo one turn. A phase within the library's coverage is met
        to half of its phase step; one outside, by the nearer end.
        """
        return cls(atoms.nearest(real_plane(phase, "phase"), wavelength), atoms, aperture)

    def with_widths(self, widths: Tensor) -> "Metasurface":
        """Return a metasurface of the same library and aperture with other widths."""
        return Metasurface(widths, self.atoms, self.aperture)

    def grid(self, wavelength: float) -> Grid:
        """Return the lattice as a grid for one of the library's wavelengths."""
        ny, nx = self.widths.shape
        return Grid((ny, nx), self.atoms.period, self.atoms.wavelengths[self.atoms.colour(wavelength)])

    def phase(self, wavelength: float) -> Tensor:
        r"""Return the phase ``(ny, nx)`` at a wavelength, in radians from :math:`-\pi` to :math:`\pi`."""
        return self.atoms.transmit(self.widths)[self.atoms.colour(wavelength)].angle()

    def transmission(self) -> Tensor:
        """Return the complex transmission ``(colours, ny, nx)``, aperture included."""
        transmission = self.atoms.transmit(self.widths)
        return transmission if self.aperture is None else transmission * self.aperture.to(self.widths)

    def forward(self, u: Tensor) -> Tensor:
        """Return the field behind the pillars, from fields ``(..., colours, ny, nx)`` in front of them."""
        colours, (ny, nx) = len(self.atoms.wavelengths), self.widths.shape
        if not isinstance(u, Tensor) or u.dtype not in COMPLEX_DTYPES:
            raise TypeError("u must be a complex64 or complex128 tensor; use u.to(torch.complex64)")
        if u.ndim < 3 or u.shape[-2:] != (ny, nx) or u.shape[-3] not in (1, colours):
            raise ValueError(
                f"u must have shape (..., {colours}, {ny}, {nx}), got {tuple(u.shape)}; "
                "one field for each colour"
            )
        return u * self.transmission().to(u.dtype)

    def psf(self, distance: float, shape: tuple[int, int], pitch: float | tuple[float, float]) -> Tensor:
        r"""Point spread function of each colour on a sensor, for a point far away on the axis.

        .. math:: s = \frac{|v|^2 \, \Delta_X \Delta_Y}{\sum |t|^2 \, p^2}

        with the field :math:`v` of :func:`at_sensor`: the share of the light through the metasurface that
        lands on each sample. It sums to 1 over the whole plane. The lens is in the widths.

        Parameters
        ----------
        distance : float
            From the metasurface to the sensor in metres.
        shape : (int, int)
            Number of samples on the sensor.
        pitch : float or (float, float)
            Their distance in metres.

        Returns
        -------
        Tensor
            Non-negative ``(colours, *shape)``, the axis at ``(ny // 2, nx // 2)``.

        Raises
        ------
        ValueError
            If a length is not positive, or the aperture is closed.

        Warns
        -----
        SamplingWarning
            If the pitch is above :math:`\lambda/(4 \sin\theta)`, with the ray at :math:`\theta` from the edge
            of the metasurface to the axis: then pixels miss what lies between samples. Or as
            :func:`at_sensor` does.
        """
        transmission = self.transmission()
        return torch.stack(
            [
                sensor_psf(t, self.grid(wavelength), distance, shape, pitch)
                for t, wavelength in zip(transmission, self.atoms.wavelengths, strict=True)
            ]
        )

    def extra_repr(self) -> str:
        """Describe the module in ``print(model)``."""
        ny, nx = self.widths.shape
        colours = ", ".join(f"{1e9 * w:g}" for w in self.atoms.wavelengths)
        return f"{ny} x {nx} pillars, period={1e9 * self.atoms.period:g} nm, wavelengths={colours} nm"


def _checked_aperture(aperture: Tensor, widths: Tensor) -> Tensor:
    real_plane(aperture, "aperture")
    if aperture.shape != widths.shape:
        raise ValueError(
            f"aperture must have the shape of widths, {tuple(widths.shape)}, got {tuple(aperture.shape)}; "
            "make it with circular_aperture on the lattice's grid"
        )
    low, high = aperture.detach().aminmax()
    if not 0 <= float(low) <= float(high) <= 1:
        raise ValueError("aperture must lie between 0 and 1; a stop has no gain")
    return aperture
