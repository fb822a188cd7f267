"""A classifier with infinitely many random kernels of light, in closed form."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import one_hot

from onnlab.data import Dataset
from onnlab.hardware.regression import best_ridge, kernel_ridge, wide_camera


class WideClassifier(nn.Module):
    r"""Infinitely many random kernels behind a camera and a pool, and a linear read-out: kernel regression.

    .. math:: \hat y(x) = \bar y + \tilde k(x)^T (\tilde K + \lambda \bar\mu I)^{-1} (y - \bar y)

    with the kernel of :func:`wide_camera` and the ridge of :func:`kernel_ridge`. Call :meth:`learn` first.

    Parameters
    ----------
    classes : int
        Number of classes.
    kernel_size, pool, camera
        As for :func:`wide_camera`.

    Notes
    -----
    Source: Xiang et al. (2025), arXiv:2508.08421, the last line of its table of random kernels. That does not
    say how its kernel comes about; this one has a camera that is named, and no other nonlinearity.
    """

    def __init__(self, classes: int, kernel_size: int, pool: int, camera: str) -> None:
        super().__init__()
        self.classes, self.kernel_size, self.pool, self.camera = classes, kernel_size, pool, camera
        self.images: Tensor | None = None

    def learn(self, data: Dataset, ridges: Sequence[float]) -> float:
        """Take in the training images; choose by the validation images one of the ridges, and return it.

        The test images are left alone.
        """
        self.images = data.train.images
        self.targets = one_hot(data.train.labels, self.classes).double()
        self.kernel = self._to_trained(self.images)
        cross = self._to_trained(data.validation.images)
        answers = kernel_ridge(self.kernel, self.targets, cross, ridges)
        self.ridge = ridges[best_ridge(answers, data.validation.labels)]
        return self.ridge

    def forward(self, x: Tensor) -> Tensor:
        """Return the answers ``(batch, classes)`` to images ``(batch, channels, ny, nx)``, about 0 to 1.

        Raises
        ------
        RuntimeError
            If nothing was learnt before.
        """
        if self.images is None:
            raise RuntimeError("a WideClassifier must learn before it answers; call learn(data, ridges)")
        answers = kernel_ridge(self.kernel, self.targets, self._to_trained(x), (self.ridge,))[0]
        return answers.to(x.dtype)

    def _to_trained(self, x: Tensor) -> Tensor:
        assert self.images is not None
        return wide_camera(x, self.images, self.kernel_size, self.pool, self.camera)
