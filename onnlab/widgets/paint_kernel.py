"""The explorable of chapter 3: paint a signed kernel that light can hold."""

import torch
from torch import Tensor

from onnlab.optics import image_incoherent, signed_kernel_pair
from onnlab.optics.imaging import SignedPair
from onnlab.widgets._explorable import SOBEL, Explorable, default_object
from onnlab.widgets._traits import Kernel, Samples, check_shares


def _default_kernel() -> Tensor:
    return torch.nn.functional.pad(torch.tensor(SOBEL), (2, 2, 2, 2))


class PaintKernel(Explorable):
    """Paint a signed kernel; see the two non-negative PSFs, their images, and the difference.

    What is painted in the browser is :attr:`kernel` here; assign to it, and the picture follows.

    Parameters
    ----------
    kernel : Tensor, array or rows of numbers
        Real, 3 x 3, 5 x 5 or 7 x 7, its origin in the middle; kept as float32.
    object : Tensor or array
        Intensity of the object, between 0 and 1: float32, ``(128, 128)``.
    """

    module = "paint_kernel"

    kernel = Kernel(_default_kernel)
    object = Samples(default_object, check_shares)

    @property
    def pair(self) -> SignedPair:
        """The two PSFs and the factor that takes their difference back to the kernel."""
        return signed_kernel_pair(self.kernel)

    @property
    def images(self) -> tuple[Tensor, Tensor]:
        """What the camera sees with the positive and with the negative PSF: intensities ``(128, 128)``."""
        positive, negative, _ = self.pair
        return image_incoherent(self.object, positive), image_incoherent(self.object, negative)

    @property
    def difference(self) -> Tensor:
        """The two images subtracted and scaled: the convolution with the signed kernel, ``(128, 128)``."""
        return self.pair.subtract(*self.images)
