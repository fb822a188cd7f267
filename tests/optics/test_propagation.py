import math
import warnings
from fractions import Fraction

import numpy as np
import pytest
import torch
from scipy.special import fresnel

from onnlab.optics import (
    Grid,
    Propagator,
    SamplingWarning,
    choose_method,
    gaussian_beam,
    plane_wave,
    propagate,
)
from onnlab.optics.propagation import PARAXIAL_TOLERANCE, paraxial_error, transfer_function
from tests.optics.helpers import inner, random_field, relative_error

WAVELENGTH = 532e-9
BENCH = Grid((512, 512), 8e-6, WAVELENGTH)
WAIST = 200e-6
RAYLEIGH = math.pi * WAIST**2 / WAVELENGTH


@pytest.mark.parametrize("method", ["auto", "fresnel"])
@pytest.mark.parametrize("distance", [0.1, 1.0, 2.0])
def test_gaussian_beam_in_single_precision(distance, method):
    z = distance * RAYLEIGH
    v = propagate(gaussian_beam(BENCH, WAIST), BENCH, z, method)
    assert v.dtype == torch.complex64
    assert relative_error(v, gaussian_beam(BENCH, WAIST, z, torch.complex128)) <= 2e-6


def test_gaussian_beam_on_an_odd_oblong_grid():
    grid = Grid((375, 420), (10e-6, 9e-6), WAVELENGTH)
    v = propagate(gaussian_beam(grid, WAIST), grid, RAYLEIGH)
    assert relative_error(v, gaussian_beam(grid, WAIST, RAYLEIGH, torch.complex128)) <= 2e-6


def test_gaussian_beam_does_not_drift():
    v = propagate(gaussian_beam(BENCH, WAIST), BENCH, 2 * RAYLEIGH).abs().double() ** 2
    centroid = [(v.sum(axis) * c).sum() / v.sum() for axis, c in ((1, BENCH.y), (0, BENCH.x))]
    assert max(abs(float(c)) for c in centroid) / BENCH.dx <= 1e-4


def test_a_tilted_beam_lands_where_its_angle_says():
    tilt, z = 2e-3, 0.2
    u = gaussian_beam(BENCH, WAIST, dtype=torch.complex128) * plane_wave(BENCH, (0.0, tilt), torch.complex128)
    intensity = propagate(u, BENCH, z).abs() ** 2
    landed = float((intensity.sum(0) * BENCH.x).sum() / intensity.sum())
    # The mean of tan(theta) over the beam's narrow spectrum is that of its axis to second order.
    assert landed == pytest.approx(z * math.tan(tilt), rel=1e-4)


def test_plane_waves_keep_their_exact_phase_without_padding():
    grid = Grid((64, 64), 2e-6, 5e-7)
    fy, fx = grid.fy[40], grid.fx[20]
    u = torch.exp(2j * math.pi * (grid.y[:, None] * fy + grid.x * fx))
    z = 1.234e-3
    kz = 2 * math.pi * torch.sqrt(1 / grid.wavelength**2 - fy**2 - fx**2)
    assert relative_error(propagate(u, grid, z, pad=False), u * torch.exp(1j * kz * z)) < 1e-9


def test_talbot_image_of_a_grating():
    period, pitch = 64e-6, 4e-6
    grid = Grid((4, 256), pitch, WAVELENGTH)
    grating = (1 + 0.5 * torch.cos(2 * math.pi * grid.x / period)).expand(grid.shape).to(torch.complex128)
    # Rayleigh's exact length, without the paraxial approximation 2 period^2 / wavelength.
    talbot = WAVELENGTH / (1 - math.sqrt(1 - (WAVELENGTH / period) ** 2))
    carrier = np.exp(1j * grid.wavenumber * talbot)
    assert relative_error(propagate(grating, grid, talbot, pad=False) / carrier, grating) < 1e-9
    # Half way the image is shifted by half a period.
    half = propagate(grating, grid, talbot / 2, pad=False).abs()
    assert relative_error(half, torch.roll(grating, 8, dims=1).abs()) < 1e-9


def test_evanescent_waves_decay():
    grid = Grid((32, 32), 1e-7, 5e-7)
    fx = grid.fx[-1]
    u = torch.exp(2j * math.pi * grid.x * fx).expand(grid.shape)
    z = 2e-7
    decay = math.exp(-2 * math.pi * z * math.sqrt(fx**2 - 1 / grid.wavelength**2))
    assert decay < 0.01
    assert relative_error(propagate(u, grid, z, pad=False), u * decay) < 1e-12


