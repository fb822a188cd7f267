"""The explorable of chapter 1: light behind an opening."""

import torch
import traitlets
from torch import Tensor

from onnlab.optics import Grid, circular_aperture, propagate, rectangular_aperture, ring_aperture
from onnlab.widgets._explorable import SIZE, Explorable
from onnlab.widgets._traits import Length

INNER = 0.6  # of the radius: where the ring and the bar between the slits begin


class Diffraction(Explorable):
    """Diffraction behind an opening in a screen that a plane wave falls on.

    Parameters
    ----------
    shape : {"circle", "square", "slits", "ring"}
        Opening.
    radius : float
        Half its width in metres. Ring, and bar between the slits: 0.6 of it.
    distance : float
        From the opening to the picture, in metres.
    wavelength : float
        In metres.
    pitch : float
        Distance between the 128 x 128 samples in metres.
    tone : {"linear", "root", "log"}
        How brightness is shown: intensity, its square root, or four decades of it.
    """

    module = "diffraction"

    shape = traitlets.Enum(["circle", "square", "slits", "ring"], "circle").tag(sync=True)
    radius = Length(2e-4)
    distance = Length(0.02)
    wavelength = Length(532e-9)
    pitch = Length(1e-5)
    tone = traitlets.Enum(["linear", "root", "log"], "root").tag(sync=True)

    @property
    def grid(self) -> Grid:
        """Grid of the opening and of the picture."""
        return Grid(shape=(SIZE, SIZE), pitch=self.pitch, wavelength=self.wavelength)

    @property
    def aperture(self) -> Tensor:
        """Transmission of the opening: float64, ``(128, 128)``."""
        grid, a, dtype = self.grid, self.radius, torch.float64
        if self.shape == "circle":
            return circular_aperture(grid, a, dtype)
        if self.shape == "ring":
            return ring_aperture(grid, INNER * a, a, dtype)
        whole = rectangular_aperture(grid, 2 * a, 2 * a, dtype)
        if self.shape == "square":
            return whole
        return whole - rectangular_aperture(grid, 2 * a, 2 * INNER * a, dtype)

    @property
    def field(self) -> Tensor:
        """Complex field at :attr:`distance` behind the opening: complex128, ``(128, 128)``."""
        return propagate(self.aperture.to(torch.complex128), self.grid, self.distance)

    @property
    def intensity(self) -> Tensor:
        """Intensity at :attr:`distance`, that of the incident light being 1: float64, ``(128, 128)``."""
        return self.field.abs() ** 2
