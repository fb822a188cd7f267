"""Incoherent imaging: light whose intensities add, not its fields."""

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from onnlab.optics import _check
from onnlab.optics._check import SamplingWarning
from onnlab.optics.fourf import focal_field, fourier_grid, lens_transform
from onnlab.optics.grid import Grid, centred_index
from onnlab.optics.propagation import fast_length

AXES = (-2, -1)

# The rim of a soft pupil counts as dark where its power is below this part of the peak.
DARK = 1e-6


def psf(
    pupil: Tensor,
    grid: Grid,
    focal_length: float,
    shape: tuple[int, int] | None = None,
    pitch: float | tuple[float, float] | None = None,
) -> tuple[Tensor, Grid]:
    r"""Point spread function: the image of one point through a lens with this pupil.

    .. math:: s = \frac{|F|^2 \, \Delta_X \Delta_Y}{\sum |P|^2 \, \Delta_x \Delta_y}

    with the pupil :math:`P` and its focal field :math:`F` (see :func:`lens_transform`): the share of the
    light through the pupil that lands on each sample. It sums to 1 over the whole plane, and to less over a
    window that misses some of the light. What the pupil blocks is not counted.

    Parameters
    ----------
    pupil : Tensor
        Real or complex transmission ``(..., ny, nx)`` on ``grid``.
    grid : Grid
        Grid of the pupil's plane.
    focal_length : float
        Distance in metres from the lens to the image: the focal length, if the object is far away.
    shape : (int, int), optional
        Number of samples of the result; that of ``grid`` unless given.
    pitch : float or (float, float), optional
        Their distance in metres; :math:`\lambda f / (N \Delta)`, as for :func:`lens_transform`, unless given.

    Returns
    -------
    (Tensor, Grid)
        Non-negative PSF ``(..., *shape)``, the image of the point at the origin sample, and its grid.

    Raises
    ------
    TypeError
        If ``pupil`` is not a float or complex tensor.
    ValueError
        If it is not on ``grid``, is not finite, or lets no light through.

    Warns
    -----
    SamplingWarning
        If the pitch is above :math:`\lambda f / (2 D)` for a pupil of width :math:`D`. Each sample is right
        by itself, but an :func:`otf` or an image made from so few of them is aliased.

    Notes
    -----
    Source: Goodman, Introduction to Fourier Optics, 3rd edition, section 6.3.
    """
    pupil = _complex_pupil(pupil, grid)
    energy = squared_modulus(pupil).sum(AXES, keepdim=True) * (grid.dy * grid.dx)
    if _check.is_true((energy == 0).any()):
        raise ValueError("pupil must let some light through, got zeros only; check its size against the grid")
    field, grid_psf = _focal(pupil, grid, focal_length, shape, pitch)
    _warn_if_coarse(pupil, grid, grid_psf, focal_length)
    return squared_modulus(field) * (grid_psf.dy * grid_psf.dx) / energy, grid_psf


def polychromatic_psf(
    pupil: Tensor | Callable[[Grid], Tensor],
    grid: Grid,
    focal_length: float,
    wavelengths: Sequence[float],
    weights: Sequence[float] | Tensor | None = None,
    shape: tuple[int, int] | None = None,
    pitch: float | tuple[float, float] | None = None,
) -> tuple[Tensor, Grid]:
    r"""Point spread function in light of several wavelengths.

    .. math:: s = \sum_j w_j\, s_{\lambda_j}, \qquad \sum_j w_j = 1

    Each colour has its own :func:`psf`, wider for a longer wavelength, all of them on one grid.

    Parameters
    ----------
    pupil : Tensor or callable
        One transmission ``(..., ny, nx)`` for all colours, or a function that takes a grid (with the
        wavelength in it) and returns the transmission there: glass is thicker in waves of blue than of red.
    grid : Grid
        Grid of the pupil's plane. ``wavelengths`` take the place of its own.
    focal_length : float
        Distance in metres from the lens to the image.
    wavelengths : sequence of float
        In metres.
    weights : sequence of float or Tensor, optional
        Energy in each colour behind the pupil, in any unit; all alike unless given.
    shape, pitch : optional
        As for :func:`psf`. The default pitch is that of the shortest wavelength.

    Returns
    -------
    (Tensor, Grid)
        PSF and its grid, whose wavelength is the weighted mean.

    Raises
    ------
    ValueError
        If there is no wavelength, or weights are negative, all zero or not one for each wavelength; and as
        :func:`psf` does.
    """
    if len(wavelengths) == 0:
        raise ValueError("wavelengths must hold at least one, got none; pass for example [450e-9, 630e-9]")
    share = torch.ones(len(wavelengths), dtype=torch.float64) if weights is None else weights
    share = share if isinstance(share, Tensor) else torch.as_tensor(share, dtype=torch.float64)
    share = share if share.is_floating_point() else share.double()
    if share.shape != (len(wavelengths),) or not bool((share >= 0).all() and 0 < share.sum() < torch.inf):
        raise ValueError(
            f"weights must be {len(wavelengths)} numbers, one for each wavelength, none negative and not all "
            f"zero, got {weights!r}; leave them out for colours of equal energy"
        )
    share = share / share.sum()
    colours = [grid.with_(wavelength=wavelength) for wavelength in wavelengths]
    if pitch is None:
        pitch = fourier_grid(min(colours, key=lambda colour: colour.wavelength), focal_length).pitch
    images = [psf(pupil(c) if callable(pupil) else pupil, c, focal_length, shape, pitch) for c in colours]
    total = torch.stack([w.to(spot) * spot for w, (spot, _) in zip(share, images, strict=True)]).sum(0)
    mean = sum(w * colour.wavelength for w, colour in zip(share.tolist(), colours, strict=True))
    return total, images[0][1].with_(wavelength=mean)


