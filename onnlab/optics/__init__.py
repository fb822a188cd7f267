"""Part I of the book: light on a grid, the 4f system, and the camera behind it."""

from onnlab.optics._check import SamplingWarning
from onnlab.optics.camera import Camera
from onnlab.optics.elements import (
    AmplitudeMask,
    ComplexMask,
    Mask,
    PhaseMask,
    circular_aperture,
    gaussian_beam,
    pinhole,
    plane_wave,
    rectangular_aperture,
    ring_aperture,
    siemens_star,
    spherical_wave,
    thin_lens,
)
from onnlab.optics.fourf import (
    FourF,
    KernelMask,
    focal_field,
    fourier_grid,
    fraunhofer,
    lens_transform,
    mask_for_kernel,
)
from onnlab.optics.grid import Grid
from onnlab.optics.imaging import (
    SignedPair,
    image_incoherent,
    mtf,
    otf,
    polychromatic_psf,
    psf,
    signed_kernel_pair,
)
from onnlab.optics.propagation import Choice, Propagator, choose_method, propagate, transfer_function

__all__ = [
    "AmplitudeMask",
    "Camera",
    "Choice",
    "ComplexMask",
    "FourF",
    "Grid",
    "KernelMask",
    "Mask",
    "PhaseMask",
    "Propagator",
    "SamplingWarning",
    "SignedPair",
    "choose_method",
    "circular_aperture",
    "focal_field",
    "fourier_grid",
    "fraunhofer",
    "gaussian_beam",
    "image_incoherent",
    "lens_transform",
    "mask_for_kernel",
    "mtf",
    "otf",
    "pinhole",
    "plane_wave",
    "polychromatic_psf",
    "propagate",
    "psf",
    "rectangular_aperture",
    "ring_aperture",
    "siemens_star",
    "signed_kernel_pair",
    "spherical_wave",
    "thin_lens",
    "transfer_function",
]
