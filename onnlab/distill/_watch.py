"""Watch a forward pass, call by call: what a rule covers, and what no kernel can be made of."""

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from onnlab.distill._rules import RULES
from onnlab.distill.layers import Step, Use

DROPOUTS = (
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, F.rrelu,
)  # fmt: skip
RANDOM = "model must be in eval mode: {} and so would the kernel be; call model.eval()"
NORMS = (F.layer_norm, F.group_norm, F.instance_norm)
POOLS = (F.avg_pool2d, F.adaptive_avg_pool2d)

Names = tuple[str | None, str | None]  # of weight and bias


@dataclass
class Tap:
    """One call of a layer: the uses of its parameters, and its output's place in the graph and size.

    ``behind`` are the linear steps that follow, each with the place behind it and the size there.
    """

    edge: GradientEdge
    entries: int
    uses: list[tuple[Names, Use]]
    behind: list[tuple[GradientEdge, int, Step]] = field(default_factory=list)


class StandIns(TorchFunctionMode):
    """Puts stand-ins for parameters in, wherever a torch function gets one; refuses a model in training mode.

    ``functional_call`` does so in modules alone, under one name each: not where a model keeps a parameter in
    a list of its own, or two modules share one.
    """

    def __init__(self, entering: Mapping[nn.Parameter, Tensor]) -> None:
        super().__init__()
        self.entering = {id(parameter): value for parameter, value in entering.items()}

    def __enter__(self) -> "StandIns":
        self.drawn = _drawn()
        super().__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        super().__exit__(kind, error, trace)
        if error is None and not all(map(torch.equal, self.drawn, _drawn())):
            raise ValueError(RANDOM.format("it draws random numbers when it is called,"))

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in DROPOUTS or func is F.batch_norm or func is F.instance_norm:
            _refuse_mixing(func, args, kwargs or {})
        stand_in = self._stand_in
        return self.call(
            func, tuple(map(stand_in, args)), {k: stand_in(v) for k, v in (kwargs or {}).items()}
        )

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function, with the stand-ins."""
        return EXACT.get(func, func)(*args, **kwargs)

    def _stand_in(self, value: Any) -> Any:
        if type(value) in (list, tuple):
            return type(value)(map(self._stand_in, value))
        return self.entering.get(id(value), value)


class Watch(StandIns):
    """Sees each call of a torch function, and notes what a rule covers."""

    def __init__(
        self, entering: Mapping[nn.Parameter, Tensor], named: Mapping[str, Tensor], samples: int
    ) -> None:
        super().__init__(entering)
        self.names, self.samples = {id(value): name for name, value in named.items()}, samples
        self.taps: list[Tap] = []
        self.normed = False

    def call(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call the function, and note it."""
        self.normed |= func in NORMS
        output = super().call(_scale_and_shift if func is F.batch_norm else func, args, kwargs)
        if func in RULES:
            self._note(RULES[func](*args, **kwargs), output)
        elif (func in POOLS or (func == Tensor.__getitem__ and _crops(args[1]))) and args:
            self._note_step(func, args, kwargs, output)
        return output

    def _note(self, uses: list[tuple[Any, Any, Use]], output: Tensor) -> None:
        named = [((self.names.get(id(w)), self.names.get(id(b))), use) for w, b, use in uses]
        entering = [(names, use) for names, use in named if names != (None, None)]
        if entering and output.requires_grad and len(output) == len(entering[0][1].x) == self.samples:
            self.taps.append(Tap(get_gradient_edge(output), output.numel(), entering))

    def _note_step(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], output: Tensor) -> None:
        image, *settings = args
        if not self.taps or not image.requires_grad or image.ndim != 4 or len(image) != self.samples:
            return
        before = get_gradient_edge(image)[:2]
        for tap in self.taps:
            last = tap.behind[-1][0] if tap.behind else tap.edge
            if last[:2] == before:
                step = Step(func, settings, kwargs, image.shape[2:])
                tap.behind.append((get_gradient_edge(output), output.numel(), step))


def _crops(index: Any) -> bool:
    """Tell whether an index cuts out a part of each image, the same for all channels."""
    return (
        isinstance(index, tuple)
        and len(index) == 3
        and index[0] is Ellipsis
        and all(isinstance(part, slice) for part in index[1:])
    )


def _scale_and_shift(
    input: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Tensor:
    """Do what ``batch_norm`` does in eval mode, without the gradients of its weights on each way back."""
    scale = (running_var + eps).rsqrt()
    scale = scale if weight is None else weight * scale
    shift = -running_mean * scale if bias is None else bias - running_mean * scale
    scale, shift = (part.to(input.dtype).view(-1, *[1] * (input.ndim - 2)) for part in (scale, shift))
    return input * scale + shift


def _refuse_mixing(func: Any, args: Sequence[Any], kwargs: dict[str, Any]) -> None:
    """Raise where images are not independent, or the result is random."""
    given = inspect.signature(func).bind(*args, **kwargs)
    given.apply_defaults()
    settings = given.arguments
    if func is F.batch_norm and settings["training"]:
        raise ValueError(
            "model must be in eval mode: with the statistics of a batch, BatchNorm mixes the images, so that "
            "none has a gradient of its own; call model.eval(), and keep track_running_stats"
        )
    if func is F.instance_norm and settings["running_mean"] is not None and settings["use_input_stats"]:
        raise ValueError("model must be in eval mode: InstanceNorm changes its statistics; call model.eval()")
    if func in DROPOUTS and settings["training"] and settings.get("p", 1) > 0:
        raise ValueError(RANDOM.format(f"{func.__name__} is random in training mode,"))


def _drawn() -> list[Tensor]:
    """Return the states of the global generators, which move when something is drawn from them."""
    return [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]


def _weight_norm(v: Tensor, g: Tensor, dim: int = 0) -> Tensor:
    return g * v / torch.norm_except_dim(v, 2, dim)


EXACT = {torch._weight_norm: _weight_norm}
"""What PyTorch has a wrong second derivative of, which the gradient of a kernel needs."""
