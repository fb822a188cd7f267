"""The optical layer of a hybrid network: kernels that light applies, and the camera that reads the result."""

from abc import ABC, abstractmethod

import torch
from torch import Generator, Tensor, nn
from torch.nn.functional import pad

from onnlab.networks import _check
from onnlab.networks._check import Size
from onnlab.optics import (
    Camera,
    ComplexMask,
    FourF,
    Grid,
    KernelMask,
    SignedPair,
    image_incoherent,
    mask_for_kernel,
    signed_kernel_pair,
)
from onnlab.optics._check import one_of, positive_length, two_sizes, whole_number
from onnlab.optics.imaging import squared_modulus
from onnlab.optics.propagation import fast_length

CAMERAS = ("linear", "rectified", "square-law")


class OpticalLayer(nn.Module, ABC):
    r"""One linear convolution by light, and the reading of a camera behind it: base of the layers below.

    .. math:: y_o = g\Big( \sum_c w_{oc} \star x_c \Big), \qquad
        g(a) = a, \quad \max(a, 0) \quad\text{or}\quad a^2

    with the correlation :math:`\star` of ``torch.nn.Conv2d``, zeros outside the image, and no bias. The
    layers differ in the way to this result. Without a sensor they agree up to rounding.

    Parameters
    ----------
    channels : int
        Channels of the images, 1 or 3.
    kernels : int
        Number of kernels.
    kernel_size : int or (int, int)
        Their size ``(ky, kx)``, even or odd.
    image_size : int or (int, int)
        Size ``(ny, nx)`` of the images to come.
    camera : {"linear", "rectified", "square-law"}
        What becomes of the convolution: it is read as it is; negative readings become zero; or the camera
        sees the intensity of a field, its square.
    weight : Tensor, optional
        Kernels ``(kernels, channels, ky, kx)``. A ``Parameter`` stays that very object, so that two layers
        can share it. A plain tensor is copied and not trained. Left out, kernels are drawn as
        ``torch.nn.Conv2d`` draws them; ``layer.requires_grad_(False)`` freezes them.
    sensor : Camera, optional
        Where photons, noise and digits come in; a perfect camera unless given. Its ``binning`` makes the
        output smaller.

    Attributes
    ----------
    convolution : nn.Conv2d
        The digital layer with the same kernels.
    output_size : (int, int)
        Size of the readings.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind, or sizes do not fit.
    """

    realisation: str  # what the kernels are made of, in a few words

    def __init__(
        self,
        channels: int,
        kernels: int,
        kernel_size: int | Size,
        image_size: int | Size,
        camera: str = "linear",
        *,
        weight: Tensor | None = None,
        sensor: Camera | None = None,
    ) -> None:
        super().__init__()
        self.channels, count = whole_number("channels", channels), whole_number("kernels", kernels)
        size = two_sizes("kernel_size", kernel_size)
        self.image_size = two_sizes("image_size", image_size)
        if any(k > n for k, n in zip(size, self.image_size, strict=True)):
            raise ValueError(f"kernel_size must not exceed image_size, got {size} for {self.image_size}")
        one_of("camera", camera, CAMERAS)
        if sensor is not None and not isinstance(sensor, Camera):
            raise TypeError(f"sensor must be an onnlab.optics.Camera, got {type(sensor).__name__}")
        self.camera, self.sensor = camera, sensor
        binning = 1 if sensor is None else sensor.binning
        if any(n % binning for n in self.image_size):
            raise ValueError(f"image_size must be a multiple of binning={binning}, got {self.image_size}")
        self.output_size = (self.image_size[0] // binning, self.image_size[1] // binning)
        half = (size[0] // 2, size[1] // 2)
        self.convolution = nn.Conv2d(self.channels, count, size, padding=half, bias=False)
        if weight is not None:
            self.convolution.weight = self._held(weight)

    @property
    def weight(self) -> Tensor:
        """The kernels: a real ``Parameter`` ``(kernels, channels, ky, kx)``."""
        return self.convolution.weight

    @property
    def nonlinearities(self) -> tuple[str, ...]:
        """What is not linear on the way from the light to the readings."""
        camera = {
            "linear": (),
            "rectified": ("negative readings become 0",),
            "square-law": ("the field is squared",),
        }
        full_well = self.sensor is not None and self.sensor.full_well is not None
        rounding = self.sensor is not None and self.sensor.bits is not None
        return (*camera[self.camera], *("full well",) * full_well, *("rounding",) * rounding)

    @_check.any_batch
    def forward(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        """Return what the camera reads.

        Parameters
        ----------
        x : Tensor
            Images ``(batch, channels, ny, nx)``, of the dtype of the weights.
        generator : Generator, optional
            Source of the sensor's noise. Without it the noise is off; limits and rounding stay.

        Returns
        -------
        Tensor
            Readings ``(batch, kernels, *output_size)``, in the units of the convolution.
        """
        _check.images(x, self.channels, self.image_size, self.weight.dtype)
        y = self.readings(x, generator)
        return torch.relu(y) if self.camera == "rectified" else y

    @abstractmethod
    def readings(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return the convolution, or its square behind a square-law camera; before any rectification."""

    def expose(self, intensity: Tensor, generator: Generator | None) -> Tensor:
        """Take a picture of an intensity, and return the intensity that it tells of."""
        if self.sensor is None:
            return intensity
        digits = self.sensor.expected(intensity) if generator is None else self.sensor(intensity, generator)
        return self.sensor.to_intensity(digits)

    def describe(self) -> str:
        """Return a line of text: how many kernels of which size, and what they are made of."""
        count, channels, ky, kx = self.weight.shape
        colours = "1 channel" if channels == 1 else f"{channels} channels"
        return f"{count} kernels {ky} x {kx} on {colours}: {self.realisation}"

    def extra_repr(self) -> str:
        """Describe the layer in ``print(model)``."""
        return f"image_size={self.image_size}, camera={self.camera!r}"

    def _held(self, weight: Tensor) -> nn.Parameter:
        expected = self.convolution.weight.shape
        if not isinstance(weight, Tensor) or not weight.is_floating_point():
            kind = weight.dtype if isinstance(weight, Tensor) else type(weight).__name__
            raise TypeError(f"weight must be a float tensor, got {kind}; use weight.float()")
        if weight.shape != expected:
            raise ValueError(
                f"weight must have shape {tuple(expected)}, (kernels, channels, ky, kx), got "
                f"{tuple(weight.shape)}; make the layer for these kernels"
            )
        if isinstance(weight, nn.Parameter):
            return weight
        return nn.Parameter(weight.detach().clone(), requires_grad=False)


class IdealConvolution(OpticalLayer):
    """The optical layer of a perfect bench: a digital convolution. Arguments as for :class:`OpticalLayer`.

    It has no sensor; the images may have any sign.
    """

    realisation = "ideal convolution"

    def __init__(
        self,
        channels: int,
        kernels: int,
        kernel_size: int | Size,
        image_size: int | Size,
        camera: str = "linear",
        *,
        weight: Tensor | None = None,
    ) -> None:
        super().__init__(channels, kernels, kernel_size, image_size, camera, weight=weight)

    def readings(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return the convolution, or its square."""
        y = self.convolution(x)
        if y.shape[-2:] != self.image_size:  # an even kernel gives one row and one column too many
            y = y[..., -self.image_size[0] :, -self.image_size[1] :]
        return y.square() if self.camera == "square-law" else y


class PSFConvolution(OpticalLayer):
    r"""Incoherent light: each kernel is a pair of point spread functions, and two pictures are subtracted.

    .. math:: y_o = s_o \sum_c \big(I_c * p^+_{oc} - I_c * p^-_{oc}\big)

    The camera adds the colours, so all channels of a kernel share one scale :math:`s_o`; in no colour does a
    PSF send on more light than comes. The images are intensities, none negative. Arguments as for
    :class:`OpticalLayer`, except that there is no square law: this camera is linear in what it sees.

    Notes
    -----
    Sources: Chang et al. (2018), DOI 10.1038/s41598-018-30619-y; Choi et al. (2025), Nat. Commun. 16, 5623.
    """

    realisation = "pairs of PSFs, two pictures subtracted"

    def __init__(
        self,
        channels: int,
        kernels: int,
        kernel_size: int | Size,
        image_size: int | Size,
        camera: str = "linear",
        *,
        weight: Tensor | None = None,
        sensor: Camera | None = None,
    ) -> None:
        if camera == "square-law":
            raise ValueError(
                'camera must be "linear" or "rectified" behind PSFs, got "square-law": the intensity is what '
                "they convolve; only a coherent field is squared: use FourFConvolution"
            )
        super().__init__(channels, kernels, kernel_size, image_size, camera, weight=weight, sensor=sensor)

    def pair(self) -> SignedPair:
        """Return the PSFs of all kernels, ``(kernels, channels, ky, kx)``, and scales ``(kernels, 1, 1)``."""
        # Light convolves, a network correlates.
        pair = signed_kernel_pair(self.weight.flip(-2, -1))
        # A dark kernel has the scale 1 for want of light: that says nothing about the others of its row.
        lit = (pair.positive + pair.negative).detach().sum((-2, -1), keepdim=True) > 0
        brightest = torch.where(lit, pair.scale, 0).amax(1, keepdim=True)
        brightest = torch.where(brightest > 0, brightest, 1)
        share = pair.scale / brightest
        return SignedPair(pair.positive * share, pair.negative * share, brightest[:, 0])

    def readings(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return the difference of two pictures."""
        pair = self.pair()
        images = x[:, None]
        positive, negative = (
            self.expose(image_incoherent(images, psf).sum(dim=2), generator)
            for psf in (pair.positive, pair.negative)
        )
        return pair.subtract(positive, negative)


class FourFConvolution(OpticalLayer):
    r"""Coherent light: each kernel is a mask in the Fourier plane of a 4f system.

    The channels lie side by side in the input plane, each with a dark margin. One mask per kernel shifts
    and adds their convolutions: behind it stands :math:`v_o = \frac{1}{s} \sum_c w_{oc} \star x_c`. A camera
    sees :math:`|v|^2`: that is the square law. For the other two, a reference beam of amplitude :math:`r`
    in and out of phase gives two pictures, and their difference keeps the sign of the field:

    .. math:: |r + v|^2 - |r - v|^2 = 4\,r \operatorname{Re} v

    The images are amplitudes, of any sign.

    Parameters
    ----------
    channels, kernels, kernel_size, image_size, camera, weight, sensor
        As for :class:`OpticalLayer`.
    pitch : float or (float, float)
        Distance of the image's samples in metres.
    wavelength, focal_length : float
        Of the light and of both lenses, in metres.
    reference : float
        Amplitude of the reference beam; a pixel of brightness 1 has the amplitude 1.

    Attributes
    ----------
    grid : Grid
        Grid of the input plane, with all channels and their margins.
    """

    def __init__(
        self,
        channels: int,
        kernels: int,
        kernel_size: int | Size,
        image_size: int | Size,
        camera: str = "linear",
        *,
        pitch: float | tuple[float, float],
        wavelength: float,
        focal_length: float,
        reference: float = 1.0,
        weight: Tensor | None = None,
        sensor: Camera | None = None,
    ) -> None:
        super().__init__(channels, kernels, kernel_size, image_size, camera, weight=weight, sensor=sensor)
        beam = "" if camera == "square-law" else ", two pictures with a reference beam subtracted"
        self.realisation = f"4f masks{beam}"
        self.focal_length = positive_length("focal_length", focal_length)
        self.reference = positive_length("reference", reference, "amplitude")
        size = zip(self.image_size, self.convolution.kernel_size, strict=True)
        self.tile = tuple(fast_length(n + k - 1) for n, k in size)
        self.grid = Grid((self.tile[0], self.channels * self.tile[1]), pitch, wavelength)

    def masks(self) -> KernelMask:
        """Return the masks ``(kernels, *grid.shape)``, passive and of one common scale."""
        columns, size = self.grid.nx, self.convolution.kernel_size[1]
        kernels = pad(self.weight.flip(-2, -1), (0, self.tile[1] - size))
        # The image of channel c lies c tiles to the right; its kernel leads as far back, round the corner.
        row = kernels.flip(1).roll(1, dims=1).transpose(1, 2).flatten(-2)
        return mask_for_kernel(row.roll(columns // 2 - size // 2, dims=-1), self.grid)

    def readings(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return the intensity, or the difference of two pictures with the reference beam."""
        masks = self.masks()
        field = self._window(
            FourF(self.grid, self.focal_length, ComplexMask(masks.transmission))(self._field(x))
        )
        if self.camera == "square-law":
            return masks.scale**2 * self.expose(self.intensity(field), generator)
        bright, dark = (
            self.expose(self.intensity(self.reference + sign * field), generator) for sign in (1, -1)
        )
        return masks.scale / (4 * self.reference) * (bright - dark)

    def intensity(self, field: Tensor) -> Tensor:
        """Return what a camera sees of a field behind the masks, ``(batch, kernels, ny, nx)``: its square."""
        return squared_modulus(field)

    def _field(self, x: Tensor) -> Tensor:
        """Lay out the channels in the input plane: ``(batch, 1, *grid.shape)``."""
        margins = [full - n for full, n in zip(self.tile, self.image_size, strict=True)]
        tiles = pad(x, (0, margins[1], 0, margins[0]))
        plane = tiles.transpose(1, 2).flatten(-2)[:, None]
        return torch.complex(plane, torch.zeros_like(plane))

    def _window(self, v: Tensor) -> Tensor:
        """Cut the image out of the output plane, and turn it upright."""
        rows, columns = (
            (2 * (full // 2) - torch.arange(n)) % full
            for full, n in zip(self.grid.shape, self.image_size, strict=True)
        )
        return v[..., rows[:, None], columns]
