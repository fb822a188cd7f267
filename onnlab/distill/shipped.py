"""Trained networks that come with the package: how each was made, and where its weights lie."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from onnlab.data import load
from onnlab.distill.augment import Augmentation, random_shift
from onnlab.distill.checkpoint import load_checkpoint
from onnlab.distill.objectives import CrossEntropy, Objective
from onnlab.distill.segmentation import Dice
from onnlab.distill.training import described, evaluate, fit
from onnlab.networks import LeNet, SmallCNN, UNet

FOLDER = Path(__file__).with_name("weights")


@dataclass(frozen=True, kw_only=True)
class Pretrained:
    """All settings of a training whose result comes with the package; the rest is as :func:`fit` has it.

    Parameters
    ----------
    network : type
        Of the network.
    options : mapping
        What its type is called with.
    data : str
        See :func:`onnlab.data.load`; it must be in the package, so that everybody can train it.
    data_options : mapping
        What :func:`onnlab.data.load` is called with, beside the name.
    labels : int, optional
        How many training images, drawn by the seed; all if not given.
    objective, epochs, seed, batch_size, learning_rate, augment
        See :func:`fit`. The first weights follow from the seed, too.
    """

    network: type[nn.Module]
    options: Mapping[str, Any] = field(default_factory=dict)
    data: str = "mnist-mini"
    data_options: Mapping[str, Any] = field(default_factory=dict)
    labels: int | None = None
    objective: Objective = CrossEntropy()  # noqa: RUF009  # frozen
    epochs: int
    seed: int = 0
    batch_size: int = 64
    learning_rate: float
    augment: Augmentation | None = None

    @property
    def settings(self) -> dict[str, Any]:
        """What is declared, as texts and numbers; each is an entry of the recipe."""
        return {
            "model": self.network.__name__,
            "options": dict(self.options),
            "data": self.data,
            **self._data_options,
            "labels": self.labels,
            "objective": described(self.objective),
            "epochs": self.epochs,
            "seed": self.seed,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "augment": described(self.augment),
        }

    @property
    def _data_options(self) -> dict[str, Any]:
        return {"data_options": dict(self.data_options)} if self.data_options else {}

    def build(self) -> nn.Module:
        """Return the network with its first weights; torch's global generator stays as it is."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.network(**self.options)

    def train(self, progress: bool = True) -> tuple[nn.Module, dict[str, Any]]:
        """Train it anew: validation chooses the epoch, and then the test split is read once.

        Parameters
        ----------
        progress : bool
            Show a line on standard error.

        Returns
        -------
        Module
            The network, in eval mode.
        dict
            Its recipe, as :func:`pretrained` returns it.
        """
        data, model = load(self.data, **self.data_options), self.build()
        if self.labels is not None:
            data = replace(data, train=data.train.subset(self.labels, self.seed))
        history = fit(
            model,
            data,
            self.objective,
            epochs=self.epochs,
            seed=self.seed,
            batch_size=self.batch_size,
            learning_rate=self.learning_rate,
            augment=self.augment,
            progress=progress,
        )
        columns = ("training_loss", "validation_loss", "validation_accuracy")
        return model, {
            **history.recipe,
            "options": dict(self.options),
            **self._data_options,
            "labels": self.labels,
            "epoch": history.kept,
            "validation_accuracy": history.best.validation_accuracy,
            "test_accuracy": evaluate(model, data.test).accuracy,
            "history": {column: history[column].tolist() for column in columns},
        }


PRETRAINED: Mapping[str, Pretrained] = {
    "lenet": Pretrained(network=LeNet, epochs=10, learning_rate=6e-3, augment=random_shift),
    "lenet-unshifted": Pretrained(network=LeNet, epochs=4, learning_rate=5e-3),
    "smallcnn-16": Pretrained(
        network=SmallCNN, options={"width": 16}, epochs=10, learning_rate=2e-3, augment=random_shift
    ),
    **{
        f"lenet-2000-{seed}": Pretrained(network=LeNet, labels=2000, seed=seed, epochs=25, learning_rate=6e-3)
        for seed in range(3)
    },
    "unet-scenes": Pretrained(
        network=UNet,
        options={"channels": 1, "classes": 2, "width": 8, "levels": 3},
        data="scenes",
        data_options={"size": 24, "figure_ground": True},
        objective=CrossEntropy() + Dice(),
        epochs=20,
        batch_size=16,
        learning_rate=1e-2,
    ),
}
"""The trained networks by name: teachers of the chapters. ``python -m onnlab.distill.make_pretrained`` makes
their files anew from what is declared here."""


def pretrained(name: str, *, train: bool = False, progress: bool = False) -> tuple[nn.Module, dict[str, Any]]:
    """Return a trained network that comes with the package, and the recipe by which it was made.

    Parameters
    ----------
    name : str
        One of :data:`PRETRAINED`.
    train : bool
        Train it here and now by the same recipe, instead of reading its file. This takes seconds to a
        minute; on another processor the weights differ in their last digits, and a few answers with them.
    progress : bool
        Show a line on standard error while it is trained.

    Returns
    -------
    Module
        The network, in eval mode.
    dict
        The recipe: that of :class:`History`; ``"options"`` and ``"labels"`` as declared; the ``"epoch"``
        that validation chose; ``"validation_accuracy"`` and ``"test_accuracy"`` from 0 to 1; and
        ``"history"``, the columns of :class:`History` but the seconds, a number for each epoch.

    Raises
    ------
    ValueError
        If there is none of that name.
    """
    if name not in PRETRAINED:
        raise ValueError(f"name must be one of {', '.join(map(repr, PRETRAINED))}, got {name!r}")
    declared = PRETRAINED[name]
    if train:
        return declared.train(progress)
    model = declared.build()
    return model, load_checkpoint(weights_file(name), model)["recipe"]


def weights_file(name: str) -> Path:
    """Return where in the package the weights of a name lie."""
    return FOLDER / f"{name}.safetensors"
