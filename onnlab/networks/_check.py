"""Argument checks of the network modules."""

from torch import Tensor

from onnlab.optics._check import whole_number

Size = tuple[int, int]


def size(name: str, value: object, least: int = 1) -> Size:
    """Return ``value`` as a pair of whole numbers of at least ``least``; raise otherwise."""
    pair = tuple(value) if isinstance(value, (tuple, list)) else (value, value)
    if len(pair) != 2:
        raise TypeError(f"{name} must be one whole number or a pair of them, got {value!r}")
    return whole_number(name, pair[0], least), whole_number(name, pair[1], least)


def images(x: object, channels: int, image_size: Size) -> None:
    """Raise unless ``x`` is a real floating-point tensor ``(batch, channels, *image_size)``."""
    if not isinstance(x, Tensor) or not x.is_floating_point():
        kind = x.dtype if isinstance(x, Tensor) else type(x).__name__
        raise TypeError(f"x must be a float tensor, got {kind}; for a complex field use its intensity")
    expected = (channels, *image_size)
    if x.ndim != 4 or tuple(x.shape[1:]) != expected:
        raise ValueError(
            f"x must have shape (batch, {', '.join(map(str, expected))}), got {tuple(x.shape)}; "
            "make the layer for the size of your images"
        )
