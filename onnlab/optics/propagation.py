"""Free space: carry a field from one plane to a parallel one."""

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor, nn

from onnlab.optics import _check
from onnlab.optics._check import SamplingWarning
from onnlab.optics.grid import Grid

METHODS = ("auto", "angular_spectrum", "fresnel")

# Up to this error of the parabolic wave front (radians) "auto" may take the Fresnel approximation. It is the
# error from corner to corner; averaged over all pairs of points of a window it is about twenty times smaller.
PARAXIAL_TOLERANCE = 1.0


class Choice(NamedTuple):
    """A propagation method and the reason for it."""

    method: str
    reason: str


def propagate(u: Tensor, grid: Grid, z: float | Tensor, method: str = "auto", pad: bool = True) -> Tensor:
    r"""Propagate a field over a distance through free space.

    .. math:: v = \mathcal{F}^{-1}\{ H \cdot \mathcal{F}\{u\} \}, \qquad
        H(f_x, f_y) = e^{i 2\pi z \sqrt{1/\lambda^2 - f_x^2 - f_y^2}}

    Parameters
    ----------
    u : Tensor
        Complex field ``(..., ny, nx)`` on ``grid``; every leading index is a field of its own.
    grid : Grid
        Where the samples of ``u`` lie. The result lies on the same grid.
    z : float or scalar Tensor
        Distance in metres; negative goes back. A tensor may require a gradient.
    method : {"auto", "angular_spectrum", "fresnel"}
        See :func:`transfer_function`. ``choose_method(grid, z)`` says what "auto" takes, and why.
    pad : bool
        Surround the field with darkness, so that light which leaves the window is gone. Without it the
        window repeats itself without end, and what leaves on one side enters on the other: right for
        periodic fields such as gratings and unbounded plane waves.

    Returns
    -------
    Tensor
        Field of the shape and dtype of ``u``.

    Raises
    ------
    TypeError
        If ``u`` is not complex or ``z`` is not one real number.
    ValueError
        If shapes do not match, a value is not finite, or the method is unknown.

    Notes
    -----
    Source: Goodman, Introduction to Fourier Optics, 3rd edition, section 3.10; the band limit is that of
    Matsushima & Shimobaba (2009), DOI 10.1364/OE.17.019662.
    """
    _check.complex_field(u, grid)
    return _filter(u, transfer_function(grid, z, method, pad, u.dtype, u.device))


class Propagator(nn.Module):
    """:func:`propagate` over a fixed distance, with the transfer function computed once.

    Parameters
    ----------
    grid : Grid
        Grid of the fields to come.
    z : float
        Distance in metres.
    method, pad
        As in :func:`propagate`.
    dtype : torch.dtype
        Type of the fields to come, complex64 or complex128.

    Raises
    ------
    TypeError
        If a field of another dtype is passed, or ``dtype`` is not complex.
    ValueError
        As in :func:`propagate`.
    """

    transfer: Tensor

    def __init__(
        self,
        grid: Grid,
        z: float,
        method: str = "auto",
        pad: bool = True,
        dtype: torch.dtype = torch.complex64,
    ) -> None:
        super().__init__()
        self.grid = grid
        self.z = _check.finite_number("z", z, "metres")
        # Recomputed in a moment from five numbers, so it has no place in a checkpoint.
        self.register_buffer("transfer", transfer_function(grid, z, method, pad, dtype), persistent=False)

    def forward(self, u: Tensor) -> Tensor:
        """Return the field ``(..., ny, nx)`` at the distance ``z``."""
        _check.complex_field(u, self.grid)
        if u.dtype != self.transfer.dtype:
            raise TypeError(
                f"u must be {self.transfer.dtype} for this propagator, got {u.dtype}; "
                f"make it with Propagator(..., dtype={u.dtype})"
            )
        return _filter(u, self.transfer)

    def extra_repr(self) -> str:
        """Describe the module in ``print(model)``."""
        return f"{self.grid}, z={self.z:g} m"


def choose_method(grid: Grid, z: float, pad: bool = True) -> Choice:
    """Say which method "auto" takes for a distance, and why.

    Parameters
    ----------
    grid : Grid
        Grid of the field.
    z : float
        Distance in metres.
    pad : bool
        As in :func:`propagate`.

    Returns
    -------
    Choice
        Pair ``(method, reason)``.
    """
    z = abs(_check.finite_number("z", z, "metres"))
    work = _work_grid(grid, pad)
    limit = work.critical_distance
    if z <= limit:
        return Choice(
            "angular_spectrum",
            f"|z| = {z:.3g} m is within the critical distance {limit:.3g} m: "
            "the exact transfer function is sampled finely enough",
        )
    if not pad:
        return Choice(
            "angular_spectrum",
            f"|z| = {z:.3g} m is beyond the critical distance {limit:.3g} m, but a window that repeats "
            "itself has no outside: each of its plane waves keeps its exact phase",
        )
    error = paraxial_error(grid, z)
    if error <= PARAXIAL_TOLERANCE:
        return Choice(
            "fresnel",
            f"|z| = {z:.3g} m is beyond the critical distance {limit:.3g} m, and the parabolic wave front is "
            f"right to {error:.1g} rad from corner to corner: its {_sampled(work, z)} sampled finely enough",
        )
    return Choice(
        "angular_spectrum",
        f"|z| = {z:.3g} m is beyond the critical distance {limit:.3g} m, but the parabolic wave front "
        f"would be wrong by {error:.2g} rad: the exact transfer function is kept, limited to the band "
        "that reaches the window",
    )


