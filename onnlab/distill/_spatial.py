"""Stand-ins for layers that convolve in the frequency domain, or with light: the same by ``conv2d``."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import torch.nn.functional as F
from torch import Tensor, nn

from onnlab.networks import (
    FourFConvolution,
    IdealConvolution,
    PSFConvolution,
    SpectralConv2d,
    SpectralPool2d,
    SpectralStack,
)
from onnlab.networks.spectra import crop_spectrum, from_spectrum, to_spectrum


@contextmanager
def in_space(model: nn.Module) -> Iterator[None]:
    """Let layers that convolve in the frequency domain, or with light, do the same with ``conv2d``."""
    with ExitStack() as undo:
        for module in model.modules():
            for name, method in _spatial(module).items():
                setattr(module, name, method)  # hides the method of the class, until it is deleted again
                undo.callback(delattr, module, name)
        yield


def _spatial(module: nn.Module) -> dict[str, Callable[..., Tensor]]:
    if type(module) is SpectralConv2d and not module.free:
        return {"forward": lambda x: module.convolve(x, module.bias)}
    if type(module) is SpectralStack and all(map(_fits, module, module.canvases)):
        return {"forward": partial(_run_stack, module)}
    if type(module) in (PSFConvolution, FourFConvolution) and module.sensor is None:
        return {"readings": partial(IdealConvolution.readings, module)}
    return {}


def _fits(layer: nn.Module, canvas: tuple[int, int]) -> bool:
    """Whether a layer of a stack is no convolution, or one whose kernels go round its canvas once at most."""
    if not isinstance(layer, SpectralConv2d):
        return True
    return not layer.free and all(reach <= n for reach, n in zip(layer.reach, canvas, strict=True))


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
