"""Hybrid networks whose light stays as it was drawn: their back ends learn from readings taken once."""

from dataclasses import replace
from typing import TypeGuard

import torch
from torch import nn

from onnlab.data import Dataset, Split
from onnlab.networks import HybridClassifier

CHUNK = 4  # images whose readings, of all pixels and kernels, are held at a time: a cache is small


def is_frozen(model: nn.Module) -> TypeGuard[HybridClassifier]:
    """Whether a network is hybrid, and only its back end can learn."""
    return isinstance(model, HybridClassifier) and not any(
        parameter.requires_grad for parameter in model.optics.parameters()
    )


def seen_by_back_end(model: HybridClassifier, data: Dataset, device: str = "cpu") -> Dataset:
    """Return a data set with what the back end gets to see in place of each image to train and validate with.

    Each image is read once. To train the back end on this is to train the network, without the light in
    every epoch. Noise has no say. The test images are left as they are.

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

    def seen(split: Split) -> Split:
        starts = range(0, len(split), CHUNK)
        with torch.no_grad():
            maps = [model.pool(model.optics(split[i : i + CHUNK][0].to(device))) for i in starts]
        return Split(torch.cat(maps), split.labels)

    return replace(data, train=seen(data.train), validation=seen(data.validation))
