"""Optical layers with errors in them: a device that was built, and one that is built anew at every step."""

from collections.abc import Sequence

import torch
from torch import Generator, Tensor

from onnlab.hardware.benches import Masks, PSFBench, PSFs, stray_light
from onnlab.hardware.errors import OpticalError
from onnlab.networks import FourFConvolution, IdealConvolution, OpticalLayer, PSFConvolution
from onnlab.optics import KernelMask, SignedPair

Errors = OpticalError | Sequence[OpticalError]


class BuiltOptics(OpticalLayer):
    """Optics as they were built: base of the layers that :func:`fabricate` makes.

    Masks or PSFs are buffers, errors and all, and nothing in the layer learns. Its ``weight`` are the kernels
    that it was designed for, not those that it has.
    """

    brightness: float
    stray: float

    def expose(self, intensity: Tensor, generator: Generator | None) -> Tensor:
        """Take a picture in stray light, at the brightness that there is."""
        return super().expose(stray_light(self.brightness * intensity, self.stray), generator)


class _BuiltFourF(BuiltOptics, FourFConvolution):
    """A 4f system with the masks that it has got."""

    transmission: Tensor
    scale: Tensor

    def __init__(self, design: FourFConvolution, masks: Masks) -> None:
        super().__init__(
            *_sizes(design),
            pitch=design.grid.pitch,
            wavelength=design.grid.wavelength,
            focal_length=design.focal_length,
            reference=design.reference,
            weight=design.weight.detach(),
            sensor=masks.sensor,
        )
        self.realisation = f"{design.realisation}, as built"
        self.brightness, self.stray = masks.brightness, masks.stray
        self.register_buffer("transmission", masks.transmission)
        self.register_buffer("scale", masks.scale)

    def masks(self) -> KernelMask:
        """Return the masks of all colours, ``(colours, 1, kernels, *grid.shape)``."""
        return KernelMask(self.transmission[:, None], self.scale)

    def intensity(self, field: Tensor) -> Tensor:
        """Return the mean intensity over the colours."""
        return super().intensity(field).mean(0)


class _BuiltPSFs(BuiltOptics, PSFConvolution):
    """A camera with the PSFs that it has got."""

    positive: Tensor
    negative: Tensor
    scale: Tensor

    def __init__(self, design: PSFConvolution, psfs: PSFs) -> None:
        super().__init__(*_sizes(design), weight=design.weight.detach(), sensor=psfs.sensor)
        self.realisation = f"{design.realisation}, as built"
        self.brightness, self.stray = psfs.brightness, psfs.stray
        positive, negative = psfs.trimmed()
        self.register_buffer("positive", positive)
        self.register_buffer("negative", negative)
        self.register_buffer("scale", psfs.scale)

    def pair(self) -> SignedPair:
        """Return the PSFs, ``(kernels, channels, ky, kx)`` of any size up to that of the image."""
        return SignedPair(self.positive, self.negative, self.scale)


class NoisyOptics(OpticalLayer):
    """Optics that are built anew, with new errors, at every step of a training.

    In training mode each call builds a device from the kernels as they are, and gradients go through it back
    to them. In eval mode the design itself answers. Like dropout, it draws from PyTorch's own generator,
    which :func:`onnlab.distill.fit` seeds.

    Parameters
    ----------
    design : PSFConvolution or FourFConvolution
        Its ``weight`` is shared.
    errors : OpticalError or sequence of OpticalError
        Applied in this order.
    bench : PSFBench, optional
        As for :func:`fabricate`.
    """

    def __init__(self, design: OpticalLayer, errors: Errors, bench: PSFBench | None = None) -> None:
        _check_design(design, bench)
        super().__init__(*_sizes(design), weight=design.weight, sensor=design.sensor)
        self.design, self.errors, self.bench = design, checked_errors(errors), bench
        self.realisation = f"{design.realisation}, with new errors at every step of training"

    def readings(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return the readings of a new device in training, and those of the design else."""
        if not self.training:
            return self.design.readings(x, generator)
        draws = Generator().manual_seed(int(torch.randint(2**62, ())))
        return built(self.design, self.errors, draws, self.bench).readings(x, generator)


def built(
    design: OpticalLayer, errors: tuple[OpticalError, ...], generator: Generator, bench: PSFBench | None
) -> BuiltOptics:
    """Apply the errors in their order; gradients go through to the kernels."""
    _check_design(design, bench)
    if isinstance(design, FourFConvolution):
        masks = Masks.of(design)
        for error in errors:
            masks = error.on_masks(masks, generator)
        return _BuiltFourF(design, masks)
    assert isinstance(design, PSFConvolution) and bench is not None
    psfs = PSFs.of(design, bench)
    for error in errors:
        psfs = error.on_psfs(psfs, generator)
    return _BuiltPSFs(design, psfs)


def _sizes(layer: OpticalLayer) -> tuple:
    kernel_size = layer.convolution.kernel_size
    return layer.channels, len(layer.weight), kernel_size, layer.image_size, layer.camera


def checked_errors(errors: object) -> tuple[OpticalError, ...]:
    """Return one error or a sequence of them as a tuple; raise if it is something else."""
    found = tuple(errors) if isinstance(errors, Sequence) else (errors,)
    for error in found:
        if not isinstance(error, OpticalError):
            raise TypeError(
                f"errors must be an OpticalError or a sequence of them, got {error!r}; "
                "pass for example [PhaseNoise(0.1)]"
            )
    return found


def _check_design(design: OpticalLayer, bench: PSFBench | None) -> None:
    if isinstance(design, BuiltOptics):
        raise ValueError("student must not be built already; give all errors to one call, they act in turn")
    if isinstance(design, IdealConvolution):
        raise ValueError(
            "student must have physical optics, got an IdealConvolution; share its kernels with one: "
            "student.optics = PSFConvolution(..., weight=student.optics.weight), or FourFConvolution"
        )
    if not isinstance(design, (PSFConvolution, FourFConvolution)):
        raise TypeError(
            f"student must have PSFConvolution or FourFConvolution for optics, got {type(design).__name__}"
        )
    if isinstance(design, PSFConvolution) and not isinstance(bench, PSFBench):
        raise TypeError(
            f"bench must tell the pitch behind a PSFConvolution, got {bench!r}; pass PSFBench(pitch=...)"
        )
    if isinstance(design, FourFConvolution) and bench is not None:
        raise ValueError(f"bench must be left out for a FourFConvolution, got {bench!r}: it has its own")
