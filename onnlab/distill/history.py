"""What a training run leaves behind: one row for each epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Scores(NamedTuple):
    """How well a network does on a split.

    Parameters
    ----------
    accuracy : float
        Share of labels, from 0 to 1, that get the highest logit.
    loss : float
        Cross entropy, mean over the labels.
    n : int
        Number of images.
    """

    accuracy: float
    loss: float
    n: int


class Epoch(NamedTuple):
    """One row of a :class:`History`.

    Parameters
    ----------
    epoch : int
        Counted from 1.
    training_loss : float
        The objective, mean over the training images while the weights were changing.
    validation_loss, validation_accuracy : float
        :class:`Scores` on the validation split after the epoch.
    seconds : float
        Time of the epoch, validation included.
    """

    epoch: int
    training_loss: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


def best_of(rows: Sequence[Epoch]) -> Epoch:
    """Return the first row that none surpasses in validation accuracy, or equals there with less loss."""
    return max(rows, key=lambda row: (row.validation_accuracy, -row.validation_loss))


@dataclass(frozen=True)
class History:
    """Table of a training run; printing it shows the rows, ``history["training_loss"]`` is a column.

    Parameters
    ----------
    rows : tuple of Epoch
        One for each epoch.
    kept : int
        The epoch, counted from 1, whose weights the network now has.
    recipe : mapping
        Settings of the run: texts and numbers.
    """

    rows: tuple[Epoch, ...]
    kept: int
    recipe: Mapping[str, Any]

    @property
    def best(self) -> Epoch:
        """The epoch with the highest validation accuracy; among equals the lowest validation loss."""
        return best_of(self.rows)

    @property
    def losses(self) -> dict[str, Tensor]:
        """Curves for ``onnlab.viz.show_history``: objective on the training images, validation loss."""
        return {"training": self["training_loss"], "validation": self["validation_loss"]}

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, column: str) -> Tensor:
        if column not in Epoch._fields:
            raise KeyError(f"column must be one of {', '.join(Epoch._fields)}, got {column!r}")
        return torch.tensor([getattr(row, column) for row in self.rows], dtype=torch.float64)

    def __str__(self) -> str:
        head = "epoch  training loss  validation loss  validation accuracy  seconds"
        lines = [
            f"{row.epoch:5d}  {row.training_loss:13.4f}  {row.validation_loss:15.4f}  "
            f"{row.validation_accuracy:19.2%}  {row.seconds:7.1f}{'  <- kept' * (row.epoch == self.kept)}"
            for row in self.rows
        ]
        return "\n".join([head, *lines])