@pytest.mark.parametrize("shape", [(64, 64), (31, 48)])
def test_negative_distance_is_the_inverse(shape):
    grid = Grid(shape, 2e-6, 5e-7)
    u = random_field(shape)
    there = propagate(u, grid, 3e-4, pad=False)
    assert relative_error(propagate(there, grid, -3e-4, pad=False), u) < 1e-9


def test_negative_distance_restores_evanescent_waves():
    grid = Grid((32, 32), 2e-7, 5e-7)
    u = random_field(grid.shape)
    there = propagate(u, grid, 1e-7, pad=False)
    assert relative_error(there, u) > 0.1
    assert relative_error(propagate(there, grid, -1e-7, pad=False), u) < 1e-9


def test_going_far_back_stays_finite():
    grid = Grid((32, 32), 1e-7, 5e-7)
    back = propagate(random_field(grid.shape, torch.complex64), grid, -1e-3, pad=False)
    assert bool(torch.isfinite(back.real).all())


def test_zero_distance_changes_nothing():
    grid = Grid((33, 40), 2e-7, 5e-7)
    u = random_field(grid.shape)
    assert relative_error(propagate(u, grid, 0.0), u) < 1e-13


def test_parseval():
    grid = Grid((128, 96), 5e-6, WAVELENGTH)
    u = random_field(grid.shape, torch.complex64)
    v = propagate(u, grid, 1e-3, pad=False)
    assert float(v.abs().square().sum() / u.abs().square().sum()) == pytest.approx(1, abs=1e-6)


def test_padding_keeps_light_from_coming_back_on_the_other_side():
    grid = Grid((128, 128), 4e-6, WAVELENGTH)
    u = gaussian_beam(grid, 40e-6, dtype=torch.complex128) * plane_wave(grid, (0.0, 0.06), torch.complex128)
    z = 7e-3  # the beam lands 420 um off the axis, outside the window of +- 256 um
    kept, wrapped = (
        propagate(u, grid, z, "angular_spectrum", pad=pad).abs().square().sum() for pad in (True, False)
    )
    assert kept < 1e-3 * wrapped


@pytest.mark.parametrize("times_critical", [2, 4, 16, 64])
def test_auto_takes_the_better_method_far_away(times_critical):
    """A square hole has an exact Fresnel field; its edges lie between samples, so it has no rim error."""
    half = 100.5 * BENCH.dx
    hole = ((BENCH.x.abs() < half) & (BENCH.y[:, None].abs() < half)).to(torch.complex128)
    z = times_critical * 2 * BENCH.critical_distance

    def edge(x):
        scale = math.sqrt(2 / (WAVELENGTH * z))
        (s1, c1), (s0, c0) = fresnel(scale * (x + half)), fresnel(scale * (x - half))
        return (c1 - c0) + 1j * (s1 - s0)

    axis = edge(BENCH.x.numpy())
    exact = torch.from_numpy(axis[:, None] * axis / 2j * np.exp(1j * BENCH.wavenumber * z))
    errors = {}
    for method in ("angular_spectrum", "fresnel"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SamplingWarning)
            errors[method] = float((propagate(hole, BENCH, z, method) - exact).norm() / exact.norm())
    assert errors["fresnel"] < 2e-3 and errors["fresnel"] < errors["angular_spectrum"]
    far = paraxial_error(BENCH, z) <= PARAXIAL_TOLERANCE
    assert choose_method(BENCH, z).method == ("fresnel" if far else "angular_spectrum")


@pytest.mark.parametrize("direction", [1, -1])
@pytest.mark.parametrize(
    ("shape", "pitch", "z", "waist", "beside"),
    [
        ((64, 512), 20e-6, 0.3, 200e-6, (0, -200)),
        ((512, 64), 20e-6, 0.3, 200e-6, (-200, 0)),
        ((256, 256), (10e-6, 40e-6), 0.45, 250e-6, (0, -90)),
    ],
)
def test_each_axis_of_an_oblong_window_is_well_sampled(shape, pitch, z, waist, beside, direction):
    """Between the critical distances of both axes; a beam beside the axis would have ghosts."""
    grid, z = Grid(shape, pitch, WAVELENGTH), direction * z
    start, there = (
        torch.roll(gaussian_beam(grid, waist, at, torch.complex128), beside, (0, 1)) for at in (0.0, z)
    )
    assert relative_error(propagate(start, grid, z, "fresnel"), there) < 2e-5
    chosen = choose_method(grid, z)
    assert chosen.method == "fresnel" and "impulse response along" in chosen.reason
    assert "transfer function along" in chosen.reason


