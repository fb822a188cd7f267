"""Part IV of the book: devices that can be built, what they cost, and what breaks on the way."""

from onnlab.hardware.atoms import MetaAtoms
from onnlab.hardware.device import Device, NoisyConvolution, build, seen_by
from onnlab.hardware.estimate import Estimate, estimate_accuracy
from onnlab.hardware.metasurface import Metasurface
from onnlab.hardware.regression import kernel_ridge, wide_back_end, wide_camera
from onnlab.hardware.sensor import at_sensor
from onnlab.hardware.sweep import pareto, sweep

__all__ = [
    "Device",
    "Estimate",
    "MetaAtoms",
    "Metasurface",
    "NoisyConvolution",
    "at_sensor",
    "build",
    "estimate_accuracy",
    "kernel_ridge",
    "pareto",
    "seen_by",
    "sweep",
    "wide_back_end",
    "wide_camera",
]
