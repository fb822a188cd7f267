"""Kernel regression as a classifier, so that it can stand beside networks that are trained."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from onnlab.data import Dataset
from onnlab.distill import Scores
from onnlab.hardware.regression import best_ridge, solve_ridge


def _as_they_are(images: Tensor) -> Tensor:
    """Return the images: a function with a name, so that a classifier can be stored."""
    return images


class KernelClassifier(nn.Module):
    r"""Kernel ridge regression on the labels; the class with the largest answer is the answer.

    .. math:: \hat y(x) = \bar y + \tilde k(x)^T (\tilde K + \rho \bar\mu I)^{-1} (y - \bar y)

    with the ridge of :func:`kernel_ridge`. Call :meth:`learn` first. With the inner products of maps this is
    a linear read-out of them; with :func:`wide_camera`, that of infinitely many random kernels.

    Parameters
    ----------
    classes : int
        Number of classes.
    kernel : callable
        From images ``(n, channels, ny, nx)`` and ``(m, channels, ny, nx)`` to ``(n, m)``.
    maps : callable, optional
        From images to what the kernel gets in their place, ``(n, ...)``. Those of the training images are
        taken once, and kept.

    Notes
    -----
    Source: Xiang et al. (2025), arXiv:2508.08421, the last line of its table of random kernels.
    """

    validation: Scores

    def __init__(
        self,
        classes: int,
        kernel: Callable[[Tensor, Tensor], Tensor],
        maps: Callable[[Tensor], Tensor] = _as_they_are,
    ) -> None:
        super().__init__()
        self.classes, self.kernel, self.maps = classes, kernel, maps
        self.known: Tensor | None = None

    def learn(self, data: Dataset, ridges: Sequence[float]) -> float:
        """Take in the training images; choose by the validation images one of the ridges, and return it.

        Their scores are then in ``validation``. The test images are left alone.
        """
        self.known = self.maps(data.train.images)
        targets = one_hot(data.train.labels, self.classes)
        solutions = solve_ridge(self.kernel(self.known, self.known), targets, ridges)
        cross = self.kernel(self.maps(data.validation.images), self.known)
        answers = torch.stack([solution(cross) for solution in solutions])
        best = best_ridge(answers, data.validation.labels)
        self.solution = solutions[best]
        chosen, labels = answers[best].to(data.validation.images.dtype), data.validation.labels
        right = (chosen.argmax(1) == labels).double().mean().item()
        self.validation = Scores(right, cross_entropy(chosen, labels).item(), len(labels))
        return ridges[best]

    def forward(self, x: Tensor) -> Tensor:
        """Return the answers ``(batch, classes)`` to images ``(batch, channels, ny, nx)``, about 0 to 1.

        Raises
        ------
        RuntimeError
            If nothing was learnt before.
        """
        if self.known is None:
            raise RuntimeError("a KernelClassifier must learn before it answers; call learn(data, ridges)")
        return self.solution(self.kernel(self.maps(x), self.known)).to(x.dtype)
