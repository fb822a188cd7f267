"""Numerics of errors: rough surfaces, masks between their samples, and PSFs that move and spread."""

import math
from collections.abc import Callable

import torch
from torch import Generator, Tensor

from onnlab.optics import Grid, circular_aperture, image_incoherent
from onnlab.optics.grid import centred_index
from onnlab.optics.propagation import polar

AXES = (-2, -1)
Pair = tuple[float, float]


def rough_surface(shape: tuple[int, ...], pitch: Pair, length: float, generator: Generator) -> Tensor:
    r"""Draw Gaussian noise of mean 0 and variance 1 with the correlation :math:`e^{-r^2/\ell^2}`.

    White noise is filtered by the root of the power spectrum, :math:`e^{-\pi^2 \ell^2 \nu^2 / 2}`. Returns
    float64 of that shape; the last two axes have the pitch, in metres like the length.
    """
    white = torch.randn(shape, dtype=torch.float64, generator=generator)
    if length == 0:
        return white
    fy, fx = (torch.fft.fftfreq(n, d, dtype=torch.float64) for n, d in zip(shape[-2:], pitch, strict=True))
    response = torch.exp(-((math.pi * length) ** 2) / 2 * (fy.square()[:, None] + fx.square()))
    response = response / response.square().mean().sqrt()
    return torch.fft.ifft2(torch.fft.fft2(white) * response).real


def turned(t: Tensor, phase: Tensor) -> Tensor:
    """Add a real phase, in radians, to a complex transmission."""
    return t * polar(torch.ones_like(phase), phase, t.dtype).to(t.device)


# Masks between their samples: the spectrum of an impulse response, at other frequencies ------------------


def offsets(n: int, first: int) -> Tensor:
    """Offsets of an impulse response in the order of ``torch.fft``, the least of them ``first``."""
    return ((torch.arange(n) - first) % n + first).double()


def displaced(t: Tensor, samples: Tensor | float, axis: int, first: int) -> Tensor:
    """Move a mask along an axis by any number of samples; one number, or one for each line."""
    n = t.shape[axis]
    k = offsets(n, first)
    angles = 2 * math.pi / n * torch.as_tensor(samples, dtype=torch.float64)[..., None] * k
    ramps = polar(torch.ones_like(angles), angles, t.dtype).to(t.device)
    response = torch.fft.ifft(torch.fft.ifftshift(t.movedim(axis, -1), -1))
    return torch.fft.fftshift(torch.fft.fft(response * ramps), -1).movedim(-1, axis)


def magnified(t: Tensor, factors: Pair, first: tuple[int, int]) -> Tensor:
    r"""Magnify the impulse response of a mask by factors ``(y, x)``: :math:`H'(\nu) = H(m \nu)`."""
    response = torch.fft.ifft2(torch.fft.ifftshift(t, AXES))
    rows, columns = (
        _fourier_sum(n, factor, start, t)
        for n, factor, start in zip(t.shape[-2:], factors, first, strict=True)
    )
    return rows @ response @ columns.mT


def _fourier_sum(n: int, factor: float, first: int, like: Tensor) -> Tensor:
    angles = -2 * math.pi / n * factor * centred_index(n)[:, None] * offsets(n, first)
    return polar(torch.ones_like(angles), angles, like.dtype).to(like.device)


def rotated(t: Tensor, angle: float, plane: Grid, first: tuple[int, int]) -> Tensor:
    """Rotate a mask from x towards y, by three shears."""
    along_x = -math.tan(angle / 2) * plane.y / plane.dx
    along_y = math.sin(angle) * plane.x / plane.dy
    t = displaced(t, along_x, -1, first[1])
    t = displaced(t, along_y, -2, first[0])
    return displaced(t, along_x, -1, first[1])


# PSFs -----------------------------------------------------------------------------------------------------


