"""What stands on an optical bench: light to start with, openings, test objects, a lens, and masks."""

import math
import warnings

import torch
from torch import Tensor, nn

from onnlab.optics import _check
from onnlab.optics._check import SamplingWarning
from onnlab.optics.grid import Grid
from onnlab.optics.propagation import polar

# Openings ---------------------------------------------------------------------------------------------


def circular_aperture(grid: Grid, radius: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Transmission of a round hole: one inside ``radius`` (metres), zero outside, shape ``(ny, nx)``.

    A sample on the rim is partly open: it holds the share of its cell that lies within the circle. So the
    open area is exact, although the cells are square.
    """
    return _disc(grid, _check.positive_length("radius", radius)).to(dtype)


def ring_aperture(grid: Grid, inner: float, outer: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """Transmission of a ring: one between the radii ``inner`` and ``outer`` (metres), shape ``(ny, nx)``."""
    inner, outer = _check.positive_length("inner", inner), _check.positive_length("outer", outer)
    if inner >= outer:
        raise ValueError(f"inner must be smaller than outer, got {inner!r} and {outer!r}; swap them")
    return (_disc(grid, outer) - _disc(grid, inner)).to(dtype)


def rectangular_aperture(
    grid: Grid, height: float, width: float, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Transmission of a rectangular hole of ``height`` x ``width`` (metres), exact in area."""
    rows = _covered(grid.y, grid.dy, _check.positive_length("height", height))
    columns = _covered(grid.x, grid.dx, _check.positive_length("width", width))
    return (rows[:, None] * columns).to(dtype)


def pinhole(grid: Grid, dtype: torch.dtype = torch.float32) -> Tensor:
    """Transmission of the smallest hole of a grid: the one sample at its origin, shape ``(ny, nx)``."""
    hole = torch.zeros(grid.shape, dtype=dtype)
    hole[grid.ny // 2, grid.nx // 2] = 1
    return hole


def siemens_star(grid: Grid, spokes: int, radius: float, dtype: torch.dtype = torch.float32) -> Tensor:
    r"""Transmission of a Siemens star: ``spokes`` clear and as many dark wedges within ``radius`` (metres).

    The wedges narrow towards the centre, so the radius at which they blur tells the resolution: at the
    radius :math:`r` one period measures :math:`2 \pi r` / ``spokes``.
    """
    angle = torch.atan2(grid.y[:, None], grid.x)
    wedges = torch.cos(_check.whole_number("spokes", spokes) * angle) >= 0
    return (wedges * _disc(grid, _check.positive_length("radius", radius))).to(dtype)


def _disc(grid: Grid, radius: float) -> Tensor:
    """Share of each cell that lies within the circle, exactly."""
    corners_y = torch.cat([grid.y - grid.dy / 2, grid.y[-1:] + grid.dy / 2])
    corners_x = torch.cat([grid.x - grid.dx / 2, grid.x[-1:] + grid.dx / 2])
    area = _area_from_origin(corners_y[:, None], corners_x, radius)
    return (area.diff(dim=0).diff(dim=1) / (grid.dy * grid.dx)).clamp(0, 1)


def _area_from_origin(y: Tensor, x: Tensor, radius: float) -> Tensor:
    """Area of the circle within the rectangle from the origin to ``(y, x)``, odd in both coordinates."""

    def opposite(u: Tensor) -> Tensor:
        # The other leg of the triangle. As a product it is exactly zero on the circle, with no rounding.
        return ((radius - u) * (radius + u)).sqrt()

    def under_arc(u: Tensor) -> Tensor:
        return (u * opposite(u) + radius**2 * torch.asin(u / radius)) / 2

    height, width = y.abs().clamp(max=radius), x.abs().clamp(max=radius)
    # Left of this place the rectangle is lower than the arc; right of it the arc is the limit.
    meets = torch.minimum(opposite(height), width)
    return y.sign() * x.sign() * (height * meets + under_arc(width) - under_arc(meets))


def _covered(axis: Tensor, step: float, size: float) -> Tensor:
    return ((size / 2 - axis.abs()) / step + 0.5).clamp(0, min(1.0, size / step))


# Waves ------------------------------------------------------------------------------------------------


def plane_wave(
    grid: Grid, angle: tuple[float, float] = (0.0, 0.0), dtype: torch.dtype = torch.complex64
) -> Tensor:
    r"""Plane wave of amplitude one, :math:`u = e^{ik(x \sin\theta_x + y \sin\theta_y)}`.

    Parameters
    ----------
    grid : Grid
        Where to sample it.
    angle : (float, float)
        Tilt :math:`(\theta_y, \theta_x)` in radians, each below :math:`\pi/2` in size.
    dtype : torch.dtype
        complex64 or complex128.

    Returns
    -------
    Tensor
        Field ``(ny, nx)``.

    Raises
    ------
    ValueError
        If the direction is evanescent: :math:`\sin^2\theta_x + \sin^2\theta_y > 1`.

    Warns
    -----
    SamplingWarning
        If the wave turns by more than half a cycle from one sample to the next.
    """
    sines = [math.sin(_check.finite_number("angle", a, "radians")) for a in angle]
    if math.hypot(*sines) > 1:
        raise ValueError(
            f"angle {tuple(angle)!r} is no direction of travel: sin^2 + sin^2 exceeds 1; tilt less"
        )
    for sine, limit, step in zip(sines, grid.nyquist, ("dy", "dx"), strict=True):
        if abs(sine) / grid.wavelength > limit:
            _warn("angle", f"{step} of at most {_check.at_most(grid.wavelength / (2 * abs(sine)))} m")
    phase = grid.wavenumber * (grid.y[:, None] * sines[0] + grid.x * sines[1])
    return polar(torch.ones_like(phase), phase, dtype)


def spherical_wave(grid: Grid, z: float, dtype: torch.dtype = torch.complex64) -> Tensor:
    r"""Wave from a point at a distance ``z`` behind the plane, :math:`u = \frac{|z|}{R} e^{\pm ikR}`.

    :math:`R = \sqrt{x^2 + y^2 + z^2}`. The sign is that of ``z``: a negative one is a wave that converges
    to a point ``|z|`` ahead. The amplitude is one on the axis.

    Parameters
    ----------
    grid : Grid
        Where to sample it.
    z : float
        Distance of the source in metres, not zero.
    dtype : torch.dtype
        complex64 or complex128.

    Returns
    -------
    Tensor
        Field ``(ny, nx)``.

    Warns
    -----
    SamplingWarning
        If the wave front is too steep for the pitch at the edge of the window.
    """
    z = _check.finite_number("z", z, "metres")
    if z == 0:
        raise ValueError("z must not be zero: the source would lie in the plane; give a distance in metres")
    _warn_if_steep(grid, abs(z), "z")
    distance = torch.hypot(grid.radius, torch.tensor(z, dtype=torch.float64))
    return polar(abs(z) / distance, math.copysign(1, z) * grid.wavenumber * distance, dtype)


def gaussian_beam(grid: Grid, waist: float, z: float = 0.0, dtype: torch.dtype = torch.complex64) -> Tensor:
    r"""Gaussian beam along z, seen at a distance ``z`` from its waist; amplitude one at the waist.

    .. math:: u = \frac{-i z_R}{q} \exp\left(ikz + \frac{ik(x^2 + y^2)}{2q}\right), \qquad
        q = z - i z_R, \quad z_R = \frac{\pi w_0^2}{\lambda}

    Parameters
    ----------
    grid : Grid
        Where to sample it.
    waist : float
        Waist radius :math:`w_0` in metres, where the amplitude has fallen to 1/e.
    z : float
        Distance from the waist in metres.
    dtype : torch.dtype
        complex64 or complex128.

    Returns
    -------
    Tensor
        Field ``(ny, nx)``. It solves the paraxial wave equation exactly.

    Notes
    -----
    Source: Saleh & Teich, Fundamentals of Photonics, section 3.1, with the sign convention of this book.
    """
    waist = _check.positive_length("waist", waist)
    z = _check.finite_number("z", z, "metres")
    rayleigh = math.pi * waist**2 / grid.wavelength
    q = complex(z, -rayleigh)
    curvature = 1 / q
    squared = grid.radius**2
    gouy = complex(0, -rayleigh) * curvature
    amplitude = abs(gouy) * torch.exp(-grid.wavenumber * squared * curvature.imag / 2)
    phase = grid.wavenumber * (z + squared * curvature.real / 2) + math.atan2(gouy.imag, gouy.real)
    return polar(amplitude, phase, dtype)


def thin_lens(grid: Grid, focal_length: float, dtype: torch.dtype = torch.complex64) -> Tensor:
    r"""Transmission of a thin lens, :math:`t = e^{-ik(x^2 + y^2)/(2f)}`.

    Parameters
    ----------
    grid : Grid
        Where to sample it.
    focal_length : float
        Focal length :math:`f` in metres; negative for a diverging lens.
    dtype : torch.dtype
        complex64 or complex128.

    Returns
    -------
    Tensor
        Complex transmission ``(ny, nx)`` of modulus one.

    Warns
    -----
    SamplingWarning
        If :math:`|f| < N \Delta^2/\lambda`: then the phase turns by more than :math:`\pi` from sample to
        sample at the edge of the window, and the lens repeats itself.

    Notes
    -----
    Source: Goodman, Introduction to Fourier Optics, 3rd edition, equation 5-10.
    """
    focal_length = _check.finite_number("focal_length", focal_length, "metres")
    if focal_length == 0:
        raise ValueError("focal_length must not be zero; give it in metres, negative for a diverging lens")
    _warn_if_steep(grid, abs(focal_length), "focal_length")
    phase = -grid.wavenumber / (2 * focal_length) * grid.radius**2
    return polar(torch.ones_like(phase), phase, dtype)


def _warn_if_steep(grid: Grid, distance: float, name: str) -> None:
    needed = max(n * d**2 / grid.wavelength for n, d in zip(grid.shape, grid.pitch, strict=True))
    if distance < needed:
        pitch = _check.at_most(min(distance * grid.wavelength / size for size in grid.extent))
        length = _check.at_least(needed)
        _warn(name, f"pitch of at most {pitch} m over the same window, or {name} of at least {length} m")


def _warn(name: str, remedy: str) -> None:
    warnings.warn(
        f"{name}: the wave front is under-sampled at the edge of the window; use a {remedy}",
        SamplingWarning,
        stacklevel=4,
    )


# Masks ------------------------------------------------------------------------------------------------


def hold(module: nn.Module, name: str, values: Tensor | None) -> None:
    """Register values of a module: a ``Parameter`` as the very object that it is, all else as a buffer."""
    if isinstance(values, nn.Parameter):
        module.register_parameter(name, values)
    else:
        module.register_buffer(name, values)


class Mask(nn.Module):
    """A thin element that multiplies the field: the base of the masks below.

    A ``Parameter`` given to a mask stays that very object, so that whoever made it can go on training it;
    a plain tensor becomes a buffer. Leading dimensions are kept: a stack of masks ``(k, ny, nx)`` acts on a
    field ``(..., 1, ny, nx)`` as ``k`` benches side by side.
    """

    def transmission(self, dtype: torch.dtype) -> Tensor:
        """Return the complex transmission ``(..., ny, nx)`` in ``dtype`` (complex64 or complex128)."""
        raise TypeError(
            f"{type(self).__name__} has no transmission; use PhaseMask, AmplitudeMask or ComplexMask"
        )

    def forward(self, u: Tensor) -> Tensor:
        """Return the field ``(..., ny, nx)`` behind the mask; ``u`` is complex, for the phase of the mask."""
        if not isinstance(u, Tensor) or u.dtype not in _check.COMPLEX_DTYPES:
            raise TypeError(
                f"u must be a complex64 or complex128 field, got {_describe(u)}; use u.to(torch.complex64)"
            )
        transmission = self.transmission(u.dtype)
        if transmission.shape[-2:] != u.shape[-2:]:
            raise ValueError(
                f"u must have shape (..., {transmission.shape[-2]}, {transmission.shape[-1]}) like the mask, "
                f"got {tuple(u.shape)}; make both on one grid"
            )
        return u * transmission


class PhaseMask(Mask):
    r"""Phase mask :math:`t = e^{i\phi}`; ``phi`` is a real tensor ``(..., ny, nx)`` in radians."""

    phi: Tensor

    def __init__(self, phi: Tensor) -> None:
        super().__init__()
        hold(self, "phi", _check.real_plane(phi, "phi"))

    def transmission(self, dtype: torch.dtype) -> Tensor:
        r"""Return :math:`e^{i\phi}`, of modulus one."""
        return torch.complex(torch.cos(self.phi), torch.sin(self.phi)).to(dtype)


class AmplitudeMask(Mask):
    """Amplitude mask ``t = a``; ``a`` is a real tensor ``(..., ny, nx)``. A passive mask has ``|a| <= 1``."""

    a: Tensor

    def __init__(self, a: Tensor) -> None:
        super().__init__()
        hold(self, "a", _check.real_plane(a, "a"))

    def transmission(self, dtype: torch.dtype) -> Tensor:
        """Return the amplitude as a complex tensor."""
        return self.a.to(dtype)


class ComplexMask(Mask):
    """Amplitude and phase at once; ``t`` is a complex tensor ``(..., ny, nx)``. Passive: ``|t| <= 1``."""

    t: Tensor

    def __init__(self, t: Tensor) -> None:
        super().__init__()
        if not isinstance(t, Tensor) or t.dtype not in _check.COMPLEX_DTYPES or t.ndim < 2:
            raise TypeError(
                f"t must be a complex64 or complex128 tensor (..., ny, nx), got {_describe(t)}; "
                "use t.to(torch.complex64), or AmplitudeMask for a real one"
            )
        _check.finite_values(t, "t")
        hold(self, "t", t)

    def transmission(self, dtype: torch.dtype) -> Tensor:
        """Return the transmission."""
        return self.t.to(dtype)


def _describe(value: object) -> str:
    return f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
