"""Traits that hold tensors and lengths, and how they cross to JavaScript."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import traitlets
from torch import Tensor

Check = Callable[[str, Tensor], None]

SIDES = (3, 5, 7)  # of kernels, in cells


class Length(traitlets.Float):
    """A positive, finite length in metres, shared with JavaScript."""

    def __init__(self, default: float) -> None:
        super().__init__(default)
        self.tag(sync=True)

    def validate(self, obj: Any, value: Any) -> float:
        """Return ``value`` as a float; raise if it is no positive number."""
        length = super().validate(obj, value)
        if not 0 < length < float("inf"):
            raise ValueError(f"{self.name} must be a positive length in metres, got {value!r}")
        return length


class Between(traitlets.Float):
    """A number between two ends, both allowed, shared with JavaScript, where a slider has the same ends."""

    def __init__(self, default: float, low: float, high: float, unit: str = "metres") -> None:
        super().__init__(default)
        self.low, self.high, self.unit = low, high, unit
        self.tag(sync=True)

    def validate(self, obj: Any, value: Any) -> float:
        """Return ``value`` as a float; raise if it is not between the ends."""
        number = super().validate(obj, value)
        if not self.low <= number <= self.high:
            raise ValueError(
                f"{self.name} must be from {self.low:g} to {self.high:g} {self.unit}, got {value!r}; "
                "give it in SI units"
            )
        return number


class _Numbers(traitlets.TraitType):
    """A trait that holds a tensor. Anything that ``torch.as_tensor`` takes can be assigned.

    Parameters
    ----------
    default : callable
        Makes the tensor to start with. New values are converted to its dtype.
    check : callable, optional
        Called with the name and a new tensor; raises ValueError if it is not acceptable.
    """

    def __init__(self, default: Callable[[], Tensor], check: Check | None = None) -> None:
        super().__init__()
        self.make = default
        self.check = check
        self.tag(sync=True, to_json=self._pack, from_json=self._unpack)

    def default(self, obj: Any = None) -> Tensor:
        """Return a new default tensor."""
        return self.make()

    def validate(self, obj: Any, value: Any) -> Tensor:
        """Return ``value`` as a detached tensor on the CPU; raise if it does not fit."""
        like = self.make()
        try:
            tensor = torch.as_tensor(value).detach().cpu()
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                f"{self.name} must be a tensor, an array or rows of numbers, got {value!r:.60}"
            ) from error
        self._fit(tensor, like)
        if tensor.is_complex() and not like.is_complex():
            raise TypeError(
                f"{self.name} must be real, got {tensor.dtype}; use {self.name}.real or {self.name}.abs()"
            )
        if not tensor.isfinite().all():
            raise ValueError(f"{self.name} must be finite, got NaN or infinity; find the step that made it")
        if self.check is not None:
            self.check(str(self.name), tensor)
        return tensor.to(like.dtype).clone()

    def _fit(self, tensor: Tensor, like: Tensor) -> None:
        """Raise ValueError if a new tensor has not the right shape."""
        raise NotImplementedError

    def _pack(self, value: Tensor, widget: Any) -> Any:
        return value.tolist()

    def _unpack(self, data: Any, widget: Any) -> Any:
        return data


class Samples(_Numbers):
    """A tensor of the shape of its default; JavaScript sees float32 bytes, and none for the default.

    A complex tensor crosses as real and imaginary parts in turn.
    """

    def _fit(self, tensor: Tensor, like: Tensor) -> None:
        if tensor.shape != like.shape:
            wanted, got = tuple(like.shape), tuple(tensor.shape)
            raise ValueError(f"{self.name} must have shape {wanted}, got {got}; pad or resample it")

    def _pack(self, value: Tensor, widget: Any) -> bytes:
        return b"" if torch.equal(value, self.make()) else _bytes_of(value)

    def _unpack(self, data: Any, widget: Any) -> Tensor:
        like = self.make()
        return like if len(data) == 0 else _from_bytes(data, like.dtype, like.shape)


class Block(_Numbers):
    """A tensor with as many axes as its default, of any lengths; JavaScript sees its shape and its bytes."""

    def _fit(self, tensor: Tensor, like: Tensor) -> None:
        if tensor.ndim != like.ndim:
            raise ValueError(
                f"{self.name} must have {like.ndim} axes, got {tuple(tensor.shape)}; add or index one"
            )

    def _pack(self, value: Tensor, widget: Any) -> dict[str, Any]:
        return {"shape": list(value.shape), "data": _bytes_of(value)}

    def _unpack(self, data: Any, widget: Any) -> Tensor:
        return _from_bytes(data["data"], self.make().dtype, data["shape"])


class Kernel(_Numbers):
    """A square kernel of 3, 5 or 7 cells a side, or some of one size; JavaScript sees rows of numbers."""

    def _fit(self, tensor: Tensor, like: Tensor) -> None:
        many = like.shape[:-2]
        if tensor.shape not in [(*many, side, side) for side in SIDES]:
            kernels = "".join(f"{n} kernels of " for n in many)
            raise ValueError(
                f"{self.name} must be {kernels}3 x 3, 5 x 5 or 7 x 7, got {tuple(tensor.shape)}; "
                "pad with zeros"
            )


class Rows(_Numbers):
    """A table of numbers, one row for each example; JavaScript sees rows of numbers."""

    def _fit(self, tensor: Tensor, like: Tensor) -> None:
        if tensor.ndim != 2 or tensor.shape[0] < 1 or tensor.shape[1] < 2:
            raise ValueError(
                f"{self.name} must have shape (examples, classes), two classes at least, got "
                f"{tuple(tensor.shape)}; keep the axis of the batch"
            )


def _bytes_of(value: Tensor) -> bytes:
    plain = torch.view_as_real(value.resolve_conj()) if value.is_complex() else value
    return plain.contiguous().numpy().astype("<f4").tobytes()


def _from_bytes(data: Any, dtype: torch.dtype, shape: Any) -> Tensor:
    values = torch.from_numpy(np.frombuffer(data, dtype="<f4").copy())
    return (values.view(dtype) if dtype.is_complex else values.to(dtype)).reshape(tuple(shape))


def check_shares(name: str, values: Tensor) -> None:
    """Raise ValueError unless all values lie between 0 and 1."""
    if values.numel() and not 0 <= values.min() <= values.max() <= 1:
        low, high = float(values.min()), float(values.max())
        raise ValueError(
            f"{name} must lie between 0 and 1, got {low:.3g} to {high:.3g}; divide it by its largest"
        )
