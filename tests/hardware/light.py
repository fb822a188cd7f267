"""Light by the longest way round, to compare with."""

import math

import torch
from torch import Tensor

from onnlab.optics import Grid


def direct_sum(u: Tensor, grid: Grid, z: float, sensor: Grid) -> Tensor:
    """The first Rayleigh-Sommerfeld integral, point by point."""
    out = torch.zeros(sensor.shape, dtype=torch.complex128)
    for i, y in enumerate(sensor.y):
        for j, x in enumerate(sensor.x):
            r = torch.sqrt((grid.y[:, None] - y) ** 2 + (grid.x - x) ** 2 + z**2)
            wave = torch.polar(torch.ones_like(r), grid.wavenumber * r) * (1 / r - 1j * grid.wavenumber)
            out[i, j] = (u * wave / r**2).sum() * z / (2 * math.pi) * grid.dy * grid.dx
    return out
