r"""How layers use their parameters: the gradient of each image, in factors where it has some.

A layer that multiplies by a matrix at many positions :math:`p` has, for image :math:`i` and an output of the
network, the gradient :math:`G_i = \sum_p \delta_{ip} u_{ip}^T`: what came in, :math:`u`, and the derivative
:math:`\delta` of the output by what went out. A dense layer has one position, a convolution has its pixels.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.grad import conv2d_input, conv2d_weight

PAIR = 32  # multiplications that take as long as writing the product of a pair of positions
PATCHES = 2**15  # entries of the patches of an image from which on it is cheaper to make none

Scales = tuple[float | None, float | None]  # of weight and bias; None for what does not enter


@dataclass(frozen=True)
class Step:
    """A linear step behind a convolution that does the same to each channel: an average pool, or a crop.

    Parameters
    ----------
    function, settings, named
        The torch function, and its arguments behind the image.
    size : (int, int)
        Size of the image before it.
    """

    function: Callable[..., Tensor]
    settings: Sequence[Any]
    named: dict[str, Any]
    size: torch.Size

    def __call__(self, images: Tensor) -> Tensor:
        """Return the step of images ``(n, channels, *size)``."""
        return self.function(images, *self.settings, **self.named)

    @property
    def window(self) -> tuple[Any, Any] | None:
        """Size and stride of the window of a plain average pool, None for another step."""
        return _plain_window(*self.settings, **self.named) if self.function is F.avg_pool2d else None


class Use(ABC):
    """One use of a weight and a bias, or of one of them, by a layer with the input ``x`` ``(n, ...)``.

    The weight is a matrix that multiplies at each position, or several in groups; the bias is that of one
    more input, equal to 1.
    """

    def __init__(self, x: Tensor) -> None:
        self._x, self._version = x, x._version
        self.groups = 1
        self.behind: list[Step] = []

    @property
    def x(self) -> Tensor:
        """The input."""
        if self._x._version != self._version:
            raise ValueError(
                "model must keep the input of a layer, but one is overwritten after its use; write "
                "x = x.relu() instead of x.relu_()"
            )
        return self._x

    @property
    def clear(self) -> bool:
        """Whether a first axis as long as the batch can be nothing else than the batch.

        Otherwise the images lie along another axis than that of the channels, which are summed up or have
        parameters of their own.
        """
        return all(size % len(self._x) for size in self._x.shape[2:])

    @abstractmethod
    def patches(self) -> Tensor:
        """Return what meets the matrix, ``(n, groups * inputs, positions)``."""

    def inputs(self, scales: Scales) -> Tensor:
        """Return the factor that is the same for all outputs, ``(n, groups, positions, k)``.

        An average pool behind a convolution is done here: the mean of its results is its result for the mean
        of the patches.
        """
        averaged = self.averaged()
        patches = self.patches() if averaged is None else averaged
        patches = patches.unflatten(1, (self.groups, -1))
        rows = [] if scales[0] is None else [patches if scales[0] == 1 else scales[0] * patches]
        if scales[1] is not None:
            rows.append(torch.full_like(patches[:, :, :1], scales[1]))
        entries = torch.cat(rows, dim=2) if len(rows) > 1 else rows[0]
        for step in self.behind if averaged is None else []:
            flat = step(entries.flatten(1, 2).unflatten(2, step.size)).flatten(2)
            entries = flat.unflatten(1, (self.groups, -1))
        return entries.mT

    def averaged(self) -> Tensor | None:
        """Return the patches behind all steps, if there is a short way to them."""
        return None

    @abstractmethod
    def outputs(self, delta: Tensor) -> Tensor:
        """Return the other factor, ``(r, n, groups, rows, positions)`` from ``(r, n, ...)``."""

    def apart(self) -> "tuple[Use, Use] | None":
        """Return uses of the weight alone and of the bias alone if that is cheaper: on large images."""
        return None

    def few_positions(self, u: Tensor, rows: int) -> bool:
        """Return whether products of positions cost less than those of gradients with so many rows."""
        positions, k = u.shape[2:]
        return positions**2 * (k + rows + PAIR) <= 2 * k * rows

    def row_entries(self, u: Tensor) -> int:
        """Return how many entries of the gradient of an image a row has, all groups together."""
        return u.shape[1] * u.shape[3]

    def gradients(self, u: Tensor, d: Tensor) -> Tensor:
        """Return gradients ``(..., n, entries)`` from both factors, for as many rows as ``d`` has."""
        return (d @ u).flatten(-3)

    def by_inputs(self, slope: Tensor, u: Tensor, d: Tensor) -> Tensor:
        """Return the derivative by ``u`` from that by the :meth:`gradients`."""
        return d.mT @ slope.view(*d.shape[:3], u.shape[3])

    def by_outputs(self, slope: Tensor, u: Tensor, d: Tensor) -> Tensor:
        """Return the derivative by ``d`` from that by the :meth:`gradients`."""
        return slope.view(*d.shape[:3], u.shape[3]) @ u.mT


class Dense(Use):
    """Of ``linear``."""

    @property
    def clear(self) -> bool:
        """Unless there is an axis of positions, which may come first."""
        return self._x.ndim == 2

    def patches(self) -> Tensor:
        """Inputs at each position."""
        return self.x.reshape(len(self.x), -1, self.x.shape[-1]).mT

    def outputs(self, delta: Tensor) -> Tensor:
        """Deltas at each position."""
        return delta.reshape(*delta.shape[:2], 1, -1, delta.shape[-1]).mT


class Convolution(Use):
    """Of ``conv2d``."""

    def __init__(
        self, x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> None:
        super().__init__(x)
        self.kernel, self.groups = weight.shape[2:], groups
        self.stride, self.dilation = _pair(stride), _pair(dilation)
        reach = [d * (k - 1) for d, k in zip(self.dilation, self.kernel, strict=True)]
        if padding == "same":
            (top, left), (bottom, right) = [r // 2 for r in reach], [r - r // 2 for r in reach]
        else:
            top, left = bottom, right = (0, 0) if padding == "valid" else _pair(padding)
        self.margins = (left, right, top, bottom)
        padded = (x.shape[2] + top + bottom, x.shape[3] + left + right)
        self.size = tuple((n - r - 1) // s + 1 for n, r, s in zip(padded, reach, self.stride, strict=True))

    def patches(self) -> Tensor:
        """Patches of the image."""
        return F.unfold(F.pad(self.x, self.margins), self.kernel, self.dilation, 0, self.stride)

    def averaged(self) -> Tensor | None:
        """Patches of the averaged image: the mean of patches is the patch of means."""
        window = self.behind[0].window if len(self.behind) == 1 and self.stride == (1, 1) else None
        if window is None:
            return None
        means = F.avg_pool2d(F.pad(self.x, self.margins), window[0], 1)
        return F.unfold(means, self.kernel, self.dilation, 0, window[1])

    def outputs(self, delta: Tensor) -> Tensor:
        """Deltas of each pixel."""
        return delta.flatten(3).unflatten(2, (self.groups, -1))

    def apart(self) -> "tuple[Use, Use] | None":
        """On large images no patches are made, unless a pool behind makes few of them."""
        k = self._x.shape[1] * self.kernel.numel()
        few = bool(self.behind) or self.positions**2 < 2 * k  # the kernel is then made by positions
        return None if few or self.positions * k < PATCHES else (LargeConvolution(self), Offset(self.x))

    @property
    def positions(self) -> int:
        """How many patches there are."""
        return self.size[0] * self.size[1]


class LargeConvolution(Convolution):
    """Of ``conv2d`` without a bias on large images: their patches, many times as large, are never made.

    The gradient of an image is the derivative of a convolution by its kernels, which PyTorch knows without
    patches; so are the ways back from it convolutions, with the slopes of the gradient as their kernels.
    """

    def __init__(self, use: Convolution) -> None:
        vars(self).update(vars(use))

    def inputs(self, scales: Scales) -> Tensor:
        """Return the images themselves, with their margins."""
        images = F.pad(self.x, self.margins)
        return images if scales[0] is None or scales[0] == 1 else scales[0] * images

    def few_positions(self, u: Tensor, rows: int) -> bool:
        """Never: without patches there are no products of positions."""
        return False

    def row_entries(self, u: Tensor) -> int:
        """Return the size of the kernels from all channels to one."""
        return u.shape[1] * self.kernel.numel()

    def gradients(self, u: Tensor, d: Tensor) -> Tensor:
        """Derivatives by the kernels, image by image."""
        if d.ndim == 5:
            return torch.stack([self.gradients(u, one) for one in d])
        kernels = self._kernels(u, d)
        pairs = zip(u.split(1), self._maps(d).split(1), strict=True)
        return torch.stack([conv2d_weight(x, kernels, y, **self._settings).flatten() for x, y in pairs])

    def by_inputs(self, slope: Tensor, u: Tensor, d: Tensor) -> Tensor:
        """Transposed convolutions of the deltas, image by image."""
        pairs = zip(slope.view(-1, *self._kernels(u, d)), self._maps(d).split(1), strict=True)
        return torch.cat([conv2d_input(u[:1].shape, s, y, **self._settings) for s, y in pairs])

    def by_outputs(self, slope: Tensor, u: Tensor, d: Tensor) -> Tensor:
        """Convolutions of the images, one by one."""
        pairs = zip(u.split(1), slope.view(-1, *self._kernels(u, d)), strict=True)
        return torch.cat([F.conv2d(x, s, **self._settings) for x, s in pairs]).view(d.shape)

    @property
    def _settings(self) -> dict[str, Any]:
        return {"stride": self.stride, "dilation": self.dilation, "groups": self.groups}

    def _kernels(self, u: Tensor, d: Tensor) -> tuple[int, ...]:
        """Shape of the kernels that the rows of ``d`` belong to."""
        return (self.groups * d.shape[2], u.shape[1] // self.groups, *self.kernel)

    def _maps(self, d: Tensor) -> Tensor:
        return d.reshape(len(d), -1, *self.size)


class Transposed(Use):
    """Kernels of ``conv_transpose2d``: pixels meet patches of what goes out."""

    def __init__(
        self, x: Tensor, weight: Tensor, stride: Any, padding: Any, dilation: Any, groups: int
    ) -> None:
        super().__init__(x)
        self.kernel, self.groups = weight.shape[2:], groups
        self.stride, self.padding, self.dilation = _pair(stride), _pair(padding), _pair(dilation)

    def patches(self) -> Tensor:
        """Pixels of the image."""
        return self.x.flatten(2)

    def outputs(self, delta: Tensor) -> Tensor:
        """Patches of the deltas, one for each pixel of the input."""
        (py, px), image = self.padding, delta.flatten(0, 1)
        sizes = zip(self._x.shape[2:], self.stride, self.dilation, self.kernel, strict=True)
        rows, columns = ((n - 1) * s + d * (k - 1) + 1 for n, s, d, k in sizes)
        padded = F.pad(image, (px, px, py, py))[..., :rows, :columns]  # no kernel reaches what is beyond
        padded = F.pad(padded, (0, columns - padded.shape[-1], 0, rows - padded.shape[-2]))
        patches = F.unfold(padded, self.kernel, self.dilation, 0, self.stride)
        return patches.unflatten(1, (self.groups, -1)).unflatten(0, delta.shape[:2])


class Offset(Use):
    """Bias alone, with the channels in the second axis."""

    def patches(self) -> Tensor:
        """Return one position, for the deltas are added up in :meth:`outputs` already."""
        return self.x.new_ones(len(self.x), 1, 1)

    def outputs(self, delta: Tensor) -> Tensor:
        """Sum of the deltas over positions."""
        return delta.reshape(*delta.shape[:3], -1).sum(3)[:, :, None, :, None]


class Norm(Use):
    """Of a norm layer: factor and offset of each channel, or of each element of the last axes.

    Each is a group of its own, a matrix of one entry.

    Parameters
    ----------
    x : Tensor
        Input of the layer.
    normalised : callable
        From the input to what the factor multiplies.
    elements : int
        Number of last axes that have an entry for each element; 0 for channels in the second axis.
    """

    def __init__(self, x: Tensor, normalised: Callable[[Tensor], Tensor], elements: int = 0) -> None:
        super().__init__(x)
        self.normalised, self.elements = normalised, elements
        self.groups = x.shape[-elements:].numel() if elements else x.shape[1]

    @property
    def clear(self) -> bool:
        """Unless there is an axis of positions, which may come first."""
        return self._x.ndim == 1 + self.elements if self.elements else super().clear

    def patches(self) -> Tensor:
        """Normalised inputs."""
        return self._entries(self.normalised(self.x)[None])[0]

    def outputs(self, delta: Tensor) -> Tensor:
        """Deltas of each entry."""
        return self._entries(delta)[:, :, :, None]

    def apart(self) -> "tuple[Use, Use] | None":
        """On large images: offsets need no ones beside them."""
        return None if self.elements or self._x[0].numel() < PATCHES else (self, Offset(self.x))

    def _entries(self, values: Tensor) -> Tensor:
        """Arrange ``(r, n, ...)`` as ``(r, n, groups, positions)``."""
        if self.elements == 0:
            return values.reshape(*values.shape[:2], self.groups, -1)
        return values.reshape(*values.shape[:2], -1, self.groups).mT


def _pair(value: Any) -> tuple[int, int]:
    first, *rest = value if isinstance(value, (tuple, list)) else (value,)
    return first, (rest or [first])[0]


def _plain_window(
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> tuple[Any, Any] | None:
    plain = _pair(padding) == (0, 0) and not ceil_mode and divisor_override is None
    return (kernel_size, stride or kernel_size) if plain else None
