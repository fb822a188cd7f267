"""The parts that experiments are made of, by the names that their settings give them."""

from collections.abc import Callable
from functools import partial
from typing import Any

from torch import nn

from onnlab.data import Dataset, available, load
from onnlab.distill import Augmentation, compose, random_flip, random_shift
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


def _hybrid(
    channels: int, classes: int, image_size: ImageSize, *, kernels: int, hidden: tuple[int, ...]
) -> HybridClassifier:
    optics = IdealConvolution(channels, kernels, 7, image_size)
    return HybridClassifier(optics, classes, pool=4, hidden=hidden)


def _unet(channels: int, classes: int, image_size: ImageSize, *, width: int) -> UNet:
    return UNet(channels, classes, width=width, levels=3)


def _segmenter(channels: int, classes: int, image_size: ImageSize) -> HybridSegmenter:
    return HybridSegmenter(IdealConvolution(channels, 56, 3, image_size), classes, depth=2)


NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "LeNet": _lenet,
    "SmallCNN-8": partial(SmallCNN, width=8),
    "SmallCNN-16": partial(SmallCNN, width=16),
    "SmallCNN-32": partial(SmallCNN, width=32),
    "AlexNet": AlexNet,
    "Hybrid-8": partial(_hybrid, kernels=8, hidden=(64,)),
    "Hybrid-16": partial(_hybrid, kernels=16, hidden=(256, 64)),
    "UNet-8": partial(_unet, width=8),
    "UNet-16": partial(_unet, width=16),
    "Segmenter": _segmenter,
}
"""Networks by name, each called with ``channels``, ``classes`` and ``image_size``, a pair if not square."""

TASKS: dict[str, Callable[[], Dataset]] = {
    **{name: partial(load, name) for name in available()},
    "scenes-24": partial(load, "scenes", size=24, figure_ground=True),
    "camvid-cars": lambda: load("camvid").against_rest("car"),
}
"""Data sets by name: those of :func:`onnlab.data.load`, and tasks that are made of them."""

FRONTS = ("nonlinear", "linear", "relu-in-pool")
"""The network as it is; its strictly linear counterpart; that counterpart with a ReLU behind each pool."""

AUGMENTATIONS: dict[str, Augmentation | None] = {
    "none": None,
    "shift": random_shift,
    "shift+flip": compose(random_shift, random_flip),
}


KERNELS: dict[str, dict[str, Any]] = {
    "plain": {},
    "not centred": {"centre": False},
    "raw": {"normalise": None, "centre": False},
    "trace": {"normalise": "trace"},
    "head": {"parameters": ["back_end"], "teacher_parameters": ["classifier"]},
    "one projection": {"projections": 1},
    "four projections": {"projections": 4},
    "last level": {
        "projections": 4,
        "parameters": ["back_end.blocks.1", "back_end.logits"],
        "teacher_parameters": ["decoder.blocks.1", "decoder.logits"],
    },
}
"""What :class:`onnlab.distill.NTKD` is called with, by name."""
