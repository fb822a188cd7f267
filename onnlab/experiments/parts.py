"""The parts that experiments are made of, by the names that their settings give them."""

from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import torch
from torch import nn

from onnlab.data import Dataset, available, load
from onnlab.distill import Augmentation, compose, random_flip, random_shift
from onnlab.experiments.frozen import inner_products, maps_of
from onnlab.hardware import KernelClassifier, wide_camera
from onnlab.networks import (
    AlexNet,
    HybridClassifier,
    HybridSegmenter,
    IdealConvolution,
    LeNet,
    SmallCNN,
    UNet,
)

ImageSize = int | tuple[int, int]


def _lenet(channels: int, classes: int, image_size: ImageSize) -> nn.Module:
    if image_size != 28:
        raise ValueError(f"network 'LeNet' needs images of 28 pixels, got {image_size}; use 'SmallCNN-16'")
    return LeNet(channels, classes)


def _without_norms(channels: int, classes: int, image_size: int, *, width: int) -> SmallCNN:
    """As its counterparts are, which have no BatchNorm either: of those layers a fresh one does nothing."""
    model = SmallCNN(channels, classes, image_size, width)
    model.features = nn.Sequential(
        *(layer for layer in model.features if not isinstance(layer, nn.BatchNorm2d))
    )
    return model


def _hybrid(
    channels: int, classes: int, image_size: ImageSize, *, kernels: int, hidden: tuple[int, ...]
) -> HybridClassifier:
    optics = IdealConvolution(channels, kernels, 7, image_size)
    return HybridClassifier(optics, classes, pool=4, hidden=hidden)


def _read_out(
    channels: int, classes: int, image_size: ImageSize, *, kernels: int, camera: str, trained: bool
) -> HybridClassifier:
    """Gaussian kernels, as those of the limit of infinitely many, and a read-out without a bend.

    With one seed kernels start alike, whatever the camera, and whether they are trained or not.
    """
    drawn = torch.randn(kernels, channels, 7, 7) / (49 * channels) ** 0.5
    weight = nn.Parameter(drawn) if trained else drawn
    optics = IdealConvolution(channels, kernels, 7, image_size, camera, weight=weight)
    return HybridClassifier(optics, classes, pool=4, hidden=())


def _solved(
    channels: int, classes: int, image_size: ImageSize, *, kernels: int | None, camera: str
) -> KernelClassifier:
    """The same with frozen kernels, or infinitely many; the read-out is a regression, in closed form."""
    if kernels is None:
        return KernelClassifier(classes, partial(wide_camera, kernel_size=7, pool=4, camera=camera))
    model = _read_out(channels, classes, image_size, kernels=kernels, camera=camera, trained=False)
    return KernelClassifier(classes, inner_products, partial(maps_of, model))


def _unet(channels: int, classes: int, image_size: ImageSize, *, width: int) -> UNet:
    return UNet(channels, classes, width=width, levels=3)


def _segmenter(channels: int, classes: int, image_size: ImageSize) -> HybridSegmenter:
    return HybridSegmenter(IdealConvolution(channels, 56, 3, image_size), classes, depth=2)


RANDOM_COUNTS = (8, 64, 500, 1000)
RANDOM_CAMERAS = ("linear", "rectified")
"""Numbers of random kernels, and the cameras behind them and behind trained ones to compare with."""

SOLVED: dict[str, Callable[..., nn.Module]] = {
    f"Solved-{kernels or 'infinite'} {camera}": partial(_solved, kernels=kernels, camera=camera)
    for kernels, camera in product((*RANDOM_COUNTS, None), RANDOM_CAMERAS)
}
"""Networks that are not trained but solved, by name: no epochs, no learning rates."""

NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "LeNet": _lenet,
    "SmallCNN-8": partial(SmallCNN, width=8),
    "SmallCNN-16": partial(SmallCNN, width=16),
    "SmallCNN-16 without BatchNorm": partial(_without_norms, width=16),
    "SmallCNN-32": partial(SmallCNN, width=32),
    "AlexNet": AlexNet,
    "Hybrid-8": partial(_hybrid, kernels=8, hidden=(64,)),
    "Hybrid-16": partial(_hybrid, kernels=16, hidden=(256, 64)),
    **{
        f"Random-{kernels} {camera}": partial(_read_out, kernels=kernels, camera=camera, trained=False)
        for kernels, camera in product(RANDOM_COUNTS, RANDOM_CAMERAS)
    },
    **{
        f"Trained-8 {camera}": partial(_read_out, kernels=8, camera=camera, trained=True)
        for camera in RANDOM_CAMERAS
    },
    **SOLVED,
    "UNet-8": partial(_unet, width=8),
    "UNet-16": partial(_unet, width=16),
    "Segmenter": _segmenter,
}
"""Networks by name, each called with ``channels``, ``classes`` and ``image_size``, a pair if not square."""

TASKS: dict[str, Callable[[], Dataset]] = {
    **{name: partial(load, name) for name in available()},
    "scenes-24": partial(load, "scenes", size=24, figure_ground=True),
    "camvid-cars": lambda: load("camvid").against_rest("car"),
    "camvid-cars-60": lambda: load("camvid").against_rest("car").coarser(3),
}
"""Data sets by name: those of :func:`onnlab.data.load`, and tasks that are made of them."""

FRONTS = ("nonlinear", "linear", "relu-in-pool")
"""The network as it is; its strictly linear counterpart; that counterpart with a ReLU behind each pool."""

AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    "shift": random_shift,
    "shift+flip": compose(random_shift, random_flip),
}


LAST_LEVEL: dict[str, Any] = {
    "parameters": ["back_end.blocks.1", "back_end.logits"],
    "teacher_parameters": ["decoder.blocks.1", "decoder.logits"],
}
"""Of a segmenter and a U-Net: their levels with the largest images, where all kernels would be costly."""

KERNELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "not centred": {"centre": False},
    "raw": {"normalise": None, "centre": False},
    "trace": {"normalise": "trace"},
    "head": {"parameters": ["back_end"], "teacher_parameters": ["classifier"]},
    "one projection": {"projections": 1},
    "four projections": {"projections": 4},
    "last level": {"projections": 4, **LAST_LEVEL},
    "last level, one projection": {"projections": 1, **LAST_LEVEL},
}
"""What :class:`onnlab.distill.NTKD` is called with, by name."""