def places(window: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Rows and columns of the samples of a PSF, float64 ``(ny, nx)``, counted from its origin."""
    ny, nx = window
    rows, columns = torch.meshgrid(centred_index(ny), centred_index(nx), indexing="ij")
    return rows, columns


def moved(psf: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Move each sample of PSFs ``(..., ny, nx)`` to another place, counted in samples from the origin.

    A sample is a spot as wide as a pixel: at a place between pixels, the four beneath it share its light in
    proportion to the areas that it covers. Light that leaves the window is lost. Leading dimensions of the
    places broadcast against those of the PSFs.
    """
    ny, nx = psf.shape[-2:]
    below, right = rows.floor(), columns.floor()
    light = psf.flatten(-2)
    result = torch.zeros_like(light)
    for row, share_y in ((below, 1 - (rows - below)), (below + 1, rows - below)):
        for column, share_x in ((right, 1 - (columns - right)), (right + 1, columns - right)):
            y, x = row + ny // 2, column + nx // 2
            inside = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
            share = (share_y * share_x * inside).to(light).flatten(-2)
            target = torch.where(inside, y * nx + x, 0).long().to(light.device).flatten(-2)
            result = result.scatter_add(-1, target.expand_as(light), light * share)
    return result.unflatten(-1, (ny, nx))


def disc(window: tuple[int, int], pitch: float, radius: float) -> Tensor:
    """Light of an even disc (metres), as the pixels of a window share it; float64."""
    open_share = circular_aperture(Grid(window, pitch, 1.0), radius, torch.float64)  # of any colour
    return open_share * pitch**2 / (math.pi * radius**2)


def gaussians(weights: Tensor, variances: Tensor, window: tuple[int, int], pitch: float) -> Tensor:
    """Light of a sum of round Gaussian spots, as the pixels of a window share it; float64.

    Each pixel adds up the light on its area. ``weights`` ``(n,)`` are the light of each spot, ``variances``
    ``(n,)`` those along one axis, in square metres.
    """
    widths = (2 * variances[:, None]).sqrt()
    rows, columns = (
        torch.erf((torch.arange(n + 1) - n // 2 - 0.5) * pitch / widths).diff(dim=1) / 2 for n in window
    )
    return (weights * rows.mT) @ columns


def spot(otf: Callable[[Tensor], Tensor], cutoff: float, window: tuple[int, int], pitch: float) -> Tensor:
    r"""Light of a round spot whose spectrum has an end, as the pixels of a window share it.

    .. math:: \iint H(\nu)\, \Delta^2 \operatorname{sinc}(\nu_y \Delta) \operatorname{sinc}(\nu_x \Delta)
        \cos(2 \pi \nu_y y) \cos(2 \pi \nu_x x)\, d\nu_y\, d\nu_x

    A pixel adds up the light on its area, and that is the sinc. A sum over frequencies :math:`1/L` apart
    gives the light of the spot and of copies at all multiples of :math:`L`. Behind a sharp edge these put a
    share of about :math:`0.3 W^2/(\nu_c L^3)` of all light into a window of width :math:`W`. The period is so
    long that this stays below 1e-5, and below 1e-5 of what the window holds.

    ``otf`` is a function :math:`H` of the frequency (cycles per metre), zero beyond ``cutoff``
    :math:`\nu_c`. Returns float64.
    """
    extent = pitch * max(window)
    cells = cutoff * extent
    count = math.ceil(max(2 * cells, (3e4 * cells**2) ** (1 / 3), 64))
    frequency = torch.arange(count, dtype=torch.float64) * (cutoff / count)
    # Negative frequencies say the same once more.
    weight = torch.sinc(frequency * pitch) * torch.where(frequency > 0, 2.0, 1.0) * (pitch * cutoff / count)
    waves_y, waves_x = (
        weight * torch.cos(2 * math.pi * pitch * centred_index(n)[:, None] * frequency) for n in window
    )
    light = torch.zeros(window, dtype=torch.float64)
    for rows, part in zip(waves_y.split(256, dim=1), frequency.split(256), strict=True):
        light += rows @ (otf(torch.hypot(part[:, None], frequency)) @ waves_x.mT)
    return light.clamp(min=0)


def ways(window: tuple[int, int]) -> tuple[int, int]:
    """Return the window that holds the way from any pixel of a window to any other."""
    return 2 * window[0] - 1, 2 * window[1] - 1


def spread(psf: Tensor, light: Tensor) -> Tensor:
    """Replace each sample of PSFs by the spot ``light``, which has the window of :func:`ways`."""
    ny, nx = psf.shape[-2:]
    wide = image_incoherent(light.to(psf), psf)
    top, left = (n - 1 - n // 2 for n in (ny, nx))  # from one origin to the other
    return wide[..., top : top + ny, left : left + nx]
