"""Spectra of images and of kernels, and products of them: what the layers of this package are made of."""

import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from onnlab.networks._check import Size

# PyTorch leaves products with fewer multiplications than this to a plain loop: slower than one line for all.
LOOP = 400

# Spectra are laid out as (fy, fx, batch, channel), transfer functions as (fy, fx, in, out): a layer is then
# one small matrix product for each frequency, and the next layer takes its result as it is.


def to_spectrum(x: Tensor, canvas: Size) -> Tensor:
    """Half-plane spectrum ``(fy, fx, batch, channel)`` of images, with zeros behind them up to ``canvas``."""
    flat = torch.fft.rfft2(x, s=canvas).flatten(2).flatten(0, 1)
    return flat.T.contiguous().reshape(canvas[0], -1, *x.shape[:2])


def from_spectrum(spectrum: Tensor, canvas: Size) -> Tensor:
    """Images ``(batch, channel, *canvas)`` of a half-plane spectrum ``(fy, fx, batch, channel)``."""
    spectrum = images_first(spectrum)  # the same name, so that the other copy is free before the transform
    return torch.fft.irfft2(spectrum, s=canvas)


def images_first(spectrum: Tensor) -> Tensor:
    """Reorder ``(fy, fx, batch, channel)`` to ``(batch, channel, fy, fx)``.

    As one flat matrix: that takes a third of the time of a copy with four axes, or of a strided transform.
    """
    flat = spectrum.flatten(2).flatten(0, 1)
    return flat.T.contiguous().reshape(*spectrum.shape[2:], *spectrum.shape[:2])


def chain(factors: Sequence[Tensor]) -> Tensor:
    """Product of matrices ``(fy, fx, m, n)`` frequency by frequency, in the order of fewest multiplications.

    For many images of few channels the layers are multiplied with each other first, for one image of many
    channels one by one with the image. Matrix products are associative: the result is the same.
    """
    if len(factors) == 1:
        return factors[0]
    rows = [factor.shape[2] for factor in factors]
    _, cut = _cheapest((*rows, factors[-1].shape[3]))
    return _matmul(chain(factors[:cut]), chain(factors[cut:]))


@lru_cache(maxsize=256)  # the halves of a chain share their halves
def _cheapest(sizes: tuple[int, ...]) -> tuple[int, int]:
    """Fewest multiplications for matrices of these sizes in a row, and where to cut the row in two."""
    costs = [
        (_cheapest(sizes[: cut + 1])[0] + _cheapest(sizes[cut:])[0] + sizes[0] * sizes[cut] * sizes[-1], cut)
        for cut in range(1, len(sizes) - 1)
    ]
    return min(costs, default=(0, 0))


def _matmul(left: Tensor, right: Tensor) -> Tensor:
    inner, columns = right.shape[-2:]
    if inner == 1:
        return left * right
    if left.shape[-2] == 1 and inner * columns < LOOP:
        return (left.mT * right).sum(-2, keepdim=True)
    return torch.matmul(left, right)


def filter_images(x: Tensor, transfers: Sequence[Tensor], canvas: Size, output: Size) -> Tensor:
    """Images ``(batch, out, *output)`` of ``x``, padded to ``canvas``, cropped in frequency and filtered."""
    if x.shape[1] > 1:
        return from_spectrum(
            chain([crop_spectrum(to_spectrum(x, canvas), canvas, output), *transfers]), output
        )
    # One channel in, many out: the few inputs are reordered rather than the many outputs.
    spectrum = images_first(crop_spectrum(to_spectrum(x, canvas), canvas, output))
    return torch.fft.irfft2(spectrum * images_first(chain(transfers)), s=output)


def crop_spectrum(spectrum: Tensor, canvas: Size, output: Size) -> Tensor:
    """Keep the low frequencies of a half-plane spectrum; brightness is kept too."""
    if output == canvas:
        return spectrum
    scale = math.prod(output) / math.prod(canvas)
    return select_low(spectrum, canvas, output) * scale


