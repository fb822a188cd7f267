"""Errors of geometry: masks and PSFs that lie, stand or measure other than they should."""

import math

import pytest
import torch
from scipy.integrate import quad
from scipy.special import j0, j1

from onnlab.hardware import (
    Aperture,
    Bandwidth,
    Defocus,
    LateralShift,
    Magnification,
    Rotation,
    Tilt,
    WavelengthShift,
)
from onnlab.optics import fourier_grid, propagate
from tests.hardware.helpers import (
    BENCH_4F,
    BENCH_PSF,
    device,
    gaussian_kernel,
    images,
    moments,
    network,
    noise,
    response,
)

PITCH = BENCH_PSF.pitch
POINT = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
POINT[..., 3, 4] = 1  # light at (-1, -2), for a layer correlates


def test_a_mask_beside_its_place_puts_a_phase_on_the_kernel():
    """Shift theorem, by hand: one sample of the Fourier plane is one cycle over the window."""
    weight = noise(2, 1, 5, 4)
    optics = network("4f", weight, size=(12, 9)).optics
    ny, nx = optics.grid.shape
    plane = fourier_grid(optics.grid, optics.focal_length)
    dy, dx = 0.3 * plane.dy, -1.7 * plane.dx
    built = device("4f", LateralShift(dx, dy), weight=weight, size=(12, 9)).masks().transmission[0, 0]
    y, x = torch.arange(ny).double()[:, None] - ny // 2, torch.arange(nx).double() - nx // 2
    phase = torch.exp(2j * torch.pi * (0.3 * y / ny - 1.7 * x / nx))
    for found, perfect in zip(built, optics.masks().transmission, strict=True):
        torch.testing.assert_close(response(found), response(perfect) * phase)


def test_all_colours_keep_their_place_in_a_moved_mask():
    """The channels lie side by side; the field of each gets the phase of its own distance to the output."""
    weight = noise(1, 3, 3, 3)
    optics = network("4f", weight, size=8).optics
    nx, tile = optics.grid.nx, optics.tile[1]
    plane = fourier_grid(optics.grid, optics.focal_length)
    built = device("4f", LateralShift(0.25 * plane.dx, 0), weight=weight, size=8)
    x = images(1, 3, 8, 8)
    offset = torch.arange(3) - 1
    expected = sum(
        torch.nn.functional.conv2d(
            x[:, c : c + 1],
            weight[:, c : c + 1] * torch.cos(2 * torch.pi * 0.25 * (-offset - c * tile) / nx),
            padding=1,
        )
        for c in range(3)
    )
    torch.testing.assert_close(built(x), expected)  # the reference beam reads the real part


def test_a_psf_beside_its_place_moves_the_image():
    x = images(2, 1, 12, 12)
    moved = device("psf", LateralShift(2 * PITCH, -PITCH))(x)
    torch.testing.assert_close(moved[..., :10, 3:], network("psf").optics(x)[..., 1:11, 1:10])


def test_between_pixels_light_and_centroid_are_kept():
    built = device("psf", LateralShift(0.3 * PITCH, 1.6 * PITCH), weight=POINT)
    total, mean, _ = moments(built.pair().positive[0, 0])
    assert total.item() == pytest.approx(1)
    torch.testing.assert_close(mean, torch.tensor([0.6, -1.7], dtype=torch.float64))


def test_pairs_of_psfs_spread_by_as_much_as_was_asked():
    weight = torch.cat([POINT, -POINT], 1).repeat(200, 1, 1, 1)
    built = device("psf", LateralShift(0, 0, spread=0.4 * PITCH), weight=weight, size=13).pair()
    places = [
        torch.stack([moments(light)[1] for light in pair])
        for pair in (built.positive[:, 0], built.negative[:, 1])
    ]
    for place in places:
        torch.testing.assert_close(place.std(0), torch.full((2,), 0.4).double(), rtol=0.15, atol=0)
    assert (places[0] - places[1]).std() > 0.4  # each PSF of a pair has its own


@pytest.mark.parametrize("angle", [-0.3, 0.1, math.pi / 4])
def test_a_turned_mask_turns_the_kernel(angle):
    weight = gaussian_kernel(1.3, 1.8)[None, None]
    masks = device("4f", Rotation(angle), weight=weight, size=33).masks()
    found = response(masks.transmission[0, 0, 0] * masks.scale).real
    expected = gaussian_kernel(1.3, 1.8, len(found), angle)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)


