"""Devices that an experiment builds: by which process, and of which student."""

import copy
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Generator, nn

from onnlab.hardware import (
    Brightness,
    CameraNoise,
    Defocus,
    LateralShift,
    OpticalError,
    PhaseNoise,
    PhaseQuantisation,
    PSFBench,
    PSFError,
    StrayLight,
    fabricate,
)
from onnlab.hardware.benches import Masks, PSFs
from onnlab.hardware.built import Errors
from onnlab.hardware.fabrication import FRONT_ENDS
from onnlab.networks import (
    FourFConvolution,
    HybridClassifier,
    HybridSegmenter,
    OpticalLayer,
    PSFConvolution,
)
from onnlab.optics import Camera
from onnlab.optics._check import one_of


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
        moved = _drawn_shift(self.misplacement, self.spread, generator)
        brightness = _drawn_brightness(self.dimmest, generator)
        for error in (PSFError(self.kernels), moved, brightness, StrayLight(self.stray)):
            psfs = error.on_psfs(psfs, generator)
        return psfs


@dataclass(frozen=True)
class Laboratory(OpticalError):
    r"""All that goes wrong when a 4f system is set up by hand, drawn anew for each device.

    Parameters
    ----------
    levels : int
        Even levels of the phase: 16 is what four steps of etching give.
    roughness, grain : float
        Of each mask: standard deviation of its phase in radians, and correlation length in metres. A surface
        of :math:`\lambda/10` is that of a good panel.
    misplacement, spread : float
        Standard deviations along each axis, in metres: of the shift that all masks share, and of one of
        their own that is added. A mount is set by eye.
    defocus : float
        Standard deviation in metres of the place of the camera, along the axis: one per cent of the focal
        length of :data:`PROCESSES`.
    dimmest, stray : float
        As for :class:`CleanRoom`.

    Notes
    -----
    Left out: that the phase of the reference beam drifts. It would dim a kernel by the cosine of the drift.
    """

    levels: int = 16
    roughness: float = 2 * math.pi / 10
    grain: float = 5e-4
    misplacement: float = 2e-4
    spread: float = 1e-4
    defocus: float = 1e-3
    dimmest: float = 0.5
    stray: float = 0.1

    def on_masks(self, masks: Masks, generator: Generator) -> Masks:
        """Return the masks of a new device."""
        moved = _drawn_shift(self.misplacement, self.spread, generator)
        for error in (
            PhaseQuantisation(self.levels),
            PhaseNoise(self.roughness, self.grain),
            moved,
            Defocus(self.defocus * torch.randn((), generator=generator).item()),
            _drawn_brightness(self.dimmest, generator),
            StrayLight(self.stray),
        ):
            masks = error.on_masks(masks, generator)
        return masks


def _drawn_shift(misplacement: float, spread: float, generator: Generator) -> LateralShift:
    dx, dy = (misplacement * torch.randn(2, generator=generator)).tolist()
    return LateralShift(dx, dy, spread=spread)


def _drawn_brightness(dimmest: float, generator: Generator) -> Brightness:
    return Brightness(1 - (1 - dimmest) * torch.rand((), generator=generator).item())


Light = Callable[..., PSFConvolution | FourFConvolution]
"""Makes an optical layer that can be built; called as :class:`onnlab.networks.OpticalLayer` is."""


@dataclass(frozen=True)
class Process:
    """How devices are made.

    Parameters
    ----------
    errors : OpticalError or sequence of OpticalError
        See :func:`onnlab.hardware.fabricate`.
    optics : callable
        What kernels are made of: :class:`onnlab.networks.PSFConvolution`, or
        :class:`onnlab.networks.FourFConvolution` with its measures.
    bench : PSFBench, optional
        See :func:`onnlab.hardware.fabricate`.
    """

    errors: Errors
    optics: Light
    bench: PSFBench | None = None


CAMERA = CameraNoise(Camera(photons=200))

PROCESSES: Mapping[str, Process] = {
    "clean room": Process((CleanRoom(), CAMERA), PSFConvolution, PSFBench(pitch=5e-6)),
    "4f laboratory": Process(
        (Laboratory(), CAMERA), partial(FourFConvolution, pitch=8e-6, wavelength=532e-9, focal_length=0.1)
    ),
}
"""Processes by name. All have the same camera: 200 photons for a white pixel."""


def in_light(layer: OpticalLayer, optics: Light) -> PSFConvolution | FourFConvolution:
    """Return optics that have the very kernels, the camera and the sensor of another layer."""
    count, channels, ky, kx = layer.weight.shape
    return optics(
        channels, count, (ky, kx), layer.image_size, layer.camera, weight=layer.weight, sensor=layer.sensor
    )


def device(student: nn.Module, process: str, number: int) -> HybridClassifier | HybridSegmenter:
    """Return a hybrid network with kernels made of light, as a process has built them.

    The student stays as it is. The number is that of the device: it draws the errors.

    Raises
    ------
    TypeError
        If the student is no hybrid network.
    ValueError
        If there is no such process.
    """
    one_of("process", process, PROCESSES)
    made = PROCESSES[process]
    design: Any = copy.deepcopy(student)  # fabricate says if it is of the wrong kind
    for name in FRONT_ENDS:
        if (layer := getattr(design, name, None)) is not None:
            setattr(design, name, in_light(layer, made.optics))
    return fabricate(design, made.errors, Generator().manual_seed(number), made.bench)
