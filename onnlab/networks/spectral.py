"""Convolution and pooling in the frequency domain: what a 4f system does with light, done with numbers."""

import math

import torch
from torch import Tensor, nn

from onnlab.networks import _check
from onnlab.networks._check import Size
from onnlab.networks.spectra import (
    crop_spectrum,
    dense_weight,
    filter_images,
    from_spectrum,
    kernel_transfer,
    real_transfer,
    to_spectrum,
)
from onnlab.optics._check import two_sizes, whole_number
from onnlab.optics.propagation import fast_length

BACKENDS = ("auto", "fft", "spatial")

# What the parts of a spectral layer cost, in multiplications of conv2d, see fft_is_faster.
TRANSFORM_COST, PRODUCT_COST, KERNEL_COST = 13, 8, 8

# From this width on, conv2d takes several times as long for gradients: twice is enough to decide.
WIDE_KERNEL, WIDE_COST = 15, 2


class SpectralConv2d(nn.Module):
    r"""Convolution layer that multiplies spectra; equal to ``torch.nn.Conv2d``.

    .. math:: Y_o = \mathcal{F}^{-1}\Big\{ \sum_c \mathcal{F}\{X_c\} \cdot
        \overline{\mathcal{F}\{W_{oc}\}} \Big\} + b_o

    The conjugate makes it the correlation that deep learning calls convolution.

    Parameters
    ----------
    in_channels, out_channels : int
        Numbers of channels.
    kernel_size : int or (int, int)
        Size of the kernels, even or odd. Not used if ``free``.
    image_size : int or (int, int)
        Size ``(ny, nx)`` of the images to come.
    padding : {"same", "circular"} or int or (int, int)
        "same": zeros outside, output as large as the input. "circular": the image repeats itself, as it does
        in a sampled 4f system. A number: that many zeros on each side.
    stride, dilation, groups, bias
        As in ``torch.nn.Conv2d``.
    free : bool
        Learn the transfer function itself, one complex number a frequency: a kernel as large as the image.
        Only the half plane of a real kernel is stored, so no half of the parameters is without effect. In
        its columns :math:`f_x = 0` and Nyquist the numbers at :math:`\pm f_y` are conjugates of each other:
        there the mean of the two acts. It needs ``padding="circular"`` and plain stride, dilation and groups.
    backend : {"auto", "fft", "spatial"}
        "spatial" calls ``conv2d``; "auto" takes the faster one, see :func:`fft_is_faster`. Results are equal.

    Attributes
    ----------
    weight : nn.Parameter
        Real ``(out, in / groups, ky, kx)``; if ``free``, ``(ny, nx // 2 + 1, in, out, 2)`` with real and
        imaginary parts in the last axis.
    bias : nn.Parameter or None
        Real ``(out,)``.

    Raises
    ------
    TypeError, ValueError
        If an argument is no size or does not fit the others, or images of another size or dtype come.

    Notes
    -----
    Sources: Mathieu, Henaff & LeCun (2013), arXiv:1312.5851; Xiang et al. (2022), arXiv:2102.13323.
    """

    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | Size,
        image_size: int | Size,
        padding: str | int | Size = "same",
        *,
        stride: int | Size = 1,
        dilation: int | Size = 1,
        groups: int = 1,
        bias: bool = False,
        free: bool = False,
        backend: str = "auto",
    ) -> None:
        super().__init__()
        self.in_channels = whole_number("in_channels", in_channels)
        self.out_channels = whole_number("out_channels", out_channels)
        self.groups = whole_number("groups", groups)
        self.image_size = two_sizes("image_size", image_size)
        self.kernel_size = self.image_size if free else two_sizes("kernel_size", kernel_size)
        self.stride, self.dilation = two_sizes("stride", stride), two_sizes("dilation", dilation)
        self.circular, self.free, self.backend = padding == "circular", free, backend
        if backend not in BACKENDS:
            raise ValueError(f"backend must be one of {', '.join(BACKENDS)}, got {backend!r}")
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"groups must divide in_channels and out_channels, got {groups} for {in_channels} and "
                f"{out_channels}; use groups=1"
            )
        if free and (not self.circular or (*self.stride, *self.dilation, groups) != (1,) * 5):
            raise ValueError('free needs padding="circular", stride 1, dilation 1 and groups 1; set them so')
        self.before, self.after = self._zeros_around(padding)
        sizes = (self.image_size, self.before, self.after, self.reach, self.stride)
        rows, columns = ((n + b + a - r - 1) // s + 1 for n, b, a, r, s in zip(*sizes, strict=True))
        self.output_size = (rows, columns)
        if min(self.output_size) < 1:
            raise ValueError(
                f"kernel_size must fit the padded image, got {self.kernel_size} for {self.image_size}; "
                "pad more or use a smaller kernel"
            )
        self._start(bias)

    @property
    def reach(self) -> Size:
        """Extent of the dilated kernel, less one sample."""
        (dy, dx), (ky, kx) = self.dilation, self.kernel_size
        return dy * (ky - 1), dx * (kx - 1)

    @property
    def canvas(self) -> Size:
        """Size of the transforms: room enough that nothing wraps round, unless the layer is circular."""
        if self.circular:
            return self.image_size
        # Zeros behind the image serve twice: seen from the first sample, they lie before it.
        rows, columns = (
            fast_length(n + max(b, a, b + a - r))
            for n, b, a, r in zip(self.image_size, self.before, self.after, self.reach, strict=True)
        )
        return rows, columns

    def transfer(self, canvas: Size) -> Tensor:
        """Transfer function ``(fy, fx, in, out)`` on the half plane of transforms of the size ``canvas``."""
        if not self.free:
            return kernel_transfer(dense_weight(self.weight, self.groups), canvas, self.before, self.dilation)
        if canvas != self.image_size:
            raise ValueError(
                f"a free transfer function is made for its image size {self.image_size}, not for {canvas}; "
                'use padding="circular" in all layers'
            )
        return real_transfer(torch.view_as_complex(self.weight), self.image_size[1])

    @_check.any_batch
    def forward(self, x: Tensor) -> Tensor:
        """Return real ``(batch, out, *output_size)`` from real ``(batch, in, ny, nx)``."""
        _check.images(x, self.in_channels, self.image_size, self.weight.dtype)
        if self._takes_fft(x):
            y = filter_images(x, [self.transfer(self.canvas)], self.canvas, self.canvas)
            rows, columns = ((n - 1) * s + 1 for n, s in zip(self.output_size, self.stride, strict=True))
            y = y[..., : rows : self.stride[0], : columns : self.stride[1]]
        else:
            y = self.convolve(x)
        return y if self.bias is None else y + self.bias[:, None, None]

    def convolve(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the same by ``conv2d``, with no bias but the one that is given; not for a free layer."""
        margins = (self.before[1], self.after[1], self.before[0], self.after[0])
        if self.circular and any(
            max(b, a) > n for b, a, n in zip(self.before, self.after, self.image_size, strict=True)
        ):
            padded = self._wound(x)
        else:
            padded = nn.functional.pad(x, margins, mode="circular" if self.circular else "constant")
        return nn.functional.conv2d(padded, self.weight, bias, self.stride, 0, self.dilation, self.groups)

    def _wound(self, x: Tensor) -> Tensor:
        """Repeat images as often as wide kernels ask for; ``pad`` goes round once only."""
        rows, columns = (
            torch.arange(-b, n + a, device=x.device) % n
            for b, a, n in zip(self.before, self.after, self.image_size, strict=True)
        )
        return x[..., rows[:, None], columns]

    def extra_repr(self) -> str:
        """Describe the layer in ``print(model)``."""
        kernel = "free transfer function" if self.free else f"kernel_size={self.kernel_size}"
        return (
            f"{self.in_channels}, {self.out_channels}, {kernel}, image_size={self.image_size}, "
            f"output_size={self.output_size}, circular={self.circular}"
        )

    def _takes_fft(self, x: Tensor) -> bool:
        if self.backend != "auto" or self.free:
            return self.free or self.backend == "fft"
        gradients = torch.is_grad_enabled() and (x.requires_grad or self.weight.requires_grad)
        return self.groups == 1 and fft_is_faster(
            x.shape[0],
            (self.in_channels, self.out_channels),
            self.kernel_size,
            self.output_size,
            self.canvas,
            gradients,
        )

    def _zeros_around(self, padding: str | int | Size) -> tuple[Size, Size]:
        if padding in ("same", "circular"):
            if self.stride != (1, 1) and padding == "same":
                raise ValueError(f'padding="same" needs stride 1, got {self.stride}; give a number of zeros')
            before = (self.reach[0] // 2, self.reach[1] // 2)
            return before, (self.reach[0] - before[0], self.reach[1] - before[1])
        if isinstance(padding, str):
            raise ValueError(f'padding must be "same", "circular" or a number of zeros, got {padding!r}')
        zeros = two_sizes("padding", padding, least=0)
        return zeros, zeros

    def _start(self, bias: bool) -> None:
        ky, kx = self.kernel_size
        # The same spread as nn.Conv2d, so that both learn alike.
        bound = 1 / math.sqrt(self.in_channels // self.groups * ky * kx)
        shape = (self.out_channels, self.in_channels // self.groups, ky, kx)
        weight = torch.empty(shape).uniform_(-bound, bound)
        if self.free:
            weight = torch.view_as_real(torch.fft.rfft2(weight).permute(2, 3, 1, 0).contiguous())
        self.weight = nn.Parameter(weight)
        self.bias = nn.Parameter(torch.empty(self.out_channels).uniform_(-bound, bound)) if bias else None


class SpectralPool2d(nn.Module):
    r"""Shrink an image by keeping the centre of its spectrum: the low frequencies.

    .. math:: Y[k] = \frac{M_y M_x}{N_y N_x} X[k] \quad \text{for } |k_y| < M_y/2,\ |k_x| < M_x/2

    The factor keeps the brightness; the released code of the paper leaves it out. The Nyquist sample of an
    even ``M`` has no partner of the opposite sign and is dropped, so that real images stay real. An image
    without frequencies beyond that is resampled exactly.

    Parameters
    ----------
    image_size : int or (int, int)
        Size ``(ny, nx)`` of the images to come.
    output_size : int or (int, int)
        Size of the result, no larger.

    Raises
    ------
    TypeError, ValueError
        If a size is none, the output is the larger one, or images of another size come.

    Notes
    -----
    Sources: Rippel, Snoek & Adams (2015), arXiv:1506.03767; Xiang et al. (2022), arXiv:2102.13323.
    """

    def __init__(self, image_size: int | Size, output_size: int | Size) -> None:
        super().__init__()
        self.image_size = two_sizes("image_size", image_size)
        self.output_size = two_sizes("output_size", output_size)
        if any(m > n for m, n in zip(self.output_size, self.image_size, strict=True)):
            raise ValueError(
                f"output_size must not exceed image_size, got {self.output_size} for {self.image_size}; "
                "a pool only shrinks"
            )

    @_check.any_batch
    def forward(self, x: Tensor) -> Tensor:
        """Return real ``(batch, channels, *output_size)`` from real ``(batch, channels, ny, nx)``."""
        if x.ndim != 4:
            raise ValueError(f"x must have shape (batch, channels, ny, nx), got {tuple(x.shape)}")
        _check.images(x, x.shape[1], self.image_size)
        spectrum = crop_spectrum(to_spectrum(x, self.image_size), self.image_size, self.output_size)
        return from_spectrum(spectrum, self.output_size)

    def extra_repr(self) -> str:
        """Describe the layer in ``print(model)``."""
        return f"{self.image_size} -> {self.output_size}"


def fft_is_faster(
    images: int, channels: Size, kernel_size: Size, output_size: Size, canvas: Size, gradients: bool = False
) -> bool:
    r"""Tell which backend takes less time on a CPU, by a count of what each has to do.

    Direct convolution multiplies :math:`n c_i c_o k_y k_x` times for each pixel of the output. Spectra cost

    .. math:: P \big[ 13\, n (c_i + c_o) \log_2 P + 8\, n c_i c_o + 8\, c_i c_o k_x \big]

    such multiplications, with :math:`P` samples of the canvas: transforms, products, and the transfer
    functions of the kernels. The last term is shared by all :math:`n` images, and knows the kernel only by
    its width.
    The three factors are fitted to the timings of ``tests/benchmarks``: spectral work runs at a lower rate.

    Parameters
    ----------
    images : int
        Number of images.
    channels, kernel_size, output_size, canvas : (int, int)
        Channels in and out; size of the kernels, of the result and of the transforms.
    gradients : bool
        A backward pass follows. It costs both sides alike, but for kernels of 15 samples or more, which the
        backward pass of ``conv2d`` has no fast code for.
    """
    (inside, outside), samples = channels, math.prod(canvas)
    pairs = inside * outside
    direct = images * pairs * math.prod(kernel_size) * math.prod(output_size)
    if gradients and max(kernel_size) >= WIDE_KERNEL:
        direct *= WIDE_COST
    transforms = TRANSFORM_COST * images * (inside + outside) * math.log2(samples)
    return direct > samples * (
        transforms + PRODUCT_COST * images * pairs + KERNEL_COST * pairs * kernel_size[1]
    )
