"""The explorable of chapter 3: paint a signed kernel that light can hold."""

from typing import Any

import torch
import traitlets
from torch import Tensor

from onnlab.optics import image_incoherent, signed_kernel_pair
from onnlab.optics.imaging import SignedPair
from onnlab.widgets._explorable import Explorable, Samples, check_object, default_object

SIDES = (3, 5, 7)
SOBEL = [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]]


def _default_kernel() -> Tensor:
    return torch.nn.functional.pad(torch.tensor(SOBEL), (2, 2, 2, 2))


class Kernel(traitlets.TraitType):
    """A trait that holds a square kernel of 3, 5 or 7 cells a side; JavaScript sees it as rows of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.tag(sync=True, to_json=lambda value, _: value.tolist(), from_json=lambda rows, _: rows)

    def default(self, obj: Any = None) -> Tensor:
        """Return the Sobel kernel for upright edges in 7 x 7 cells."""
        return _default_kernel()

    def validate(self, obj: Any, value: Any) -> Tensor:
        """Return ``value`` as a float32 tensor; raise if it is no kernel."""
        try:
            tensor = torch.as_tensor(value).detach().cpu()
        except (TypeError, ValueError, RuntimeError) as error:
            raise TypeError(
                f"kernel must be a tensor, an array or rows of numbers, got {value!r:.60}"
            ) from error
        if tensor.is_complex():
            raise TypeError(
                f"kernel must be real, got {tensor.dtype}; show its real and imaginary part in turn"
            )
        if tensor.ndim != 2 or tensor.shape[0] != tensor.shape[1] or tensor.shape[0] not in SIDES:
            raise ValueError(
                f"kernel must be 3 x 3, 5 x 5 or 7 x 7, got {tuple(tensor.shape)}; pad it with zeros"
            )
        if not tensor.isfinite().all():
            raise ValueError("kernel must be finite, got NaN or infinity")
        return tensor.float().clone()


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

    kernel = Kernel()
    object = Samples(default_object, check_object)

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
