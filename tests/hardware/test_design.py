import math

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d

from onnlab.hardware import MetaAtoms, Metasurface, PSFDesign, design_psf, shape_error
from onnlab.hardware.design import pixels
from onnlab.optics import Grid, SamplingWarning, image_incoherent
from tests.hardware.light import direct_sum

NITRIDE = MetaAtoms.silicon_nitride()
RED, GREEN, BLUE = NITRIDE.wavelengths
KERNEL = torch.tensor([[1.0, -2.0, 0.5], [0.0, 2.0, -1.0], [-0.5, 1.0, 1.5]], dtype=torch.float64)
PITCH = 2.4e-6
DISTANCE = 50e-6


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def design(kernel=KERNEL, wavelengths=(GREEN,), seed=0, **changes):
    arguments = {"lattice": 64, "distance": DISTANCE, "pitch": PITCH, "steps": 80, **changes}
    return design_psf(kernel, NITRIDE, wavelengths, generator=seeded(seed), **arguments)


@pytest.fixture(scope="module")
def green():
    return design()


# The measure


def test_shape_error_of_known_shapes():
    a = torch.zeros(2, 1, 2, 2, dtype=torch.float64)
    a[:, 0, 0, 0] = 3.0
    b = torch.zeros(2, 1, 2, 2, dtype=torch.float64)
    b[0, 0, 1, 1] = 5.0  # elsewhere
    b[1, 0, 0] = torch.tensor([1.0, 1.0])  # at 45 degrees
    expected = torch.tensor([math.sqrt(2), math.sqrt(2 - 2 * math.cos(math.pi / 4))], dtype=torch.float64)
    torch.testing.assert_close(shape_error(a, b), expected)
    assert float(shape_error(7 * b, b).max()) < 1e-15


def test_colours_have_one_brightness_in_common():
    a = torch.ones(2, 3, 3, dtype=torch.float64)
    b = a * torch.tensor([1.0, 0.0], dtype=torch.float64)[:, None, None]
    assert float(shape_error(a, b)) == pytest.approx(math.sqrt(2 - 2 * math.sqrt(0.5)))


def test_gradient_of_the_error_in_the_widths():
    nanometres = (120.5 + 80 * torch.rand(6, 5, dtype=torch.float64, generator=seeded())).floor() + 0.5
    target = torch.rand(3, 5, 4, dtype=torch.float64, generator=seeded(1))

    def error(values):
        return shape_error(Metasurface(values * 1e-9, NITRIDE).psf(20e-6, (5, 4), 1e-6), target)

    # Half-way between entries of the table, where the transmission is smooth.
    assert torch.autograd.gradcheck(error, nanometres.requires_grad_(), eps=1e-3, atol=1e-7)


# The design


def test_the_error_falls_and_its_history_begins_where_the_design_begins(green):
    assert green.errors.shape == (80, 2)
    assert bool((green.psf_error < 0.5 * green.errors[0]).all())
    # The last entry is from before the last, small, step.
    torch.testing.assert_close(green.errors[-1], green.psf_error, rtol=0.02, atol=0)
    torch.testing.assert_close(green.psf_error, shape_error(green.psfs, green.targets))


def test_targets_are_the_halves_of_the_kernel(green):
    assert green.targets.shape == green.psfs.shape == (2, 1, 35, 35)
    torch.testing.assert_close(green.targets.sum((1, 2, 3)), torch.ones(2, dtype=torch.float64))
    halves = pixels(green.targets, 5)[:, 0, 2:-2, 2:-2]
    expected = torch.stack([KERNEL.clamp(min=0) / 6, (-KERNEL).clamp(min=0) / 3.5])
    torch.testing.assert_close(halves, expected)
    # Each weight is an even square of one pixel.
    assert float(green.targets.unflatten(-1, (-1, 5)).std(-1).max()) < 1e-15


