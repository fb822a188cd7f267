"""From a metasurface to the sensor: free space, computed only where it is looked at."""

import math
import warnings

import torch
from torch import Tensor

from onnlab.optics import Grid, SamplingWarning, focal_field, fourier_grid, transfer_function
from onnlab.optics._check import at_most, is_true, positive_length
from onnlab.optics.imaging import squared_modulus

# Rays are whole up to the longest walk sideways to the window and WHOLE Fresnel lengths more; at twice that
# walk and FADED Fresnel lengths they have faded out. A sharp edge would spread over the window: fading keeps
# that to about a thousandth of the peak field, near and far.
WHOLE, FADED = 1.0, 8.0


def sensor_psf(
    transmission: Tensor,
    grid: Grid,
    distance: float,
    shape: tuple[int, int],
    pitch: float | tuple[float, float],
) -> Tensor:
    """Return the PSF ``(..., *shape)`` of one colour for any transmission; see :meth:`Metasurface.psf`."""
    field, sensor = at_sensor(transmission, grid, distance, shape, pitch)
    _warn_if_coarse(grid, sensor, distance)
    power = squared_modulus(transmission).sum((-2, -1), keepdim=True) * (grid.dy * grid.dx)
    if is_true((power == 0).any()):
        raise ValueError("aperture must let some light through, got zeros only; open it")
    return squared_modulus(field) * (sensor.dy * sensor.dx) / power


def at_sensor(
    u: Tensor,
    grid: Grid,
    distance: float,
    shape: tuple[int, int],
    pitch: float | tuple[float, float],
) -> tuple[Tensor, Grid]:
    r"""Field in a window of any pitch, after a distance in free space, without the paraxial approximation.

    .. math:: v(X, Y) = \iint U(f_x, f_y)\, e^{i 2\pi d \sqrt{1/\lambda^2 - f_x^2 - f_y^2}}\,
        e^{i 2\pi (f_x X + f_y Y)}\, df_x\, df_y

    The angular spectrum of :func:`onnlab.optics.propagate`, with a loupe on both planes: the spectrum
    :math:`U` is computed only for the rays that can reach the window, and the field only within it. It is
    a 4f system on paper: a lens, free space as its mask, and a lens. That the other rays fade out costs about
    a thousandth of the peak field.

    Parameters
    ----------
    u : Tensor
        Complex field ``(..., ny, nx)`` on ``grid``.
    grid : Grid
        Grid of the metasurface's plane.
    distance : float
        In metres, positive.
    shape : (int, int)
        Number of samples of the result.
    pitch : float or (float, float)
        Their distance in metres.

    Returns
    -------
    (Tensor, Grid)
        Field ``(..., *shape)`` and its grid, both centred on the axis.

    Warns
    -----
    SamplingWarning
        If the samples of ``u`` are further apart than :math:`\lambda/(1 + \sin\theta)`, with the steepest ray
        :math:`\theta` to the window: a lattice so coarse sends a second order of diffraction there. (This
        is the stricter limit: :math:`\lambda/(2\sin\theta)`, that of sampling the phase, lies above it.)

    Notes
    -----
    Source: Matsushima & Shimobaba (2009), DOI 10.1364/OE.17.019662, for the band; the transforms are those
    of :func:`onnlab.optics.focal_field`.
    """
    distance = positive_length("distance", distance)
    sensor = Grid(shape, pitch, grid.wavelength)
    _warn_if_grating(grid, sensor, distance)
    work = _work_grid(grid, sensor, distance)
    spectrum, rays = focal_field(u, grid, distance, work.shape, fourier_grid(work, distance).pitch)
    transfer = transfer_function(work, distance, "angular_spectrum", False, u.dtype, u.device)
    passed = torch.fft.fftshift(transfer) * _kept(grid, sensor, work, distance).to(transfer)
    # The transform of the conjugate is the conjugate of the transform back.
    product = (spectrum * passed).conj()
    field, sensor = focal_field(product.resolve_conj(), rays, distance, sensor.shape, sensor.pitch)
    return field.conj(), sensor


def _work_grid(grid: Grid, sensor: Grid, distance: float) -> Grid:
    """Coarse grid over a window with room for metasurface and sensor; its frequencies are the rays kept."""
    sizes, steps = [], []
    for here, there, step in zip(grid.extent, sensor.extent, grid.pitch, strict=True):
        reach = (here + there) + FADED * _fresnel_length(grid, distance)
        band = min(reach / math.hypot(reach, distance) / grid.wavelength, 1 / (2 * step))
        extent = reach + (here + there) / 2
        sizes.append(2 * math.ceil(band * extent) + 1)
        steps.append(extent / sizes[-1])
    return Grid((sizes[0], sizes[1]), (steps[0], steps[1]), grid.wavelength)


def _kept(grid: Grid, sensor: Grid, work: Grid, distance: float) -> Tensor:
    """Pass the rays that can reach the window, and fade the others out up to the margin: no sharp edge."""
    fy, fx = (work.wavelength * work.fy)[:, None], work.wavelength * work.fx
    cosine = (1 - fy.square() - fx.square()).clamp(min=1e-12).sqrt()
    kept, length = torch.ones(work.shape, dtype=torch.float64), _fresnel_length(grid, distance)
    for sine, here, there in zip((fy, fx), grid.extent, sensor.extent, strict=True):
        walk, longest = distance * sine.abs() / cosine, (here + there) / 2
        first = longest + WHOLE * length
        last = 2 * longest + FADED * length
        kept = kept * torch.cos(math.pi / 2 * ((walk - first) / (last - first)).clamp(0, 1)).square()
    return kept


def _fresnel_length(grid: Grid, distance: float) -> float:
    """How far light of a point spreads by diffraction around its ray, in metres."""
    return math.sqrt(grid.wavelength * distance)


def _warn_if_grating(grid: Grid, sensor: Grid, distance: float) -> None:
    lateral = math.hypot(*((a + b) / 2 for a, b in zip(grid.extent, sensor.extent, strict=True)))
    sine = lateral / math.hypot(lateral, distance)
    limit = grid.wavelength / (1 + sine)
    if max(grid.pitch) > limit:
        warnings.warn(
            f"a period of {max(grid.pitch):.3g} m is a grating for rays as steep as sin = {sine:.2g}: "
            f"a second order reaches the sensor. Use a period of at most {at_most(limit)} m, or a larger "
            "distance",
            SamplingWarning,
            stacklevel=4,
        )


def _warn_if_coarse(grid: Grid, sensor: Grid, distance: float) -> None:
    limits = [grid.wavelength * math.hypot(size / 2, distance) / (2 * size) for size in grid.extent]
    if any(step > limit * (1 + 1e-9) for step, limit in zip(sensor.pitch, limits, strict=True)):
        largest = ", ".join(at_most(limit) for limit in limits)
        warnings.warn(
            f"a pitch of ({sensor.dy:.3g}, {sensor.dx:.3g}) m is too coarse for the PSF of so wide a "
            f"metasurface. Use pitch=({largest}) or less, and add up the samples of each pixel",
            SamplingWarning,
            stacklevel=4,
        )
