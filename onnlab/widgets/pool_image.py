"""The first explorable of chapter 5: shrink a picture in the frequency domain, and in other ways."""

import torch.nn.functional as F
import traitlets
from torch import Tensor

from onnlab.networks import SpectralPool2d
from onnlab.widgets._explorable import SIZE, Explorable, default_object
from onnlab.widgets._traits import Samples, check_shares

LEAST = 4


class PoolImage(Explorable):
    """Pool a picture by cutting its spectrum, beside a pool that takes one value of each block of pixels.

    Parameters
    ----------
    size : int
        Side of the results in samples, 4 to 128.
    other : {"sample", "average", "maximum"}
        The other pool: the first pixel of each block, their mean, or the largest of them. Where ``size`` does
        not divide 128, blocks overlap by a pixel.
    object : Tensor or array
        Values between 0 and 1: float32, ``(128, 128)``.
    """

    module = "pool_image"

    size = traitlets.Int(32).tag(sync=True)
    other = traitlets.Enum(["sample", "average", "maximum"], "sample").tag(sync=True)
    object = Samples(default_object, check_shares)

    @traitlets.validate("size")
    def _check_size(self, proposal: dict) -> int:
        if not LEAST <= proposal["value"] <= SIZE:
            raise ValueError(
                f"size must be {LEAST} to {SIZE} samples, got {proposal['value']}; a pool shrinks"
            )
        return proposal["value"]

    @property
    def pooled(self) -> Tensor:
        """Result of :class:`~onnlab.networks.SpectralPool2d`: float32, ``(size, size)``."""
        return SpectralPool2d(SIZE, self.size)(self.object[None, None])[0, 0]

    @property
    def compared(self) -> Tensor:
        """Result of the :attr:`other` pool: float32, ``(size, size)``."""
        image = self.object[None, None]
        if self.other == "sample":
            return F.interpolate(image, self.size, mode="nearest")[0, 0]
        pool = F.adaptive_avg_pool2d if self.other == "average" else F.adaptive_max_pool2d
        return pool(image, self.size)[0, 0]
