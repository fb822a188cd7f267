"""A toy data set and toy networks, shared by the tests of training."""

import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from onnlab.data import Dataset, Split

CLASSES = 3


def toy_split(n: int, seed: int) -> Split:
    """Noise, in which row ``c`` is brighter in the images of class ``c``: easy, not trivial."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % CLASSES
    images = torch.rand(n, 1, 6, 6, generator=generator) * 0.7
    images[torch.arange(n), 0, labels + 1] += 0.3
    return Split(images, labels)


def toy_data(train: int = 90, validation: int = 60) -> Dataset:
    splits = toy_split(train, 1), toy_split(validation, 2), toy_split(30, 3)
    return Dataset("toy", *splits, tuple("abc"), "made here")


def toy_model(seed: int = 0, classes: int = CLASSES) -> nn.Sequential:
    """With BatchNorm and dropout: statistics and randomness that a training loop can get wrong."""
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(64, classes),
    )


def same_weights(one: nn.Module, other: nn.Module) -> bool:
    """Tell whether two networks agree in every bit of weights and buffers."""
    a, b = one.state_dict(), other.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def jacobian(model: nn.Module, x: Tensor) -> Tensor:
    """``(n, outputs, parameters)``, of all parameters that require a gradient."""
    named = {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}

    def outputs(parameters, image):
        return functional_call(model, parameters, (image[None],)).flatten()

    parts = vmap(jacrev(outputs), (None, 0))(named, x)
    return torch.cat([part.flatten(2) for part in parts.values()], 2)
