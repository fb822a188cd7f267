"""From a signed kernel to two metasurfaces: each draws one half of it on the sensor, in every colour."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import pad

from onnlab.hardware.atoms import MetaAtoms
from onnlab.hardware.metasurface import Metasurface
from onnlab.networks._check import Size
from onnlab.optics import Grid, signed_kernel_pair, spherical_wave
from onnlab.optics._check import (
    not_complex,
    not_negative,
    one_of,
    positive_length,
    real_plane,
    two_sizes,
    whole_number,
)

COMPARISONS = ("samples", "pixels")


@dataclass(frozen=True, eq=False)
class PSFDesign:
    r"""Two metasurfaces for one kernel, and how well they do.

    Attributes
    ----------
    metasurfaces : tuple of Metasurface or None
        For the positive and the negative half; ``None`` where the kernel has no such half.
    wavelengths : tuple of float
        The colours of the kernel, in metres.
    psfs, targets : Tensor
        PSFs on the sensor, and what they were to be: ``(2, colours, ny, nx)``, first the positive half.
        Each PSF is the share of its colour's light on a sample; a target sums to 1 over all colours.
    errors : Tensor
        :func:`shape_error` of both halves before each step, ``(steps, 2)``, compared as asked for.
    kernel : Tensor
        The kernel that was asked for, on the pixels of the window, ``(colours, wy, wx)``.
    oversampling : int
        Samples per pixel in each direction.
    """

    metasurfaces: tuple[Metasurface | None, Metasurface | None]
    wavelengths: tuple[float, ...]
    psfs: Tensor
    targets: Tensor
    errors: Tensor
    kernel: Tensor
    oversampling: int

    @property
    def psf_error(self) -> Tensor:
        """Error ``(2,)`` of the PSFs on samples, see :func:`shape_error`. Published ones: 0.33 to 0.50."""
        return shape_error(self.psfs, self.targets)

    @property
    def efficiency(self) -> Tensor:
        """Share ``(2, colours)`` of the light that lands in the window."""
        return self.psfs.sum((-2, -1))

    @property
    def gains(self) -> Tensor:
        r"""Factors ``(2,)`` of the two pictures that bring their difference nearest to the kernel.

        .. math:: \min_{g_+, g_-} \|g_+ s_+ - g_- s_- - k\|^2

        Electronics multiplies by them; a half that is missing has the gain 0.
        """
        positive, negative = (pixels(half, self.oversampling).flatten().double() for half in self.psfs)
        halves = torch.stack([positive, -negative], dim=1)
        # With the pseudo-inverse, a half that is all zero takes no part.
        return (torch.linalg.pinv(halves) @ self.kernel.flatten().double()).to(self.psfs.dtype)

    @property
    def realised(self) -> Tensor:
        """The kernel that pixels see, ``(colours, wy, wx)``: the difference of the PSFs with their gains."""
        positive, negative = self.gains
        halves = pixels(self.psfs, self.oversampling)
        return positive * halves[0] - negative * halves[1]

    @property
    def kernel_error(self) -> float:
        r"""Relative error of the kernel, :math:`\|k' - k\| / \|k\|`, light beside the kernel included."""
        return float((self.realised - self.kernel).norm() / self.kernel.norm())


def shape_error(psfs: Tensor, targets: Tensor) -> Tensor:
    r"""L2-normalised difference of intensities over all colours and samples.

    .. math:: e = \left\| \frac{s}{\|s\|} - \frac{t}{\|t\|} \right\|

    0 for a perfect shape, whatever its brightness, and :math:`\sqrt 2` for PSFs that do not overlap.

    Parameters
    ----------
    psfs, targets : Tensor
        Non-negative ``(..., colours, ny, nx)``.

    Returns
    -------
    Tensor
        Errors ``(...)``. Darkness has no shape: a dark target or PSF gives NaN.

    Notes
    -----
    Source: Choi et al. (2025), Nat. Commun. 16, 5623.
    """
    return (_normalised(psfs) - _normalised(targets)).flatten(-3).norm(dim=-1)


def pixels(psfs: Tensor, oversampling: int) -> Tensor:
    """Add up the samples of each pixel: ``(..., ny, nx)`` to ``(..., ny / n, nx / n)``."""
    return psfs.unflatten(-1, (-1, oversampling)).sum(-1).unflatten(-2, (-1, oversampling)).sum(-2)


def design_psf(
    kernel: Tensor,
    atoms: MetaAtoms,
    wavelengths: Sequence[float],
    *,
    lattice: int | Size,
    distance: float,
    pitch: float,
    generator: Generator,
    window: int | Size | None = None,
    oversampling: int = 5,
    compare: str = "samples",
    roughness: float = 0.1,
    aperture: Tensor | None = None,
    learning_rate: float = 0.005,
    steps: int = 500,
) -> PSFDesign:
    r"""Find the pillars whose PSFs, subtracted, make up a kernel.

    Three stages. The kernel is split into two PSFs that light can have
    (:func:`onnlab.optics.signed_kernel_pair`); each is drawn on the sensor, a weight as an even square of one
    pixel; and the widths of the pillars follow it
    down the gradient of :func:`shape_error` by Adam, within the table of the library. All colours share the
    pillars, as they do on a chip: the more colours, the less well each is served.

    At the start the pillars are a lens that is blurred to the size of the kernel, and a little rough. Only
    the shape of the PSF counts: with more steps it improves, and light goes astray beside the window.

    Parameters
    ----------
    kernel : Tensor
        Real ``(ky, kx)``, or ``(colours, ky, kx)``; its origin is at ``(ky // 2, kx // 2)``. Light
        convolves: flip the kernel of a network, which correlates.
    atoms : MetaAtoms
        Library of pillars.
    wavelengths : sequence of float
        Those of the kernel's colours, in metres; the library must have them.
    lattice : int or (int, int)
        Number of pillars ``(ny, nx)``.
    distance : float
        From the metasurface to the sensor in metres.
    pitch : float
        Of the sensor's pixels in metres: one weight falls on one pixel.
    generator : Generator
        Source of the roughness at the start.
    window : int or (int, int), optional
        Pixels in which the PSF is looked at, odd; the kernel with a rim of two dark pixels unless given.
    oversampling : int
        Samples per pixel in each direction, odd, so that a sample lies on the axis.
    compare : {"samples", "pixels"}
        What has to agree: the intensity everywhere, as published; or only what each pixel collects, which
        leaves the pattern within a pixel free. That is far easier, and as good for objects that are points
        at the centres of pixels: light then draws a sharp spot for each weight.
    roughness : float
        Standard deviation of the widths at the start, as a share of their range. More of it helps several
        colours and costs light.
    aperture : Tensor, optional
        Stop around the pillars, as for :class:`Metasurface`.
    learning_rate : float
        Of Adam, as a share of the range of widths.
    steps : int
        Number of steps.

    Returns
    -------
    PSFDesign
        Metasurfaces, PSFs, errors, and the kernel that they realise.

    Raises
    ------
    TypeError, ValueError
        If the kernel is no finite real tensor of one plane for each wavelength, is all zero or larger than
        the window; if window or oversampling is even; or if a number is out of its range.

    Warns
    -----
    SamplingWarning
        As :meth:`Metasurface.psf` does.

    Notes
    -----
    Source: Choi et al. (2025), Nat. Commun. 16, 5623: Adam with a learning rate of 0.005 and 500 steps.
    """
    planes = _checked_kernel(kernel, wavelengths)
    one_of("compare", compare, COMPARISONS)
    whole_number("steps", steps)
    per_pixel = _odd("oversampling", whole_number("oversampling", oversampling))
    wanted = _in_window(planes, window)
    halves = signed_kernel_pair(wanted)
    targets = torch.stack([halves.positive * halves.scale, halves.negative * halves.scale])
    targets = targets.repeat_interleave(per_pixel, -2).repeat_interleave(per_pixel, -1)
    energy = targets.sum((-3, -2, -1), keepdim=True)
    targets = torch.where(energy > 0, targets / energy, 0)

    if not isinstance(atoms, MetaAtoms):
        raise TypeError(
            f"atoms must be MetaAtoms, got {type(atoms).__name__}; use MetaAtoms.silicon_nitride()"
        )
    own = atoms.only(wavelengths)
    rate = positive_length("learning_rate", learning_rate, "share of the range of widths")
    spread = not_negative("roughness", roughness, "share of the range of widths")
    blur = positive_length("pitch", pitch) * max(planes.shape[-2:])
    start = _blurred_lens(own, two_sizes("lattice", lattice), distance, blur)
    low, high = float(own.widths[0]), float(own.widths[-1])
    start = start.to(planes.dtype)

    def half(target: Tensor) -> tuple[Metasurface | None, Tensor, Tensor]:
        """Design one metasurface; return it, its PSFs, and the error before each step."""
        noise = torch.randn(start.shape, generator=generator, dtype=start.dtype)
        if not bool(target.any()):
            return None, torch.zeros_like(target), target.new_full((steps,), math.nan)
        widths = nn.Parameter((start + spread * (high - low) * noise).clamp(low, high))
        surface = Metasurface(widths, own, aperture)
        optimiser = torch.optim.Adam([widths], lr=rate * (high - low))
        errors = []
        for _ in range(steps):
            psfs = surface.psf(distance, _plane(target), pitch / per_pixel)
            if compare == "pixels":
                error = shape_error(pixels(psfs, per_pixel), pixels(target, per_pixel))
            else:
                error = shape_error(psfs, target)
            optimiser.zero_grad()
            error.backward()
            optimiser.step()
            with torch.no_grad():
                widths.clamp_(low, high)
            errors.append(error.detach())
        with torch.no_grad():
            psfs = surface.psf(distance, _plane(target), pitch / per_pixel)
        return Metasurface(widths.detach(), atoms, aperture), psfs, torch.stack(errors)

    surfaces, psfs, errors = zip(*(half(target) for target in targets), strict=True)
    return PSFDesign(
        surfaces, own.wavelengths, torch.stack(psfs), targets, torch.stack(errors, 1), wanted, per_pixel
    )


def _blurred_lens(atoms: MetaAtoms, lattice: Size, distance: float, blur: float) -> Tensor:
    """Widths of a lens that focuses before the sensor, so that its cone is ``blur`` wide there."""
    middle = sorted(atoms.wavelengths)[len(atoms.wavelengths) // 2]
    grid = Grid(lattice, atoms.period, middle)
    focal_length = positive_length("distance", distance) / (1 + blur / min(grid.extent))
    return atoms.nearest(spherical_wave(grid, -focal_length, torch.complex128).angle(), middle)


def _normalised(psfs: Tensor) -> Tensor:
    return psfs / psfs.flatten(-3).norm(dim=-1)[..., None, None, None]


def _plane(values: Tensor) -> Size:
    ny, nx = values.shape[-2:]
    return ny, nx


def _odd(name: str, value: int) -> int:
    if value % 2 == 0:
        raise ValueError(f"{name} must be odd, so that the axis has a centre, got {value}; try {value + 1}")
    return value


def _checked_kernel(kernel: Tensor, wavelengths: Sequence[float]) -> Tensor:
    not_complex(kernel, "kernel", "design its real and its imaginary part each for itself")
    real_plane(kernel, "kernel")
    planes = kernel.detach()[None] if kernel.ndim == 2 else kernel.detach()
    if planes.ndim != 3 or len(planes) != len(wavelengths):
        raise ValueError(
            f"kernel must have shape (ky, kx) or (colours, ky, kx) with one plane for each of the "
            f"{len(wavelengths)} wavelengths, got {tuple(kernel.shape)}; design one kernel at a time"
        )
    if not bool(planes.any()):
        raise ValueError("kernel must not be all zero: it needs no light; leave it out")
    return planes


def _in_window(planes: Tensor, window: int | Size | None) -> Tensor:
    """Surround the kernel by zeros, its origin in the middle of an odd window."""
    least = [n + 1 - n % 2 for n in planes.shape[-2:]]
    sizes = tuple(n + 4 for n in least) if window is None else two_sizes("window", window)
    if any(w < n for w, n in zip(sizes, least, strict=True)):
        raise ValueError(
            f"kernel must fit the window of {sizes[0]} x {sizes[1]} pixels, got {tuple(planes.shape[-2:])}; "
            f"use a window of at least {least[0]} x {least[1]}"
        )
    before = [_odd("window", w) // 2 - n // 2 for w, n in zip(sizes, planes.shape[-2:], strict=True)]
    after = [w - b - n for w, b, n in zip(sizes, before, planes.shape[-2:], strict=True)]
    return pad(planes, (before[1], after[1], before[0], after[0]))
