"""Watch a forward pass: where each parameter enters, and what of the place has to be remembered."""

import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge
from torch.overrides import TorchFunctionMode

from onnlab.distill._rules import RULES
from onnlab.distill.layers import Convolution, Step, Use
from onnlab.networks import (
    FourFConvolution,
    IdealConvolution,
    PSFConvolution,
    SpectralConv2d,
    SpectralPool2d,
    SpectralStack,
)
from onnlab.networks.spectra import crop_spectrum, from_spectrum, to_spectrum

DROPOUTS = (
    F.dropout, F.dropout1d, F.dropout2d, F.dropout3d, F.alpha_dropout, F.feature_alpha_dropout, F.rrelu,
)  # fmt: skip
TOGETHER = 2**23  # entries of deltas that go through the network at a time
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


@dataclass
class Record:
    """What a forward pass left behind.

    Parameters
    ----------
    outputs : Tensor
        ``(n, outputs)``: all that the model returned, flat.
    taps : list of Tap
        The calls that a rule covers.
    uncovered : set of str
        Parameters that also enter somewhere else, so that no rule holds for them.
    normed : bool
        Whether the model called a norm of each image, whose derivatives vmap gets wrong.
    """

    outputs: Tensor
    taps: list[Tap]
    uncovered: set[str]
    normed: bool

    @property
    def clear(self) -> bool:
        """Whether the first axis of each tap is sure to be that of the images."""
        return all(use.clear for tap in self.taps for _, use in tap.uses)

    def uses(self) -> dict[Names, list[tuple[int, Use]]]:
        """Return the uses, each with the number of its tap, by parameters that have them in common."""
        named = [
            (tuple(None if name in self.uncovered else name for name in names), number, use)
            for number, tap in enumerate(self.taps)
            for names, use in tap.uses
        ]
        together = Counter(names for names, *_ in named)
        alone = Counter(name for names, *_ in named for name in names)
        found: dict[Names, list[tuple[int, Use]]] = {}
        for (weight, bias), number, use in named:
            pair = (weight, bias)
            # A weight that has another bias elsewhere, or none, adds up on its own.
            joint = None in pair or together[pair] == alone[weight] == alone[bias]
            for names in [pair] if joint else [(weight, None), (None, bias)]:
                if names != (None, None):
                    found.setdefault(names, []).append((number, use))
        return found

    @property
    def together(self) -> int:
        """How many directions are to go through the network at a time."""
        return max(1, TOGETHER // max(1, sum(tap.entries for tap in self.taps)))

    def deltas(self, directions: Tensor, differentiable: bool) -> list[Tensor]:
        """Return the derivatives of ``outputs @ direction`` by what each tap sees, ``(r, n, ...)``."""
        if not self.taps:
            return []
        groups = directions.split(self.together)
        parts = [found for group in groups for found in self._way_back(group, differentiable)]
        return parts[0] if len(parts) == 1 else [torch.cat(part) for part in zip(*parts, strict=True)]

    def _way_back(self, directions: Tensor, differentiable: bool) -> list[list[Tensor]]:
        """Let directions go together, or one after the other if PyTorch cannot."""
        back = partial(
            torch.autograd.grad,
            self.outputs,
            [tap.edge for tap in self.taps],
            retain_graph=True,
            create_graph=differentiable,
            materialize_grads=True,
        )
        slopes = directions[:, None].expand(-1, *self.outputs.shape)
        if len(directions) > 1 and not self.normed:
            try:
                return [list(back(slopes, is_grads_batched=True))]
            except RuntimeError:  # for some functions vmap has no rule
                pass
        return [[delta[None] for delta in back(slope)] for slope in slopes]


def record(model: nn.Module, parameters: dict[str, nn.Parameter], x: Tensor, differentiable: bool) -> Record:
    """Run a model on ``x`` and note where its parameters enter.

    A layer is seen at the torch function that it ends in (``linear``, ``conv2d``), so that modules,
    functions and shared weights are all alike. Whether that was all is then read off the graph: a parameter
    that enters it at more places than were noted is *uncovered*.

    Parameters
    ----------
    model : Module
        The network.
    parameters : dict
        What enters the kernel, by name.
    x : Tensor
        ``(n, ...)``.
    differentiable : bool
        Keep the graph to the parameters themselves; otherwise it ends at stand-ins for them.
    """
    entering = {
        name: value if differentiable and value.requires_grad else value.detach().requires_grad_()
        for name, value in parameters.items()
    }
    watch = _Watch({id(parameters[name]): (name, value) for name, value in entering.items()}, len(x))
    with torch.enable_grad(), _in_space(model), watch:
        outputs = _one_row_each(model(x), len(x))
    counts = _consumers(outputs)
    kinds: dict[str, list[object]] = {}
    for tap in watch.taps:
        _move_behind(tap, counts)
        for names, use in tap.uses:
            for role, name in enumerate(names):
                if name is not None:
                    kinds.setdefault(name, []).append((role, type(use), getattr(use, "groups", None)))
    uncovered = {
        name
        for name, value in entering.items()
        if sum(counts[edge] for edge in {_leaf(value), _leaf(parameters[name])} - {None})
        != len(kinds.get(name, []))
        or len(set(kinds.get(name, []))) > 1
    }
    return Record(outputs, watch.taps, uncovered, watch.normed)


def _one_row_each(outputs: object, n: int) -> Tensor:
    """Return outputs as ``(n, outputs)``; raise if they are something else than a row for each image."""
    if not isinstance(outputs, Tensor) or outputs.ndim < 1 or len(outputs) != n:
        got = tuple(outputs.shape) if isinstance(outputs, Tensor) else type(outputs).__name__
        raise TypeError(
            f"model must return one tensor with a row for each of the {n} images, got {got}; keep the axis "
            "of the batch, and wrap a model that returns several results"
        )
    if not outputs.is_floating_point():
        raise TypeError(
            f"model must return a float tensor, got {outputs.dtype}; take the intensity of a field"
        )
    return outputs.reshape(n, outputs[:1].numel())


class _Watch(TorchFunctionMode):
    """Sees each call of a torch function, puts stand-ins for parameters in, and notes what a rule covers."""

    def __init__(self, entering: dict[int, tuple[str, Tensor]], samples: int) -> None:
        super().__init__()
        self.entering, self.samples = entering, samples
        self.names = {id(value): name for name, value in entering.values()}
        self.taps: list[Tap] = []
        self.normed = False

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        args = tuple(map(self._stand_in, args))
        kwargs = {key: self._stand_in(value) for key, value in (kwargs or {}).items()}
        if func in DROPOUTS or func is F.batch_norm or func is F.instance_norm:
            _refuse_mixing(func, args, kwargs)
        self.normed |= func in NORMS
        output = (_scale_and_shift if func is F.batch_norm else func)(*args, **kwargs)
        if func in RULES:
            self._note(RULES[func](*args, **kwargs), output)
        elif (func in POOLS or (func == Tensor.__getitem__ and _crops(args[1]))) and args:
            self._note_step(func, args, kwargs, output)
        return output

    def _stand_in(self, value: Any) -> Any:
        if type(value) in (list, tuple):
            return type(value)(map(self._stand_in, value))
        return self.entering[id(value)][1] if id(value) in self.entering else value

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


def _move_behind(tap: Tap, counts: Counter[Any]) -> None:
    """Take the deltas of a convolution behind an average pool, if the pool is all that its result goes to."""
    convolutions = [use for _, use in tap.uses if isinstance(use, Convolution)]
    for edge, entries, step in tap.behind:
        if counts[tap.edge[:2]] != 1 or len(convolutions) < len(tap.uses):
            return
        tap.edge, tap.entries = edge, entries
        for use in convolutions:
            use.behind.append(step)


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


def _refuse_mixing(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
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
        raise ValueError(
            f"model must be in eval mode: {func.__name__} is random in training mode, and so would the "
            "kernel be; call model.eval()"
        )


def _consumers(outputs: Tensor) -> Counter[Any]:
    """Count how often each result of each node of the graph is used on the way to the outputs."""
    counts: Counter[Any] = Counter()
    waiting: list[Any] = [outputs.grad_fn] if outputs.grad_fn else []
    seen = set(waiting)
    while waiting:
        for node, number in waiting.pop().next_functions:
            if node is not None:
                counts[node, number] += 1
                if node not in seen:
                    seen.add(node)
                    waiting.append(node)
    return counts


def _leaf(value: Tensor) -> Any:
    return get_gradient_edge(value)[:2] if value.requires_grad else None


@contextmanager
def _in_space(model: nn.Module) -> Iterator[None]:
    """Let layers that convolve in the frequency domain, or with light, do the same with ``conv2d``."""
    with ExitStack() as undo:
        for module in model.modules():
            for name, method in _spatial(module).items():
                setattr(module, name, method)  # hides the method of the class, until it is deleted again
                undo.callback(delattr, module, name)
        yield


def _spatial(module: nn.Module) -> dict[str, Callable[..., Tensor]]:
    if type(module) is SpectralConv2d and not module.free:
        return {"forward": partial(_convolve, module)}
    if type(module) is SpectralStack and not any(getattr(layer, "free", False) for layer in module):
        return {"forward": partial(_run_stack, module)}
    if type(module) in (PSFConvolution, FourFConvolution) and module.sensor is None:
        return {"readings": partial(IdealConvolution.readings, module)}
    return {}


def _convolve(layer: SpectralConv2d, x: Tensor) -> Tensor:
    margins = (layer.before[1], layer.after[1], layer.before[0], layer.after[0])
    padded = F.pad(x, margins, mode="circular" if layer.circular else "constant")
    return F.conv2d(padded, layer.weight, layer.bias, layer.stride, 0, layer.dilation, layer.groups)


def _run_stack(stack: SpectralStack, x: Tensor) -> Tensor:
    """Compute a stack on its canvases, where all its convolutions are circular."""
    (ny, nx), (rows, columns) = stack.image_size, stack.canvases[0]
    y = F.pad(x, (0, columns - nx, 0, rows - ny))
    for layer, canvas, following in zip(stack, stack.canvases, stack.canvases[1:], strict=False):
        if isinstance(layer, SpectralPool2d):
            y = from_spectrum(crop_spectrum(to_spectrum(y, canvas), canvas, following), following)
        elif isinstance(layer, SpectralConv2d):
            shifted = y.roll(layer.before, (-2, -1))
            padded = F.pad(shifted, (0, layer.reach[1], 0, layer.reach[0]), mode="circular")
            y = F.conv2d(padded, layer.weight, layer.bias, 1, 0, layer.dilation, layer.groups)
    return y[..., : stack.output_size[0], : stack.output_size[1]]
