"""The explorable of chapter 10: what fits on a chip, and from which image size on it pays."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import traitlets
from torch import nn

from onnlab.hardware import Constants, Cost, KernelLayout, cost, crossover, kernel_layout
from onnlab.hardware.layout import ROUNDING
from onnlab.networks import HybridClassifier, PSFConvolution
from onnlab.widgets._explorable import Explorable
from onnlab.widgets._traits import Between


class DeviceDesign(Explorable):
    r"""Shape a chip: its kernels to scale, and the energy of an image by light and by electronics.

    The sensor is as large as the chip and lies behind it at the same scale, so that each site has its own
    piece for its picture: the kernel and its gap, :math:`\lfloor (k + d) / p \rfloor` pixels of pitch
    :math:`p` along a side. Two sites make a signed kernel. Networks and constants are given once; the rest
    can be changed later, here and in the browser.

    Parameters
    ----------
    hybrid, digital : callable, optional
        Each takes a number of kernels and an image size and returns a network. Left out, they are those of
        the chapter: kernels of 7 x 7 for three colours, a pool to 14 x 14 and two layers, with the kernels by
        light and by electronics.
    channels : int
        Channels of the images.
    constants : onnlab.hardware.Constants, optional
        What the parts take. Left out, an exposure takes 0.1 mJ besides the usual ones.
    sizes : range
        Image sizes to choose from. They have to suit the networks' pools.
    side, kernel_size, gap, pixel : float
        Side of the chip (1 to 10 mm), of the piece that makes one PSF (0.1 to 1 mm), least distance of two
        pieces (0 to 0.5 mm) and pitch of the sensor (2 to 20 micrometres), in metres.
    mac : float, optional
        Energy of a multiply-accumulate, 0.1 to 100 pJ, in joules; that of the constants if left out.
    parallel : bool
        All sites take their pictures in one exposure; otherwise one after the other.

    Raises
    ------
    TypeError, ValueError
        If a network cannot be counted, or its operations are not a quadratic function of the size, in
        proportion to the kernels but for a constant part; if there is energy of modulators; or if a number
        is out of its range.

    Examples
    --------
    >>> DeviceDesign(digital=lambda kernels, n: SmallCNN(3, 10, n), side=2e-3, sizes=range(56, 757, 56))
    """

    module = "device_design"

    side = Between(3e-3, 1e-3, 10e-3)
    kernel_size = Between(0.3e-3, 0.1e-3, 1e-3)
    gap = Between(0.05e-3, 0.0, 0.5e-3)
    pixel = Between(5e-6, 2e-6, 20e-6)
    mac = Between(Constants().mac, 0.1e-12, 100e-12, "joules")
    parallel = traitlets.Bool(True).tag(sync=True)
    counts = traitlets.Dict().tag(sync=True)
    camera = traitlets.Dict().tag(sync=True)
    sizes = traitlets.List(traitlets.Int()).tag(sync=True)

    def __init__(
        self,
        hybrid: Callable[[int, int], nn.Module] | None = None,
        digital: Callable[[int, int], nn.Module] | None = None,
        *,
        channels: int = 3,
        constants: Constants | None = None,
        sizes: range = range(28, 757, 14),
        **state: Any,
    ) -> None:
        c = Constants(frame=1e-4) if constants is None else constants
        if len(sizes) < 5 or sizes.step < 1:
            raise ValueError(
                f"sizes must be a range of at least five sizes, got {sizes!r}; pass range(28, 757, 14)"
            )
        makers = {"hybrid": hybrid or _hybrid, "digital": digital or _digital}

        def costs(name: str, kernels: int, size: int, constants: Constants, parallel: bool) -> Cost:
            with torch.device("meta"):  # shapes are all that is counted
                model = makers[name](kernels, size)
            return cost(model, (channels, size, size), constants, parallel=parallel)

        self._costs, self._constants, self._sizes = costs, c, sizes
        super().__init__(
            counts={name: _counts(name, partial(costs, name), sizes, c) for name in makers},
            camera={"frame": c.frame, "reading": _reading(c)},
            sizes=list(sizes),
            **{"mac": c.mac} | state,
        )

    @property
    def layout(self) -> KernelLayout:
        """Sites and pairs of the chip."""
        return kernel_layout(self.side, self.side, self.kernel_size, self.gap)

    @property
    def kernels(self) -> int:
        """How many signed kernels the chip holds: one for each pair of sites."""
        return len(self.layout.pairs)

    @property
    def resolution(self) -> int:
        """Pixels along a side of each picture: the largest of the sizes that fits, 0 if none does."""
        room = math.floor((self.kernel_size + self.gap) / self.pixel * (1 + ROUNDING))
        return max((size for size in self._sizes if size <= room), default=0)

    def costs(self, size: int | None = None) -> tuple[Cost, Cost]:
        """Return what one image costs by the hybrid and by the digital network.

        Parameters
        ----------
        size : int, optional
            Size of the image; that of the device's own pictures if left out.

        Raises
        ------
        ValueError
            If the chip holds no pair, or no size was given and none fits.
        """
        size = self.resolution if size is None else size
        if not self.kernels or not size:
            raise ValueError(
                f"the chip must hold a pair and a picture, got {self.kernels} pairs and pictures of {size} "
                "pixels; make it larger, its kernels smaller, or the pixels finer"
            )
        constants = replace(self._constants, mac=self.mac)
        given = (self.kernels, size, constants, self.parallel)
        return self._costs("hybrid", *given), self._costs("digital", *given)

    @property
    def crossover(self) -> int | None:
        """Size from which the hybrid takes less energy, by :func:`~onnlab.hardware.crossover`."""
        if not self.kernels:
            return None
        return crossover(lambda n: self.costs(n)[0], lambda n: self.costs(n)[1], self._sizes)


def _hybrid(kernels: int, size: int) -> nn.Module:
    return HybridClassifier(PSFConvolution(3, kernels, 7, size), pool=size // 14)


def _digital(kernels: int, size: int) -> nn.Module:
    head = (nn.Flatten(), nn.Linear(kernels * 14 * 14, 64), nn.ReLU(), nn.Linear(64, 10))
    return nn.Sequential(nn.Conv2d(3, kernels, 7, padding=3), nn.AvgPool2d(size // 14), *head)


def _reading(constants: Constants) -> float:
    """Joules of a camera and its converter for one pixel."""
    return constants.read + 2**constants.bits * constants.conversion_step


def _counts(
    name: str, costs: Callable[[int, int, Constants, bool], Cost], sizes: range, constants: Constants
) -> dict[str, Any]:
    """What there is to pay for, as a constant part and that of each kernel.

    MACs and readings are coefficients of 1, n and n^2; exposures those of all pictures at once, and of one
    after the other.
    """
    three = (sizes[0], sizes[len(sizes) // 2], sizes[-1])
    powers = np.vander(three, 3, increasing=True).astype(float)
    found = [[costs(kernels, n, constants, True) for n in three] for kernels in (1, 2)]

    def parts(values: list[Any]) -> np.ndarray:
        one, two = np.array(values, dtype=float)
        return np.round([2 * one - two, two - one], 6) + 0.0  # no -0

    def fitted(what: str) -> np.ndarray:
        return parts([np.linalg.solve(powers, [getattr(c, what) for c in row]) for row in found])

    pictures = [[step.pictures for step in row[0].operations if step.pictures] for row in found]
    exposures = [parts([len(some) for some in pictures]), parts([sum(some) for some in pictures])]
    macs, read = fitted("macs"), fitted("read")

    kernels, n = 5, sizes[1]
    for shots, parallel in zip(exposures, (True, False), strict=True):
        due = [np.array([1, kernels]) @ part @ [1, n, n * n] for part in (macs, read)]
        energy = np.array([1, kernels]) @ shots * constants.frame
        energy += due[1] * _reading(constants) + due[0] * constants.mac
        true = costs(kernels, n, constants, parallel)
        if not np.allclose([*due, energy], [true.macs, true.read, true.energy], rtol=1e-6, atol=1e-15):
            raise ValueError(
                f"{name} must take energy of cameras and MACs alone, quadratic in the size and linear in the "
                f"kernels, got {true.macs} MACs and {true.read} readings where {due[0]:.0f} and {due[1]:.0f} "
                f"were due at {n} pixels and {kernels} kernels; choose sizes that its pools divide"
            )
    return {
        "macs": macs.tolist(),
        "read": read.tolist(),
        "exposures": [shots.tolist() for shots in exposures],
    }
