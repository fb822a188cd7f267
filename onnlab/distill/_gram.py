"""Inner products of the gradients of two batches, from the factors that the rules give."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from onnlab.distill.layers import Scales, Use

BLOCK = 64  # rows at a time of a symmetric matrix, of which only one half is computed


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
        self._inputs: Tensor | None = None

    @property
    def use(self) -> Use:
        """Any of the uses: it knows how both factors are multiplied."""
        return self.uses[0][1]

    def inputs(self) -> Tensor:
        """Return the factor without outputs, ``(n, groups, positions, k)`` unless large: computed once."""
        if self._inputs is None:
            parts = [use.inputs(self.scales) for _, use in self.uses]
            self._inputs = torch.cat(parts, dim=2) if len(parts) > 1 else parts[0]
        return self._inputs

    def outputs(self, deltas: Sequence[Tensor]) -> Tensor:
        """Return the other factor, ``(r, n, groups, rows, positions)``, from the deltas of ``r`` outputs."""
        parts = [use.outputs(deltas[number]) for number, use in self.uses]
        return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]


def add_part(
    total: Tensor, one: Part, left: Tensor, two: Part | None, right: Tensor, full: bool, entries: int
) -> Tensor:
    """Add the kernel of a part, in the way that costs least.

    Parameters
    ----------
    total : Tensor
        ``(n, m)``, or ``(r * n, r * m)`` if ``full``.
    one, two : Part
        The part in two batches of ``n`` and ``m`` images; ``two`` is None if both are one, of which only the
        lower half counts.
    left, right : Tensor
        Their :meth:`Part.outputs`.
    full : bool
        Keep the pairs of outputs, or add up over equal ones.
    entries : int
        Largest number of entries of a gradient that are held for each image.
    """
    use, u, v = one.use, one.inputs(), None if two is None else two.inputs()
    if use.few_positions(u, rows=left.shape[3] * len(left)):
        return total + by_positions(u, left, u if v is None else v, right, full)
    step = max(1, entries // use.row_entries(u))
    if not full:
        d, e = _side_by_side(left), None if v is None else _side_by_side(right)
        product: Tensor = _Products.apply(use, u, d[0], v, None if e is None else e[0], step)
        return total + product
    for chunk in _chunks(left.shape[3], step):
        g = use.gradients(u, left[..., chunk, :])
        h = None if v is None else use.gradients(v, right[..., chunk, :])
        total = add_gradients(total, g, h, full)
    return total


def _side_by_side(d: Tensor) -> Tensor:
    """Deltas of several outputs as if they were more rows of one: ``(1, n, groups, r * rows, positions)``."""
    return d.permute(1, 2, 0, 3, 4).flatten(2, 3)[None]


def _chunks(rows: int, step: int) -> Iterator[slice]:
    return (slice(start, start + step) for start in range(0, rows, step))


def by_positions(u: Tensor, d: Tensor, v: Tensor, e: Tensor, full: bool) -> Tensor:
    r"""Return the kernel of a layer from products of positions.

    .. math:: \Big\langle \sum_p \delta_{ip} u_{ip}^T, \sum_q \delta_{jq} u_{jq}^T \Big\rangle
        = \sum_{pq} (u_{ip} \cdot u_{jq}) (\delta_{ip} \cdot \delta_{jq})

    With one position, as in a linear layer: :math:`(U U^T) \circ (D D^T)`.

    Parameters
    ----------
    u, v : Tensor
        Inputs ``(n, groups, positions, k)`` and ``(m, ...)``.
    d, e : Tensor
        Deltas ``(r, n, groups, rows, positions)`` and ``(r, m, ...)``.
    full : bool
        Keep the pairs of outputs, or add up over equal ones.

    Returns
    -------
    Tensor
        ``(n, m)``, or ``(r * n, r * m)``.
    """
    (r, n, groups, _, positions), m = d.shape, len(v)
    us, vs = (factor.transpose(0, 1).flatten(1, 2) for factor in (u, v))
    inner = (us @ vs.mT).view(groups, 1, n, positions, 1, m, positions)
    if not full:
        r, d, e = 1, _side_by_side(d), _side_by_side(e)
    ds, es = (factor.permute(2, 0, 1, 4, 3).flatten(1, 3) for factor in (d, e))
    outer = (ds @ es.mT).view(groups, r, n, positions, r, m, positions)
    if positions == groups == 1:
        return (inner * outer).reshape(r * n, r * m)
    return (inner * outer).sum((0, 3, 6)).view(r * n, r * m)


def add_gradients(total: Tensor, left: Tensor, right: Tensor | None, full: bool) -> Tensor:
    """Add the products of gradients ``(r, n, entries)``; without ``right``, those of ``left`` with itself."""
    g, h = (None if x is None else _rows(x, full) for x in (left, right))
    assert g is not None
    return total + g @ (g if h is None else h).T if torch.is_grad_enabled() else _add(total, g, h)


def _rows(gradients: Tensor, full: bool) -> Tensor:
    return gradients.flatten(0, 1) if full else gradients.transpose(0, 1).flatten(1)


def _add(total: Tensor, left: Tensor, right: Tensor | None) -> Tensor:
    """Add ``left @ right.T`` in place; without ``right`` the lower half of ``left @ left.T``."""
    if right is not None:
        return total.add_(_times(left, right))
    for start in range(0, len(left), BLOCK):
        stop = start + BLOCK
        total[start:stop, :stop].add_(_times(left[start:stop], left[:stop]))
    return total


def _times(left: Tensor, right: Tensor) -> Tensor:
    """Return ``left @ right.T``.

    For float32 on a CPU it is left to oneDNN, which uses all units of the processor; the library that
    PyTorch takes for ``@`` uses half of them on processors that are not its maker's.
    """
    if left.device.type == "cpu" and left.dtype == torch.float32 and torch.backends.mkldnn.is_available():
        return F.linear(left.to_mkldnn(), right).to_dense()
    return left @ right.T


class _Products(torch.autograd.Function):
    """Kernel of a layer with many positions: some rows of the gradients at a time.

    They are never all held, so the way back makes them once more.
    """

    @staticmethod
    def forward(
        ctx: Any, use: Use, u: Tensor, d: Tensor, v: Tensor | None, e: Tensor | None, step: int
    ) -> Tensor:
        ctx.save_for_backward(u, d, v, e)
        ctx.use, ctx.step = use, step
        total = u.new_zeros(len(u), len(u if v is None else v))
        for rows in _chunks(d.shape[2], step):
            right = None if v is None or e is None else use.gradients(v, e[:, :, rows])
            _add(total, use.gradients(u, d[:, :, rows]), right)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, slope: Tensor) -> tuple[Tensor | None, ...]:
        u, d, v, e = ctx.saved_tensors
        one = _WayBack(ctx.use, u, d, *ctx.needs_input_grad[1:3])
        two = None if v is None else _WayBack(ctx.use, v, e, *ctx.needs_input_grad[3:5])
        for rows in _chunks(d.shape[2], ctx.step):
            g = ctx.use.gradients(u, d[:, :, rows])
            if two is None:
                one.add(rows, (slope + slope.T) @ g)
            else:
                one.add(rows, slope @ ctx.use.gradients(v, e[:, :, rows]))
                two.add(rows, slope.T @ g)
        return None, *one.found(), *(two.found() if two else (None, None)), None


class _WayBack:
    """Derivatives by the two factors of some gradients, some rows at a time."""

    def __init__(self, use: Use, u: Tensor, d: Tensor, by_inputs: bool, by_outputs: bool) -> None:
        self.use, self.u, self.d = use, u, d
        self.wanted = by_inputs, by_outputs
        self.inputs: Tensor | None = None
        self.outputs: list[Tensor] = []

    def add(self, rows: slice, slope: Tensor) -> None:
        """Take the derivative by the gradients of some rows."""
        d = self.d[:, :, rows]
        if self.wanted[0]:
            more = self.use.by_inputs(slope, self.u, d)
            self.inputs = more if self.inputs is None else self.inputs.add_(more)
        if self.wanted[1]:
            self.outputs.append(self.use.by_outputs(slope, self.u, d))

    def found(self) -> tuple[Tensor | None, Tensor | None]:
        """Return the derivatives, None where not wanted."""
        return self.inputs, torch.cat(self.outputs, dim=2) if self.outputs else None
