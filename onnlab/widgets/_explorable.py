"""What the explorables have in common in Python: the twin for static pages, and tensors as shared state."""

from collections.abc import Callable
from typing import Any, ClassVar

import anywidget
import numpy as np
import torch
import traitlets
from torch import Tensor

from onnlab.widgets._bundle import bundle, digit, twin

SIZE = 128  # samples along each side of every picture


class Explorable(anywidget.AnyWidget):
    """A widget whose JavaScript is ``static/<module>.js``, live in JupyterLab and on static pages.

    A subclass names its :attr:`module` and declares the traits it shares with ``sync=True``.
    """

    module: ClassVar[str]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if "module" in cls.__dict__:
            cls._esm = bundle(cls.module)
        super().__init_subclass__(**kwargs)

    def twin(self) -> str:
        """Return the HTML that stands for this widget, in its present state, on a page without Python."""
        traits = self.traits(sync=True).items()
        own = [name for name, trait in traits if issubclass(trait.this_class, Explorable) and name[0] != "_"]
        return twin(self.module, self.get_state(own))

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        shown = super()._repr_mimebundle_(**kwargs)
        if shown is None:
            return None
        data, metadata = shown
        data = {**data, "text/html": self.twin()}
        return (data, metadata) if metadata else data


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


class Samples(traitlets.TraitType):
    """A trait that holds a tensor; JavaScript sees little-endian float32 bytes, and none for the default.

    Anything that ``torch.as_tensor`` takes can be assigned. A complex tensor crosses as real and imaginary
    parts in turn.

    Parameters
    ----------
    default : callable
        Makes the tensor to start with. New values must have its shape, and are converted to its dtype.
    check : callable, optional
        Called with a new tensor; raises ValueError if it is not acceptable.
    """

    def __init__(self, default: Callable[[], Tensor], check: Callable[[Tensor], None] | None = None) -> None:
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
                f"{self.name} must be a tensor or an array, got {type(value).__name__}"
            ) from error
        if tensor.shape != like.shape:
            wanted, got = tuple(like.shape), tuple(tensor.shape)
            raise ValueError(f"{self.name} must have shape {wanted}, got {got}; pad or resample it")
        if tensor.is_complex() and not like.is_complex():
            raise TypeError(f"{self.name} must be real, got {tensor.dtype}; use {self.name}.abs()")
        if not tensor.isfinite().all():
            raise ValueError(f"{self.name} must be finite, got NaN or infinity; find the step that made it")
        if self.check is not None:
            self.check(tensor)
        return tensor.to(like.dtype).clone()

    def _pack(self, value: Tensor, widget: Any) -> bytes:
        if torch.equal(value, self.make()):
            return b""
        plain = torch.view_as_real(value.resolve_conj()) if value.is_complex() else value
        return plain.contiguous().numpy().astype("<f4").tobytes()

    def _unpack(self, data: Any, widget: Any) -> Tensor:
        like = self.make()
        if len(data) == 0:
            return like
        return torch.from_numpy(np.frombuffer(data, dtype="<f4").copy()).view(like.dtype).reshape(like.shape)


def default_object() -> Tensor:
    """Return the digit, enlarged four times, with a margin: float32 in [0, 1], ``(128, 128)``."""
    small = torch.from_numpy(digit() / 255)[None, None]
    large = torch.nn.functional.interpolate(small, scale_factor=4, mode="bilinear", align_corners=False)
    return torch.nn.functional.pad(large, (8, 8, 8, 8))[0, 0].float()


def check_object(values: Tensor) -> None:
    """Raise ValueError unless all amplitudes lie between 0 and 1."""
    if not ((values >= 0) & (values <= 1)).all():
        low, high = float(values.min()), float(values.max())
        raise ValueError(
            f"object must lie between 0 and 1, got {low:.3g} to {high:.3g}; divide it by its largest"
        )
