"""Compensation: the light stays as it was built, and the electronics behind it learn to live with that."""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from onnlab.data import Dataset
from onnlab.distill import Batch, CrossEntropy, History, fit
from onnlab.hardware.fabrication import FRONT_ENDS
from onnlab.networks import HybridClassifier, HybridSegmenter, OpticalLayer
from onnlab.optics._check import share


def compensate(
    fabricated: HybridClassifier | HybridSegmenter,
    data: Dataset,
    objective: Callable[[Batch], Tensor] = CrossEntropy(),  # noqa: B008  # frozen
    fraction: float = 0.1,
    *,
    epochs: int,
    seed: int,
    noise: bool = False,
    **settings: Any,
) -> History:
    r"""Train the back end of a built network on what its camera reads, with a part of the data.

    The optics do not change in any bit. The readings of each image are taken once, as the mean of many
    pictures unless ``noise`` asks for a single one, and remembered: the epochs after the first cost no light.
    A teacher in the objective sees the images themselves. So labels, :class:`~onnlab.distill.KD` and
    :class:`~onnlab.distill.NTKD` can be compared at equal budgets: with the same seed, they get the same
    images in the same order.

    Parameters
    ----------
    fabricated : HybridClassifier or HybridSegmenter
        From :func:`fabricate`. Its back end is trained in place.
    data : Dataset
        The test images are left alone.
    objective : callable
        As for :func:`onnlab.distill.fit`.
    fraction : float
        Share of the training images, and of the validation images that choose the epoch: above 0 and up to
        1. The draw is stratified.
    epochs : int
        Passes over that part.
    seed : int
        Of the draw, and of the training.
    noise : bool
        Take a new picture, with the sensor's noise, at every step. Without it the readings are those of many
        averaged pictures.
    **settings
        Further arguments of :func:`onnlab.distill.fit`. With ``augment`` the images are new each time, and
        nothing is remembered.

    Returns
    -------
    History
        One row for each epoch.

    Raises
    ------
    TypeError, ValueError
        If ``fabricated`` is no hybrid network or its optics could learn, the fraction is out of range, or as
        :func:`onnlab.distill.fit` does.

    Notes
    -----
    Source: Xiang et al. (2025), arXiv:2508.08421: about 10 % of the data, the same losses as in training.
    """
    fronts = _frozen_front_ends(fabricated)
    if share("fraction", fraction) == 0:
        raise ValueError("fraction must be above 0, got 0; 0.1 takes a tenth of the images")
    part = replace(
        data,
        train=data.train.subset(_count(fraction, len(data.train)), seed),
        validation=data.validation.subset(_count(fraction, len(data.validation)), seed),
    )
    if noise:
        stand_ins: dict[str, nn.Module] = {name: _Exposed(front) for name, front in fronts.items()}
    elif settings.get("augment") is None:
        stand_ins = {name: _Remembered(front) for name, front in fronts.items()}
    else:
        stand_ins = {}
    with _in_place(fabricated, stand_ins):
        history = fit(fabricated, part, objective, epochs=epochs, seed=seed, **settings)
    return replace(history, recipe={**history.recipe, "fraction": fraction, "noise": noise})


class _Remembered(nn.Module):
    """A frozen device whose readings of an image are taken once, and found again by its bytes."""

    def __init__(self, optics: OpticalLayer) -> None:
        super().__init__()
        self.optics = optics
        self.readings: dict[bytes, Tensor] = {}

    def forward(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        try:
            keys = [hashlib.sha256(image.tobytes()).digest() for image in x.detach().cpu().numpy()]
        except RuntimeError:  # inside of torch.func, where values cannot be read
            return self.optics(x, generator)
        new = [number for number, key in enumerate(keys) if key not in self.readings]
        if new:
            with torch.no_grad():
                taken = self.optics(x[new])
            self.readings.update(zip((keys[number] for number in new), taken, strict=True))
        return torch.stack([self.readings[key] for key in keys])


class _Exposed(nn.Module):
    """A device whose sensor has its noise. Like dropout, it draws from PyTorch's own generator."""

    def __init__(self, optics: OpticalLayer) -> None:
        super().__init__()
        self.optics = optics

    def forward(self, x: Tensor, generator: Generator | None = None) -> Tensor:
        draws = Generator(x.device).manual_seed(int(torch.randint(2**62, ())))
        return self.optics(x, draws)


@contextmanager
def _in_place(model: nn.Module, stand_ins: dict[str, nn.Module]) -> Iterator[None]:
    """Let others stand in for parts of a network, which come back afterwards."""
    parts = {name: getattr(model, name) for name in stand_ins}
    for name, stand_in in stand_ins.items():
        setattr(model, name, stand_in)
    try:
        yield
    finally:
        for name, part in parts.items():
            setattr(model, name, part.eval())


def _frozen_front_ends(fabricated: HybridClassifier | HybridSegmenter) -> dict[str, OpticalLayer]:
    if not isinstance(fabricated, (HybridClassifier, HybridSegmenter)):
        raise TypeError(
            f"fabricated must be a HybridClassifier or HybridSegmenter, got {type(fabricated).__name__}"
        )
    fronts = {name: front for name in FRONT_ENDS if (front := getattr(fabricated, name, None)) is not None}
    for name, front in fronts.items():
        if any(parameter.requires_grad for parameter in front.parameters()):
            raise ValueError(
                f"fabricated must have frozen optics, got {name} that can learn; build the network with "
                "fabricate(student, errors, generator)"
            )
    return fronts


def _count(fraction: float, images: int) -> int:
    return max(1, round(fraction * images))
