"""Inner products of the gradients of two batches, from the factors that the rules give."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from onnlab.distill.layers import Affine, Scales, Use

BLOCK = 128  # rows at a time of a symmetric matrix, of which only one half is computed


class Part:
    """The uses of a weight and a bias by one batch, ready for products with those by another one.

    Parameters
    ----------
    uses : sequence of (int, Use)
        The uses, all of one kind, each with the number of its delta.
    scales : (float or None, float or None)
        Roots of the weights of the two parameters in the kernel.
    """

    def __init__(self, uses: Sequence[tuple[int, Use]], scales: Scales) -> None:
        self.uses, self.scales = uses, scales
        self.affine = [use for _, use in uses if isinstance(use, Affine)]
        self._inputs: Tensor | None = None

    def inputs(self) -> Tensor:
        """Return the factor without outputs, ``(n, groups, k, positions)``: computed once."""
        if self._inputs is None:
            self._inputs = torch.cat([use.inputs(self.scales) for use in self.affine], dim=-1)
        return self._inputs

    def outputs(self, deltas: Sequence[Tensor]) -> Tensor:
        """Return the factor with outputs, ``(n, r, groups, rows, positions)``."""
        parts = [use.outputs(deltas[number][:, None]) for number, use in self.uses if isinstance(use, Affine)]
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]

    def gradient(self, deltas: Sequence[Tensor]) -> Tensor:
        """Return the gradients ``(n, r, entries)``."""
        total = self.uses[0][1].gradient(deltas[self.uses[0][0]][:, None], self.scales)
        for number, use in self.uses[1:]:
            total = total + use.gradient(deltas[number][:, None], self.scales)
        return total

    def few_positions(self, outputs: Tensor, directions: int) -> bool:
        """Tell whether products of positions cost less than gradients, for so many directions at a time."""
        k, positions = self.inputs().shape[2:]
        rows = outputs.shape[3] * directions
        return positions**2 * (k + rows) <= 2 * k * rows

    def size(self, outputs: Tensor) -> int:
        """Return the number of entries of the gradients, or of the second factor if that is larger."""
        k, positions = self.inputs().shape[2:]
        return outputs.numel() // positions * max(k, positions)


def by_positions(one: Part, left: Tensor, two: Part, right: Tensor, full: bool) -> Tensor:
    r"""Return the kernel of a layer from products of positions.

    .. math:: \Big\langle \sum_p \delta_{ip} u_{ip}^T, \sum_q \delta_{jq} u_{jq}^T \Big\rangle
        = \sum_{pq} (u_{ip} \cdot u_{jq}) (\delta_{ip} \cdot \delta_{jq})

    With one position, as in a linear layer: :math:`(U U^T) \circ (D D^T)`.

    Parameters
    ----------
    one, two : Part
        The layer in two batches of ``n`` and ``m`` images.
    left, right : Tensor
        Their :meth:`Part.outputs`, for all directions.
    full : bool
        Keep the pairs of directions, or add up over equal ones.

    Returns
    -------
    Tensor
        ``(n, m)``, or ``(n * r, m * r)``.
    """
    us, vs = (part.inputs().permute(1, 0, 3, 2).flatten(1, 2) for part in (one, two))
    n, r, groups, _, positions = left.shape
    m = len(right)
    if full:
        left, right = (d.flatten(0, 1)[:, None] for d in (left, right))
    ds, es = (d.permute(2, 0, 4, 1, 3).flatten(3).flatten(1, 2) for d in (left, right))
    inner, outer = us @ vs.mT, ds @ es.mT  # both (groups, images * positions, images * positions)
    if not full:
        product = inner * outer
        if positions == 1:
            return product.sum(0)
        return product.reshape(groups, n, positions, m, positions).sum((0, 2, 4))
    inner = inner.reshape(groups, n, 1, positions, m, 1, positions)
    product = inner * outer.reshape(groups, n, r, positions, m, r, positions)
    return product.sum((0, 3, 6)).flatten(2).flatten(0, 1)


def add_by_gradients(
    total: Tensor,
    one: Part,
    left: Tensor,
    two: Part | None,
    right: Tensor | None,
    full: bool,
    entries: int,
    keep: bool,
) -> Tensor:
    """Add the kernel of a layer with many positions: some rows of the gradients at a time.

    ``two`` and ``right`` are None if both batches are one. ``entries`` bounds what is held for each image.
    Where there will be a way back, the gradients are made again on it, unless they are few and ``keep`` is
    set.
    """
    _, r, groups, rows, _ = left.shape
    inputs = one.inputs()
    others = None if two is None else two.inputs()
    step = max(1, entries // (r * groups * inputs.shape[2]))
    for start in range(0, rows, step):
        chunk = slice(start, start + step)
        d, e = left[:, :, :, chunk], None if right is None else right[:, :, :, chunk]
        if torch.is_grad_enabled() and not keep:
            product = partial(_products, full=full)
            total = total + checkpoint(
                product, inputs, d, others, e, use_reentrant=False, preserve_rng_state=False
            )
        else:
            a = _gradients(inputs, d, full)
            b = None if others is None or e is None else _gradients(others, e, full)
            total = add_products(total, a, b)
    return total


def add_products(total: Tensor, left: Tensor, right: Tensor | None) -> Tensor:
    """Return ``total + left @ right.T``; without ``right`` its lower half, from ``left`` alone."""
    if torch.is_grad_enabled():
        return total + left @ (left if right is None else right).T
    if right is not None:
        return total.addmm_(left, right.T)
    for start in range(0, len(left), BLOCK):
        stop = start + BLOCK
        total[start:stop, :stop].addmm_(left[start:stop], left[:stop].T)
    return total


def _products(u: Tensor, d: Tensor, v: Tensor | None, e: Tensor | None, full: bool) -> Tensor:
    left = _gradients(u, d, full)
    return left @ (left if v is None or e is None else _gradients(v, e, full)).T


def _gradients(inputs: Tensor, outputs: Tensor, full: bool) -> Tensor:
    """Gradients as rows: one for each image, or for each image and direction."""
    n, r, _, rows, _ = outputs.shape
    # All directions side by side: one large product is faster than many small ones.
    product = outputs.transpose(1, 2).flatten(2, 3) @ inputs.mT
    if not full:
        return product.flatten(1)
    return product.unflatten(2, (r, rows)).transpose(1, 2).reshape(n * r, -1)


def as_rows(gradients: Tensor, full: bool) -> Tensor:
    """Rows ``(n, r * entries)`` or ``(n * r, entries)`` from ``(n, r, entries)``."""
    return gradients.flatten(0, 1) if full else gradients.flatten(1)