def test_a_turned_psf_turns_about_the_axis():
    built = device("psf", Rotation(0.2), weight=POINT)
    _, mean, _ = moments(built.pair().positive[0, 0])
    y, x = -1, -2
    expected = [x * math.sin(0.2) + y * math.cos(0.2), x * math.cos(0.2) - y * math.sin(0.2)]
    torch.testing.assert_close(mean, torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize(
    ("error", "along_y", "along_x"),
    [
        (Magnification(1.15), 1.15, 1.15),
        (Magnification(0.9), 0.9, 0.9),
        (Tilt(0.5, 0), 1 / math.cos(0.5), 1),
        (Tilt(0, -0.6), 1, 1 / math.cos(0.6)),
    ],
)
def test_kernels_of_another_size(error, along_y, along_x):
    weight = gaussian_kernel(1.5, 1.5)[None, None]
    masks = device("4f", error, weight=weight, size=33).masks()
    found = response(masks.transmission[0, 0, 0] * masks.scale).real
    expected = gaussian_kernel(1.5 * along_y, 1.5 * along_x, len(found)) / (along_y * along_x)
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3)

    _, mean, _ = moments(device("psf", error, weight=POINT).pair().positive[0, 0])
    torch.testing.assert_close(mean, torch.tensor([-along_y, -2 * along_x], dtype=torch.float64))


def test_a_defocused_4f_system_is_fresnel_diffraction_behind_it():
    """The field that the perfect system makes of a smooth object, propagated by the library of part I."""
    weight, z = gaussian_kernel(1.5, 1.5, 7)[None, None], 2e-3
    x = gaussian_kernel(2.0, 2.0, 30)[None, None]
    perfect = network("4f", weight, size=30, camera="square-law").optics
    field = torch.complex(perfect(x).sqrt(), torch.zeros_like(x))
    grid = perfect.grid.with_(shape=(30, 30))
    expected = propagate(field, grid, z, method="fresnel").abs().square()
    found = device("4f", Defocus(z), weight=weight, size=30, camera="square-law")(x)
    assert (perfect(x) - expected).abs().max() > 0.1 * expected.max()  # it does something
    torch.testing.assert_close(found, expected, rtol=0, atol=2e-3 * expected.max().item())


@pytest.mark.parametrize("z", [-1e-4, 1.5e-4])
def test_a_defocused_psf_is_a_disc(z):
    """Variance of an even disc of diameter d along each axis: d^2 / 16, and 1/12 for the pixels."""
    middle = torch.zeros(1, 1, 5, 5, dtype=torch.float64)
    middle[..., 2, 2] = 1
    built = device("psf", Defocus(z), weight=middle, size=30).pair().positive[0, 0]
    diameter = BENCH_PSF.diameter * abs(z) / BENCH_PSF.distance / PITCH
    total, mean, covariance = moments(built)
    assert total.item() == pytest.approx(1)
    torch.testing.assert_close(mean, torch.zeros(2).double())
    expected = (diameter**2 / 16 + 1 / 12) * torch.eye(2, dtype=torch.float64)
    torch.testing.assert_close(covariance, expected, rtol=0.05, atol=1e-9)
    _, mean, _ = moments(device("psf", Defocus(z), weight=POINT, size=30).pair().positive[0, 0])
    grown = 1 + z / BENCH_PSF.distance
    torch.testing.assert_close(mean, torch.tensor([-1, -2]).double() * grown)


def test_a_blazed_grating_in_another_colour():
    """A ramp of depth 2 pi at the design sends sinc^2(1 - l/l') into its order, further out by l'/l."""
    weight = torch.zeros(1, 1, 1, 11, dtype=torch.float64)
    weight[..., 10] = 1  # light five samples to the left: five periods of a blazed grating
    built = device("4f", WavelengthShift(0.2 * BENCH_4F["wavelength"]), weight=weight, size=(1, 1190))
    light = response(built.masks().transmission[0, 0, 0]).abs().square()[0]
    order = light.shape[0] // 2 - 6
    assert light.argmax() == order
    off = math.pi * (1 - 1 / 1.2)
    assert light[order].item() == pytest.approx((math.sin(off) / off) ** 2, rel=0.01)


