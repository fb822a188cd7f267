import cmath
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from onnlab.optics import (
    AmplitudeMask,
    ComplexMask,
    Grid,
    Mask,
    PhaseMask,
    SamplingWarning,
    circular_aperture,
    gaussian_beam,
    pinhole,
    plane_wave,
    propagate,
    rectangular_aperture,
    ring_aperture,
    siemens_star,
    spherical_wave,
    thin_lens,
)
from tests.optics.helpers import random_field, relative_error

GRID = Grid((256, 251), (8e-6, 9e-6), 532e-9)


@pytest.mark.parametrize("radius", [50e-6, 333e-6, 0.7e-3])
def test_circle_has_the_right_area(radius):
    area = float(circular_aperture(GRID, radius, torch.float64).sum()) * GRID.dy * GRID.dx
    assert area == pytest.approx(math.pi * radius**2, rel=1e-9)


def test_circle_follows_the_supersampled_one():
    grid, radius, fine = Grid((32, 32), 1e-5, 5e-7), 1.13e-4, 64
    offset = (np.arange(fine) + 0.5) / fine - 0.5
    axis = (np.asarray(grid.x)[:, None] + offset * grid.dx).ravel()
    inside = axis[:, None] ** 2 + axis**2 <= radius**2
    shares = inside.reshape(32, fine, 32, fine).mean((1, 3))
    assert np.abs(circular_aperture(grid, radius, torch.float64).numpy() - shares).max() < 0.01


def test_circle_is_the_same_along_both_axes():
    grid = Grid((64, 64), 1e-5, 5e-7)
    for radius in (0.6 * 2e-4, 1e-4, 0.3 * 7e-4):  # radii that rounding leaves beside a multiple of the pitch
        circle = circular_aperture(grid, radius, torch.float64)
        assert (circle - circle.T).abs().max() < 1e-12