@pytest.mark.parametrize("z", [0.3, -0.7])
def test_fresnel_is_the_sum_over_all_samples(z):
    """Far away, sample by sample: the convolution with the parabolic wave itself."""
    grid = Grid((12, 15), 30e-6, 5e-7)
    u = random_field(grid.shape)
    across = [torch.exp(1j * math.pi * (c[:, None] - c) ** 2 / (5e-7 * z)) for c in (grid.y, grid.x)]
    v = across[0] @ u @ across[1].mT * grid.dy * grid.dx / (1j * 5e-7 * z) * np.exp(1j * grid.wavenumber * z)
    assert relative_error(propagate(u, grid, z, "fresnel"), v) < 1e-9


def test_fresnel_edge():
    """Light behind a straight edge, next to Cornu's spiral."""
    grid = Grid((4, 4096), 4e-6, WAVELENGTH)
    z = 0.05
    u = (grid.x > -0.5 * grid.dx).to(torch.complex128).expand(grid.shape)
    v = propagate(u, grid, z, "angular_spectrum", pad=False)
    near = grid.x.abs() < 1e-3
    s, c = fresnel(np.asarray((grid.x[near] + 0.5 * grid.dx) * math.sqrt(2 / (WAVELENGTH * z))))
    exact = ((c + 0.5) ** 2 + (s + 0.5) ** 2) / 2
    # The samples resolve the edge to one pitch, and the ripple of the second edge is far away.
    assert np.abs(v[0, near].abs().square().numpy() - exact).max() < 0.02


@pytest.mark.parametrize(("dtype", "limit"), [(torch.complex64, 1e-5), (torch.complex128, 1e-12)])
@pytest.mark.parametrize("method", ["angular_spectrum", "fresnel"])
@pytest.mark.parametrize("z", [1e-3, 0.9])
def test_autograd_is_the_adjoint(dtype, limit, method, z):
    grid = Grid((48, 37), 6e-6, WAVELENGTH)
    x, y = random_field(grid.shape, dtype, 1).requires_grad_(), random_field(grid.shape, dtype, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SamplingWarning)
        ax = propagate(x, grid, z, method)
    (adjoint,) = torch.autograd.grad(ax, x, y)
    assert abs(inner(y, ax.detach()) - inner(adjoint, x.detach())) <= limit * abs(inner(y, ax.detach()))