def test_psfs_are_those_of_the_metasurfaces_by_another_integral(green):
    for surface, spots in zip(green.metasurfaces, green.psfs, strict=True):
        column = NITRIDE.colour(GREEN)
        torch.testing.assert_close(surface.psf(DISTANCE, (35, 35), PITCH / 5)[column], spots[0])
        sensor = Grid((13, 13), PITCH / 5, GREEN)
        field = direct_sum(surface.transmission()[column], surface.grid(GREEN), DISTANCE, sensor)
        expected = field.abs().square() * (sensor.dx / (64 * NITRIDE.period)) ** 2
        middle = spots[0, 11:24, 11:24]
        torch.testing.assert_close(middle, expected, rtol=0, atol=1e-3 * float(expected.max()))


def test_widths_stay_within_the_library(green):
    for surface in green.metasurfaces:
        assert surface.widths.shape == (64, 64) and not surface.widths.requires_grad
        assert float(surface.widths.min()) >= 65e-9 and float(surface.widths.max()) <= 237e-9
    assert bool((green.efficiency > 0).all()) and bool((green.efficiency < 1).all())


def test_gains_are_least_squares(green):
    halves = pixels(green.psfs, 5).flatten(1).numpy()
    columns = np.stack([halves[0], -halves[1]], axis=1)
    expected, *_ = np.linalg.lstsq(columns, green.kernel.flatten().numpy(), rcond=None)
    np.testing.assert_allclose(green.gains.numpy(), expected, rtol=1e-9)
    residue = np.linalg.norm(columns @ expected - green.kernel.flatten().numpy())
    assert green.kernel_error == pytest.approx(residue / float(KERNEL.norm()))


def test_two_pictures_subtracted_are_the_convolution_up_to_the_error(green):
    scene = torch.rand(20, 22, dtype=torch.float64, generator=seeded(4))
    bright, dark = (image_incoherent(scene, spot) for spot in pixels(green.psfs[:, 0], 5))
    image = green.gains[0] * bright - green.gains[1] * dark
    realised = convolve2d(scene.numpy(), green.realised[0].numpy(), mode="same")
    np.testing.assert_allclose(image.numpy(), realised, atol=1e-12)
    wanted = convolve2d(scene.numpy(), KERNEL.numpy(), mode="same")
    # Young's inequality: the worst that a wrong kernel can do to a scene.
    worst = float((green.realised - green.kernel).abs().sum() * scene.norm())
    assert 0 < np.linalg.norm(image.numpy() - wanted) <= worst
    assert np.linalg.norm(image.numpy() - wanted) < 0.5 * np.linalg.norm(wanted)