def select_low(spectrum: Tensor, canvas: Size, output: Size) -> Tensor:
    """Keep the samples of a half plane ``(fy, fx, ...)`` that a half plane of the size ``output`` has.

    A Nyquist sample that was none before is set to zero.
    """
    (ny, nx), (my, mx) = canvas, output
    half = my // 2
    low = torch.cat([spectrum[: my - half, : mx // 2 + 1], spectrum[ny - half :, : mx // 2 + 1]])
    keep = torch.ones(low.shape[:2], dtype=torch.bool, device=low.device)
    if my % 2 == 0 and my < ny:
        keep[half] = False
    if mx % 2 == 0 and mx < nx:
        keep[:, mx // 2] = False
    return low * keep[(...,) + (None,) * (low.ndim - 2)]


def kernel_transfer(weight: Tensor, canvas: Size, before: Size, dilation: Size = (1, 1)) -> Tensor:
    r"""Transfer function of correlation kernels: ``(fy, fx, in, out)`` from real ``(out, in, ky, kx)``.

    .. math:: H[f] = \sum_k w[k]\, e^{+i 2\pi f (d k - b) / P}

    with dilation :math:`d`, canvas :math:`P` and :math:`b` samples before the first pixel. Two products with
    small Fourier matrices: up to kernels nearly as wide as the canvas cheaper than transforms of padded ones,
    and the result needs no reordering.
    """
    out_channels, in_channels, ky, kx = weight.shape
    (py, px), kind = canvas, (weight.dtype, weight.device)
    rows = _fourier_matrix(py, py, ky, before[0], dilation[0], *kind)
    columns = _fourier_matrix(px // 2 + 1, px, kx, before[1], dilation[1], *kind)
    # The half axis first: it leaves fewer columns for the other product.
    by_columns = columns @ weight.permute(2, 3, 1, 0).reshape(ky, kx, -1).to(columns.dtype)
    return (rows @ by_columns.reshape(ky, -1)).reshape(py, px // 2 + 1, in_channels, out_channels)


def real_transfer(half: Tensor, width: int) -> Tensor:
    r"""Transfer function ``(fy, fx, in, out)`` of real kernels, from any numbers on its half plane.

    .. math:: H[f_y, f_x] \to \tfrac{1}{2} \big( H[f_y, f_x] + \overline{H[-f_y, f_x]} \big)
        \quad \text{for } f_x = 0 \text{ and } f_x = \text{Nyquist}

    The other columns have their partners in the half plane that is left out. A transform back to real images
    ignores what is removed here, but in a product of two transfer functions it would come back.
    """
    own = half[:, :1] if width % 2 else half[:, :: width // 2]
    own = (own + own.flip(0).roll(1, 0).conj()) / 2
    return torch.cat([own[:, :1], half[:, 1 : (width + 1) // 2], own[:, 1:]], dim=1)


@lru_cache(maxsize=64)  # constants of a layer, which cost as much as the products with them
@torch.inference_mode(False)  # else the first call under inference mode would spoil them for gradients
def _fourier_matrix(
    frequencies: int, period: int, k: int, before: int, step: int, dtype: torch.dtype, device: torch.device
) -> Tensor:
    # Whole turns are taken out in integers, so that the angle keeps its precision.
    turns = (torch.arange(frequencies)[:, None] * (step * torch.arange(k) - before)) % period
    angle = 2 * math.pi / period * turns.double()
    return torch.complex(angle.cos().to(dtype), angle.sin().to(dtype)).to(device)


def dense_weight(weight: Tensor, groups: int) -> Tensor:
    """Weights of a grouped convolution as those of a plain one: zeros between the groups."""
    if groups == 1:
        return weight
    blocks = weight.unflatten(0, (groups, -1))
    out, per_group = blocks.shape[1:3]
    dense = weight.new_zeros(groups, out, groups, per_group, *weight.shape[2:])
    index = torch.arange(groups)
    dense[index, :, index] = blocks
    return dense.flatten(2, 3).flatten(0, 1)