def test_a_psf_in_another_colour_is_larger_and_out_of_focus():
    ratio = 1.1
    built = device("psf", WavelengthShift(0.1 * BENCH_PSF.wavelength), weight=POINT, size=30)
    total, mean, covariance = moments(built.pair().positive[0, 0])
    torch.testing.assert_close(mean, torch.tensor([-1, -2]).double() * ratio)
    # A flat lens has f ~ 1 / wavelength: the cone of light is 10 % of the diameter wide on the sensor.
    diameter = 0.1 * BENCH_PSF.diameter / PITCH
    shares = torch.tensor([0.1 * 0.9, 0.2 * 0.8]).double()  # of the light between two pixels, at 1.1 and 2.2
    assert total.item() == pytest.approx(1)
    torch.testing.assert_close(covariance.diagonal(), diameter**2 / 16 + 1 / 12 + shares, rtol=0.02, atol=0)


@pytest.mark.parametrize("kind", ["4f", "psf"])
def test_a_band_is_the_mean_of_its_colours(kind):
    width, x = 30e-9, images(2, 1, 12, 12)
    found = device(kind, Bandwidth(width, 3), camera="linear")(x)
    single = [device(kind, WavelengthShift(shift))(x) for shift in (-width / 3, 0, width / 3)]
    torch.testing.assert_close(found, torch.stack(single).mean(0))


def test_behind_a_small_opening_a_4f_system_makes_airy_patterns():
    point = torch.zeros(1, 1, 41, 41, dtype=torch.float64)
    point[..., 20, 20] = 1
    diameter = 3e-3
    settings = {"weight": torch.ones(1, 1, 1, 1).double(), "size": 41, "camera": "square-law"}
    found = device("4f", Aperture(diameter), **settings)(point)[0, 0]
    axis = torch.arange(41).double() - 20
    radius = torch.hypot(axis[:, None], axis) * BENCH_4F["pitch"]
    u = math.pi * diameter * radius / (BENCH_4F["wavelength"] * BENCH_4F["focal_length"])
    airy = torch.where(u > 0, 2 * torch.from_numpy(j1(u.numpy())) / u, 1).square()
    near = radius < 12 * BENCH_4F["pitch"]  # further out, the neighbours of the periodic window come in
    torch.testing.assert_close((found / found.max())[near], airy[near], rtol=0, atol=0.01)


@pytest.mark.parametrize("diameter", [1e-6, 1e-5, 3e-5, 1e-4, 1e-3, 5e-3])
def test_an_airy_pattern_wider_than_the_window_leaves_it(diameter):
    """The light within a circle is 1 - J0^2 - J1^2; a square is made of circles round its angles."""
    size = 31
    point = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    found = device("psf", Aperture(diameter), weight=point, size=size).pair().positive.sum().item()
    half = size * BENCH_PSF.pitch / 2
    k = math.pi * diameter / (BENCH_PSF.wavelength * BENCH_PSF.distance)

    def encircled(angle):
        r = k * half / math.cos(angle)
        return 1 - j0(r) ** 2 - j1(r) ** 2

    expected = 4 / math.pi * quad(encircled, 0, math.pi / 4, limit=1000)[0]
    assert abs(found - expected) < 1.2e-5
    assert found == pytest.approx(expected, rel=2e-5)


@pytest.mark.parametrize("diameter", [0.1e-3, 0.4e-3])
def test_behind_a_small_opening_a_psf_is_airy_on_pixels(diameter):
    """By numbers: the Airy pattern summed over 25 x 25 points of each pixel."""
    settings = {"weight": torch.ones(1, 1, 1, 1).double(), "size": 21}
    found = device("psf", Aperture(diameter), **settings).pair().positive[0, 0]
    axis = (torch.arange(21 * 25).double() - 21 * 25 // 2) / 25
    reach = BENCH_PSF.wavelength * BENCH_PSF.distance
    u = math.pi * diameter / reach * PITCH * torch.hypot(axis[:, None], axis)
    airy = torch.where(u > 0, 2 * torch.from_numpy(j1(u.numpy())) / u, 1).square()
    density = math.pi / 4 * (diameter * PITCH / reach) ** 2 / 25**2
    expected = density * airy.reshape(21, 25, 21, 25).sum((1, 3))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-3)