def otf(psf: Tensor) -> Tensor:
    r"""Optical transfer function: how the contrast and position of each fringe come through.

    .. math:: H(f_x, f_y) = \frac{\sum s(x, y)\, e^{-i 2\pi (x f_x + y f_y)}}{\sum s(x, y)}

    Parameters
    ----------
    psf : Tensor
        Non-negative ``(..., ny, nx)``, its origin at ``(ny // 2, nx // 2)``.

    Returns
    -------
    Tensor
        Complex, of the same shape, on the frequencies ``grid_psf.fy``, ``grid_psf.fx`` (cycles per metre in
        the image); 1 at the origin sample ``(ny // 2, nx // 2)``. Its modulus nowhere exceeds 1.

    Raises
    ------
    TypeError, ValueError
        If ``psf`` is not a finite real tensor, is negative somewhere or zero everywhere.

    Notes
    -----
    Source: Goodman, Introduction to Fourier Optics, 3rd edition, section 6.3.
    """
    _check.intensity(psf, "psf")
    spectrum = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(psf, AXES)), AXES)
    ny, nx = psf.shape[-2:]
    energy = spectrum[..., ny // 2, nx // 2].real[..., None, None]
    if _check.is_true((energy == 0).any()):
        raise ValueError("psf must hold some light, got zeros only; check the window that it was taken from")
    return spectrum / energy


def mtf(psf: Tensor) -> Tensor:
    """Modulation transfer function, ``otf(psf).abs()``: the contrast in which each fringe comes through."""
    return otf(psf).abs()


def image_incoherent(intensity: Tensor, psf: Tensor) -> Tensor:
    r"""Image of an incoherent object: each of its points is replaced by a PSF, and intensities add.

    .. math:: I'[n] = \sum_k s[k]\, I[n - k]

    A linear convolution of the same size as the object: what lies outside the window is dark, and light
    that leaves the window is lost; none wraps round. (``torch.nn.functional.conv2d`` correlates: flip its
    kernel to compare.)

    Parameters
    ----------
    intensity : Tensor
        Non-negative ``(..., ny, nx)``: the image that a perfect lens would give, upright as it gives it.
    psf : Tensor
        Non-negative ``(..., ky, kx)`` of the same dtype and pitch, its origin at ``(ky // 2, kx // 2)``.
        Leading dimensions broadcast against those of ``intensity``: ``(n, 1, ny, nx)`` and ``(c, ky, kx)``
        give ``(n, c, ny, nx)``.

    Returns
    -------
    Tensor
        Non-negative ``(..., ny, nx)``. The sum is exact up to rounding, and rounding below zero is cut off.
        Gradients are those of the sum, unaware of that cut.

    Raises
    ------
    TypeError
        If an argument is not real, or the dtypes differ.
    ValueError
        If an argument is negative somewhere or not finite, or the PSF is larger than the window.
    """
    _check.intensity(intensity, "intensity")
    _check.intensity(psf, "psf")
    if psf.dtype != intensity.dtype:
        raise TypeError(
            f"psf must have the dtype of intensity, {intensity.dtype}, got {psf.dtype}; "
            "use psf.to(intensity.dtype)"
        )
    ny, nx = intensity.shape[-2:]
    ky, kx = psf.shape[-2:]
    if ky > ny or kx > nx:
        raise ValueError(
            f"psf must not be larger than intensity, got {ky} x {kx} for {ny} x {nx} samples; crop the psf "
            "about its origin, or surround the object with darkness (torch.nn.functional.pad)"
        )
    # The full sum has n + k - 1 samples. Of those, the last may wrap round onto the first: both are cropped.
    size = (fast_length(ny + ky // 2), fast_length(nx + kx // 2))
    spectrum = torch.fft.rfft2(intensity, s=size) * torch.fft.rfft2(psf, s=size)
    image = torch.fft.irfft2(spectrum, s=size)[..., ky // 2 : ky // 2 + ny, kx // 2 : kx // 2 + nx]
    return straight_through(image.clamp(min=0), image)


class SignedPair(NamedTuple):
    """Two non-negative PSFs whose images, subtracted, make up a signed convolution."""

    positive: Tensor
    negative: Tensor
    scale: Tensor

    def subtract(self, image_positive: Tensor, image_negative: Tensor) -> Tensor:
        """Return ``scale * (image_positive - image_negative)``: the step that is done in electronics."""
        return self.scale * (image_positive - image_negative)


def signed_kernel_pair(kernel: Tensor) -> SignedPair:
    r"""Split a real kernel into two PSFs that light can have.

    .. math:: k = s\,(k_+ - k_-), \qquad k_\pm = \frac{|k| \pm k}{2 s}, \qquad
        s = \max\Big(\sum \frac{|k| + k}{2},\ \sum \frac{|k| - k}{2}\Big)

    Both are non-negative, and the brighter one passes all the light: no optics without gain does better.
    Nothing common is added to both, for that would bring shot noise and no signal.

    Parameters
    ----------
    kernel : Tensor
        Real ``(..., ky, kx)``, its origin at ``(ky // 2, kx // 2)``.

    Returns
    -------
    SignedPair
        ``positive`` and ``negative``, each of the kernel's shape and of total energy at most 1, and
        ``scale`` of shape ``(..., 1, 1)``. With ``image_incoherent`` for both,
        ``pair.subtract(image_positive, image_negative)`` is the convolution with ``kernel``. A kernel of
        zeros gives two dark PSFs and the scale 1.

    Raises
    ------
    TypeError, ValueError
        If ``kernel`` is not a finite real tensor ``(..., ky, kx)``.

    Notes
    -----
    Source: Chang et al. (2018), DOI 10.1038/s41598-018-30619-y.
    """
    _check.not_complex(kernel, "kernel", "make one pair for its real and one for its imaginary part")
    _check.real_plane(kernel, "kernel")
    # Written with |k|, not as two rectifiers: where k = 0 their slopes would not add up to 1.
    positive, negative = (kernel.abs() + kernel) / 2, (kernel.abs() - kernel) / 2
    scale = torch.maximum(positive.sum(AXES, keepdim=True), negative.sum(AXES, keepdim=True))
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return SignedPair(positive / scale, negative / scale, scale)


def straight_through(value: Tensor, surrogate: Tensor) -> Tensor:
    """Return exactly ``value``, with the gradient of ``surrogate``."""
    return value.detach() + (surrogate - surrogate.detach())


def squared_modulus(field: Tensor) -> Tensor:
    """Return the intensity of a complex field: its squared modulus, of the same shape."""
    return field.real.square() + field.imag.square()


def _complex_pupil(pupil: Tensor, grid: Grid) -> Tensor:
    if isinstance(pupil, Tensor) and pupil.is_floating_point():
        pupil = torch.complex(pupil, torch.zeros_like(pupil))
    return _check.complex_field(pupil, grid, "pupil")


def _focal(
    pupil: Tensor,
    grid: Grid,
    focal_length: float,
    shape: tuple[int, int] | None,
    pitch: float | tuple[float, float] | None,
) -> tuple[Tensor, Grid]:
    if shape is None and pitch is None:
        return lens_transform(pupil, grid, focal_length)
    wanted = fourier_grid(grid, focal_length).with_(shape=shape, pitch=pitch)
    return focal_field(pupil, grid, focal_length, wanted.shape, wanted.pitch)


def _warn_if_coarse(pupil: Tensor, grid: Grid, grid_psf: Grid, focal_length: float) -> None:
    # The spectrum of the PSF is the autocorrelation of the pupil: twice as wide as the pupil.
    power = squared_modulus(pupil.detach())
    lit = power > DARK * power.amax(AXES, keepdim=True)
    limits = []
    for axis, size, step in zip(AXES, grid.shape, grid.pitch, strict=True):
        index = centred_index(size).to(pupil.device)
        lines = lit.movedim(axis, 0).flatten(1).any(1)
        width = step * (index.where(lines, -torch.inf).amax() - index.where(lines, torch.inf).amin())
        limits.append(grid.wavelength * focal_length / (2 * width))
    # The smallest margin keeps a pupil of exactly half the window silent.
    if any(_check.is_true(p > limit * (1 + 1e-9)) for p, limit in zip(grid_psf.pitch, limits, strict=True)):
        # An axis that is fine enough keeps its pitch: it may have no limit at all.
        largest = ", ".join(
            _check.at_most(min(p, float(limit))) for p, limit in zip(grid_psf.pitch, limits, strict=True)
        )
        warnings.warn(
            f"a psf pitch of ({grid_psf.dy:.3g}, {grid_psf.dx:.3g}) m is too coarse for so wide a pupil: "
            f"the OTF and images made with it are aliased. Use pitch=({largest}) or less",
            SamplingWarning,
            stacklevel=3,
        )
