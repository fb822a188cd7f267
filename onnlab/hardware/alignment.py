"""Errors of alignment: mask, optic or sensor do not stand where they should."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Generator, Tensor

from onnlab.hardware import _planes as planes
from onnlab.hardware.benches import Masks, PSFs, each
from onnlab.hardware.errors import OpticalError
from onnlab.optics._check import finite_number, not_negative, positive_length


@dataclass(frozen=True)
class LateralShift(OpticalError):
    r"""The mask of a 4f system, or the PSF on the sensor, lies beside its place.

    A mask that is moved by :math:`d` in the Fourier plane puts the phase
    :math:`e^{i 2\pi x d/(\lambda f)}` on its kernel (shift theorem), as if the pattern went on beyond the
    window. A PSF is moved itself; between two pixels both share its light.

    Parameters
    ----------
    dx, dy : float
        To the right and down, in metres.
    spread : float
        Standard deviation in metres of a shift along each axis that is added and drawn anew for each kernel,
        and for both PSFs of a pair.
    """

    dx: float
    dy: float
    spread: float = 0.0

    def __post_init__(self) -> None:
        finite_number("dx", self.dx, "metres")
        finite_number("dy", self.dy, "metres")
        not_negative("spread", self.spread, "metres")

    def on_masks(self, masks: Masks, generator: Generator) -> Masks:
        """Return the masks, moved."""
        t = masks.transmission
        dy, dx = self._drawn(t.shape[1], generator)
        t = planes.displaced(t, dy[:, None] / masks.plane.dy, -2, masks.first[0])
        t = planes.displaced(t, dx[:, None] / masks.plane.dx, -1, masks.first[1])
        return replace(masks, transmission=t)

    def on_psfs(self, psfs: PSFs, generator: Generator) -> PSFs:
        """Return the PSFs, moved."""
        rows, columns = planes.places(psfs.window)

        def shifted(psf: Tensor) -> Tensor:
            dy, dx = self._drawn(len(psf), generator)[..., None, None, None] / psfs.bench.pitch
            return planes.moved(psf, rows + dy, columns + dx)

        return each(psfs, shifted)

    def _drawn(self, kernels: int, generator: Generator) -> Tensor:
        extra = torch.randn(2, kernels, dtype=torch.float64, generator=generator)
        return torch.tensor([[self.dy], [self.dx]], dtype=torch.float64) + self.spread * extra


@dataclass(frozen=True)
class Rotation(OpticalError):
    """The mask, or the optic that makes the PSFs, is turned about the axis; so are the kernels.

    Parameters
    ----------
    angle : float
        From x (right) towards y (down), in radians, of size pi/4 at most.
    """

    angle: float

    def __post_init__(self) -> None:
        if abs(finite_number("angle", self.angle, "radians")) > math.pi / 4:
            raise ValueError(
                f"angle must be pi/4 radians at most, got {self.angle!r}; degrees times pi / 180"
            )

    def on_masks(self, masks: Masks, generator: Generator) -> Masks:
        """Return the masks, turned."""
        t = planes.rotated(masks.transmission, self.angle, masks.plane, masks.first)
        return replace(masks, transmission=t)

    def on_psfs(self, psfs: PSFs, generator: Generator) -> PSFs:
        """Return the PSFs, turned."""
        (rows, columns), sine, cosine = planes.places(psfs.window), math.sin(self.angle), math.cos(self.angle)
        y, x = sine * columns + cosine * rows, cosine * columns - sine * rows
        return each(psfs, lambda psf: planes.moved(psf, y, x))


@dataclass(frozen=True)
class Magnification(OpticalError):
    """The kernels land on the sensor in another size than that of the image.

    A focal length or a print that is off does this. The mask's spectrum is then narrower by this factor.

    Parameters
    ----------
    factor : float
        Size of the kernels over that which they should have.
    """

    factor: float

    def __post_init__(self) -> None:
        positive_length("factor", self.factor, "ratio")

    def on_masks(self, masks: Masks, generator: Generator) -> Masks:
        """Return the masks of the larger kernels."""
        return stretched_masks(masks, self.factor, self.factor)

    def on_psfs(self, psfs: PSFs, generator: Generator) -> PSFs:
        """Return the larger PSFs."""
        return stretched_psfs(psfs, self.factor, self.factor)


@dataclass(frozen=True)
class Tilt(OpticalError):
    r"""The mask, or the optic that makes the PSFs, is tilted out of its plane.

    Seen along the axis it is shorter by :math:`\cos\theta`, and the kernels are longer by
    :math:`1/\cos\theta`: an effect of second order. That its halves stand out of focus is left out: it would
    make a kernel depend on the place in the image.

    Parameters
    ----------
    about_x, about_y : float
        Angles :math:`\theta` in radians, below pi/2 in size. A tilt about x shortens y.
    """

    about_x: float
    about_y: float

    def __post_init__(self) -> None:
        for name in ("about_x", "about_y"):
            if abs(finite_number(name, getattr(self, name), "radians")) >= math.pi / 2:
                raise ValueError(f"{name} must be below pi/2 radians in size, got {getattr(self, name)!r}")

    def on_masks(self, masks: Masks, generator: Generator) -> Masks:
        """Return the masks as the light sees them."""
        return stretched_masks(masks, 1 / math.cos(self.about_x), 1 / math.cos(self.about_y))

    def on_psfs(self, psfs: PSFs, generator: Generator) -> PSFs:
        """Return the longer PSFs."""
        return stretched_psfs(psfs, 1 / math.cos(self.about_x), 1 / math.cos(self.about_y))


@dataclass(frozen=True)
class Defocus(OpticalError):
    r"""The sensor stands behind its plane.

    The field of a 4f system goes on by :math:`z`: a mask gets the phase
    :math:`-\pi\lambda z (\nu_x^2 + \nu_y^2)` (Fresnel). A PSF grows by the factor :math:`1 + z/Z` at the
    distance :math:`Z`, and each of its samples becomes an even disc of the diameter :math:`D|z|/Z`
    (geometrical optics: all of the optic, of diameter :math:`D`, works for each sample, and the samples'
    waves do not interfere). That needs the ``distance`` and the ``diameter`` of the bench.

    Parameters
    ----------
    distance : float
        How far the sensor is too far away, in metres; negative if it is too near.
    """

    distance: float

    def __post_init__(self) -> None:
        finite_number("distance", self.distance, "metres")

    def on_masks(self, masks: Masks, generator: Generator) -> Masks:
        """Return the masks with the phase of the free space."""
        grid = masks.grid
        squares = grid.fy.square()[:, None] + grid.fx.square()
        phase = -math.pi * grid.wavelength * self.distance * squares
        return replace(masks, transmission=planes.turned(masks.transmission, phase))

    def on_psfs(self, psfs: PSFs, generator: Generator) -> PSFs:
        """Return the blurred PSFs."""
        nominal = psfs.bench.needed("distance", self)
        if self.distance <= -nominal:
            raise ValueError(
                f"distance must leave the sensor behind the optic, got {self.distance!r} at {nominal!r} m"
            )
        diameter = psfs.bench.needed("diameter", self) * abs(self.distance) / nominal
        growth = 1 + self.distance / nominal
        return blurred(stretched_psfs(psfs, growth, growth), diameter)


def stretched_masks(masks: Masks, along_y: float, along_x: float) -> Masks:
    """Return masks whose kernels are longer by these factors."""
    t = planes.magnified(masks.transmission, (along_y, along_x), masks.first)
    return replace(masks, transmission=t)


def stretched_psfs(psfs: PSFs, along_y: float, along_x: float) -> PSFs:
    """Return PSFs that are longer by these factors."""
    rows, columns = planes.places(psfs.window)
    return each(psfs, lambda psf: planes.moved(psf, along_y * rows, along_x * columns))


def blurred(psfs: PSFs, diameter: float) -> PSFs:
    """Return PSFs each of whose samples is an even disc of this diameter, in metres."""
    if diameter == 0:
        return psfs
    light = planes.disc(planes.ways(psfs.window), psfs.bench.pitch, diameter / 2)
    return each(psfs, lambda psf: planes.spread(psf, light))