def test_a_weight_lands_on_its_own_pixel():
    """A kernel of one weight beside the origin is a spot beside the axis, at its side and distance."""
    for shape, place in [((3, 3), (1, 2)), ((3, 3), (0, 1)), ((4, 2), (2, 1)), ((4, 2), (0, 0))]:
        kernel = torch.zeros(shape)
        kernel[place] = 1.0
        result = design(kernel, compare="pixels", steps=40)
        caught = pixels(result.psfs[0, 0], 5)
        rows, columns = caught.shape
        row, column = divmod(int(caught.argmax()), columns)
        offset = (row - rows // 2, column - columns // 2)
        assert offset == (place[0] - shape[0] // 2, place[1] - shape[1] // 2)
        assert float(caught.flatten().topk(2).values[1]) < 0.2 * float(caught.max())


def test_only_pixels_is_easier_than_every_sample(green):
    easy = design(compare="pixels")
    assert easy.kernel_error < 0.5 * green.kernel_error
    assert bool((easy.psf_error > green.psf_error).all())
    # The error that was followed is that of the pixels.
    followed = shape_error(pixels(easy.psfs, 5), pixels(easy.targets, 5))
    assert bool((followed <= easy.errors[-1] * 1.1).all())


def test_three_colours_share_the_pillars_and_each_is_served_less_well():
    kernel = torch.stack([KERNEL, KERNEL.T, -KERNEL])
    small = {"lattice": 40, "distance": 40e-6, "steps": 30}
    shared = design(kernel, (RED, GREEN, BLUE), **small)
    alone = [design(k, (w,), **small) for k, w in zip(kernel, (RED, GREEN, BLUE), strict=True)]
    assert shared.psfs.shape == (2, 3, 35, 35) and shared.realised.shape == (3, 7, 7)
    assert shared.kernel_error > max(result.kernel_error for result in alone)
    assert bool((shared.psf_error < shared.errors[0]).all())
    # Colours in another order are the same design.
    turned = design(kernel[[2, 0, 1]], (BLUE, RED, GREEN), steps=1)
    straight = design(kernel, (RED, GREEN, BLUE), steps=1)
    torch.testing.assert_close(turned.psfs, straight.psfs[:, [2, 0, 1]])


def test_a_brighter_kernel_needs_only_more_gain():
    one, ten = design(steps=5), design(10 * KERNEL, steps=5)
    torch.testing.assert_close(one.psfs, ten.psfs)
    torch.testing.assert_close(10 * one.gains, ten.gains)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_kernel_of_one_sign_needs_one_metasurface(sign):
    result = design(sign * KERNEL.abs(), steps=20)
    present, absent = (0, 1) if sign > 0 else (1, 0)
    assert isinstance(result.metasurfaces[present], Metasurface) and result.metasurfaces[absent] is None
    assert not bool(result.psfs[absent].any()) and float(result.gains[absent]) == 0
    assert bool(result.errors[:, absent].isnan().all()) and bool(result.errors[:, present].isfinite().all())
    assert float(result.gains[present]) > 0 and result.kernel_error < 1


def test_a_seed_is_a_design():
    first, again, other = (design(steps=3, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first.psfs, again.psfs) and not torch.equal(first.psfs, other.psfs)


def test_single_precision_follows_double():
    single, double = (
        design(KERNEL.to(dtype), steps=1, roughness=0.0) for dtype in (torch.float32, torch.float64)
    )
    assert single.psfs.dtype == torch.float32 and single.gains.dtype == torch.float32
    torch.testing.assert_close(single.errors.double(), double.errors, rtol=1e-3, atol=0)


def test_a_stop_stays_around_the_pillars():
    stop = torch.zeros(64, 64)
    stop[8:-8, 8:-8] = 1
    result = design(aperture=stop, steps=5)
    assert torch.equal(result.metasurfaces[0].aperture, stop)


def test_pixels_too_coarse_for_the_samples_warn():
    with pytest.warns(SamplingWarning, match="Use pitch="):
        design(oversampling=1, steps=1)


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"kernel": KERNEL.numpy()}, TypeError, "kernel must be a torch.Tensor"),
        ({"kernel": KERNEL.to(torch.complex128)}, TypeError, "kernel must be real"),
        ({"kernel": KERNEL * math.nan}, ValueError, "kernel must be finite"),
        ({"kernel": 0 * KERNEL}, ValueError, "kernel must not be all zero"),
        ({"kernel": torch.ones(2, 3, 3)}, ValueError, "one plane for each of the 1 wavelengths"),
        ({"kernel": torch.ones(1, 1, 3, 3)}, ValueError, r"got \(1, 1, 3, 3\)"),
        ({"wavelengths": (GREEN, RED)}, ValueError, "one plane for each of the 2 wavelengths"),
        ({"wavelengths": (600e-9,)}, ValueError, "wavelength must be one of the library's"),
        ({"window": 1}, ValueError, r"kernel must fit the window of 1 x 1 pixels.*at least 3 x 3"),
        ({"kernel": torch.ones(4, 4), "window": 3}, ValueError, "at least 5 x 5"),
        ({"window": 8}, ValueError, "window must be odd.*try 9"),
        ({"oversampling": 4}, ValueError, "oversampling must be odd.*try 5"),
        ({"compare": "phases"}, ValueError, "compare must be one of"),
        ({"steps": 0}, ValueError, "steps must be at least 1"),
        ({"roughness": -0.1}, ValueError, "roughness must not be negative"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be positive"),
        ({"lattice": 0}, ValueError, "lattice must be at least 1"),
        ({"distance": -1e-3}, ValueError, "distance must be positive"),
        ({"pitch": -1e-6}, ValueError, "pitch must be positive"),
        ({"aperture": torch.ones(3, 3)}, ValueError, "aperture must have the shape of widths"),
    ],
)
def test_bad_arguments(changes, error, words):
    with pytest.raises(error, match=words):
        design(**{"steps": 1, **changes})


def test_the_result_is_frozen(green):
    assert isinstance(green, PSFDesign)
    with pytest.raises(AttributeError):
        green.psfs = None
