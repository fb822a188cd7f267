"""Devices that an experiment builds: by which process, and of which student."""

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Generator, nn

from onnlab.hardware import (
    Brightness,
    CameraNoise,
    LateralShift,
    OpticalError,
    PSFBench,
    PSFError,
    StrayLight,
    fabricate,
)
from onnlab.hardware.benches import PSFs
from onnlab.hardware.built import Errors
from onnlab.hardware.fabrication import FRONT_ENDS
from onnlab.networks import HybridClassifier, HybridSegmenter, OpticalLayer, PSFConvolution
from onnlab.optics import Camera


@dataclass(frozen=True)
class CleanRoom(OpticalError):
    """All that a process does to PSFs, drawn anew for each device: the error model of arXiv:2508.08421.

    Parameters
    ----------
    kernels : float
        Relative error of each PSF, see :class:`onnlab.hardware.PSFError`.
    misplacement, spread : float
        Standard deviations along each axis, in metres: of the shift that all kernels share, and of one of
        their own that is added.
    dimmest : float
        Brightness is drawn evenly from here to 1.
    stray : float
        Share of the light that is spread over the picture.
    """

    kernels: float = 0.4
    misplacement: float = 6e-6
    spread: float = 3e-6
    dimmest: float = 0.5
    stray: float = 0.1

    def on_psfs(self, psfs: PSFs, generator: Generator) -> PSFs:
        """Return the PSFs of a new device."""
        dx, dy = (self.misplacement * torch.randn(2, generator=generator)).tolist()
        brightness = 1 - (1 - self.dimmest) * torch.rand((), generator=generator).item()
        moved = LateralShift(dx, dy, spread=self.spread)
        for error in (PSFError(self.kernels), moved, Brightness(brightness), StrayLight(self.stray)):
            psfs = error.on_psfs(psfs, generator)
        return psfs


PROCESSES: Mapping[str, tuple[Errors, PSFBench]] = {
    "clean room": ((CleanRoom(), CameraNoise(Camera(photons=200))), PSFBench(pitch=5e-6)),
}
"""Processes by name: their errors, and the bench for which these are meant."""


def in_light(layer: OpticalLayer) -> PSFConvolution:
    """Return pairs of PSFs that have the very kernels, the camera and the sensor of another layer."""
    count, channels, ky, kx = layer.weight.shape
    return PSFConvolution(
        channels, count, (ky, kx), layer.image_size, layer.camera, weight=layer.weight, sensor=layer.sensor
    )


def device(student: nn.Module, process: str, number: int) -> HybridClassifier | HybridSegmenter:
    """Return a hybrid network with kernels made of light, as a process has built them.

    The student stays as it is. The number is that of the device: it draws the errors.

    Raises
    ------
    TypeError
        If the student is no hybrid network.
    """
    errors, bench = PROCESSES[process]
    design: Any = copy.deepcopy(student)  # fabricate says if it is of the wrong kind
    for name in FRONT_ENDS:
        if (layer := getattr(design, name, None)) is not None:
            setattr(design, name, in_light(layer))
    return fabricate(design, errors, Generator().manual_seed(number), bench)