def _sampled(work: Grid, z: float) -> str:
    """Say what :func:`_fresnel` samples: for an oblong window perhaps one function for each axis."""
    along_y, along_x = ("transfer function" if near else "impulse response" for near in _near(work, z))
    return f"{along_y} is" if along_y == along_x else f"{along_y} along y and {along_x} along x are"


def _near(work: Grid, distance: float) -> tuple[bool, bool]:
    """Whether the transfer function is sampled finely enough along y and along x."""
    along_y, along_x = (
        abs(distance) * work.wavelength <= n * step**2 for n, step in zip(work.shape, work.pitch, strict=True)
    )
    return along_y, along_x


def paraxial_error(grid: Grid, z: float) -> float:
    r"""Largest phase error of the parabolic wave front within a window, in radians.

    .. math:: \epsilon = \frac{k \rho^4}{8 |z|^3}

    with :math:`\rho` the longest way across the window, from one corner to the other.

    Source: Goodman, Introduction to Fourier Optics, 3rd edition, section 4.2.2.
    """
    rho = math.hypot(*grid.extent)
    return math.inf if z == 0 else grid.wavenumber * rho**4 / (8 * abs(z) ** 3)


def transfer_function(
    grid: Grid,
    z: float | Tensor,
    method: str = "auto",
    pad: bool = True,
    dtype: torch.dtype = torch.complex64,
    device: torch.device | str | None = None,
) -> Tensor:
    r"""Sampled transfer function of free space, in the order of ``torch.fft`` (zero frequency first).

    Methods
    -------
    - ``"angular_spectrum"``: exact. Evanescent waves decay as :math:`e^{-2\pi|z|\sqrt{f^2 - 1/\lambda^2}}`.
      Frequencies whose rays leave the window are cut off, for there the phase is under-sampled.
    - ``"fresnel"``: paraxial, :math:`H = e^{ikz} e^{-i\pi\lambda z f_x^2} e^{-i\pi\lambda z f_y^2}`. It
      separates, and along each axis this is taken up to :math:`|z| = N \Delta^2/\lambda` (without padding:
      always). Farther out that axis takes the transform of its sampled impulse response
      :math:`h = \frac{1}{\sqrt{i\lambda z}} e^{i\pi x^2/(\lambda z)}`, which is well sampled there.
    - ``"auto"``: one of the two, see :func:`choose_method`.

    The phase, of the order of a million radians, is computed in float64 and only then cast to ``dtype``.

    Parameters
    ----------
    grid : Grid
        Grid of the fields.
    z : float or scalar Tensor
        Distance in metres.
    method : {"auto", "angular_spectrum", "fresnel"}
        Method.
    pad : bool
        Double the window (and round up to a size that is quick to transform).
    dtype : torch.dtype
        complex64 or complex128.
    device : torch.device, optional
        Where the result lives.

    Returns
    -------
    Tensor
        Complex ``(my, mx)``, the size of the padded window.

    Warns
    -----
    SamplingWarning
        If the angular spectrum is asked for so far out that its band limit removes frequencies which the
        samples hold, and the Fresnel impulse response would be the better choice.
    """
    _check.one_of("method", method, METHODS)
    if dtype not in _check.COMPLEX_DTYPES:
        raise TypeError(f"dtype must be torch.complex64 or torch.complex128, got {dtype}")
    distance = _check.finite_number("z", z, "metres")
    work = _work_grid(grid, pad)
    chosen = choose_method(grid, distance, pad)
    if method == "angular_spectrum" and chosen.method != method:
        _warn_band_limited(grid, work, distance)
    name = chosen.method if method == "auto" else method
    z64 = torch.as_tensor(z, dtype=torch.float64, device=device)
    if name == "angular_spectrum":
        return _angular_spectrum(work, z64, distance, pad, dtype)
    return _fresnel(work, z64, distance, pad, dtype)


def polar(amplitude: Tensor, phase: Tensor, dtype: torch.dtype) -> Tensor:
    """Return ``amplitude * exp(i phase)`` from real tensors, in their precision, then cast to ``dtype``.

    ``torch.exp(1j * phase)`` gives the same and is many times slower on a CPU.
    """
    return torch.complex(amplitude * torch.cos(phase), amplitude * torch.sin(phase)).to(dtype)


