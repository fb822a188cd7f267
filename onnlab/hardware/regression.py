"""Kernel regression in closed form, and the kernels of networks that are infinitely wide."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor
from torch.nn.functional import one_hot, pad, unfold

from onnlab.networks.optical import CAMERAS
from onnlab.optics._check import one_of, whole_number

TILE = 256  # patches a side whose angles are held at a time: few enough for the cache of a processor


@dataclass(frozen=True)
class Solution:
    r"""What kernel ridge regression keeps for its predictions, all in float64.

    With the weights :math:`\alpha` of the training images and the offset :math:`b`,

    .. math:: \hat y = K_{*} \alpha + b + J_{*} s

    Parameters
    ----------
    weights : Tensor
        ``(n, classes)``. Their sum over the images is zero, so the kernel need not be centred.
    offset : Tensor
        ``(classes,)``.
    step : Tensor
        Of the shared parameters, ``(p,)``.
    """

    weights: Tensor
    offset: Tensor
    step: Tensor

    def __call__(self, cross: Tensor, shared: Tensor | None = None) -> Tensor:
        """Return predictions ``(m, classes)`` by kernel ``(m, n)`` and gradients ``(m, classes, p)``."""
        answers = cross.double() @ self.weights + self.offset
        return answers if shared is None else answers + shared.double() @ self.step


def kernel_ridge(
    kernel: Tensor,
    targets: Tensor,
    cross: Tensor,
    ridges: Sequence[float],
    *,
    shared: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    r"""Return the predictions of kernel ridge regression, for many ridges at the price of one.

    .. math:: \hat y = \bar y + \tilde K_{*} (\tilde K + \rho \bar\mu I)^{-1} (y - \bar y), \qquad
        \tilde K = U \operatorname{diag}(\mu) U^T

    The tilde takes off the mean over the training images in the space of features, which is what a bias
    does that costs nothing. The ridge :math:`\rho` is in units of the mean eigenvalue
    :math:`\bar\mu`, so that the scale of the kernel changes nothing.

    The kernel lets each class learn on its own. Parameters that all classes share come with their gradients
    :math:`J` of the outputs; then the kernel is :math:`K \otimes I + J J^T`, of all pairs of images and
    classes. It is never made. With :math:`D = \operatorname{diag}(\mu) + \rho \bar\mu I` and all in the
    basis :math:`U`,

    .. math:: s = (I + J^T D^{-1} J)^{-1} J^T D^{-1} (y - \bar y), \qquad
        \hat y = \bar y + \tilde K_{*} U D^{-1} (y - \bar y - J s) + J_{*} s

    the step :math:`s` of the shared parameters, and the regression on what it leaves (Woodbury's identity).

    Parameters
    ----------
    kernel : Tensor
        Of the training images among themselves, ``(n, n)``.
    targets : Tensor
        ``(n, classes)``.
    cross : Tensor
        Of other images with the training images, ``(m, n)``.
    ridges : sequence of float
        The :math:`\rho`, above zero.
    shared : (Tensor, Tensor), optional
        Gradients by parameters that the classes share, ``(n, classes, p)`` and ``(m, classes, p)``. Each
        ridge then costs a product of ``(p, n * classes)`` with its transpose.

    Returns
    -------
    Tensor
        float64, ``(len(ridges), m, classes)``.

    Raises
    ------
    ValueError
        If the shapes do not fit, or a ridge is not above zero.
    """
    n, classes = targets.shape
    one, other = shared or (None, None)
    if cross.ndim != 2 or cross.shape[1] != n:
        raise ValueError(
            f"cross must be (m, {n}) for {n} targets, got {tuple(cross.shape)}; let the training images be "
            "its columns"
        )
    if one is not None and other is not None and other.shape != (len(cross), *one.shape[1:]):
        raise ValueError(
            f"shared must be ({n}, {classes}, p) and ({len(cross)}, {classes}, p), got {tuple(one.shape)} "
            f"and {tuple(other.shape)}"
        )
    return torch.stack([found(cross, other) for found in solve_ridge(kernel, targets, ridges, shared=one)])


def solve_ridge(
    kernel: Tensor, targets: Tensor, ridges: Sequence[float], *, shared: Tensor | None = None
) -> list[Solution]:
    """Return what :func:`kernel_ridge` predicts with, for each ridge; the arguments are as there.

    ``shared`` are the gradients of the training images.
    """
    n, classes = targets.shape
    if kernel.shape != (n, n):
        raise ValueError(f"kernel must be ({n}, {n}) for {n} targets, got {tuple(kernel.shape)}")
    if not ridges or min(ridges) <= 0:
        raise ValueError(f"ridges must be above zero, at least one, got {tuple(ridges)}; use 1e-8 for none")
    gradients = (targets.new_zeros(n, classes, 0) if shared is None else shared).double()
    if gradients.shape[:2] != (n, classes):
        raise ValueError(f"shared must be ({n}, {classes}, p), got {tuple(gradients.shape)}")
    kernel, targets = kernel.double(), targets.double()
    column = kernel.mean(0)
    values, vectors = torch.linalg.eigh(kernel - kernel.mean(1, keepdim=True) - column + column.mean())
    values = values.clamp(min=0)
    mean, middle = targets.mean(0), gradients.mean(0)
    shares = vectors.T @ (targets - mean)
    steps = (vectors.T @ (gradients - middle).flatten(1)).unflatten(1, gradients.shape[1:])
    # A kernel without any differences predicts the mean.
    unit = (values.mean() + steps.square().sum() / (n * classes)).item() or 1.0
    found = []
    for ridge in ridges:
        weight = 1 / (values + ridge * unit)
        rows = (steps * weight.sqrt()[:, None, None]).flatten(0, 1)
        pull = torch.einsum("ncp,nc->p", steps, shares * weight[:, None])
        identity = torch.eye(rows.shape[1], dtype=rows.dtype, device=rows.device)
        step = torch.linalg.solve(identity + rows.T @ rows, pull)
        weights = vectors @ (weight[:, None] * (shares - steps @ step))
        weights = weights - weights.mean(0)  # takes the mean of a row off the kernel
        found.append(Solution(weights, mean - column @ weights - middle @ step, step))
    return found


def best_ridge(answers: Tensor, labels: Tensor) -> int:
    """Return which of the ridges gets most labels right; among equals, the smallest square error decides.

    ``answers`` are those of :func:`kernel_ridge`, ``(ridges, m, classes)``; ``labels`` are ``(m,)``.
    """
    right = (answers.argmax(-1) == labels).double().mean(1).tolist()
    errors = (answers - one_hot(labels, answers.shape[-1])).square().mean((1, 2)).tolist()
    return max(range(len(answers)), key=lambda number: (right[number], -errors[number]))


def wide_back_end(kernel: Tensor, left: Tensor, right: Tensor, depth: int) -> Tensor:
    r"""Return the tangent kernel of a back end with infinitely wide hidden layers of ReLUs.

    .. math:: \Sigma_{l+1} = \sqrt{\Sigma_l(x,x)\,\Sigma_l(x',x')}\;
        \frac{\sin\theta + (\pi-\theta)\cos\theta}{\pi}, \qquad
        \Theta_{l+1} = \Sigma_{l+1} + \Theta_l\,\frac{\pi-\theta}{\pi}

    with :math:`\Theta_0 = \Sigma_0` the kernel of what enters and :math:`\theta` the angle that
    :math:`\Sigma_l` says. No biases.

    Parameters
    ----------
    kernel : Tensor
        Of what enters the back end, ``(n, m)``.
    left, right : Tensor
        The kernel of each image with itself, ``(n,)`` and ``(m,)``.
    depth : int
        Number of hidden layers; none leaves the kernel as it is.

    Notes
    -----
    Source: Cho & Saul (2009), and Jacot et al. (2018), arXiv:1806.07572, theorem 1.
    """
    scale = (left[:, None] * right).sqrt().clamp(min=torch.finfo(kernel.dtype).tiny)
    tangent = kernel
    for _ in range(whole_number("depth", depth, 0)):
        cosine = (kernel / scale).clamp(-1, 1)
        angle = cosine.acos()
        kernel = scale * (angle.sin() + (math.pi - angle) * cosine) / math.pi
        tangent = kernel + tangent * (math.pi - angle) / math.pi
    return tangent


def wide_camera(x: Tensor, x2: Tensor, kernel_size: int, pool: int, camera: str) -> Tensor:
    r"""Return the kernel of infinitely many random kernels behind a camera and a pool.

    .. math:: K(x, x') = \sum_r \frac{1}{P^2} \sum_{p, q \in r}
        \operatorname{E}_w\, g(w \cdot u_p)\, g(w \cdot u'_q), \qquad w \sim \mathcal N(0, I/d)

    over the regions :math:`r` of the pool, with the patches :math:`u_p` of :math:`d` pixels round the
    :math:`P` pixels of a region. With :math:`\theta` the angle of two patches,

    - linear: :math:`\operatorname{E} = u \cdot u' / d`;
    - square-law: :math:`(|u|^2 |u'|^2 + 2 (u \cdot u')^2) / d^2`;
    - rectified: :math:`|u| |u'| (\sin\theta + (\pi - \theta) \cos\theta) / (2 \pi d)`.

    The first costs what a kernel of :math:`d` features for each region does, the second of
    :math:`d (d + 1) / 2`. The third has no finite features: it takes :math:`P^2` angles for each region and
    pair of images, less those of dark patches; some nanoseconds each. :func:`estimate_accuracy` draws many
    kernels instead.

    Parameters
    ----------
    x, x2 : Tensor
        Images ``(n, channels, ny, nx)`` and ``(m, channels, ny, nx)``.
    kernel_size, pool : int
        As in :class:`Device`. The pool divides the images.
    camera : str
        One of the three above.

    Returns
    -------
    Tensor
        ``(n, m)``, of the dtype of the images.

    Raises
    ------
    ValueError
        If the camera is none of the three, or the pool does not divide the images.

    Notes
    -----
    Source of the third: Cho & Saul (2009), the arc-cosine kernel of degree 1.
    """
    one_of("camera", camera, CAMERAS)
    whole_number("kernel_size", kernel_size)
    if any(side % whole_number("pool", pool) for side in x.shape[-2:]):
        raise ValueError(f"pool must divide images of {tuple(x.shape[-2:])} pixels, got {pool}; pool less")
    if camera != "rectified":
        blocks = wide_features(torch.cat([x, x2]), kernel_size, pool, camera)
        return torch.stack([block[: len(x)] @ block[len(x) :].T for block in blocks]).sum(0)
    pairs = zip(_regions(x, kernel_size, pool), _regions(x2, kernel_size, pool), strict=True)
    return torch.stack([_mean_arc_cosine(left, right) for left, right in pairs]).sum(0)


def wide_features(x: Tensor, kernel_size: int, pool: int, camera: str) -> Iterator[Tensor]:
    """Yield features ``(n, f)``, one region after the other, that have :func:`wide_camera` as inner product.

    For a linear camera and a square law; a rectified one has none of a finite number.
    """
    for patches in _regions(x, kernel_size, pool):
        yield patches.mean(1) if camera == "linear" else _moments(patches)


def _regions(x: Tensor, kernel_size: int, pool: int) -> Iterator[Tensor]:
    """Yield what kernels see round the pixels of each region, ``(n, pool**2, d)``, over the root of d."""
    before, after, window = (kernel_size - 1) // 2, kernel_size // 2, pool + kernel_size - 1
    padded = pad(x, (before, after, before, after))
    for top, left in product(*(range(0, side, pool) for side in x.shape[-2:])):
        patches = unfold(padded[..., top : top + window, left : left + window], kernel_size).mT
        yield patches / patches.shape[-1] ** 0.5


def _moments(patches: Tensor) -> Tensor:
    """Features whose inner products are the means of ``|u|^2 |v|^2 + 2 (u . v)^2``."""
    moments = patches.mT @ patches / patches.shape[1]
    d = moments.shape[-1]
    rows, columns = torch.triu_indices(d, d, offset=1)
    squares = moments.diagonal(dim1=-2, dim2=-1)
    return torch.cat([squares.sum(1, keepdim=True), 2**0.5 * squares, 2 * moments[:, rows, columns]], dim=1)


def _mean_arc_cosine(left: Tensor, right: Tensor) -> Tensor:
    """Mean over all pairs of patches. Those without light add nothing, and cost nothing."""
    sums = left.new_zeros(len(left), len(right))
    columns = list(_lit(right))
    for rows, unit, lengths in _lit(left):
        for others, other_unit, other_lengths in columns:
            cosine = (unit @ other_unit.T).clamp(-1, 1)
            bent = (1 - cosine.square()).sqrt() + (math.pi - cosine.acos()) * cosine
            sums[rows, others] += lengths @ bent @ other_lengths.T
    return sums / (2 * math.pi * left.shape[1] ** 2)


def _lit(patches: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield the patches that are not dark, some at a time.

    First the images that they are of, then the patches as unit vectors ``(k, d)``, and a matrix
    ``(images, k)`` that holds the length of each in the row of its image, so that it adds up what they weigh.
    """
    lit = patches.any(-1)
    bright, owner = patches[lit], lit.nonzero()[:, 0]
    lengths = bright.norm(dim=1)
    for some, length, of in zip(*(x.split(TILE) for x in (bright, lengths, owner)), strict=True):
        if len(some):
            images = slice(int(of[0]), int(of[-1]) + 1)
            weights = some.new_zeros(images.stop - images.start, len(some))
            weights[of - images.start, torch.arange(len(some), device=of.device)] = length
            yield images, some / length[:, None], weights
