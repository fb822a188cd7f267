"""Augmentations: pure functions from images and targets to changed ones. The generator decides how."""

from collections.abc import Callable
from functools import partial

import torch
import torch.nn.functional as F
from torch import Generator, Tensor

Augmentation = Callable[[Tensor, Tensor, Generator], tuple[Tensor, Tensor]]


def random_shift(
    images: Tensor, targets: Tensor, generator: Generator, pixels: int = 2
) -> tuple[Tensor, Tensor]:
    """Shift each image by up to some pixels along each axis: a random crop of the padded image.

    What moves in at a border is the mirror image of what lies inside it.

    Parameters
    ----------
    images : Tensor
        ``(n, channels, ny, nx)``.
    targets : Tensor
        Labels of the images ``(n, ...)``, returned as they are; or of the pixels ``(n, ny, nx)``, shifted
        along.
    generator : Generator
        Source of the randomness, on the CPU.
    pixels : int
        Largest shift, below ``ny`` and ``nx``.

    Raises
    ------
    ValueError
        If ``pixels`` is negative or not below the size of the images.
    """
    n, _, ny, nx = images.shape
    if not 0 <= pixels < min(ny, nx):
        raise ValueError(f"pixels must be from 0 to {min(ny, nx) - 1} for these images, got {pixels}")
    shift = torch.randint(-pixels, pixels + 1, (2, n, 1), generator=generator).to(images.device)
    rows = _mirrored(torch.arange(ny, device=images.device) - shift[0], ny)
    columns = _mirrored(torch.arange(nx, device=images.device) - shift[1], nx)
    # Where the pixels of a moved image lie in the old one, counted row by row; the same in all its channels.
    where = (rows[:, :, None] * nx + columns[:, None, :]).flatten(1)
    moved = images.flatten(2).gather(2, where[:, None].expand(-1, images.shape[1], -1)).view_as(images)
    return moved, targets.flatten(1).gather(1, where).view_as(targets) if targets.ndim == 3 else targets


def random_flip(images: Tensor, targets: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
    """Mirror each image left to right, with probability one half. Not for digits: they have a handedness.

    Parameters
    ----------
    images : Tensor
        ``(n, channels, ny, nx)``.
    targets : Tensor
        Labels of the images ``(n, ...)``, returned as they are; or of the pixels ``(n, ny, nx)``, mirrored
        along.
    generator : Generator
        Source of the randomness, on the CPU.
    """
    mirrored = (torch.rand(len(images), generator=generator) < 0.5).to(images.device)
    flipped = torch.where(mirrored[:, None, None, None], images.flip(-1), images)
    if targets.ndim == 3:
        targets = torch.where(mirrored[:, None, None], targets.flip(-1), targets)
    return flipped, targets


def mixup(images: Tensor, targets: Tensor, generator: Generator, classes: int = 10) -> tuple[Tensor, Tensor]:
    r"""Mix each image with another of the batch, and their labels in the same proportion.

    :math:`x' = \lambda x_i + (1-\lambda) x_j` and :math:`y' = \lambda y_i + (1-\lambda) y_j`, with
    :math:`\lambda` uniform in [0, 1], drawn for each image. Use it last: the labels become probabilities.

    Parameters
    ----------
    images : Tensor
        ``(n, channels, ny, nx)``.
    targets : Tensor
        Classes, int64 ``(n,)``.
    generator : Generator
        Source of the randomness, on the CPU.
    classes : int
        Number of classes.

    Returns
    -------
    tuple of Tensor
        Images of the same shape, and probabilities ``(n, classes)``.

    Raises
    ------
    ValueError
        If the targets are not one class for each image, or one is no class.

    Notes
    -----
    H. Zhang et al., *mixup: beyond empirical risk minimization*, arXiv:1710.09412, with their
    :math:`\alpha = 1`.
    """
    if targets.ndim != 1:
        raise ValueError(
            f"targets must have shape (n,), one class for each image, got {tuple(targets.shape)}; "
            "use mixup once, and not with labels of pixels"
        )
    if ((targets < 0) | (targets >= classes)).any():
        raise ValueError(
            f"targets must be from 0 to {classes - 1}, got {targets.min().item()} to {targets.max().item()}; "
            "give the number of classes: partial(mixup, classes=len(data.classes))"
        )
    share = torch.rand(len(images), generator=generator).to(images)
    partner = torch.randperm(len(images), generator=generator).to(images.device)
    labels = F.one_hot(targets, classes).to(images)
    share_x, share_y = share[:, None, None, None], share[:, None]
    return (
        share_x * images + (1 - share_x) * images[partner],
        share_y * labels + (1 - share_y) * labels[partner],
    )


def compose(*steps: Augmentation) -> Augmentation:
    """Apply augmentations one after the other, as one: ``compose(random_shift, random_flip)``.

    Settings are given by :func:`functools.partial`: ``compose(partial(random_shift, pixels=4), mixup)``.
    """
    return partial(_in_turn, steps)


def _in_turn(
    steps: tuple[Augmentation, ...], images: Tensor, targets: Tensor, generator: Generator
) -> tuple[Tensor, Tensor]:
    for step in steps:
        images, targets = step(images, targets, generator)
    return images, targets


def _mirrored(index: Tensor, n: int) -> Tensor:
    """Fold indices that point beyond ``0 ... n-1`` back inside: -1 becomes 1, and n becomes n - 2."""
    return (n - 1) - ((n - 1) - index.abs()).abs()
