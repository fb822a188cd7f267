"""Errors of the light on its way, and of the camera at its end."""

import math
from dataclasses import dataclass, replace
from typing import TypeVar

import torch
from torch import Generator, Tensor

from onnlab.hardware import _planes as planes
from onnlab.hardware.alignment import blurred, stretched_masks, stretched_psfs
from onnlab.hardware.benches import Bench, Masks, PSFs, each
from onnlab.hardware.errors import OpticalError
from onnlab.optics import Camera, circular_aperture
from onnlab.optics._check import finite_number, not_negative, positive_length, share, whole_number

AnyBench = TypeVar("AnyBench", bound=Bench)


@dataclass(frozen=True)
class WavelengthShift(OpticalError):
    r"""Light of another wavelength :math:`\lambda' = \lambda + \delta` than that of the design.

    Diffraction grows with the wavelength: so do the kernels, by :math:`\lambda'/\lambda`. The relief of a
    mask delays by the same path, and its phases, from 0 to :math:`2\pi`, become :math:`\phi\lambda/\lambda'`.
    A flat optic that makes PSFs has its focus at :math:`Z\lambda/\lambda'` instead of the sensor's distance
    :math:`Z`; each sample becomes a disc of the diameter :math:`D|\delta|/\lambda`, as for :class:`Defocus`.
    That needs the ``diameter`` and the ``wavelength`` of the bench.

    Parameters
    ----------
    shift : float
        The difference :math:`\delta` in metres.
    """

    shift: float

    def __post_init__(self) -> None:
        finite_number("shift", self.shift, "metres")

    def on_masks(self, masks: Masks, generator: Generator) -> Masks:
        """Return the masks in the other light."""
        ratio = self._ratio(masks.grid.wavelength)
        phase = masks.transmission.angle() % (2 * math.pi) * (1 / ratio - 1)
        seen = replace(masks, transmission=planes.turned(masks.transmission, phase))
        return stretched_masks(seen, ratio, ratio)

    def on_psfs(self, psfs: PSFs, generator: Generator) -> PSFs:
        """Return the PSFs in the other light."""
        ratio = self._ratio(psfs.bench.needed("wavelength", self))
        diameter = psfs.bench.needed("diameter", self) * abs(ratio - 1)
        return blurred(stretched_psfs(psfs, ratio, ratio), diameter)

    def _ratio(self, wavelength: float) -> float:
        if self.shift <= -wavelength:
            raise ValueError(f"shift must leave a wavelength, got {self.shift!r} of {wavelength!r} m")
        return 1 + self.shift / wavelength


@dataclass(frozen=True)
class Bandwidth(OpticalError):
    """Light of many wavelengths, evenly spread about that of the design; their intensities add.

    Each of them is off by a :class:`WavelengthShift`.

    Parameters
    ----------
    width : float
        Full width of the band in metres.
    colours : int
        How many wavelengths stand for the band.
    """

    width: float
    colours: int = 5

    def __post_init__(self) -> None:
        not_negative("width", self.width, "metres")
        whole_number("colours", self.colours)

    def _shifts(self) -> list[WavelengthShift]:
        return [WavelengthShift(self.width * ((j + 0.5) / self.colours - 0.5)) for j in range(self.colours)]

    def on_masks(self, masks: Masks, generator: Generator) -> Masks:
        """Return the masks in all colours."""
        seen = [shift.on_masks(masks, generator).transmission for shift in self._shifts()]
        return replace(masks, transmission=torch.cat(seen))

    def on_psfs(self, psfs: PSFs, generator: Generator) -> PSFs:
        """Return the mean of the PSFs over the colours."""
        seen = [shift.on_psfs(psfs, generator) for shift in self._shifts()]
        positive = torch.stack([one.positive for one in seen]).mean(0)
        return replace(psfs, positive=positive, negative=torch.stack([one.negative for one in seen]).mean(0))


@dataclass(frozen=True)
class Aperture(OpticalError):
    """An opening that is too small.

    In the Fourier plane of a 4f system it cuts off the high frequencies of image and kernel. A PSF cannot be
    finer than the Airy pattern of the opening: each of its samples becomes one. That needs the ``distance``
    and the ``wavelength`` of the bench.

    Parameters
    ----------
    diameter : float
        Of a round hole, in metres; ``math.inf`` for no limit.
    """

    diameter: float

    def __post_init__(self) -> None:
        if self.diameter != math.inf:
            positive_length("diameter", self.diameter)

    def on_masks(self, masks: Masks, generator: Generator) -> Masks:
        """Return the masks behind the hole."""
        if self.diameter == math.inf:
            return masks
        hole = circular_aperture(masks.plane, self.diameter / 2, torch.float64)
        return replace(masks, transmission=masks.transmission * hole.to(masks.transmission.real))

    def on_psfs(self, psfs: PSFs, generator: Generator) -> PSFs:
        """Return the PSFs, blurred by diffraction."""
        reach = psfs.bench.needed("distance", self) * psfs.bench.needed("wavelength", self)
        if self.diameter == math.inf:
            return psfs
        cutoff = self.diameter / reach

        def clear_circle(frequency: Tensor) -> Tensor:
            s = (frequency / cutoff).clamp(max=1)
            return 2 / math.pi * (torch.acos(s) - s * (1 - s.square()).sqrt())

        airy = planes.spot(clear_circle, cutoff, planes.ways(psfs.window), psfs.bench.pitch)
        return each(psfs, lambda psf: planes.spread(psf, airy))


class _CameraError(OpticalError):
    """An error behind the optics, alike for all of them."""

    def on_masks(self, masks: Masks, generator: Generator) -> Masks:
        """Return the bench of a 4f system with another camera."""
        return self._seen(masks)

    def on_psfs(self, psfs: PSFs, generator: Generator) -> PSFs:
        """Return the bench of a camera with PSFs with another camera."""
        return self._seen(psfs)

    def _seen(self, bench: AnyBench) -> AnyBench:
        raise NotImplementedError


@dataclass(frozen=True)
class StrayLight(_CameraError):
    """Scattered light: a share of the light of each picture is spread evenly over it.

    Parameters
    ----------
    fraction : float
        The share, from 0 to 1.
    """

    fraction: float

    def __post_init__(self) -> None:
        share("fraction", self.fraction)

    def _seen(self, bench: AnyBench) -> AnyBench:
        return replace(bench, stray=1 - (1 - bench.stray) * (1 - self.fraction))


@dataclass(frozen=True)
class Brightness(_CameraError):
    """More or less light than the electronics count on.

    Parameters
    ----------
    factor : float
        Of all intensities.
    """

    factor: float

    def __post_init__(self) -> None:
        positive_length("factor", self.factor, "ratio")

    def _seen(self, bench: AnyBench) -> AnyBench:
        return replace(bench, brightness=bench.brightness * self.factor)


@dataclass(frozen=True)
class CameraNoise(_CameraError):
    """The camera that is really there, in place of that of the design.

    Parameters
    ----------
    sensor : Camera
        With the binning of the design.
    """

    sensor: Camera

    def __post_init__(self) -> None:
        if not isinstance(self.sensor, Camera):
            raise TypeError(f"sensor must be an onnlab.optics.Camera, got {type(self.sensor).__name__}")

    def _seen(self, bench: AnyBench) -> AnyBench:
        binning = 1 if bench.sensor is None else bench.sensor.binning
        if self.sensor.binning != binning:
            raise ValueError(
                f"sensor must have the binning of the design, {binning}, got {self.sensor.binning}: "
                "the back end is made for its pixels"
            )
        return replace(bench, sensor=self.sensor)
