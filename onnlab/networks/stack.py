"""Linear layers in a row: one transform pair for all of them, or all of them in one transfer function."""

import math
from collections.abc import Iterator
from fractions import Fraction
from itertools import pairwise
from typing import NoReturn, cast

import torch
from torch import Tensor, nn

from onnlab.networks import _check
from onnlab.networks._check import Size
from onnlab.networks.spectra import chain, filter_images, select_low
from onnlab.networks.spectral import SpectralConv2d, SpectralPool2d
from onnlab.optics import KernelMask
from onnlab.optics.propagation import fast_length

Layer = SpectralConv2d | SpectralPool2d


class SpectralStack(nn.Sequential):
    r"""Spectral layers in a row that never leave the frequency domain: one transform pair for all.

    The image is padded once, with room for the reach of all kernels together and for the result, and cropped
    once at the end. What a layer throws over the border is therefore still there for the next one, as it is
    for light that passes several masks. Layers called one by one crop in between: they differ from the stack
    near the border, and agree inside. Circular layers have no border, and agree everywhere.

    Parameters
    ----------
    *layers : SpectralConv2d or SpectralPool2d
        Each made for the size and the channels that the one before it gives; all circular, or none.
        Convolutions need stride 1: a stride folds frequencies onto each other, and no transfer function
        does that. A bias adds a constant to the whole canvas.

    Raises
    ------
    TypeError
        If a layer is of another kind, or images of another dtype than its weights come; by ``append`` and all
        else that changes the layers of a ``Sequential``: the canvas is made for these.
    ValueError
        If sizes or channels of neighbours differ, a layer has a stride, or images of another size come.
    """

    def __init__(self, *layers: Layer) -> None:
        super().__init__(*layers)
        for index, layer in enumerate(layers):
            if not isinstance(layer, (SpectralConv2d, SpectralPool2d)):
                raise TypeError(
                    f"layer {index} must be a SpectralConv2d or SpectralPool2d, got {type(layer).__name__}; "
                    "put it between two stacks"
                )
            if isinstance(layer, SpectralConv2d) and layer.stride != (1, 1):
                raise ValueError(
                    f"layer {index} has stride {layer.stride}, which folds frequencies; "
                    "use stride 1 and a SpectralPool2d behind it"
                )
        convolutions = [layer for layer in layers if isinstance(layer, SpectralConv2d)]
        if not convolutions:
            raise ValueError("layers must hold at least one SpectralConv2d, got none; use the pools alone")
        for layer, following in pairwise(layers):
            if layer.output_size != following.image_size:
                raise ValueError(
                    f"layers must fit: {layer} gives images of {layer.output_size}, but {following} expects "
                    f"{following.image_size}; make it with image_size={layer.output_size}"
                )
        for first, second in pairwise(convolutions):
            if first.out_channels != second.in_channels or first.circular != second.circular:
                raise ValueError(
                    f"layers must fit: {first} is followed by {second}; "
                    "channels have to match, and all layers or none be circular"
                )
        self.in_channels, self.out_channels = convolutions[0].in_channels, convolutions[-1].out_channels
        self.image_size, self.output_size = layers[0].image_size, layers[-1].output_size
        # Fixed by the layers, and needed at every call: the canvas before each layer, and behind the last.
        self.canvases = _canvases(layers, circular=convolutions[0].circular)

    def _refuse(self, *_: object) -> NoReturn:
        """Refuse another layer: the canvases are made for these."""
        raise TypeError("a SpectralStack must keep its layers; make a new one: SpectralStack(*layers)")

    append = extend = insert = pop = _refuse  # type: ignore[assignment]
    __setitem__ = __delitem__ = __iadd__ = __imul__ = _refuse

    @_check.any_batch
    def forward(self, x: Tensor) -> Tensor:
        """Return real ``(batch, out, *output_size)`` from real ``(batch, in, ny, nx)``.

        The product of all transfer functions has as many rows as the input has channels, a batch as many as
        it has images: images and layers are multiplied in the order that is cheapest.
        """
        _check.images(x, self.in_channels, self.image_size, next(self.parameters()).dtype)
        transfers, offset = self._transfers()
        y = filter_images(x, transfers, self.canvases[0], self.canvases[-1])
        return _cut(y, self.output_size, offset)

    def merged_transfer(self) -> tuple[Tensor, Tensor | None]:
        """Return the product of all transfer functions, ``(fy, fx, in, out)``, and the offset ``(out,)``.

        The offset is None if no layer has a bias.
        """
        transfers, offset = self._transfers()
        return chain(transfers), offset

    def _transfers(self) -> tuple[list[Tensor], Tensor | None]:
        """Transfer function of each convolution at the frequencies that the output has, and the offset."""
        transfers: list[Tensor] = []
        offset: Tensor | None = None
        for layer, canvas, following in self._steps():
            if isinstance(layer, SpectralConv2d):
                transfers.append(layer.transfer(canvas))
                offset = _carry(offset, transfers[-1], layer.bias)
            elif canvas != following:
                transfers = [select_low(transfer, canvas, following) for transfer in transfers]
        return transfers, offset

    def _steps(self) -> Iterator[tuple[Layer, Size, Size]]:
        layers = cast("Iterator[Layer]", iter(self))
        return zip(layers, self.canvases[:-1], self.canvases[1:], strict=True)


