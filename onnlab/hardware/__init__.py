"""Part IV of the book: devices that can be built, what they cost, and what breaks on the way."""

from onnlab.hardware.atoms import MetaAtoms
from onnlab.hardware.constants import Constants
from onnlab.hardware.cost import Cost, cost, crossover, photons_for_snr
from onnlab.hardware.device import Device, NoisyConvolution, build, seen_by
from onnlab.hardware.estimate import Estimate, estimate_accuracy
from onnlab.hardware.layout import KernelLayout, kernel_layout
from onnlab.hardware.metasurface import Metasurface
from onnlab.hardware.operations import Operation, count_operations
from onnlab.hardware.regression import kernel_ridge, wide_back_end, wide_camera
from onnlab.hardware.sensor import at_sensor
from onnlab.hardware.sweep import pareto, sweep

__all__ = [
    "Constants",
    "Cost",
    "Device",
    "Estimate",
    "KernelLayout",
    "MetaAtoms",
    "Metasurface",
    "NoisyConvolution",
    "Operation",
    "at_sensor",
    "build",
    "cost",
    "count_operations",
    "crossover",
    "estimate_accuracy",
    "kernel_layout",
    "kernel_ridge",
    "pareto",
    "photons_for_snr",
    "seen_by",
    "sweep",
    "wide_back_end",
    "wide_camera",
]
