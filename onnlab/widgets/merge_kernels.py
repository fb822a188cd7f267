"""The second explorable of chapter 5: kernels in a row, and the one that does the same."""

import torch
import traitlets
from torch import Tensor
from torch.fft import irfft2, rfft2

from onnlab.networks import SpectralConv2d, SpectralStack, merge
from onnlab.widgets._bundle import digit
from onnlab.widgets._explorable import SOBEL, Explorable
from onnlab.widgets._traits import Kernel, Samples, check_shares

SIZE = 32  # pixels along each side of the object


def _default_kernels() -> Tensor:
    line = torch.exp(-2 * (2 * torch.arange(-2.0, 3.0) / 5) ** 2)
    blur = torch.outer(line, line) / line.sum() ** 2
    return torch.stack([blur, blur, torch.nn.functional.pad(torch.tensor(SOBEL), (1, 1, 1, 1))])


def _small_object() -> Tensor:
    return torch.nn.functional.pad(torch.from_numpy(digit() / 255).float(), (2, 2, 2, 2))


class MergeKernels(Explorable):
    """Three linear layers one after the other, beside one product with the transfer function of all three.

    Parameters
    ----------
    kernels : Tensor or array
        Real ``(3, k, k)`` with ``k`` 3, 5 or 7, correlated as ``torch.nn.Conv2d`` does; kept as float32.
    room : {"all", "one", "none"}
        Zeros behind the image in the one product: for the reach of all kernels, of one, or none. With too
        few, what leaves the image at one border comes in at the other.
    object : Tensor or array
        Values between 0 and 1: float32, ``(32, 32)``.
    """

    module = "merge_kernels"

    kernels = Kernel(_default_kernels)
    room = traitlets.Enum(["all", "one", "none"], "all").tag(sync=True)
    object = Samples(_small_object, check_shares)

    @property
    def layers(self) -> list[SpectralConv2d]:
        """The three layers in float64."""
        layers = []
        for kernel in self.kernels:
            layer = SpectralConv2d(1, 1, len(kernel), SIZE).double().requires_grad_(False)
            layer.weight[0, 0] = kernel
            layers.append(layer)
        return layers

    @property
    def steps(self) -> Tensor:
        """What the object has become behind each layer, with room for all: float64, ``(3, 32, 32)``."""
        layers, image = self.layers, self.object.double()[None, None]
        return torch.stack([SpectralStack(*layers[:n])(image)[0, 0] for n in (1, 2, 3)])

    @property
    def product(self) -> Tensor:
        """What one product makes of the object, with the :attr:`room` there is: float64, ``(32, 32)``."""
        image = self.object.double()[None, None]
        if self.room == "all":
            return merge(SpectralStack(*self.layers))(image)[0, 0]
        side = SIZE + (self.kernels.shape[-1] - 1 if self.room == "one" else 0)
        canvas = (side, side)
        transfer = torch.stack([layer.transfer(canvas)[:, :, 0, 0] for layer in self.layers]).prod(0)
        return irfft2(rfft2(image[0, 0], s=canvas) * transfer, s=canvas)[:SIZE, :SIZE]

    @property
    def difference(self) -> Tensor:
        """One product minus three layers: float64, ``(32, 32)``."""
        return self.product - self.steps[-1]
