"""A candidate for a device, as a few numbers, and the untrained network that it stands for."""

import math
from dataclasses import dataclass

import torch
from torch import Generator, Tensor
from torch.nn.functional import adaptive_avg_pool2d

from onnlab.data import Dataset, Split
from onnlab.networks import HybridClassifier, IdealConvolution
from onnlab.networks.optical import CAMERAS
from onnlab.optics._check import not_negative, one_of, whole_number, whole_numbers


@dataclass(frozen=True)
class Device:
    r"""What is to be decided before anything is trained. Two devices with the same numbers are equal.

    Parameters
    ----------
    kernels : int
        Number of kernels; :func:`kernel_layout` tells how many fit on a chip.
    kernel_size : int
        Side of a kernel in pixels.
    camera : {"linear", "rectified", "square-law"}
        As in :class:`onnlab.networks.OpticalLayer`.
    pool : int
        Pixels along each side that are averaged to one.
    noise : float
        Standard deviation of the noise of each reading, as a share of the root mean square of all readings.
        The exposure is thought to follow the light, so a scale of the kernels changes nothing.
    hidden : tuple of int
        Sizes of the hidden layers of the back end; none for a linear read-out.
    image_size : int, optional
        Side of the images that fall on the optics, in pixels; the data set's own if not given.

    Raises
    ------
    TypeError, ValueError
        If a number is of another kind or out of range, or the pool does not divide the image.
    """

    kernels: int
    kernel_size: int
    camera: str = "linear"
    pool: int = 4
    noise: float = 0.0
    hidden: tuple[int, ...] = ()
    image_size: int | None = None

    def __post_init__(self) -> None:
        for name in ("kernels", "kernel_size", "pool"):
            whole_number(name, getattr(self, name))
        one_of("camera", self.camera, CAMERAS)
        not_negative("noise", self.noise, "share of the root mean square reading")
        object.__setattr__(self, "hidden", whole_numbers("hidden", self.hidden))
        if self.image_size is not None and whole_number("image_size", self.image_size) % self.pool:
            raise ValueError(
                f"image_size must be a multiple of pool={self.pool}, got {self.image_size}; change one"
            )


class NoisyConvolution(IdealConvolution):
    """An ideal convolution whose readings are noisy, in training and afterwards.

    The noise is that of :class:`Device`: Gaussian, before any rectification, relative to the root mean
    square of the readings of a batch. Without a generator it comes from torch's global one, as that of
    dropout does, so that :func:`onnlab.distill.fit` draws it by its seed.

    Parameters
    ----------
    channels, kernels, kernel_size, image_size, camera, weight
        As for :class:`onnlab.networks.OpticalLayer`.
    noise : float
        Share of the root mean square reading.
    """

    def __init__(
        self,
        channels: int,
        kernels: int,
        kernel_size: int | tuple[int, int],
        image_size: int | tuple[int, int],
        camera: str = "linear",
        *,
        noise: float,
        weight: Tensor | None = None,
    ) -> None:
        super().__init__(channels, kernels, kernel_size, image_size, camera, weight=weight)
        self.noise = noise

    def readings(self, x: Tensor, generator: Generator | None) -> Tensor:
        """Return the convolution, or its square, and noise."""
        y = super().readings(x, generator)
        if not self.noise:
            return y
        return y + self._level(y) * torch.randn(y.shape, generator=generator, dtype=y.dtype, device=y.device)

    def expected(self, x: Tensor) -> Tensor:
        r"""Return the mean over the noise of what a call returns, images and result as there.

        A linear or square-law camera reads what it would read without noise. A rectified one reads

        .. math:: \operatorname{E} \max(a + \sigma n, 0) = a\,\Phi(a/\sigma) + \sigma\,\varphi(a/\sigma)

        with the density :math:`\varphi` and distribution :math:`\Phi` of a Gaussian number :math:`n`.
        """
        y = super().readings(x, None)
        if self.camera != "rectified":
            return y
        if not self.noise:
            return torch.relu(y)
        level = self._level(y)
        z = y / level
        return y * torch.special.ndtr(z) + level * (-z.square() / 2).exp() / math.sqrt(2 * math.pi)

    def _level(self, y: Tensor) -> Tensor:
        # Above zero for dark images, too: what is read is divided by it.
        return (self.noise * y.detach().square().mean().sqrt()).clamp(min=torch.finfo(y.dtype).tiny)


def build(device: Device, data: Dataset, seed: int) -> HybridClassifier:
    """Return the untrained network of a device, for images as :func:`seen_by` returns them.

    The kernels are Gaussian, of the variance with which ``torch.nn.Conv2d`` draws them: an expectation over
    Gaussian kernels can be computed.

    Parameters
    ----------
    device : Device
        The candidate.
    data : Dataset
        For the number of channels and classes, and the size of images that the device leaves open.
    seed : int
        Of kernels and back end.

    Raises
    ------
    ValueError
        If kernel or pool do not fit the images.
    """
    channels, rows, columns = data.train.pixels.shape[1:]
    size = (rows, columns) if device.image_size is None else (device.image_size,) * 2
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        optics = NoisyConvolution(
            channels, device.kernels, device.kernel_size, size, device.camera, noise=device.noise
        )
        with torch.no_grad():
            optics.weight.normal_(0, (3 * channels * device.kernel_size**2) ** -0.5)
        return HybridClassifier(optics, len(data.classes), pool=device.pool, hidden=device.hidden)


def seen_by(device: Device, data: Dataset) -> Dataset:
    """Return the data set at the size at which a device sees it.

    Each pixel is the mean of all pixels of the data that it covers, wholly or in part: with a whole ratio of
    the sizes that is the light on its area; with another one, neighbours share pixels.

    Raises
    ------
    ValueError
        If the device asks for more pixels than the images have.
    """
    size, own = device.image_size, tuple(data.train.pixels.shape[-2:])
    if size is None or own == (size, size):
        return data
    if size > min(own):
        raise ValueError(f"image_size must be at most that of the data, {min(own)}, got {size}; lower it")
    splits = (data.train, data.validation, data.test)
    train, validation, test = (Split(adaptive_avg_pool2d(s.images, size), s.labels) for s in splits)
    return Dataset(data.name, train, validation, test, data.classes, data.credit)
