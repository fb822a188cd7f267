"""Hybrid networks whose light stays as it was drawn: their back ends learn from readings taken once."""

from dataclasses import replace
from itertools import chain
from typing import TypeGuard

import torch
from torch import Tensor, nn

from onnlab.data import Dataset, Split
from onnlab.networks import HybridClassifier

CHUNK = 4  # images whose readings, of all pixels and kernels, are held at a time: a cache is small


def is_frozen(model: nn.Module) -> TypeGuard[HybridClassifier]:
    """Whether a network is hybrid, and only its back end can learn."""
    return isinstance(model, HybridClassifier) and not any(
        parameter.requires_grad for parameter in model.optics.parameters()
    )


def maps_of(model: HybridClassifier, images: Tensor, device: str = "cpu") -> Tensor:
    """Return what the back end gets to see of images, without noise: ``(n, kernels, *pooled size)``."""
    with torch.no_grad():
        parts = (model.pool(model.optics(some.to(device))) for some in images.split(CHUNK))
        first = next(parts)
        maps = first.new_empty(len(images), *first.shape[1:])  # joining parts would hold them twice
        for place, part in zip(maps.split(CHUNK), chain([first], parts), strict=True):
            place.copy_(part)
    return maps


def inner_products(maps: Tensor, maps2: Tensor) -> Tensor:
    """Return the inner products of the maps of images with those of others, ``(n, m)``."""
    return maps.flatten(1) @ maps2.flatten(1).T


def seen_by_back_end(model: HybridClassifier, data: Dataset, device: str = "cpu") -> Dataset:
    """Return a data set with what the back end gets to see in place of each image to train and validate with.

    Each image is read once. To train the back end on this is to train the network, without the light in
    every epoch. The test images are left as they are.

    Parameters
    ----------
    model : HybridClassifier
        The optics do not learn; see :func:`is_frozen`. It is moved to the device.
    data : Dataset
        Pictures with one label each.
    device : str
        Where the readings are taken. They stay there, all at once: kernels, times pixels behind the pool,
        times four bytes, for each image.
    """
    model.to(device)
    train, validation = (
        Split(maps_of(model, split.images, device), split.labels) for split in (data.train, data.validation)
    )
    return replace(data, train=train, validation=validation)