def fast_length(n: int) -> int:
    """Smallest number from ``n`` on with no prime factor above 5: a size that is quick to transform."""
    while True:
        rest = n
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1


def _work_grid(grid: Grid, pad: bool) -> Grid:
    if not pad:
        return grid
    return grid.with_(shape=(fast_length(2 * grid.ny), fast_length(2 * grid.nx)))


def _filter(u: Tensor, transfer: Tensor) -> Tensor:
    """Multiply the spectrum of ``u``, padded to the size of ``transfer``, and crop back."""
    ny, nx = u.shape[-2:]
    # Input and output both start at the first sample, so the origin needs no shift. torch.fft.fft2 pads by
    # itself, and two-dimensional transforms beat pruned ones along each axis, whose memory access is strided.
    spectrum = torch.fft.fft2(u, s=transfer.shape[-2:])
    return torch.fft.ifft2(spectrum * transfer)[..., :ny, :nx]


def _fft_order(axis: Tensor) -> Tensor:
    return torch.fft.ifftshift(axis)


def _angular_spectrum(
    work: Grid, z: Tensor, distance: float, band_limited: bool, dtype: torch.dtype
) -> Tensor:
    fy = _fft_order(work.fy).to(z.device)[:, None]
    fx = _fft_order(work.fx).to(z.device)
    # Relative to the wave number: 1 is a wave along the plane, above it waves are evanescent.
    longitudinal = 1 - (work.wavelength * fy) ** 2 - (work.wavelength * fx) ** 2
    kz = work.wavenumber * longitudinal.abs().sqrt()
    travels = longitudinal >= 0
    decay = torch.where(travels, 0.0, -kz * z)
    gain = _largest_gain(dtype)
    # A gradient goes through both branches of where(), and infinity times 0 is NaN.
    amplitude = torch.where(decay <= gain, decay.clamp(max=gain).exp(), 0.0)
    if band_limited:
        limit_y, limit_x = work.band_limit(distance)
        reaches = ((fy / limit_y) ** 2 + (work.wavelength * fx) ** 2 <= 1) & (
            (fx / limit_x) ** 2 + (work.wavelength * fy) ** 2 <= 1
        )
        amplitude = torch.where(reaches | ~travels, amplitude, 0.0)
    return polar(amplitude, torch.where(travels, kz * z, 0.0), dtype)


def _largest_gain(dtype: torch.dtype) -> float:
    # Going back, evanescent waves grow. Those that would lift rounding errors above the square root of
    # the precision are given up: they had faded into the rounding of the forward field.
    return -0.5 * math.log(torch.finfo(dtype).eps)


def _fresnel(work: Grid, z: Tensor, distance: float, pad: bool, dtype: torch.dtype) -> Tensor:
    # The parabola separates, so each axis takes the side on which its own chirp is sampled finely enough.
    # The carrier k z joins one of them in float64.
    # Without padding the window repeats itself: each of its plane waves has a phase, and no ray leaves.
    near_y, near_x = _near(work, distance) if pad else (True, True)
    along_y, along_x = (
        _fresnel_transfer(f, work, z, carrier) if near else _fresnel_impulse(x, step, work, z, carrier)
        for near, f, x, step, carrier in (
            (near_y, work.fy, work.y, work.dy, work.wavenumber * z),
            (near_x, work.fx, work.x, work.dx, torch.zeros_like(z)),
        )
    )
    return (along_y[:, None] * along_x).to(dtype)


def _fresnel_transfer(f: Tensor, work: Grid, z: Tensor, carrier: Tensor) -> Tensor:
    phase = carrier - math.pi * work.wavelength * z * _fft_order(f).to(z.device) ** 2
    return polar(torch.ones_like(phase), phase, torch.complex128)


def _fresnel_impulse(x: Tensor, step: float, work: Grid, z: Tensor, carrier: Tensor) -> Tensor:
    # 1 / (i lambda z) shared between the axes: a root of it for each.
    reach = work.wavelength * z
    phase = carrier + math.pi * (_fft_order(x).to(z.device) ** 2 / reach - z.sign() / 4)
    return torch.fft.fft(polar(step / reach.abs().sqrt(), phase, torch.complex128))


def _warn_band_limited(grid: Grid, work: Grid, z: float) -> None:
    # The pitch whose critical distance is z: with b = |z| wavelength / m, pitch^4 - 2 a pitch^2 - b^2 = 0.
    a = grid.wavelength**2 / 8
    pitch = max(math.sqrt(a + math.hypot(a, z * grid.wavelength / m)) for m in work.shape)
    warnings.warn(
        f"z = {z:.3g} m is beyond the critical distance {work.critical_distance:.3g} m of the padded grid: "
        'the angular spectrum is cut to its well-sampled band. Use method="fresnel" (or "auto"), or a pitch '
        f"of at least {_check.at_least(pitch)} m with as many samples",
        SamplingWarning,
        stacklevel=4,
    )