def compare_slopes(u, grid, start, step, method, pad=True):
    """The gradient to the distance, next to the finite difference."""
    target = random_field(grid.shape, seed=2)

    def loss(z):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SamplingWarning)
            return (propagate(u, grid, z, method, pad) - target).abs().square().sum()

    z = torch.tensor(start, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(loss(z), z)
    difference = (loss(start + step) - loss(start - step)) / (2 * step)
    assert float(slope) == pytest.approx(float(difference), rel=1e-4)


@pytest.mark.parametrize("method", ["angular_spectrum", "fresnel"])
@pytest.mark.parametrize("start", [1e-3, 6e-3, -6e-3, 0.5])
def test_gradient_to_the_distance(method, start):
    grid = Grid((64, 40), 6e-6, WAVELENGTH)
    compare_slopes(gaussian_beam(grid, 60e-6, dtype=torch.complex128), grid, start, 1e-10, method)


@pytest.mark.parametrize("pad", [True, False])
@pytest.mark.parametrize("start", [-3e-4, -2e-7, 2e-7])
def test_gradient_to_the_distance_with_evanescent_waves(start, pad):
    """Far back the waves that are given up would have grown beyond the largest number."""
    grid = Grid((33, 40), 2e-7, WAVELENGTH)
    compare_slopes(random_field(grid.shape, seed=1), grid, start, 1e-13, "angular_spectrum", pad)


def test_batch_and_channels_are_fields_of_their_own():
    grid = Grid((32, 40), 5e-6, WAVELENGTH)
    u = random_field((2, 3, 32, 40))
    v = propagate(u, grid, 1e-3)
    assert v.shape == u.shape
    assert relative_error(v[1, 2], propagate(u[1, 2], grid, 1e-3)) < 1e-12


def test_propagator_is_propagate_with_a_memory():
    grid = Grid((32, 40), 5e-6, WAVELENGTH)
    u = random_field((2, 32, 40), torch.complex64)
    module = Propagator(grid, 1e-3)
    assert torch.equal(module(u), propagate(u, grid, 1e-3))
    assert module.state_dict() == {}
    double = u.to(torch.complex128)
    assert (
        relative_error(Propagator(grid, 1e-3, dtype=torch.complex128)(double), propagate(double, grid, 1e-3))
        == 0
    )


def test_choice_gives_its_reason():
    near, far = choose_method(BENCH, 1e-3), choose_method(BENCH, 10.0)
    assert near.method == "angular_spectrum" and "within the critical distance" in near.reason
    assert far.method == "fresnel" and "beyond the critical distance" in far.reason


@pytest.mark.parametrize("method", ["angular_spectrum", "fresnel"])
def test_phase_survives_a_million_radians(method):
    """The carrier k z is 1.2e6 rad, where float32 resolves 0.1 rad; the reference is exact arithmetic."""
    grid = Grid((16, 16), 50e-6, WAVELENGTH)
    z = 0.1
    assert grid.wavenumber * z > 1e6
    wave = propagate(torch.ones(16, 16, dtype=torch.complex64), grid, z, method, pad=False)
    cycles = Fraction(z) / Fraction(WAVELENGTH)
    exact = np.exp(2j * np.pi * float(cycles % 1))
    assert relative_error(wave, torch.full((16, 16), exact)) < 1e-6


def test_undersampled_distance_warns_with_a_remedy():
    u = gaussian_beam(BENCH, WAIST)
    with pytest.warns(SamplingWarning, match='method="fresnel".*pitch of at least'):
        propagate(u, BENCH, 5.0, "angular_spectrum")


@pytest.mark.parametrize(
    ("shape", "pitch", "z"),
    [
        ((256, 256), 4e-6, 0.05),
        ((256, 256), 4e-6, -1.0),
        ((64, 48), 3e-7, 1e-4),
        ((31, 90), (3e-6, 8e-6), 0.1),
    ],
)
def test_the_advised_pitch_does(shape, pitch, z):
    grid = Grid(shape, pitch, WAVELENGTH)
    with pytest.warns(SamplingWarning) as caught:
        transfer_function(grid, z, "angular_spectrum")
    advised = float(str(caught[0].message).split("at least ")[1].split(" m")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        shape = transfer_function(grid.with_(pitch=advised), z, "angular_spectrum").shape
    assert Grid(shape, 0.99 * advised, WAVELENGTH).critical_distance < abs(z)  # no more than needed


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"u": torch.ones(16, 16)}, TypeError, "u must be complex64 or complex128"),
        ({"u": np.ones((16, 16), complex)}, TypeError, "u must be a torch.Tensor"),
        ({"u": torch.ones(16, dtype=torch.complex64)}, ValueError, r"u must have shape \(..., 16, 16\)"),
        ({"u": torch.ones(16, 15, dtype=torch.complex64)}, ValueError, "to match its grid"),
        ({"u": torch.full((16, 16), complex("nan"))}, ValueError, "u must be finite"),
        ({"u": torch.full((16, 16), complex("inf"))}, ValueError, "u must be finite"),
        ({"z": math.nan}, ValueError, "z must be finite"),
        ({"z": "1 m"}, TypeError, "z must be one real number"),
        ({"z": torch.ones(2)}, TypeError, "z must be one real number"),
        ({"method": "rayleigh"}, ValueError, "method must be one of 'auto'"),
    ],
)
def test_bad_input_is_named(change, error, words):
    grid = Grid((16, 16), 5e-6, WAVELENGTH)
    arguments = {"u": torch.ones(16, 16, dtype=torch.complex64), "grid": grid, "z": 1e-3, **change}
    with pytest.raises(error, match=words):
        propagate(**arguments)


def test_propagator_refuses_another_precision():
    grid = Grid((16, 16), 5e-6, WAVELENGTH)
    with pytest.raises(TypeError, match="u must be torch.complex64 for this propagator"):
        Propagator(grid, 1e-3)(torch.ones(16, 16, dtype=torch.complex128))
    with pytest.raises(TypeError, match="dtype must be"):
        Propagator(grid, 1e-3, dtype=torch.float32)
