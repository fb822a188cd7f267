"""Segmentation: the Dice loss, and scores from a confusion matrix of pixels."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from onnlab.data import VOID, Split
from onnlab.distill.kd import checked_logits, counted
from onnlab.distill.objectives import Batch, Objective, inference
from onnlab.optics._check import whole_number


def dice_loss(logits: Tensor, targets: Tensor) -> Tensor:
    r"""Loss of overlap: one minus the Dice coefficient of soft masks, mean over classes.

    .. math:: L = 1 - \frac{1}{|C|} \sum_{c \in C}
        \frac{2 \sum_i p_{ic}\, y_{ic}}{\sum_i p_{ic} + \sum_i y_{ic}}

    with the probabilities :math:`p = \sigma(z)`, the labels :math:`y` as zeros and ones, and the classes
    :math:`C` that occur in the batch. The sums run over all pixels of the batch that are not void. Each class
    counts alike, however few its pixels.

    Parameters
    ----------
    logits : Tensor
        Floating point ``(n, classes, ny, nx)``, or ``(n, classes)``.
    targets : Tensor
        Classes, int64 ``(n, ny, nx)``, or ``(n,)``, with :data:`onnlab.data.VOID` where there is none.

    Returns
    -------
    Tensor
        One number from 0 to 1.

    Raises
    ------
    TypeError, ValueError
        If shapes or types do not match, a target is no class, or all are void.

    Notes
    -----
    Source: Milletari, Navab & Ahmadi (2016), arXiv:1606.04797, who square the terms of the denominator.
    """
    logits = checked_logits(logits, targets)
    if targets.is_floating_point():
        raise TypeError(f"targets must be int64 classes, got {targets.dtype}; leave out mixup")
    valid = counted(targets)
    probabilities = logits.softmax(dim=1).movedim(1, -1)[valid]
    labels = nn.functional.one_hot(targets[valid], logits.shape[1]).to(probabilities)
    overlap, present = (probabilities * labels).sum(0), labels.sum(0)
    dice = 2 * overlap / (probabilities.sum(0) + present)
    return 1 - dice[present > 0].mean()


@dataclass(frozen=True)
class Dice(Objective):
    """Learn the overlap with the masks: :func:`dice_loss`. Usual is ``CrossEntropy() + Dice()``."""

    def __call__(self, batch: Batch) -> Tensor:
        """Return the Dice loss on a batch."""
        return dice_loss(batch.logits, batch.targets)


class SegmentationScores(NamedTuple):
    """How well a network labels pixels. Void pixels do not count.

    Parameters
    ----------
    miou, dice : float
        Means of the two columns below over the classes that have a number.
    accuracy : float
        Share of the pixels that get their class.
    iou_of : tuple of float
        Intersection over union of each class; NaN for a class that neither occurs nor is answered.
    dice_of : tuple of float
        Dice coefficient of each class, twice the intersection over the sum; NaN likewise.
    n : int
        Number of images.
    """

    miou: float
    dice: float
    accuracy: float
    iou_of: tuple[float, ...]
    dice_of: tuple[float, ...]
    n: int


def confusion_matrix(model: nn.Module, split: Split, *, batch_size: int = 16) -> Tensor:
    """Count how often which class gets which answer, in eval mode and without gradients.

    Parameters
    ----------
    model : Module
        From images to logits ``(n, classes, ny, nx)`` or ``(n, classes)``.
    split : Split
        Images with labels of pixels, or of images.
    batch_size : int
        Images at a time. It changes the memory that is needed, not the result.

    Returns
    -------
    Tensor
        int64 ``(classes, classes)``: row ``i``, column ``j`` counts pixels of class ``i`` with answer ``j``.

    Raises
    ------
    TypeError, ValueError
        If the output of the model does not fit the labels, or the batch size is below 1.
    """
    whole_number("batch_size", batch_size, 1)
    device = next(model.parameters(), torch.empty(0)).device
    total = torch.zeros((), dtype=torch.int64)
    with inference(model):
        for start in range(0, len(split), batch_size):
            images, labels = split[start : start + batch_size]
            labels = labels.to(device)
            logits = checked_logits(model(images.to(device)), labels)
            classes, valid = logits.shape[1], labels != VOID
            pairs = labels[valid] * classes + logits.argmax(dim=1)[valid]
            total = total + pairs.bincount(minlength=classes**2).reshape(classes, classes).cpu()
    return total


def segmentation_scores(model: nn.Module, split: Split, *, batch_size: int = 16) -> SegmentationScores:
    """Measure how well a network labels the pixels of a split; arguments as for :func:`confusion_matrix`.

    All pixels of the split make one confusion matrix: the scores are not means over images.
    """
    return scores_of(confusion_matrix(model, split, batch_size=batch_size), len(split))


def scores_of(matrix: Tensor, n: int) -> SegmentationScores:
    r"""Scores of a confusion matrix :math:`M` of ``n`` images.

    .. math:: \mathrm{IoU}_c = \frac{M_{cc}}{M_{c\cdot} + M_{\cdot c} - M_{cc}}, \qquad
        \mathrm{Dice}_c = \frac{2 M_{cc}}{M_{c\cdot} + M_{\cdot c}}

    Raises
    ------
    ValueError
        If it counts nothing.
    """
    counts = matrix.double()
    if not counts.sum() > 0:
        raise ValueError("matrix must count a pixel, got none; look at how the labels were made")
    right, size = counts.diagonal(), counts.sum(0) + counts.sum(1)
    iou, dice = right / (size - right), 2 * right / size
    return SegmentationScores(
        miou=iou.nanmean().item(),
        dice=dice.nanmean().item(),
        accuracy=(right.sum() / counts.sum()).item(),
        iou_of=tuple(iou.tolist()),
        dice_of=tuple(dice.tolist()),
        n=n,
    )
