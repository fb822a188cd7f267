"""The linear counterpart of a CNN: what is left of it when light has to do the work."""

from collections import OrderedDict
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from torch import Tensor, nn

from onnlab.networks._check import Size
from onnlab.networks._text import columns
from onnlab.networks.spectral import SpectralConv2d, SpectralPool2d
from onnlab.networks.stack import Layer, SpectralStack
from onnlab.optics._check import two_sizes

ACTIVATIONS = (
    nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.CELU, nn.SELU, nn.GELU, nn.SiLU, nn.Mish,
    nn.Tanh, nn.Sigmoid, nn.Hardtanh, nn.Hardswish, nn.Hardsigmoid, nn.Softplus, nn.Softsign, nn.LogSigmoid,
)  # fmt: skip
POOLS = ("spectral", "average")

Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class Row:
    """What became of one layer."""

    name: str
    before: str
    after: str


def describe_rows(table: tuple[Row, ...]) -> str:
    """Return a table of what became of what as text."""
    head = ("layer", "in the model", "in the counterpart")
    return columns([head, *((row.name, row.before, row.after) for row in table)])


class LinearCounterpart(nn.Module):
    """A linear front end and the digital head that the teacher had. Made by :func:`linear_counterpart`.

    Attributes
    ----------
    features : nn.Sequential
        The front end: spectral stacks, and what could not join one.
    head : nn.Sequential
        The layers from the first ``Flatten`` or ``Linear`` on, with their nonlinearities.
    table : tuple of Row
        What became of each layer of the model.
    """

    def __init__(self, features: nn.Sequential, head: nn.Sequential, table: tuple[Row, ...]) -> None:
        super().__init__()
        self.features, self.head, self.table = features, head, table

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits ``(batch, classes)`` of images ``(batch, channels, ny, nx)``."""
        return self.head(self.features(x))

    def describe(self) -> str:
        """Return the table as text, a line for each layer of the model."""
        return describe_rows(self.table)


def linear_counterpart(
    model: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    pool: str = "spectral",
    relu_in_pool: bool = False,
    borders: str = "canvas",
    copy_weights: bool = True,
) -> LinearCounterpart:
    r"""Turn a CNN into its spectral CNN linear counterpart (SCLC).

    ========================  =====================================================================
    in the model              in the counterpart
    ========================  =====================================================================
    convolution               :class:`SpectralConv2d` with the same kernels
    ReLU and its relatives    dropped
    max-pool                  :class:`SpectralPool2d` (or average pool) to the same size
    average pool              kept: it is linear
    BatchNorm                 folded into the convolution before it, with its running statistics
    dropout                   kept: it does nothing once training is over
    flatten and what follows  kept, with its nonlinearities: it is electronic
    ========================  =====================================================================

    Parameters
    ----------
    model : nn.Module
        A ``Sequential``, nested ones included, or a module with the attributes ``features`` and
        ``classifier`` (and perhaps ``avgpool`` between them). It is not changed. A convolution that it uses
        twice becomes two in the front end, with equal kernels to start from.
    input_shape : (int, int, int)
        Channels, rows and columns of its images.
    pool : {"spectral", "average"}
        What a max-pool becomes.
    relu_in_pool : bool
        Put a ReLU behind each pool, as the code published with the paper does. Then the student is *not*
        linear: compare the two, and say which one you report.
    borders : {"canvas", "crop"}
        "canvas": neighbouring layers join a :class:`SpectralStack`, which :func:`merge` turns into one
        transfer function. "crop": each layer crops to its image, exactly as in the model.
    copy_weights : bool
        Start from the model's weights; otherwise from fresh ones, by torch's global generator.

    Returns
    -------
    LinearCounterpart
        The student, and the table of what became what.

    Raises
    ------
    TypeError
        If a layer has no linear counterpart, the model is no chain of layers, or without ``copy_weights`` a
        part of the head has no ``reset_parameters`` to draw fresh ones.
    ValueError
        If an option is unknown, or a layer does not fit the images.

    Notes
    -----
    Source: Xiang et al. (2022), arXiv:2102.13323, section 3.
    """
    if pool not in POOLS:
        raise ValueError(f"pool must be one of {', '.join(map(repr, POOLS))}, got {pool!r}")
    if borders not in ("canvas", "crop"):
        raise ValueError(f'borders must be "canvas" or "crop", got {borders!r}')
    if not isinstance(input_shape, (tuple, list, torch.Size)) or len(input_shape) != 3:
        raise ValueError(f"input_shape must be (channels, rows, columns), got {input_shape!r}")
    chain = _chain(model)
    cut = next((i for i, (_, m) in enumerate(chain) if isinstance(m, (nn.Flatten, nn.Linear))), len(chain))
    front = _FrontEnd(two_sizes("input_shape", tuple(input_shape[1:])), pool, relu_in_pool, copy_weights)
    with torch.no_grad():
        for name, layer in chain[:cut]:
            front.add(name, layer)
    table = [*front.rows, *(Row(name, _short(layer), "kept") for name, layer in chain[cut:])]
    # Copied as one: a layer that is used twice stays one layer.
    head = copied(nn.Sequential(*(layer for _, layer in chain[cut:])), copy_weights)
    layers = front.layers if borders == "crop" else _join(front.layers)
    return LinearCounterpart(nn.Sequential(*layers), head, tuple(table))


@dataclass
class _FrontEnd:
    """The layers so far, and the size of the images behind them."""

    image_size: Size
    pool: str
    relu_in_pool: bool
    copy_weights: bool
    layers: list[nn.Module] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def add(self, name: str, layer: nn.Module) -> None:
        if isinstance(layer, nn.Conv2d):
            self._append(name, layer, self._convolution(name, layer))
        elif isinstance(layer, ACTIVATIONS):
            self.rows.append(Row(name, _short(layer), "dropped"))
        elif isinstance(layer, (nn.MaxPool2d, nn.AdaptiveMaxPool2d)):
            self._append(name, layer, self._max_pool(name, layer))
            if self.relu_in_pool:
                self.layers.append(nn.ReLU())
                self.rows.append(Row(name, "", "ReLU behind the pool"))
        elif isinstance(layer, (nn.AvgPool2d, nn.AdaptiveAvgPool2d)):
            self._append(name, layer, copied(layer))
            self.image_size = _output_size(layer, self.image_size)
        elif isinstance(layer, nn.BatchNorm2d):
            self._fold(name, layer)
        elif isinstance(layer, (nn.Dropout, nn.Dropout2d, nn.Identity)):
            self.layers.append(copied(layer))
            self.rows.append(Row(name, _short(layer), "kept"))
        else:
            raise TypeError(
                f"layer {name!r} ({_short(layer)}) has no linear counterpart here; replace it by "
                "convolutions, activations, pools and BatchNorm, or put it behind the Flatten, in the head"
            )

    def _append(self, name: str, old: nn.Module, new: nn.Module) -> None:
        self.layers.append(new)
        self.rows.append(Row(name, _short(old), "kept" if type(old) is type(new) else _short(new)))
        if isinstance(new, (SpectralConv2d, SpectralPool2d)):
            self.image_size = new.output_size

    def _convolution(self, name: str, layer: nn.Conv2d) -> SpectralConv2d:
        padding: str | int | Size
        if layer.padding_mode == "circular":
            padding = "circular"
        elif layer.padding_mode != "zeros":
            raise TypeError(
                f"layer {name!r} pads by {layer.padding_mode!r}, which no transfer function does; "
                'use padding_mode="zeros" or "circular"'
            )
        elif isinstance(layer.padding, str):
            padding = "same" if layer.padding == "same" else 0
        else:
            padding = _pair(layer.padding)
        new = SpectralConv2d(
            layer.in_channels,
            layer.out_channels,
            _pair(layer.kernel_size),
            self.image_size,
            padding,
            stride=_pair(layer.stride),
            dilation=_pair(layer.dilation),
            groups=layer.groups,
            bias=layer.bias is not None,
        ).to(layer.weight.device, layer.weight.dtype)
        if layer.padding_mode == "circular":
            _check_turn(name, layer, new)
        if self.copy_weights:
            new.weight.copy_(layer.weight)
            if new.bias is not None and layer.bias is not None:
                new.bias.copy_(layer.bias)
        return new

    def _max_pool(self, name: str, layer: nn.Module) -> nn.Module:
        output = _output_size(layer, self.image_size)
        if self.pool == "spectral":
            return SpectralPool2d(self.image_size, output)
        if isinstance(layer, nn.AdaptiveMaxPool2d):
            new: nn.Module = nn.AdaptiveAvgPool2d(output)
        elif isinstance(layer, nn.MaxPool2d) and layer.dilation in (1, (1, 1)):
            new = nn.AvgPool2d(
                layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode, count_include_pad=False
            )
        else:
            raise TypeError(f'layer {name!r} is a dilated max-pool: no average pool is; use pool="spectral"')
        self.image_size = output
        return new

    def _fold(self, name: str, layer: nn.BatchNorm2d) -> None:
        previous = next((m for m in reversed(self.layers) if not _keeps_constants(m)), None)
        mean, variance = layer.running_mean, layer.running_var
        if not isinstance(previous, SpectralConv2d) or mean is None or variance is None:
            raise TypeError(
                f"layer {name!r} is a BatchNorm that cannot be folded: it has to follow a convolution and to "
                "track running statistics; move it there, or drop it and train again"
            )
        if not self.copy_weights:
            self.rows.append(Row(name, _short(layer), "dropped: a fresh convolution has nothing to fold"))
            if previous.bias is None:
                previous.bias = nn.Parameter(previous.weight.new_zeros(previous.out_channels))
            return
        gain = torch.rsqrt(variance + layer.eps)
        shift = -mean * gain
        if layer.affine:
            gain, shift = gain * layer.weight, shift * layer.weight + layer.bias
        bias = 0 if previous.bias is None else previous.bias
        previous.bias = nn.Parameter(bias * gain + shift)
        previous.weight.mul_(gain[:, None, None, None])
        self.rows.append(Row(name, _short(layer), "folded into the convolution before it"))


def _check_turn(name: str, layer: nn.Conv2d, new: SpectralConv2d) -> None:
    """Raise unless a layer with circular padding begins and ends where one on a turning window does."""
    half = (0, 0) if layer.padding == "valid" else layer.padding
    half = new.before if half == "same" else half
    if half != new.before or _output_size(layer, new.image_size) != new.output_size:
        remedy = "padding='same'" if layer.stride == (1, 1) else f"padding={new.before} and an odd kernel"
        raise TypeError(
            f"layer {name!r} must pad by half of its kernel on each side to go round whole, got "
            f"{layer.padding} for a kernel of {layer.kernel_size}; use {remedy}"
        )


def _chain(model: nn.Module, prefix: str = "") -> list[tuple[str, nn.Module]]:
    """Return the layers of a model in the order in which they act, with their names."""
    if isinstance(model, nn.Sequential):
        return [
            item
            for name, layer in _parts(model).items()
            for item in (
                _chain(layer, f"{prefix}{name}.")
                if isinstance(layer, nn.Sequential)
                else [(f"{prefix}{name}", layer)]
            )
        ]
    parts = _parts(model)
    if {"features", "classifier"} <= set(parts) <= {"features", "avgpool", "classifier"}:
        named = [(name, parts[name]) for name in ("features", "avgpool", "classifier") if name in parts]
        chain = _chain(nn.Sequential(OrderedDict(named)))
        if not any(isinstance(layer, nn.Flatten) for _, layer in chain):
            # The usual classifiers are flattened to in forward(), where no list of layers shows it.
            first = next(i for i, (name, _) in enumerate(chain) if name.startswith("classifier"))
            chain.insert(first, ("flatten", nn.Flatten()))
        return chain
    raise TypeError(
        "model must be a Sequential or have the parts features and classifier, got "
        f"{type(model).__name__} with {sorted(parts)}; put its layers into nn.Sequential, in the order in "
        "which they act"
    )


def _parts(model: nn.Module) -> dict[str, nn.Module]:
    """Return the children by name. ``named_children()`` leaves out a layer that is used a second time."""
    return {name: layer for name, layer in model._modules.items() if layer is not None}


def _keeps_constants(layer: nn.Module) -> bool:
    """Tell whether a layer keeps constants: then what BatchNorm does behind it can be done before it."""
    if isinstance(layer, nn.AvgPool2d):
        counts_zeros = layer.count_include_pad and layer.padding not in (0, (0, 0))
        return layer.divisor_override is None and not counts_zeros
    return isinstance(layer, (nn.Dropout, nn.Dropout2d, nn.Identity, nn.AdaptiveAvgPool2d, SpectralPool2d))


def _join(layers: list[nn.Module]) -> list[nn.Module]:
    """Put neighbours that can stay in the frequency domain together into stacks."""
    joined: list[nn.Module] = []
    run: list[Layer] = []

    def close() -> None:
        has_filter = any(isinstance(layer, SpectralConv2d) for layer in run)
        joined.extend([SpectralStack(*run)] if has_filter else run)
        run.clear()

    for layer in layers:
        if isinstance(layer, SpectralConv2d) and layer.stride == (1, 1):
            if any(isinstance(other, SpectralConv2d) and other.circular != layer.circular for other in run):
                close()
            run.append(layer)
        elif isinstance(layer, SpectralPool2d):
            run.append(layer)
        else:
            close()
            joined.append(layer)
    close()
    return joined


def copied(module: Module, weights: bool = True) -> Module:
    """Return a copy of a module, with its weights or with fresh ones, by torch's global generator.

    Raises
    ------
    TypeError
        If a part of it has parameters of its own and no method to draw fresh ones.
    """
    new = deepcopy(module)
    return new if weights else new.apply(_reset)


def _reset(module: nn.Module) -> None:
    reset = getattr(module, "reset_parameters", None)
    if callable(reset):
        reset()
    elif next(module.parameters(recurse=False), None) is not None:
        raise TypeError(
            "copy_weights=False needs fresh parameters, but the model has some in a "
            f"{type(module).__name__} without reset_parameters(); give it that method, which draws them, "
            "or set copy_weights=True"
        )


def _output_size(layer: nn.Module, image_size: Size) -> Size:
    """Size that a layer gives, by asking it: cheaper than a second copy of torch's formulas."""
    channels = getattr(layer, "in_channels", 1)
    with torch.no_grad():
        weight = getattr(layer, "weight", None)
        probe = torch.zeros(1, channels, *image_size)
        probe = probe if weight is None else probe.to(weight)
        ny, nx = layer(probe).shape[-2:]
    return ny, nx


def _pair(value: object) -> Size:
    return two_sizes("value", value, least=0)


def _short(layer: nn.Module) -> str:
    return f"{type(layer).__name__}({layer.extra_repr()})"