class SpectralFilter(nn.Module):
    """A whole stack of linear layers as ONE transfer function: transform, multiply, transform back.

    Made by :func:`merge`. Its two buffers are all that is left of the stack:

    Attributes
    ----------
    transfer : Tensor
        Complex ``(fy, fx, in, out)`` on the half plane of the last canvas.
    offset : Tensor or None
        Real ``(out,)``: what all biases add up to. None if there were none.
    canvas, output_canvas : (int, int)
        Size of the transform of the input, and of that of the result.

    Raises
    ------
    TypeError, ValueError
        If images of another dtype or size than the stack's come. ``double()`` does not reach complex numbers:
        for images in float64 merge a stack in float64.
    """

    transfer: Tensor
    offset: Tensor | None

    def __init__(self, stack: SpectralStack) -> None:
        super().__init__()
        self.image_size, self.output_size = stack.image_size, stack.output_size
        self.canvas, self.output_canvas = stack.canvases[0], stack.canvases[-1]
        with torch.no_grad():
            transfer, offset = stack.merged_transfer()
        self.register_buffer("transfer", transfer)
        # The offset of one layer is its bias itself: a copy, so that the filter does not change with it.
        self.register_buffer("offset", None if offset is None else offset.detach().clone())

    @_check.any_batch
    def forward(self, x: Tensor) -> Tensor:
        """Return real ``(batch, out, *output_size)`` from real ``(batch, in, ny, nx)``."""
        _check.images(x, self.transfer.shape[2], self.image_size, self.transfer.real.dtype)
        y = filter_images(x, [self.transfer], self.canvas, self.output_canvas)
        return _cut(y, self.output_size, self.offset)

    def masks(self) -> KernelMask:
        r"""The masks of the 4f systems that do the same with light, one for each pair of channels.

        Each is passive, and all have one scale. A system for them has a grid of ``canvas`` samples, with
        the image at its first rows and columns and darkness behind it. Its output is the flipped one: sample
        ``[i, j]`` of the result is found at ``[(2 (ny // 2) - i) % ny, (2 (nx // 2) - j) % nx]``, times the
        scale, without the offset. After a pool the result lies on every ``(canvas / output_canvas)``-th
        sample: pooling is an aperture stop, and a camera of small pixels that stand far apart.

        Returns
        -------
        KernelMask
            ``transmission``: complex ``(out, in, *canvas)``, its zero frequency in the middle; ``scale``.
        """
        kernels = torch.fft.irfft2(self.transfer.permute(3, 2, 0, 1), s=self.output_canvas)
        spectrum = torch.fft.fftshift(torch.fft.fft2(kernels), (-2, -1))
        margins: list[int] = []
        for full, part in zip(reversed(self.canvas), reversed(self.output_canvas), strict=True):
            low = full // 2 - part // 2
            margins += [low, full - part - low]
        scale = spectrum.abs().amax()
        return KernelMask(nn.functional.pad(spectrum, margins) / scale, scale)

    def extra_repr(self) -> str:
        """Describe the filter in ``print(model)``."""
        channels_in, channels_out = self.transfer.shape[2:]
        return f"{channels_in}, {channels_out}, {self.image_size} -> {self.output_size}, canvas={self.canvas}"


def merge(stack: SpectralStack) -> SpectralFilter:
    r"""Merge a stack of linear layers into one transfer function.

    .. math:: H_o = \sum_{c_1, c_2} \overline{\mathcal{F}\{K^{(1)}\}}_{c_1}\,
        \overline{\mathcal{F}\{K^{(2)}\}}_{c_1 c_2}\, \overline{\mathcal{F}\{K^{(3)}\}}_{c_2 o}

    A pool restricts the product to the frequencies that it keeps. The filter equals the stack up to
    rounding, at the borders too; its cost does not depend on the number of layers.

    Parameters
    ----------
    stack : SpectralStack
        The layers. Later changes of their weights do not reach the filter.

    Returns
    -------
    SpectralFilter
        A module for the same images.

    Notes
    -----
    Source: Xiang et al. (2022), arXiv:2102.13323. The released code pads for one kernel only, so that its
    merged filter wraps round at the borders.
    """
    if not isinstance(stack, SpectralStack):
        raise TypeError(
            f"stack must be a SpectralStack, got {type(stack).__name__}; "
            "put the linear layers into one: SpectralStack(*layers)"
        )
    return SpectralFilter(stack)


def _cut(y: Tensor, size: Size, offset: Tensor | None) -> Tensor:
    """Crop images to a size, and add the constant of each channel."""
    y = y[..., : size[0], : size[1]]
    return y if offset is None else y + offset[:, None, None]


def _carry(offset: Tensor | None, transfer: Tensor, bias: Tensor | None) -> Tensor | None:
    """Carry the constant part of an image through a layer: it sees the transfer at zero frequency."""
    if offset is None:
        return bias
    offset = offset @ transfer[0, 0].real
    return offset if bias is None else offset + bias


def _canvases(layers: tuple[Layer, ...], circular: bool) -> list[Size]:
    """Size of the transform before each layer and behind the last one."""
    axes = []
    for axis in range(2):
        size = layers[0].image_size[axis]
        before = after = Fraction(0)
        scales = [Fraction(1)]
        for layer in layers:
            scale = scales[-1]
            if isinstance(layer, SpectralPool2d):
                scale *= Fraction(layer.output_size[axis], layer.image_size[axis])
            else:
                before, after = before + layer.before[axis] / scale, after + layer.after[axis] / scale
            scales.append(scale)
        # A canvas shrinks like its image, so its size must be divisible as the image's is.
        step = math.lcm(*(scale.denominator for scale in scales))
        # Zeros behind the image serve twice, and a result may be larger than the image.
        result = layers[-1].output_size[axis] / scales[-1]
        room = size if circular else math.ceil(max(size + before, size + after, result))
        full = step * math.ceil(Fraction(room, step)) if circular else step * fast_length(-(-room // step))
        axes.append([int(full * scale) for scale in scales])
    rows, columns = axes
    return list(zip(rows, columns, strict=True))
