"""The explorable of chapter 2: paint the mask of a 4f system."""

import torch
from torch import Tensor

from onnlab.optics import ComplexMask, FourF, Grid
from onnlab.widgets._explorable import SIZE, Explorable, default_object
from onnlab.widgets._traits import Length, Samples, check_shares


def _no_mask() -> Tensor:
    return torch.ones(SIZE, SIZE, dtype=torch.complex64)


def _check_mask(name: str, mask: Tensor) -> None:
    peak = float(mask.abs().max())
    if peak > 1 + 1e-6:
        raise ValueError(
            f"{name} must be passive, |t| <= 1, got {peak:.3g}; glass has no gain: divide by mask.abs().max()"
        )


class FourierMask(Explorable):
    r"""Paint a mask into the Fourier plane of a 4f system and see the image change.

    What is painted in the browser is :attr:`mask` here; assign to it, and the picture follows.

    Parameters
    ----------
    mask : Tensor or array
        Transmission of the mask on ``grid_fourier`` of :attr:`system`: complex64, ``(128, 128)``, zero
        frequency at ``[64, 64]``, :math:`|t| \le 1`.
    object : Tensor or array
        Amplitude of the input, between 0 and 1: float32, ``(128, 128)``.
    pitch, wavelength, focal_length : float
        Of the input plane, of the light and of both lenses, in metres.

    Examples
    --------
    >>> paint = FourierMask()
    >>> paint.mask = circular_aperture(paint.system.grid_fourier, 0.5e-3)
    """

    module = "fourier_mask"

    mask = Samples(_no_mask, _check_mask)
    object = Samples(default_object, check_shares)
    pitch = Length(8e-6)
    wavelength = Length(532e-9)
    focal_length = Length(0.1)

    @property
    def grid(self) -> Grid:
        """Grid of the input plane."""
        return Grid(shape=(SIZE, SIZE), pitch=self.pitch, wavelength=self.wavelength)

    @property
    def system(self) -> FourF:
        """The 4f system with the painted mask."""
        return FourF(self.grid, self.focal_length, mask=ComplexMask(self.mask))

    @property
    def image(self) -> Tensor:
        """Intensity behind the system, upside down as it arrives: float32, ``(128, 128)``."""
        return self.system(self.object.to(torch.complex64)).abs() ** 2
