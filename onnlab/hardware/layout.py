"""The floor plan of a device: how many kernels a rectangle holds, and where they lie."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from onnlab.optics._check import at_least, at_most, not_negative, positive_length

# Lengths are decimal numbers: 1.0 mm / 0.1 mm must be ten, whatever float64 makes of it.
ROUNDING = 1e-9
MOST_SITES = 10**6  # along one side; more than that is a unit forgotten


@dataclass(frozen=True)
class KernelLayout:
    """Sites of kernels on a rectangle, made by :func:`kernel_layout`. Lengths in metres.

    The origin is the middle of the rectangle; y grows downwards, as rows do. Sites are numbered row by row.

    Parameters
    ----------
    height, width : float
        Size of the rectangle.
    kernel_size : (float, float)
        Size ``(ky, kx)`` of a site.
    gap : float
        Least distance between neighbours.
    shape : (int, int)
        Rows and columns of sites.
    """

    height: float
    width: float
    kernel_size: tuple[float, float]
    gap: float
    shape: tuple[int, int]

    @property
    def count(self) -> int:
        """How many sites there are."""
        return self.shape[0] * self.shape[1]

    @property
    def centres(self) -> Tensor:
        """Centres ``(y, x)`` of the sites in metres: float64 ``(count, 2)``."""
        y, x = (
            # Symmetric to the last bit: only whole and half numbers are multiplied.
            (torch.arange(n, dtype=torch.float64) - (n - 1) / 2) * (k + self.gap)
            for n, k in zip(self.shape, self.kernel_size, strict=True)
        )
        return torch.cartesian_prod(y, x)

    @property
    def rectangles(self) -> Tensor:
        """Edges ``(top, left, bottom, right)`` of the sites in metres: float64 ``(count, 4)``."""
        half = torch.tensor(self.kernel_size, dtype=torch.float64) / 2
        return torch.cat([self.centres - half, self.centres + half], dim=1)

    @property
    def pairs(self) -> Tensor:
        """Sites of the positive and the negative PSF of each signed kernel: int64 ``(count // 2, 2)``.

        The two lie beside each other, or one above the other in the last column where columns are odd in
        number: nothing lies between them, so that a fault which varies slowly over the device hits both.
        """
        rows, columns = self.shape
        site = torch.arange(self.count).reshape(rows, columns)
        even = columns - columns % 2
        across = site[:, :even].reshape(-1, 2)
        last = site[: rows - rows % 2, even:].reshape(-1, 2)
        return torch.cat([across, last])

    @property
    def unused(self) -> tuple[int, ...]:
        """The site that has no partner: one if the sites are odd in number, else none."""
        return (self.count - 1,) if self.count % 2 else ()

    @property
    def filled(self) -> float:
        """Fraction of the rectangle that the sites cover."""
        return self.count * math.prod(self.kernel_size) / (self.height * self.width)


def kernel_layout(
    height: float, width: float, kernel_size: float | tuple[float, float], gap: float = 0.0
) -> KernelLayout:
    r"""Place as many kernels as fit on a rectangle, in rows and columns.

    .. math:: n = \left\lfloor \frac{h + d}{k_y + d} \right\rfloor
        \left\lfloor \frac{w + d}{k_x + d} \right\rfloor

    with the height :math:`h`, the width :math:`w`, the size :math:`k` of a kernel and the gap :math:`d`:
    each kernel brings its gap along, and the last one in a row does not need it. Neighbours are exactly one
    gap apart, what is left over is a margin all around.

    Parameters
    ----------
    height, width : float
        Size of the rectangle in metres.
    kernel_size : float or (float, float)
        Size of the piece that makes one PSF in metres: its side, or ``(ky, kx)``.
    gap : float
        Least distance between neighbours in metres; 0 lets them touch.

    Returns
    -------
    KernelLayout
        The sites, and the pairs for signed kernels.

    Raises
    ------
    TypeError, ValueError
        If a length is no finite number, negative or zero (the gap may be zero), or not even one kernel fits.

    Notes
    -----
    Source: Xiang et al. (2025), arXiv:2508.08421, on the design before training. A quotient that misses a
    whole number by rounding alone counts as that number.

    Examples
    --------
    >>> layout = kernel_layout(1e-3, 1e-3, kernel_size=0.2e-3, gap=0.1e-3)
    >>> layout.count, len(layout.pairs), layout.unused
    (9, 4, (8,))
    """
    size = (positive_length("height", height), positive_length("width", width))
    sides = tuple(kernel_size) if isinstance(kernel_size, (tuple, list)) else (kernel_size, kernel_size)
    if len(sides) != 2:
        raise ValueError(f"kernel_size must be one length or (ky, kx) in metres, got {kernel_size!r}")
    ky, kx = (positive_length("kernel_size", side) for side in sides)
    distance = not_negative("gap", gap, "metres")
    rows, columns = (_sites(room, k, distance) for room, k in zip(size, (ky, kx), strict=True))
    if not rows or not columns:
        raise ValueError(
            f"kernel_size must fit into the rectangle, got kernels of {ky:g} x {kx:g} m for {size[0]:g} x "
            f"{size[1]:g} m; use kernels of at most {at_most(min(ky, size[0]))} x "
            f"{at_most(min(kx, size[1]))} m, or a rectangle of at least {at_least(max(ky, size[0]))} x "
            f"{at_least(max(kx, size[1]))} m"
        )
    return KernelLayout(*size, (ky, kx), distance, (rows, columns))


def _sites(room: float, side: float, gap: float) -> int:
    """How many kernels with their gaps fit along one side."""
    quotient = (room + gap) / (side + gap)
    if quotient > MOST_SITES:
        raise ValueError(
            f"kernel_size must leave at most {MOST_SITES} sites along a side, got {side:g} m for {room:g} m; "
            "give all lengths in metres"
        )
    return math.floor(quotient * (1 + ROUNDING))
