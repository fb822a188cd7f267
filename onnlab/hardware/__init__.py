"""Part IV of the book: devices that can be built, what they cost, and what breaks on the way."""

from onnlab.hardware.alignment import Defocus, LateralShift, Magnification, Rotation, Tilt
from onnlab.hardware.atoms import MetaAtoms
from onnlab.hardware.benches import PSFBench
from onnlab.hardware.built import BuiltOptics, NoisyOptics
from onnlab.hardware.classifier import KernelClassifier
from onnlab.hardware.compensation import compensate
from onnlab.hardware.constants import Constants
from onnlab.hardware.cost import Cost, cost, crossover, photons_for_snr
from onnlab.hardware.design import PSFDesign, design_psf, shape_error
from onnlab.hardware.device import Device, NoisyConvolution, build, seen_by
from onnlab.hardware.errors import (
    DeadPixels,
    MeasuredPSFs,
    OpticalError,
    PhaseNoise,
    PhaseQuantisation,
    PSFError,
)
from onnlab.hardware.estimate import Estimate, estimate_accuracy
from onnlab.hardware.etching import WidthError
from onnlab.hardware.export_layout import PillarLayout, export_layout, read_layout
from onnlab.hardware.export_metasurface import export_metasurface, load_metasurface
from onnlab.hardware.export_slm import SLMImage, export_slm, read_slm
from onnlab.hardware.export_student import export_student, load_student
from onnlab.hardware.fabrication import YieldCurve, fabricate, noise_aware, yield_curve
from onnlab.hardware.layout import KernelLayout, kernel_layout
from onnlab.hardware.light import Aperture, Bandwidth, Brightness, CameraNoise, StrayLight, WavelengthShift
from onnlab.hardware.metasurface import Metasurface
from onnlab.hardware.operations import Operation, count_operations
from onnlab.hardware.panel import PhaseCurve, double_phase, onto_panel
from onnlab.hardware.regression import kernel_ridge, wide_back_end, wide_camera
from onnlab.hardware.sensor import at_sensor
from onnlab.hardware.sweep import pareto, sweep

__all__ = [
    "Aperture",
    "Bandwidth",
    "Brightness",
    "BuiltOptics",
    "CameraNoise",
    "Constants",
    "Cost",
    "DeadPixels",
    "Defocus",
    "Device",
    "Estimate",
    "KernelClassifier",
    "KernelLayout",
    "LateralShift",
    "Magnification",
    "MeasuredPSFs",
    "MetaAtoms",
    "Metasurface",
    "NoisyConvolution",
    "NoisyOptics",
    "Operation",
    "OpticalError",
    "PSFBench",
    "PSFDesign",
    "PSFError",
    "PhaseCurve",
    "PhaseNoise",
    "PhaseQuantisation",
    "PillarLayout",
    "Rotation",
    "SLMImage",
    "StrayLight",
    "Tilt",
    "WavelengthShift",
    "WidthError",
    "YieldCurve",
    "at_sensor",
    "build",
    "compensate",
    "cost",
    "count_operations",
    "crossover",
    "design_psf",
    "double_phase",
    "estimate_accuracy",
    "export_layout",
    "export_metasurface",
    "export_slm",
    "export_student",
    "fabricate",
    "kernel_layout",
    "kernel_ridge",
    "load_metasurface",
    "load_student",
    "noise_aware",
    "onto_panel",
    "pareto",
    "photons_for_snr",
    "read_layout",
    "read_slm",
    "seen_by",
    "shape_error",
    "sweep",
    "wide_back_end",
    "wide_camera",
    "yield_curve",
]
