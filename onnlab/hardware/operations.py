"""What a network has to do for one image: products, by light or by electronics, and readings of cameras."""

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from onnlab.networks import (
    IdealConvolution,
    OpticalLayer,
    SpectralConv2d,
    SpectralFilter,
    SpectralPool2d,
    SpectralStack,
)
from onnlab.networks import _check as check
from onnlab.networks._check import Size
from onnlab.optics._check import one_of, whole_number

Spectral = SpectralConv2d | SpectralPool2d | SpectralStack | SpectralFilter
SPECTRAL = (SpectralConv2d, SpectralPool2d, SpectralStack, SpectralFilter)
COUNTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
FREE = (nn.LayerNorm, nn.GroupNorm)  # weights, but no products of matrices


@dataclass(frozen=True)
class Operation:
    """What one layer does for one image.

    Parameters
    ----------
    name, what : str
        Name of the layer in the model, and its kind.
    where : str
        ``"light"``, ``"electronics"``, or ``"camera"`` for the picture that a digital network starts from.
    macs : int
        Multiply-accumulates. Those of light are the ones that electronics is spared.
    shown : int
        Numbers that a modulator has to show, before light can go on with them.
    read : int
        Numbers that a camera reads behind it.
    pictures : int
        Pictures that these numbers come in.
    """

    name: str
    what: str
    where: str
    macs: int
    shown: int = 0
    read: int = 0
    pictures: int = 0


