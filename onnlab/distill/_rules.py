"""Rules: which torch functions use a weight and a bias in a way that is known, and in which."""

from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from torch import Tensor

from onnlab.distill.layers import Convolution, Dense, Norm, Offset, Transposed, Use

Uses = list[tuple[Tensor | None, Tensor | None, Use]]  # weight, bias, and how they are used

# Each rule has the signature of the torch function that it is for. No uses: nothing known, as for a single
# image without the axis of the batch.


def _linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Uses:
    return [(weight, bias, Dense(input))] if input.ndim > 1 and weight.ndim == 2 else []


def _conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Uses:
    if input.ndim != 4:
        return []
    return [(weight, bias, Convolution(input, weight, stride, padding, dilation, groups))]


def _conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    output_padding: Any = 0,
    groups: int = 1,
    dilation: Any = 1,
) -> Uses:
    if input.ndim != 4:
        return []
    kernels = Transposed(input, weight, stride, padding, dilation, groups)
    return [(weight, None, kernels), (None, bias, Offset(input))]


def _batch_norm(
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Uses:
    return [(weight, bias, Norm(input, lambda x: F.batch_norm(x, running_mean, running_var, eps=eps)))]


def _group_norm(
    input: Tensor,
    num_groups: int,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Uses:
    return [(weight, bias, Norm(input, lambda x: F.group_norm(x, num_groups, eps=eps)))]


def _layer_norm(
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
) -> Uses:
    elements = len(normalized_shape)
    if input.ndim <= elements:
        return []
    return [(weight, bias, Norm(input, lambda x: F.layer_norm(x, normalized_shape, eps=eps), elements))]


RULES: dict[Any, Callable[..., Uses]] = {
    F.linear: _linear,
    F.conv2d: _conv2d,
    F.conv_transpose2d: _conv_transpose2d,
    F.batch_norm: _batch_norm,
    F.group_norm: _group_norm,
    F.layer_norm: _layer_norm,
}