def test_ring_is_the_difference_of_two_circles():
    ring = ring_aperture(GRID, 2e-4, 5e-4, torch.float64)
    assert torch.equal(
        ring, circular_aperture(GRID, 5e-4, torch.float64) - circular_aperture(GRID, 2e-4, torch.float64)
    )
    assert ring[GRID.ny // 2, GRID.nx // 2] == 0


@pytest.mark.parametrize(("height", "width"), [(1e-4, 3.14e-4), (0.5e-3, 8e-6), (3e-6, 1e-3)])
def test_rectangle_is_exact_in_area(height, width):
    area = float(rectangular_aperture(GRID, height, width, torch.float64).sum()) * GRID.dy * GRID.dx
    assert area == pytest.approx(height * width, rel=1e-12)


def test_energy_through_an_aperture_is_its_area():
    wave = plane_wave(GRID, dtype=torch.complex128) * rectangular_aperture(GRID, 8e-4, 9e-4, torch.float64)
    energy = float(wave.abs().square().sum()) * GRID.dy * GRID.dx
    # Rim samples that are half open pass a quarter of their energy: at most one row and one column.
    assert energy == pytest.approx(8e-4 * 9e-4, rel=0.02)
    behind = propagate(wave, GRID, 2e-3)
    assert float(behind.abs().square().sum()) * GRID.dy * GRID.dx == pytest.approx(energy, rel=0.01)


def test_pinhole_is_the_origin_alone():
    hole = pinhole(GRID)
    assert hole.sum() == 1 and hole[GRID.ny // 2, GRID.nx // 2] == 1


def test_siemens_star_has_its_spokes():
    grid = Grid((512, 512), 1e-6, 5e-7)
    star = siemens_star(grid, 12, 2.4e-4)
    angle = torch.linspace(0, 2 * math.pi, 2000)[:-1]
    rows, columns = (256 + 150 * angle.sin()).round().long(), (256 + 150 * angle.cos()).round().long()
    around = star[rows, columns]
    assert int(((around - torch.roll(around, 1)) > 0).sum()) == 12
    assert float(star.mean()) == pytest.approx(0.5 * math.pi * 2.4e-4**2 / 512e-6**2, rel=0.02)


def test_gaussian_beam_satisfies_the_paraxial_wave_equation():
    """Far field amplitude, Gouy phase and width in closed form, on the axis and one beam radius off it."""
    waist = 100e-6
    rayleigh = math.pi * waist**2 / GRID.wavelength
    z = 1.7 * rayleigh
    u = gaussian_beam(GRID, waist, z, torch.complex128)
    middle = complex(u[GRID.ny // 2, GRID.nx // 2])
    width = waist * math.sqrt(1 + (z / rayleigh) ** 2)
    expected = waist / width * cmath.exp(1j * (GRID.wavenumber * z - math.atan(z / rayleigh)))
    assert abs(middle - expected) < 1e-9
    second_moment = (u.abs().square().sum(0) * GRID.x**2).sum() / u.abs().square().sum()
    assert 2 * math.sqrt(second_moment) == pytest.approx(width, rel=1e-6)


def test_spherical_wave_is_carried_on_by_propagation():
    grid = Grid((512, 512), 4e-6, 532e-9)
    start, step = 0.05, 0.01
    u = spherical_wave(grid, start, torch.complex128)
    v = propagate(u, grid, step)
    # 1/R amplitudes are normalised to one on the axis of each plane.
    expected = spherical_wave(grid, start + step, torch.complex128) * start / (start + step)
    middle = (slice(206, 306), slice(206, 306))
    assert relative_error(v[middle], expected[middle]) < 0.05


def test_a_converging_wave_is_the_conjugate_of_a_diverging_one():
    grid = Grid((64, 64), 4e-6, 532e-9)
    assert torch.equal(spherical_wave(grid, -0.05), spherical_wave(grid, 0.05).conj().resolve_conj())


def test_thin_lens_focuses_a_gaussian_beam_as_the_abcd_law_says():
    grid, waist, focal = Grid((512, 512), 8e-6, 532e-9), 400e-6, 0.25
    u = gaussian_beam(grid, waist, dtype=torch.complex128) * thin_lens(grid, focal, torch.complex128)
    intensity = propagate(u, grid, focal).abs().square()
    measured = 2 * math.sqrt((intensity.sum(0) * grid.x**2).sum() / intensity.sum())
    assert measured == pytest.approx(grid.wavelength * focal / (math.pi * waist), rel=1e-3)


def test_plane_wave_has_one_frequency():
    grid = Grid((64, 64), 4e-6, 532e-9)
    tilt = math.asin(grid.wavelength * float(grid.fx[40]))
    spectrum = torch.fft.fftshift(torch.fft.fft2(plane_wave(grid, (0.0, tilt), torch.complex128)))
    assert int(spectrum.abs().argmax()) == 32 * 64 + 40
    assert float(spectrum.abs().max()) == pytest.approx(64 * 64)


@pytest.mark.parametrize("mask", [PhaseMask, AmplitudeMask])
def test_a_parameter_stays_itself(mask):
    values = nn.Parameter(torch.zeros(8, 8))
    module = mask(values)
    assert [p is values for p in module.parameters()] == [True]
    assert list(mask(torch.zeros(8, 8)).parameters()) == []


def test_a_complex_parameter_stays_itself():
    values = nn.Parameter(torch.zeros(8, 8, dtype=torch.complex64))
    assert next(ComplexMask(values).parameters()) is values


@pytest.mark.parametrize("dtype", [torch.complex64, torch.complex128])
def test_masks_multiply_in_the_precision_of_the_field(dtype):
    u, phi = random_field((2, 8, 6), dtype), torch.rand(8, 6, dtype=torch.float64)
    for mask, factor in (
        (PhaseMask(phi), torch.exp(1j * phi)),
        (AmplitudeMask(phi), phi),
        (ComplexMask(torch.exp(1j * phi) * phi), torch.exp(1j * phi) * phi),
    ):
        v = mask(u)
        assert v.dtype == dtype
        assert relative_error(v, u.to(torch.complex128) * factor) < 1e-6


def test_gradient_to_the_phase_matches_finite_differences():
    u, phi = random_field((8, 6)), torch.rand(8, 6, dtype=torch.float64, requires_grad=True)
    target = random_field((8, 6), seed=1)
    assert torch.autograd.gradcheck(lambda p: (PhaseMask(p)(u) - target).abs().square().sum(), (phi,))


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: thin_lens(GRID, 0.02), "focal_length.*pitch of at most .* or focal_length of at least"),
        (lambda: spherical_wave(GRID, 0.02), "z: the wave front is under-sampled"),
        (lambda: plane_wave(GRID, (0.0, 0.04)), "angle.*dx of at most 6.65e-06 m"),
    ],
)
def test_undersampling_warns_with_a_remedy(make, words):
    with pytest.warns(SamplingWarning, match=words):
        make()


@pytest.mark.parametrize("angle", [0.038, 0.039, 0.04, 0.041])
def test_the_advised_pitch_does(angle):
    with pytest.warns(SamplingWarning) as caught:
        plane_wave(GRID, (0.0, angle))
    (pitch,) = advised("at most", caught)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plane_wave(GRID.with_(pitch=pitch), (0.0, angle))


@pytest.mark.parametrize("count", [255, 256, 257, 258])
def test_the_advised_length_does(count):
    grid = GRID.with_(shape=(count, count))
    with pytest.warns(SamplingWarning) as caught:
        thin_lens(grid, 0.02)
    (focal_length,) = advised("focal_length of at least", caught)
    assert focal_length == pytest.approx(count * grid.dx**2 / grid.wavelength, rel=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        thin_lens(grid, focal_length)


def advised(words, caught):
    """The numbers behind some words of a warning."""
    return [float(part.split(" m")[0]) for part in str(caught[0].message).split(f"{words} ")[1:]]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: circular_aperture(GRID, 0.0), ValueError, "radius must be positive"),
        (lambda: ring_aperture(GRID, 2e-4, 1e-4), ValueError, "inner must be smaller than outer"),
        (lambda: rectangular_aperture(GRID, -1.0, 1.0), ValueError, "height must be positive"),
        (lambda: siemens_star(GRID, 0, 1e-4), ValueError, "spokes must be at least 1"),
        (lambda: siemens_star(GRID, 3.5, 1e-4), TypeError, "spokes must be a whole number"),
        (lambda: gaussian_beam(GRID, math.nan), ValueError, "waist must be finite"),
        (lambda: spherical_wave(GRID, 0.0), ValueError, "z must not be zero"),
        (lambda: thin_lens(GRID, 0.0), ValueError, "focal_length must not be zero"),
        (lambda: plane_wave(GRID, (1.2, 1.2)), ValueError, "no direction of travel"),
        (
            lambda: PhaseMask(torch.zeros(8, 8, dtype=torch.int64)),
            TypeError,
            "phi must be float32 or float64",
        ),
        (
            lambda: PhaseMask(torch.zeros(8, 8, dtype=torch.float16)),
            TypeError,
            "phi must be float32 or float64",
        ),
        (lambda: PhaseMask(torch.zeros(8)), ValueError, r"phi must have shape \(..., ny, nx\)"),
        (lambda: AmplitudeMask([[1.0]]), TypeError, "a must be a torch.Tensor"),
        (lambda: AmplitudeMask(torch.full((2, 2), math.nan)), ValueError, "a must be finite"),
        *(
            (
                lambda mask=mask: mask(torch.ones(4, 4)),
                TypeError,
                r"u must be.*got torch.float32 \(4, 4\); use u.to",
            )
            for mask in (PhaseMask(torch.ones(4, 4)), ComplexMask(torch.ones(4, 4, dtype=torch.complex64)))
        ),
        (lambda: ComplexMask(torch.zeros(8, 8)), TypeError, "t must be a complex64 or complex128"),
        (lambda: Mask().transmission(torch.complex64), TypeError, "Mask has no transmission"),
        (
            lambda: PhaseMask(torch.zeros(8, 8))(random_field((8, 7))),
            ValueError,
            r"u must have shape \(..., 8, 8\) like the mask",
        ),
    ],
)
def test_bad_input_is_named(make, error, words):
    with pytest.raises(error, match=words):
        make()
