"""Lenses as Fourier transformers: the 2f system, the focal plane under a loupe, and the 4f system."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from onnlab.optics import _check
from onnlab.optics.elements import Mask, circular_aperture, hold
from onnlab.optics.grid import Grid, centred_index
from onnlab.optics.propagation import fast_length, polar


def lens_transform(u: Tensor, grid: Grid, focal_length: float) -> tuple[Tensor, Grid]:
    r"""Field in the back focal plane of a lens, from that in its front focal plane (a 2f system).

    .. math:: F(X, Y) = \frac{1}{\lambda f} \iint u(x, y)\, e^{-i 2\pi (xX + yY)/(\lambda f)}\, dx\, dy

    The constant phase :math:`-i e^{2ikf}` is left out: no camera sees it, and without it two transforms in
    a row give just the flipped input.

    Parameters
    ----------
    u : Tensor
        Complex field ``(..., ny, nx)`` on ``grid``.
    grid : Grid
        Grid of the front focal plane.
    focal_length : float
        Focal length :math:`f` in metres.

    Returns
    -------
    (Tensor, Grid)
        Field of the same shape, and its own grid of pitch :math:`\lambda f / (N \Delta)`. The transform is
        unitary: :math:`\sum |F|^2 \Delta_X \Delta_Y = \sum |u|^2 \Delta_x \Delta_y`.

    Raises
    ------
    TypeError, ValueError
        If ``u`` is not a complex field on ``grid``, or ``focal_length`` is not positive.

    Notes
    -----
    Source: Goodman, Introduction to Fourier Optics, 3rd edition, section 5.2.2.
    """
    _check.complex_field(u, grid)
    grid_f = fourier_grid(grid, focal_length)
    axes = (-2, -1)
    spectrum = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(u, axes)), axes)
    return spectrum * (grid.dy * grid.dx / (grid.wavelength * focal_length)), grid_f


def fourier_grid(grid: Grid, focal_length: float) -> Grid:
    r"""Grid of the back focal plane: pitch :math:`\lambda f / (N \Delta)`, as many samples."""
    reach = grid.wavelength * _check.positive_length("focal_length", focal_length)
    height, width = grid.extent
    return grid.with_(pitch=(reach / height, reach / width))


def fraunhofer(u: Tensor, grid: Grid, z: float) -> tuple[Tensor, Grid]:
    r"""Field far away, in the Fraunhofer approximation.

    .. math:: v(X, Y) = \frac{e^{ikz}}{i\lambda z} e^{ik(X^2 + Y^2)/(2z)}
        \iint u(x, y)\, e^{-i 2\pi (xX + yY)/(\lambda z)}\, dx\, dy

    Parameters
    ----------
    u : Tensor
        Complex field ``(..., ny, nx)`` on ``grid``.
    grid : Grid
        Grid of the input.
    z : float
        Distance in metres, positive, and large: the Fresnel number of the opening (see
        :meth:`Grid.fresnel_number`) should be well below one.

    Returns
    -------
    (Tensor, Grid)
        Field and its own grid of pitch :math:`\lambda z / (N \Delta)`. Each sample is right by itself, but
        the quadratic phase may turn by more than :math:`\pi` between samples: do not propagate it further.

    Notes
    -----
    Source: Goodman, Introduction to Fourier Optics, 3rd edition, equation 4-25.
    """
    z = _check.positive_length("z", z)
    spectrum, grid_z = lens_transform(u, grid, z)
    phase = grid.wavenumber * (z + grid_z.radius**2 / (2 * z)) - math.pi / 2
    return spectrum * polar(torch.ones_like(phase), phase, u.dtype).to(u.device), grid_z


def focal_field(
    u: Tensor,
    grid: Grid,
    focal_length: float,
    shape: tuple[int, int],
    pitch: float | tuple[float, float],
) -> tuple[Tensor, Grid]:
    r"""The field of :func:`lens_transform`, at any pitch: a loupe on the focal plane.

    The Fourier sum is evaluated at the wanted points by the chirp-z transform: with
    :math:`nk = \frac{1}{2}(n^2 + k^2 - (k - n)^2)` it becomes a convolution with a chirp.

    Parameters
    ----------
    u : Tensor
        Complex field ``(..., ny, nx)`` on ``grid``.
    grid : Grid
        Grid of the front focal plane.
    focal_length : float
        Focal length in metres.
    shape : (int, int)
        Number of samples of the result.
    pitch : float or (float, float)
        Their distance in metres. A pitch finer than that of :func:`lens_transform` adds no information: it
        draws the same band-limited field with more points.

    Returns
    -------
    (Tensor, Grid)
        Field ``(..., *shape)`` and its grid, both centred on the axis.

    Notes
    -----
    Source: Rabiner, Schafer & Rader (1969), DOI 10.1109/TAU.1969.1162034.
    """
    _check.complex_field(u, grid)
    reach = grid.wavelength * _check.positive_length("focal_length", focal_length)
    grid_f = Grid(shape, pitch, grid.wavelength)
    rows = _chirp_z(u.transpose(-2, -1), grid.dy * grid_f.dy / reach, grid_f.ny).transpose(-2, -1)
    field = _chirp_z(rows, grid.dx * grid_f.dx / reach, grid_f.nx)
    return field * (grid.dy * grid.dx / reach), grid_f


def _chirp_z(u: Tensor, step: float, count: int) -> Tensor:
    """Sum ``u[n] exp(-2 pi i step n k)`` over the last axis for ``count`` values of k, both axes centred."""
    size = u.shape[-1]
    length = fast_length(size + count - 1)
    n, k = centred_index(size), centred_index(count)

    def chirp(index: Tensor, sign: float) -> Tensor:
        phase = sign * math.pi * step * index**2
        return polar(torch.ones_like(phase), phase, u.dtype).to(u.device)

    # Every difference k - n, first the one that pairs the first output with the first input.
    offset = torch.arange(length, dtype=torch.float64)
    offset = torch.where(offset < count, offset, offset - length) + (k[0] - n[0])
    kernel = torch.fft.fft(chirp(offset, 1.0))
    product = torch.fft.fft(u * chirp(n, -1.0), n=length) * kernel
    return torch.fft.ifft(product)[..., :count] * chirp(k, -1.0)


class FourF(nn.Module):
    r"""A 4f system: lens, mask in the Fourier plane, lens.

    .. math:: v = \mathcal{L}_{f_2}\{ m \cdot \mathcal{L}_{f_1}\{u\} \}

    with :math:`\mathcal{L}_f` the transform of :func:`lens_transform`. Two transforms forward, never one
    back: without a mask the output is the input flipped about the axis and magnified by
    :math:`-f_2/f_1`. On samples the flip is ``v[i] = u[(2 (n // 2) - i) mod n]``.

    The mask's samples repeat the window without end, so the system convolves *circularly*. Leave a dark
    margin of the kernel's half width around the object, and nothing wraps round.

    Parameters
    ----------
    grid : Grid
        Grid of the input plane.
    focal_length : float or (float, float)
        Focal length of both lenses, or ``(f1, f2)``, in metres.
    mask : Mask, optional
        :class:`PhaseMask`, :class:`AmplitudeMask` or :class:`ComplexMask` with samples on
        :attr:`grid_fourier`. It may be a stack ``(k, ny, nx)``.
    stop : Tensor or float, optional
        Aperture stop in the Fourier plane: a real transmission ``(ny, nx)``, or a radius in metres. A plane
        that is a ``Parameter`` stays that very object.

    Raises
    ------
    TypeError
        If the mask is not a :class:`Mask`, or the radius of the stop is a ``Parameter``.
    ValueError
        If mask or stop do not fit the grid, or a length is not positive.

    Notes
    -----
    Source: Goodman, Introduction to Fourier Optics, 3rd edition, section 8.3 (coherent processing).
    """

    stop: Tensor | None

    def __init__(
        self,
        grid: Grid,
        focal_length: float | tuple[float, float],
        mask: Mask | None = None,
        stop: Tensor | float | None = None,
    ) -> None:
        super().__init__()
        self.focal_lengths = _check.two_lengths("focal_length", focal_length, "the two lenses")
        if mask is not None and not isinstance(mask, Mask):
            raise TypeError(
                f"mask must be a PhaseMask, AmplitudeMask or ComplexMask, got {type(mask).__name__}; "
                "wrap the tensor, for example PhaseMask(phi)"
            )
        self.grid = grid
        self.mask = mask
        hold(self, "stop", self._checked_stop(stop))
        if mask is not None:
            self._check_shape(mask.transmission(torch.complex64), "mask")

    @property
    def grid_fourier(self) -> Grid:
        """Grid of the mask's plane."""
        return fourier_grid(self.grid, self.focal_lengths[0])

    @property
    def grid_out(self) -> Grid:
        r"""Grid of the output plane: the input's pitch times :math:`f_2/f_1`."""
        zoom = abs(self.magnification)
        return self.grid.with_(pitch=(self.grid.dy * zoom, self.grid.dx * zoom))

    @property
    def magnification(self) -> float:
        r"""Lateral magnification :math:`-f_2/f_1`: the image is upside down."""
        return -self.focal_lengths[1] / self.focal_lengths[0]

    def transmission(self, dtype: torch.dtype) -> Tensor | None:
        """Mask times stop on :attr:`grid_fourier`, in ``dtype``; ``None`` if the plane is empty."""
        if self.mask is None:
            return None if self.stop is None else self.stop.to(dtype)
        transmission = self.mask.transmission(dtype)
        return transmission if self.stop is None else transmission * self.stop.to(transmission.real.dtype)

    def forward(self, u: Tensor) -> Tensor:
        """Return the complex field ``(..., ny, nx)`` on :attr:`grid_out` from ``u`` on ``grid``."""
        _check.complex_field(u, self.grid)
        transmission = self.transmission(u.dtype)
        axes = (-2, -1)
        spectrum = torch.fft.fft2(u)
        if transmission is not None:
            # Shifting the mask once spares two shifts of every field.
            spectrum = spectrum * torch.fft.ifftshift(transmission, axes)
        v = torch.fft.fft2(spectrum, norm="forward")
        # On an odd axis the mirror image of sample i is n - 1 - i, one before that of the transform.
        odd = tuple(axis for axis, n in zip(axes, self.grid.shape, strict=True) if n % 2)
        if odd:
            v = torch.roll(v, shifts=(-1,) * len(odd), dims=odd)
        f1, f2 = self.focal_lengths
        return v if f1 == f2 else v * (f1 / f2)

    def extra_repr(self) -> str:
        """Describe the module in ``print(model)``."""
        f1, f2 = self.focal_lengths
        return f"{self.grid}, f1={f1:g} m, f2={f2:g} m"

    def _checked_stop(self, stop: Tensor | float | None) -> Tensor | None:
        if stop is None:
            return None
        if isinstance(stop, Tensor) and stop.ndim > 0:
            return self._check_shape(_check.real_plane(stop, "stop"), "stop")
        if isinstance(stop, nn.Parameter):
            raise TypeError(
                "stop must be a number or a plane (ny, nx), got a radius as a Parameter: its edge has "
                "no gradient; use stop.item(), or a plane that can be trained"
            )
        return circular_aperture(self.grid_fourier, _check.positive_length("stop", stop))

    def _check_shape(self, values: Tensor, name: str) -> Tensor:
        _check.on_grid(values, self.grid, name)
        return values


class KernelMask(NamedTuple):
    """A passive Fourier mask and the factor that its passivity cost."""

    transmission: Tensor
    scale: Tensor


def mask_for_kernel(kernel: Tensor, grid: Grid, *, correlate: bool = False) -> KernelMask:
    r"""The Fourier mask with which a 4f system convolves its input with ``kernel``.

    .. math:: m = \frac{1}{s} \sum_n h_n\, e^{-i 2\pi n k / N}, \qquad s = \max_k |\mathcal{F}\{h\}|

    so that :math:`|m| \le 1`: a mask of glass has no gain. Then ``scale * FourF(grid, f,
    ComplexMask(transmission))(u)`` is the flipped convolution.

    Parameters
    ----------
    kernel : Tensor
        Real or complex kernel ``(..., ky, kx)``, its samples at the pitch of ``grid``, its origin at
        ``(ky // 2, kx // 2)``. Leading dimensions give a stack of masks with one common scale.
    grid : Grid
        Grid of the 4f system's input.
    correlate : bool
        Correlate instead, as ``torch.nn.functional.conv2d`` does.

    Returns
    -------
    KernelMask
        ``transmission``: complex ``(..., ny, nx)``; ``scale``: the positive scalar :math:`s`.

    Raises
    ------
    TypeError
        If the kernel is not a floating-point or complex tensor.
    ValueError
        If it is larger than the grid, all zero or not finite.

    Notes
    -----
    Source: Vander Lugt (1964), DOI 10.1109/TIT.1964.1053650: the complex spatial filter.
    """
    if not isinstance(kernel, Tensor) or not (kernel.is_floating_point() or kernel.is_complex()):
        raise TypeError(f"kernel must be a float or complex tensor, got {kernel!r:.60}; use kernel.float()")
    if kernel.ndim < 2:
        raise ValueError(
            f"kernel must have shape (..., ky, kx), got {tuple(kernel.shape)}; add the missing axes"
        )
    _check.finite_values(kernel, "kernel")
    ky, kx = kernel.shape[-2:]
    if ky > grid.ny or kx > grid.nx:
        raise ValueError(
            f"kernel must fit the grid of {grid.ny} x {grid.nx} samples, got {ky} x {kx}; use a larger grid"
        )
    axes = (-2, -1)
    padded = torch.nn.functional.pad(kernel, (0, grid.nx - kx, 0, grid.ny - ky))
    origin = torch.roll(padded, shifts=(-(ky // 2), -(kx // 2)), dims=axes)
    # With the opposite sign in the exponent the transform is that of the mirrored kernel.
    spectrum = torch.fft.ifft2(origin, norm="forward") if correlate else torch.fft.fft2(origin)
    spectrum = torch.fft.fftshift(spectrum, axes)
    scale = spectrum.abs().amax()
    if _check.is_true(scale == 0):
        raise ValueError(
            "kernel must not be all zero: block the light with AmplitudeMask(torch.zeros(...)) instead"
        )
    return KernelMask(spectrum / scale, scale)
