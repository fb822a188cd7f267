"""Argument checks of the network modules."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import torch
from torch import Tensor

Size = tuple[int, int]
Forward = TypeVar("Forward", bound=Callable[..., Tensor])


def images(x: object, channels: int, image_size: Size, dtype: torch.dtype | None = None) -> None:
    """Raise unless ``x`` is a real floating-point tensor ``(batch, channels, *image_size)``.

    ``dtype`` is that of the layer's weights, which the images must have too; None for a layer without any.
    """
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be a float tensor, got {kind}; for a complex field use its intensity")
    expected = (channels, *image_size)
    if x.ndim != 4 or tuple(x.shape[1:]) != expected:
        raise ValueError(
            f"x must have shape (batch, {', '.join(map(str, expected))}), got {tuple(x.shape)}; "
            "make the layer for the size of your images"
        )
    if dtype not in (None, x.dtype) and not _casts(x.device.type):
        raise TypeError(
            f"x must be {dtype} like the layer's weights, got {x.dtype}; use x.to({dtype}), or give "
            f"the layer weights of {x.dtype}"
        )


def _casts(device: str) -> bool:
    """Tell whether autocast is on: then it chooses the dtypes, and layers get what it chose for others."""
    return torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device)


def any_batch(forward: Forward) -> Forward:
    """Let a layer take batches ``(0, channels, ny, nx)`` too, for which transforms raise.

    A dark image goes along and is cut off again, so that dtype, shape and gradients are those of any batch.
    Noise is left out: there is nothing that could be noisy.
    """

    @wraps(forward)
    def taken(self: Any, x: Tensor, *rest: Any, **named: Any) -> Tensor:
        if not isinstance(x, Tensor) or x.ndim != 4 or len(x):
            return forward(self, x, *rest, **named)
        return forward(self, torch.cat([x, x.new_zeros(1, *x.shape[1:])]))[:0]

    return cast("Forward", taken)