def count_operations(
    model: nn.Module,
    input_shape: tuple[int, int, int],
    *,
    spectral: str = "light",
    display: bool = False,
) -> tuple[Operation, ...]:
    r"""Count what a network does for one image, layer by layer, in the order in which the layers act.

    ======================  =============================================================================
    layer                   multiply-accumulates (MACs)
    ======================  =============================================================================
    ``Conv2d``              output pixels :math:`\times\; c_o\, (c_i / g)\, k_y k_x`
    ``ConvTranspose2d``     input pixels :math:`\times\; c_i\, (c_o / g)\, k_y k_x`
    ``Linear``              :math:`c_i c_o`
    optical layer           as the convolution that it stands for
    spectral, by light      the same; pools none; a filter or free transfer function as by electronics
    spectral, electronics   :math:`P \log_2 P` for each transform of :math:`P` pixels, :math:`4 c_i c_o`
                            for each frequency; a convolution the direct way where that takes fewer
    ======================  =============================================================================

    Additions of biases, activations, pools and norms are not counted, for they are few. Products that a
    model takes by functions and not by layers are not seen.

    An optical layer sees the scene. So does the first spectral layer, if light does it and nothing comes
    before; later ones see a modulator that shows what electronics has found. Spectral layers that follow each
    other in a ``Sequential`` are one bench, up to a stride; behind a bench there is a camera. It takes two
    pictures of each map, whose difference has a sign, by two PSFs or by a reference beam in and out of phase;
    one is enough for a square law, and for an :class:`~onnlab.networks.IdealConvolution`.
    A network that starts with electronics needs one picture of the scene.

    Parameters
    ----------
    model : nn.Module
        A network for images. It is not changed, and not run: a copy without numbers is.
    input_shape : (int, int, int)
        Channels, rows and columns of the images.
    spectral : {"light", "electronics"}
        Who does the spectral layers.
    display : bool
        Show the image itself on a modulator, where there is no scene to look at.

    Returns
    -------
    tuple of Operation

    Raises
    ------
    TypeError
        If the model is no module, or a layer with weights is of a kind that is not counted.
    ValueError
        If ``spectral`` is unknown, the shape is none, or the model does not take such images.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, got {type(model).__name__}; pass the network itself")
    one_of("spectral", spectral, ("light", "electronics"))
    if not isinstance(input_shape, (tuple, list, torch.Size)) or len(input_shape) != 3:
        raise ValueError(f"input_shape must be (channels, rows, columns), got {input_shape!r}")
    shape = [whole_number("input_shape", n) for n in input_shape]
    copy = deepcopy(model).to("meta").eval()
    walk = _Walk(copy, spectral == "light", display, [])
    dtype = next((p.dtype for p in copy.parameters() if p.is_floating_point()), torch.float32)
    try:
        with torch.no_grad():
            copy(torch.zeros(1, *shape, dtype=dtype, device="meta"))
    except RuntimeError as error:
        raise ValueError(
            f"input_shape must be one that the model takes, got {tuple(shape)}: {error}; give channels, "
            "rows and columns of its images, and no model that makes tensors on a device of its own or reads "
            "their numbers"
        ) from error
    found = tuple(walk.found)
    if found and found[0].where == "light":
        return found
    return (Operation("", "picture of the scene", "camera", 0, 0, math.prod(shape), 1), *found)


@dataclass
class _Walk:
    """Listens to a copy of a model that has shapes and no numbers."""

    model: nn.Module
    by_light: bool
    display: bool
    found: list[Operation]

    def __post_init__(self) -> None:
        within = [pair for m in self.model.modules() if self.by_light for pair in _benches(m)]
        self.lit_from_behind = {following for _, following in within}
        self.passed_on = {layer for layer, _ in within}
        for name, layer in _layers(self.model):
            if isinstance(layer, (OpticalLayer, *SPECTRAL)):
                # Nobody computes what light does: the shape of the result is all that is asked for.
                layer.forward = partial(self._bench, name, layer)  # type: ignore[method-assign]
            elif isinstance(layer, COUNTED):
                layer.register_forward_hook(partial(self._electronics, name))
            elif not isinstance(layer, FREE) and any(p.ndim > 1 for p in layer.parameters(recurse=False)):
                raise TypeError(
                    f"layer {name!r} is a {type(layer).__name__}, whose operations are not counted here; "
                    "build it from Conv2d, ConvTranspose2d, Linear, spectral or optical layers"
                )

    def _electronics(self, name: str, layer: nn.Module, x: tuple[Tensor], y: Tensor) -> None:
        if isinstance(layer, nn.ConvTranspose2d):
            macs = x[0].numel() * layer.weight[0].numel()
        else:
            assert isinstance(layer, (nn.Conv2d, nn.Linear))
            macs = y.numel() * layer.weight[0].numel()
        self.found.append(Operation(name, type(layer).__name__, "electronics", macs))

    def _bench(
        self, name: str, layer: OpticalLayer | Spectral, x: Tensor, generator: Generator | None = None
    ) -> Tensor:
        channels, maps = _channels(layer, x)
        check.images(x, channels, layer.image_size)
        y = x.new_empty(len(x), maps, *layer.output_size)
        what = type(layer).__name__
        if isinstance(layer, SPECTRAL) and not self.by_light:
            self.found.append(Operation(name, what, "electronics", _by_transforms(layer, channels, maps)))
            return y
        scene = isinstance(layer, OpticalLayer) or not self.found
        shown = x.numel() if (self.display or not scene) and layer not in self.lit_from_behind else 0
        pictures = 0 if layer in self.passed_on else maps * _pictures(layer)
        read = pictures * math.prod(layer.output_size)
        self.found.append(Operation(name, what, "light", _by_light(layer, x, maps), shown, read, pictures))
        return y


def _layers(
    module: nn.Module, name: str = "", seen: set[nn.Module] | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """All modules with their names, each once, but nothing inside an optical or spectral one."""
    seen = set() if seen is None else seen
    if module in seen:  # shared by two containers: what listens to it hears both calls
        return
    seen.add(module)
    yield name, module
    if not isinstance(module, (OpticalLayer, *SPECTRAL)):
        for key, child in module.named_children():
            yield from _layers(child, f"{name}.{key}" if name else key, seen)


def _benches(module: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """Neighbours between which light goes on without a camera."""
    if not isinstance(module, nn.Sequential) or isinstance(module, SpectralStack):
        return []
    chain = [layer for layer in module if not isinstance(layer, (nn.Dropout, nn.Dropout2d, nn.Identity))]
    return [
        pair
        for pair in pairwise(chain)
        if all(isinstance(m, SPECTRAL) for m in pair) and not _strided(pair[0])
    ]


def _strided(layer: nn.Module) -> bool:
    """A stride drops pixels, and only a camera can do that."""
    return isinstance(layer, SpectralConv2d) and layer.stride != (1, 1)


def _channels(layer: OpticalLayer | Spectral, x: Tensor) -> tuple[int, int]:
    """Channels before and behind a bench."""
    if isinstance(layer, OpticalLayer):
        return layer.channels, len(layer.weight)
    if isinstance(layer, SpectralFilter):
        return layer.transfer.shape[2], layer.transfer.shape[3]
    if isinstance(layer, SpectralPool2d):
        return x.shape[1], x.shape[1]
    return layer.in_channels, layer.out_channels


def _pictures(layer: OpticalLayer | Spectral) -> int:
    """Pictures that tell one map."""
    if isinstance(layer, OpticalLayer):
        return 1 if isinstance(layer, IdealConvolution) or layer.camera == "square-law" else 2
    return 2


def _by_light(layer: OpticalLayer | Spectral, x: Tensor, maps: int) -> int:
    if isinstance(layer, OpticalLayer):
        # The kernels act at every pixel of the image; a sensor that bins adds up behind them.
        return math.prod(layer.image_size) * layer.weight.numel()
    if isinstance(layer, SpectralPool2d):
        return 0
    if isinstance(layer, SpectralStack):
        return sum(_by_light(inner, x, maps) for inner in layer if isinstance(inner, SpectralConv2d))
    if isinstance(layer, SpectralConv2d) and not layer.free:
        return _direct(layer)
    return _by_transforms(layer, x.shape[1], maps)


def _direct(layer: SpectralConv2d) -> int:
    return math.prod(layer.output_size) * layer.weight.numel()


def _by_transforms(layer: Spectral, channels: int, maps: int) -> int:
    """MACs of a spectral layer in electronics."""
    if isinstance(layer, SpectralPool2d):
        return channels * (_transform(layer.image_size) + _transform(layer.output_size))
    if isinstance(layer, SpectralFilter):
        first, last = layer.canvas, layer.output_canvas
        products = _products(last, channels, maps)
    elif isinstance(layer, SpectralStack):
        first, last = layer.canvases[0], layer.canvases[-1]
        products = sum(
            _products(canvas, inner.in_channels, inner.out_channels)
            for inner, canvas in zip(layer, layer.canvases, strict=False)
            if isinstance(inner, SpectralConv2d)
        )
    else:
        first = last = layer.canvas
        products = _products(first, channels, maps)
    macs = channels * _transform(first) + maps * _transform(last) + products
    if isinstance(layer, SpectralConv2d) and not layer.free:
        return min(macs, _direct(layer))
    return macs


def _transform(canvas: Size) -> int:
    """MACs of a fast Fourier transform of a real image: P/2 log P butterflies of 4, and half of them."""
    pixels = math.prod(canvas)
    return math.ceil(pixels * math.log2(pixels))


def _products(canvas: Size, channels: int, maps: int) -> int:
    """MACs of the products of spectra: four real ones for a complex one, on the half plane."""
    return 4 * canvas[0] * (canvas[1] // 2 + 1) * channels * maps
