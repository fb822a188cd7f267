"""How layers enter a tangent kernel: their per-image gradients, contracted without being written down."""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from onnlab.networks import SpectralConv2d

Weights = Mapping[nn.Parameter, float]


class LayerKernel(ABC):
    r"""The share of one layer in a tangent kernel, for one batch of images.

    With the gradient :math:`\delta_i` of one output by what the layer returns for image :math:`i`, the
    gradient by its parameters is linear in :math:`\delta_i`. A subclass keeps of the layer's input what
    that linear map needs.
    """

    @abstractmethod
    def gram(self, delta: Tensor, other: "LayerKernel", other_delta: Tensor, same: bool) -> Tensor:
        """Return the inner products ``(n, m)`` of the gradients of two batches, added up over outputs.

        Parameters
        ----------
        delta, other_delta : Tensor
            Gradients of several outputs by what the layer returns, ``(n, outputs, channels, positions)``.
        other : LayerKernel
            The same layer for the other batch.
        same : bool
            Both are the same batch and the same outputs.
        """


class PatchKernel(LayerKernel):
    r"""A layer that multiplies patches of its input by a matrix: linear, convolution, and pools behind it.

    Image :math:`i` has the patches :math:`u_{ip}`, one for each position :math:`p`, and the gradient by the
    matrix is :math:`G_i = \sum_p \delta_{ip} u_{ip}^T`. Two ways lead to :math:`\langle G_i, G_j\rangle`:

    .. math:: \Big\langle \sum_p \delta_{ip} u_{ip}^T, \sum_q \delta_{jq} u_{jq}^T \Big\rangle
        = \sum_{pq} (u_{ip} \cdot u_{jq}) (\delta_{ip} \cdot \delta_{jq})

    The right side is cheaper for few positions: for a linear layer, with one, it is
    :math:`(A A^T) \circ (D D^T)`. A bias is one more entry of each patch, equal to 1.

    Parameters
    ----------
    patches : Tensor
        ``(n, groups, k, positions)``.
    chunk : int
        Largest number of entries of :math:`G_i` that are held for each image.
    """

    def __init__(self, patches: Tensor, chunk: int) -> None:
        self.patches, self.chunk = patches, chunk
        self.products: Tensor | None = None  # of the patches: the same for every output

    def gram(self, delta: Tensor, other: LayerKernel, other_delta: Tensor, same: bool) -> Tensor:
        """See :class:`LayerKernel`."""
        assert isinstance(other, PatchKernel)
        n, groups, k, positions = self.patches.shape
        # Each output has its own matrix of gradients: to add up over outputs is to have more rows.
        one, two = (d.unflatten(2, (groups, -1)).transpose(1, 2).flatten(2, 3) for d in (delta, other_delta))
        out = one.shape[2]
        if groups == 1 and positions**2 * (k + out) <= 2 * k * out:
            if self.products is None:
                self.products = _products(self.patches, other.patches)
            return _sum_positions(self.products * _products(one, two), positions)
        rows = max(1, self.chunk // (groups * k))
        total = delta.new_zeros(n, len(other_delta))
        for start in range(0, out, rows):
            part = slice(start, start + rows)
            left = (one[:, :, part] @ self.patches.mT).flatten(1)
            right = left if same else (two[:, :, part] @ other.patches.mT).flatten(1)
            total = total + left @ right.T
        return total


class ScaleKernel(LayerKernel):
    r"""A norm layer in eval mode, :math:`y = \gamma \hat x + \beta` for each channel.

    Parameters
    ----------
    entries : list of Tensor
        What the gradient is multiplied by before it is added up over positions: :math:`\hat x` for
        :math:`\gamma`, 1 for :math:`\beta`; each ``(n, channels, positions)``.
    """

    def __init__(self, entries: list[Tensor]) -> None:
        self.entries = entries

    def gram(self, delta: Tensor, other: LayerKernel, other_delta: Tensor, same: bool) -> Tensor:
        """See :class:`LayerKernel`."""
        assert isinstance(other, ScaleKernel)
        left = self._gradients(delta)
        right = left if same else other._gradients(other_delta)
        return left @ right.T

    def _gradients(self, delta: Tensor) -> Tensor:
        return torch.cat([(delta * e[:, None]).sum(3).flatten(1) for e in self.entries], dim=1)


def covered(layer: nn.Module) -> bool:
    """Tell whether there is a rule for this layer; subclasses may compute anything, so they have none."""
    if type(layer) is nn.Conv2d:
        return layer.padding_mode == "zeros"
    if type(layer) is SpectralConv2d:
        return not layer.free
    return type(layer) in (nn.Linear, nn.BatchNorm2d)


def layer_kernel(
    layer: nn.Module, x: Tensor, pool: nn.Module | None, weights: Weights, chunk: int
) -> LayerKernel:
    """Return the rule of a covered layer for its input.

    Parameters
    ----------
    layer : Module
        See :func:`covered`.
    x : Tensor
        Its input.
    pool : Module, optional
        An average pool behind a convolution. To average the results is to average the patches; there are
        fewer positions then, and gradients are taken behind the pool.
    weights : mapping
        The parameters that enter, with their weights in the kernel.
    chunk : int
        See :class:`PatchKernel`.
    """
    scales = [
        math.sqrt(weights[p]) if isinstance(p, nn.Parameter) and p in weights else None
        for p in (layer.weight, layer.bias)
    ]
    if isinstance(layer, nn.BatchNorm2d):
        assert layer.running_mean is not None and layer.running_var is not None
        mean, std = layer.running_mean[:, None], (layer.running_var + layer.eps).sqrt()[:, None]
        x = x.flatten(2)
        factors = (x - mean) / std, torch.ones_like(x)
        return ScaleKernel([s * f for s, f in zip(scales, factors, strict=True) if s is not None])
    groups = 1
    if isinstance(layer, nn.Linear):
        patches = x.reshape(len(x), -1, layer.in_features).mT
        size: tuple[int, ...] = (patches.shape[-1],)
    else:
        groups, patches, size = _unfolded(layer, x)
    rows: list[Tensor] = []
    grouped = patches.unflatten(1, (groups, -1))
    if scales[0] is not None:
        rows.append(scales[0] * grouped)
    if scales[1] is not None:
        rows.append(torch.full_like(grouped[:, :, :1], scales[1]))
    entries = torch.cat(rows, dim=2)
    if pool is not None:
        flat = entries.flatten(1, 2).unflatten(2, size)
        entries = pool(flat).flatten(2).unflatten(1, (groups, -1))
    return PatchKernel(entries, chunk)


def as_delta(layer: nn.Module, gradient: Tensor) -> Tensor:
    """Bring a gradient by a layer's output into the shape ``(n, channels, positions)``."""
    if isinstance(layer, nn.Linear):
        return gradient.reshape(len(gradient), -1, layer.out_features).mT
    return gradient.flatten(2)


def _unfolded(layer: nn.Module, x: Tensor) -> tuple[int, Tensor, tuple[int, int]]:
    """Groups, patches ``(n, groups * k, positions)`` and rows and columns of positions of a convolution."""
    assert isinstance(layer, (nn.Conv2d, SpectralConv2d))
    ky, kx = layer.kernel_size
    (dy, dx), (sy, sx) = layer.dilation, layer.stride
    if isinstance(layer, SpectralConv2d):
        (top, left), (bottom, right) = layer.before, layer.after
        mode = "circular" if layer.circular else "constant"
    else:
        (left, right, top, bottom), mode = layer._reversed_padding_repeated_twice, "constant"
    padded = F.pad(x, (left, right, top, bottom), mode=mode)
    rows = (padded.shape[-2] - dy * (ky - 1) - 1) // sy + 1
    columns = (padded.shape[-1] - dx * (kx - 1) - 1) // sx + 1
    patches = F.unfold(padded, (ky, kx), (dy, dx), 0, (sy, sx))
    return layer.groups, patches, (rows, columns)


def _products(one: Tensor, two: Tensor) -> Tensor:
    """Inner products of all columns of ``(n, 1, k, positions)`` with those of ``(m, 1, k, positions)``."""
    left, right = (t[:, 0].mT.flatten(0, 1) for t in (one, two))
    return left @ right.T


def _sum_positions(products: Tensor, positions: int) -> Tensor:
    return products.unflatten(0, (-1, positions)).unflatten(2, (-1, positions)).sum((1, 3))
