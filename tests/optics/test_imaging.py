import math
import warnings

import numpy as np
import pytest
import torch
from scipy.signal import convolve2d
from scipy.special import j1
from torch.nn.functional import conv2d

from onnlab.optics import (
    ComplexMask,
    FourF,
    Grid,
    SamplingWarning,
    circular_aperture,
    rectangular_aperture,
    thin_lens,
)
from onnlab.optics.grid import centred_index
from onnlab.optics.imaging import (
    image_incoherent,
    mtf,
    otf,
    polychromatic_psf,
    psf,
    signed_kernel_pair,
)
from tests.optics.helpers import random_field, relative_error

FOCAL = 0.1
GRID = Grid((256, 256), 20e-6, 532e-9)
RADIUS = 60 * 20e-6
SHAPES = [(32, 32), (33, 31), (20, 45)]


def rand(*shape, dtype=torch.float64, seed=0):
    return torch.rand(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def flipped_conv2d(image, kernel):
    """True convolution of the same size by conv2d: origin of the kernel at (ky // 2, kx // 2)."""
    ky, kx = kernel.shape[-2:]
    # conv2d correlates, so the flipped kernel's origin is at k - 1 - k // 2.
    top, left = ky - 1 - ky // 2, kx - 1 - kx // 2
    padded = torch.nn.functional.pad(image, (left, kx // 2, top, ky // 2))
    return conv2d(padded[None, None], kernel.flip(-2, -1)[None, None])[0, 0]


# PSF


def test_airy_disc_in_shape_and_in_height():
    pupil = circular_aperture(GRID, RADIUS, torch.float64)
    spot, grid_psf = psf(pupil, GRID, FOCAL, shape=(101, 100), pitch=2e-6)
    assert grid_psf == GRID.with_(shape=(101, 100), pitch=2e-6)
    w = 2 * math.pi * RADIUS * grid_psf.radius.numpy() / (GRID.wavelength * FOCAL)
    w[50, 50] = 1e-9
    airy = torch.from_numpy((2 * j1(w) / w) ** 2)
    # Power density on the axis: open area squared, over (lambda f)^2 and over the power through the pupil.
    power = float(pupil.square().sum()) * GRID.dy * GRID.dx
    peak = (math.pi * RADIUS**2) ** 2 / (GRID.wavelength * FOCAL) ** 2 / power * 2e-6**2
    assert relative_error(spot, peak * airy) < 2e-4


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_all_light_through_the_pupil_lands_on_the_whole_plane(shape, dtype):
    grid = Grid(shape, (10e-6, 12e-6), 532e-9)
    pupils = rand(3, *shape, dtype=dtype) * rectangular_aperture(grid, 90e-6, 130e-6, dtype)
    spots, grid_psf = psf(pupils, grid, FOCAL)
    assert spots.dtype == dtype and spots.shape == (3, *shape) and float(spots.min()) >= 0
    assert grid_psf.dx == pytest.approx(grid.wavelength * FOCAL / (shape[1] * grid.dx))
    torch.testing.assert_close(spots.sum((-2, -1)), torch.ones(3, dtype=dtype))
    # A dimmer pupil has the same PSF: what it blocks is not counted.
    torch.testing.assert_close(psf(pupils * 0.3, grid, FOCAL)[0], spots)


def test_a_window_holds_the_encircled_energy():
    pupil = circular_aperture(GRID, RADIUS, torch.float64)
    spot, grid_psf = psf(pupil, GRID, FOCAL, shape=(301, 301), pitch=1e-6)
    dark_ring = 3.8317 * GRID.wavelength * FOCAL / (2 * math.pi * RADIUS)
    # 1 - J0(w)^2 - J1(w)^2 = 83.8 % of the light of a sharp rim; ours is soft over one cell.
    rim = math.pi * RADIUS**2 / (float(pupil.square().sum()) * GRID.dy * GRID.dx)
    assert float(spot[grid_psf.radius < dark_ring].sum()) == pytest.approx(0.838 * rim, abs=5e-4)
    assert 0.85 < float(spot.sum()) < 1


def test_zoom_and_plain_focal_plane_agree_on_common_samples():
    pupil = circular_aperture(GRID, RADIUS, torch.float64) * thin_lens(GRID, 30.0, dtype=torch.complex128)
    plain, grid_psf = psf(pupil, GRID, FOCAL)
    zoomed, _ = psf(pupil, GRID, FOCAL, shape=(65, 64), pitch=(grid_psf.dy / 2, grid_psf.dx / 4))
    # A finer pitch collects less light in each sample.
    expected = plain[128 - 16 : 128 + 17, 128 - 8 : 128 + 8] / 8
    torch.testing.assert_close(zoomed[::2, ::4], expected, rtol=1e-9, atol=1e-14)


def test_a_coarse_psf_warns_and_names_the_pitch_that_will_do():
    wide = rectangular_aperture(GRID, 200.5 * GRID.dy, 100.5 * GRID.dx)
    with pytest.warns(SamplingWarning, match="Use pitch=") as caught:
        psf(wide, GRID, FOCAL)
    advice = str(caught[0].message).split("Use pitch=(")[1].split(")")[0]
    pitch = tuple(float(p) for p in advice.split(","))
    assert pitch[0] == pytest.approx(GRID.wavelength * FOCAL / (2 * 200 * GRID.dy), rel=0.01)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        psf(wide, GRID, FOCAL, shape=(64, 64), pitch=pitch)
        psf(circular_aperture(GRID, 64 * GRID.dy), GRID, FOCAL)  # half the window: just enough


def test_psf_gradient():
    grid = Grid((7, 6), 10e-6, 5e-7)
    pupil = torch.nn.functional.pad(random_field((3, 3)), (1, 2, 2, 2)).requires_grad_()
    weight = rand(7, 6)
    assert torch.autograd.gradcheck(lambda p: (psf(p, grid, FOCAL)[0] * weight)[2:5], pupil)


@pytest.mark.parametrize(
    ("pupil", "error", "words"),
    [
        (torch.zeros(256, 256), ValueError, "pupil must let some light through"),
        (torch.ones(256, 255), ValueError, "pupil must have shape"),
        (torch.full((256, 256), math.nan), ValueError, "pupil must be finite"),
        (torch.ones(256, 256, dtype=torch.int64), TypeError, "pupil must be complex64"),
        (np.ones((256, 256)), TypeError, "pupil must be a torch.Tensor"),
    ],
)
def test_bad_pupils(pupil, error, words):
    with pytest.raises(error, match=words):
        psf(pupil, GRID, FOCAL)


@pytest.mark.parametrize("focal_length", [0.0, -0.1, math.nan])
def test_bad_focal_length(focal_length):
    with pytest.raises(ValueError, match="focal_length must be"):
        psf(circular_aperture(GRID, RADIUS), GRID, focal_length)


# OTF


@pytest.mark.parametrize("shape", SHAPES)
def test_otf_is_the_autocorrelation_of_the_pupil(shape):
    grid = Grid(shape, 10e-6, 532e-9)
    ny, nx = shape
    small = random_field((ny // 2 - 2, nx // 2 - 1))
    top, left = ny // 2 - 4, nx // 2 - 8  # off the centre: the autocorrelation does not see it
    pupil = torch.zeros(shape, dtype=torch.complex128)
    pupil[top : top + small.shape[0], left : left + small.shape[1]] = small
    values = otf(psf(pupil, grid, FOCAL)[0])
    # The transform of |FT P|^2 is the mirrored autocorrelation: two transforms in a row mirror the input.
    full = convolve2d(small.numpy(), small.conj().flip(0, 1).numpy())
    full = full[::-1, ::-1] / np.sum(np.abs(small.numpy()) ** 2)
    expected = torch.zeros(shape, dtype=torch.complex128)
    y0, x0 = ny // 2 - full.shape[0] // 2, nx // 2 - full.shape[1] // 2
    expected[y0 : y0 + full.shape[0], x0 : x0 + full.shape[1]] = torch.from_numpy(full.copy())
    torch.testing.assert_close(values, expected, rtol=0, atol=1e-12)
    assert values[ny // 2, nx // 2] == 1


def test_mtf_of_a_round_pupil():
    spot, grid_psf = psf(circular_aperture(GRID, RADIUS, torch.float64), GRID, FOCAL)
    cutoff = 2 * RADIUS / (GRID.wavelength * FOCAL)
    v = torch.hypot(grid_psf.fy[:, None], grid_psf.fx) / cutoff
    v = v.clamp(max=1)
    expected = 2 / math.pi * (torch.acos(v) - v * (1 - v.square()).sqrt())
    assert relative_error(mtf(spot), expected) < 6e-3  # a third of a cell along the rim, 1 / (3 * 60)


def test_a_displaced_psf_tilts_the_phase_of_the_otf_by_its_place():
    spot = torch.zeros(9, 12, dtype=torch.float64)
    spot[4 + 1, 6 - 2] = 0.25
    grid = Grid((9, 12), (2e-6, 3e-6), 5e-7)
    phase = -2 * math.pi * (grid.fy[:, None] * 2e-6 - grid.fx * 2 * 3e-6)
    torch.testing.assert_close(otf(spot), torch.complex(phase.cos(), phase.sin()))


@pytest.mark.parametrize("function", [otf, mtf])
@pytest.mark.parametrize(
    ("spot", "error", "words"),
    [
        (torch.zeros(4, 4), ValueError, "psf must hold some light"),
        (-torch.ones(4, 4), ValueError, "psf must be >= 0, got -1"),
        (torch.ones(4, 4, dtype=torch.complex64), TypeError, "psf must be real"),
        (torch.ones(4), ValueError, "psf must have shape"),
    ],
)
def test_bad_psf_for_otf(function, spot, error, words):
    with pytest.raises(error, match=words):
        function(spot)


# Several wavelengths


def test_a_remedy_keeps_the_pitch_of_an_axis_that_is_fine_enough():
    slit = torch.zeros(64, 64)
    slit[32, 2:62] = 1  # of no height: no pitch of rows would be too coarse
    grid = Grid((64, 64), 20e-6, 532e-9)
    with pytest.warns(SamplingWarning, match="Use pitch=") as caught:
        psf(slit, grid, FOCAL, (16, 16), (41e-6, 41e-6))
    advice = str(caught[0].message).split("Use pitch=(")[1].split(")")[0]
    pitch = tuple(float(p) for p in advice.split(","))
    assert pitch[0] == 41e-6 and pitch[1] < 41e-6
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        psf(slit, grid, FOCAL, (16, 16), pitch)


def test_polychromatic_psf_is_the_weighted_mean_of_its_colours():
    pupil = circular_aperture(GRID, RADIUS)
    blue, red = 450e-9, 650e-9
    spot, grid_psf = polychromatic_psf(pupil, GRID, FOCAL, [blue, red], [3, 1], (64, 64), 5e-6)
    parts = [psf(pupil, GRID.with_(wavelength=w), FOCAL, (64, 64), 5e-6)[0] for w in (blue, red)]
    torch.testing.assert_close(spot, 0.75 * parts[0] + 0.25 * parts[1])
    assert grid_psf == Grid((64, 64), 5e-6, grid_psf.wavelength)
    assert grid_psf.wavelength == pytest.approx(500e-9)


@pytest.mark.parametrize("weights", [None, [0.1, 0.1, 0.1], (1, 1, 1)])
def test_colours_of_equal_energy_have_equal_shares(weights):
    """A third each: the mean of the colours to the rounding of float64."""
    pupil, colours = circular_aperture(GRID, RADIUS, torch.float64), [450e-9, 550e-9, 650e-9]
    spot, grid_psf = polychromatic_psf(pupil, GRID, FOCAL, colours, weights, (16, 16), 5e-6)
    each = [psf(pupil, GRID.with_(wavelength=w), FOCAL, (16, 16), 5e-6)[0] for w in colours]
    torch.testing.assert_close(spot, sum(each) / 3, rtol=1e-13, atol=0)
    assert grid_psf.wavelength == pytest.approx(550e-9, rel=1e-14)


def test_polychromatic_default_pitch_is_that_of_the_shortest_wavelength():
    pupil = circular_aperture(GRID, RADIUS, torch.float64)
    spot, grid_psf = polychromatic_psf(pupil, GRID, FOCAL, [650e-9, 450e-9])
    assert grid_psf.dy == pytest.approx(450e-9 * FOCAL / GRID.extent[0])
    # The widths scale with the wavelength, so does the number of samples under the mean spot.
    assert float(spot.sum()) == pytest.approx(1, abs=0.01) and float(spot.sum()) <= 1


def test_a_dispersive_pupil_sees_each_wavelength():
    seen = []

    def flat_glass(grid):
        seen.append(grid.wavelength)
        # A lens of glass focuses blue more strongly: 0.1 m at 450 nm only.
        return circular_aperture(grid, RADIUS) * thin_lens(grid, 2.0 * grid.wavelength / 450e-9)

    spot, _ = polychromatic_psf(flat_glass, GRID, FOCAL, [450e-9, 650e-9], shape=(32, 32), pitch=5e-6)
    assert seen == [450e-9, 650e-9]
    parts = [
        psf(flat_glass(GRID.with_(wavelength=w)), GRID.with_(wavelength=w), FOCAL, (32, 32), 5e-6)[0]
        for w in (450e-9, 650e-9)
    ]
    torch.testing.assert_close(spot, sum(parts) / 2)


def test_weights_may_be_learnt():
    weights = torch.tensor([1.0, 2.0], dtype=torch.float64, requires_grad=True)
    pupil = circular_aperture(GRID, RADIUS, torch.float64)

    def peak(w):
        return polychromatic_psf(pupil, GRID, FOCAL, [450e-9, 650e-9], w, (3, 3), 5e-6)[0]

    assert torch.autograd.gradcheck(peak, weights)


@pytest.mark.parametrize("weights", [[1.0], [1.0, -1.0], [0.0, 0.0], [1.0, math.nan], [[1.0, 1.0]]])
def test_bad_weights(weights):
    with pytest.raises(ValueError, match="weights must be 2 numbers"):
        polychromatic_psf(circular_aperture(GRID, RADIUS), GRID, FOCAL, [450e-9, 650e-9], weights)


def test_no_wavelength():
    with pytest.raises(ValueError, match="wavelengths must hold at least one"):
        polychromatic_psf(circular_aperture(GRID, RADIUS), GRID, FOCAL, [])


# Images


@pytest.mark.parametrize("shape", [(12, 12), (13, 9), (8, 15)])
@pytest.mark.parametrize("kernel", [(3, 3), (4, 4), (5, 2), (1, 1), (8, 9)])
def test_image_is_the_linear_convolution(shape, kernel):
    intensity, spot = rand(*shape), rand(*kernel, seed=1)
    image = image_incoherent(intensity, spot)
    torch.testing.assert_close(image, flipped_conv2d(intensity, spot), rtol=1e-12, atol=1e-12)
    ky, kx = kernel
    full = convolve2d(intensity.numpy(), spot.numpy(), mode="full")
    same = full[ky // 2 : ky // 2 + shape[0], kx // 2 : kx // 2 + shape[1]]
    np.testing.assert_allclose(image.numpy(), same, rtol=1e-12, atol=1e-12)


def test_a_point_becomes_the_psf_at_its_place_and_nothing_wraps():
    intensity, spot = torch.zeros(9, 10), rand(9, 10, dtype=torch.float32)
    intensity[8, 9] = 2.0
    image = image_incoherent(intensity, spot)
    # The PSF's origin (4, 5) lies on the last sample: only its upper left part is in the window.
    expected = torch.zeros(9, 10)
    expected[4:, 4:] = 2 * spot[:5, :6]
    torch.testing.assert_close(image, expected, rtol=1e-5, atol=1e-5)
    assert float(image.min()) >= 0


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_leading_dimensions_broadcast(dtype):
    intensity, spots = rand(4, 1, 10, 11, dtype=dtype), rand(3, 5, 4, dtype=dtype, seed=1)
    images = image_incoherent(intensity, spots)
    assert images.shape == (4, 3, 10, 11) and images.dtype == dtype
    torch.testing.assert_close(images[2, 1], flipped_conv2d(intensity[2, 0], spots[1]))


def test_image_keeps_the_energy_that_stays_in_the_window():
    intensity = torch.nn.functional.pad(rand(8, 8), (4, 4, 4, 4))
    spot = rand(7, 7)
    assert float(image_incoherent(intensity, spot).sum()) == pytest.approx(
        float(intensity.sum() * spot.sum()), rel=1e-12
    )


def test_image_is_never_negative_yet_dark_pixels_keep_their_gradient():
    intensity = torch.zeros(32, 32)
    intensity[16, 16] = 1e3
    intensity.requires_grad_()
    spot = rand(3, 3, dtype=torch.float32)
    image = image_incoherent(intensity, spot)
    assert float(image.detach().min()) >= 0
    image.sum().backward()
    torch.testing.assert_close(intensity.grad[1:-1, 1:-1], spot.sum().expand(30, 30))


def test_image_gradient():
    intensity, spot = rand(5, 6).requires_grad_(), rand(2, 3, 2, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(image_incoherent, (intensity, spot))


def test_image_under_vmap():
    intensity, spot = rand(4, 8, 8), rand(3, 3)
    mapped = torch.func.vmap(image_incoherent, in_dims=(0, None))(intensity, spot)
    torch.testing.assert_close(mapped, image_incoherent(intensity, spot))


@pytest.mark.parametrize("shape", [(48, 48), (47, 45)])
def test_coherent_light_of_random_phase_averages_to_the_incoherent_image(shape):
    grid = Grid(shape, 10e-6, 532e-9)
    system = FourF(grid, FOCAL)
    # A soft pupil with tilt and coma: its PSF is compact, off centre and lopsided. A flip or a shift shows.
    y, x = centred_index(shape[0])[:, None], centred_index(shape[1])
    amplitude = torch.exp(-(y**2 + x**2) / (2 * 3.5**2)) * (torch.hypot(y, x) < 11)
    pupil = torch.polar(amplitude, 0.4 * y - 0.25 * x + 0.004 * (x**3 + x * y**2))
    intensity = torch.zeros(shape, dtype=torch.float64)
    intensity[16:24, 20:30] = rand(8, 10)
    # The PSF does not count what the pupil blocks: the transmittance for a single point does.
    transmittance = pupil.abs().square().mean()

    spot, grid_psf = psf(pupil, system.grid_fourier, FOCAL)
    assert grid_psf.pitch == pytest.approx(grid.pitch)
    upside_down = system(intensity.to(torch.complex128)).real.clamp(min=0)
    mean = image_incoherent(upside_down, spot) * transmittance
    # For |sum_j a_j exp(i phi_j)|^2 with independent phases: variance = mean^2 - sum |a_j|^4.
    variance = mean**2 - image_incoherent(upside_down**2, spot**2) * transmittance**2

    runs, generator = 600, torch.Generator().manual_seed(3)
    phase = 2 * math.pi * torch.rand(runs, *shape, dtype=torch.float64, generator=generator)
    field = intensity.sqrt() * torch.complex(phase.cos(), phase.sin())
    average = FourF(grid, FOCAL, ComplexMask(pupil))(field).abs().square().mean(0)

    bright = mean > 0.05 * mean.max()
    deviation = ((average - mean) / (variance / runs).sqrt())[bright]
    # Statistical errors only: their size is one, give or take the few independent speckles in the window.
    assert 0.7 < float(deviation.square().mean().sqrt()) < 1.3
    assert float(deviation.abs().max()) < 5
    assert float((variance[bright] / runs).sqrt().max() / mean.max()) < 0.05  # so a wrong image would show


@pytest.mark.parametrize(
    ("intensity", "spot", "error", "words"),
    [
        (-torch.ones(8, 8), torch.ones(3, 3), ValueError, "intensity must be >= 0"),
        (torch.ones(8, 8), -torch.ones(3, 3), ValueError, "psf must be >= 0"),
        (torch.ones(8, 8), torch.ones(3, 9), ValueError, "psf must not be larger than intensity"),
        (torch.ones(8, 8), torch.ones(9, 3), ValueError, "psf must not be larger than intensity"),
        (torch.full((8, 8), math.inf), torch.ones(3, 3), ValueError, "intensity must be finite"),
        (torch.ones(8, 8), torch.full((3, 3), math.nan), ValueError, "psf must be finite"),
        (torch.ones(8, 8), torch.ones(3, 3).double(), TypeError, "psf must have the dtype of intensity"),
        (torch.ones(8, 8).cfloat(), torch.ones(3, 3), TypeError, "intensity must be real.*abs"),
        (torch.ones(8, 8).int(), torch.ones(3, 3), TypeError, "intensity must be float32"),
        (torch.ones(8), torch.ones(3, 3), ValueError, "intensity must have shape"),
    ],
)
def test_bad_images(intensity, spot, error, words):
    with pytest.raises(error, match=words):
        image_incoherent(intensity, spot)


# Signed kernels


@pytest.mark.parametrize("size", [(3, 3), (4, 5)])
def test_a_signed_kernel_is_the_scaled_difference_of_two_images(size):
    kernels = random_field((6, *size)).real.contiguous()
    kernels[1] = kernels[1].abs()  # one that needs no subtraction
    intensity = rand(12, 13)
    pair = signed_kernel_pair(kernels)
    assert pair.scale.shape == (6, 1, 1)
    result = pair.subtract(
        image_incoherent(intensity, pair.positive), image_incoherent(intensity, pair.negative)
    )
    for got, kernel in zip(result, kernels, strict=True):
        torch.testing.assert_close(got, flipped_conv2d(intensity, kernel), rtol=1e-12, atol=1e-12)


def test_both_psfs_are_passive_and_as_bright_as_they_can_be():
    pair = signed_kernel_pair(random_field((20, 5, 5)).real)
    energies = torch.stack((pair.positive.sum((-2, -1)), pair.negative.sum((-2, -1))))
    assert float(pair.positive.min()) >= 0 and float(pair.negative.min()) >= 0
    torch.testing.assert_close(energies.amax(0), torch.ones(20, dtype=torch.float64))
    assert not bool((pair.positive * pair.negative).any())  # no light in common


def test_a_zero_kernel_is_dark_and_can_still_learn():
    kernel = torch.zeros(3, 3, requires_grad=True)
    pair = signed_kernel_pair(kernel)
    assert not bool(pair.positive.any()) and not bool(pair.negative.any())
    assert pair.scale.item() == 1
    target = rand(3, 3, dtype=torch.float32)
    (pair.subtract(pair.positive, pair.negative) * target).sum().backward()
    torch.testing.assert_close(kernel.grad, target)


def test_signed_kernel_gradient():
    kernel, intensity = random_field((2, 3, 3)).real.requires_grad_(), rand(5, 6)

    def convolve(k):
        pair = signed_kernel_pair(k)
        return pair.subtract(
            image_incoherent(intensity, pair.positive), image_incoherent(intensity, pair.negative)
        )

    assert torch.autograd.gradcheck(convolve, kernel)


@pytest.mark.parametrize(
    ("kernel", "error", "words"),
    [
        (torch.ones(3, 3).cfloat(), TypeError, "kernel must be real.*imaginary"),
        (torch.ones(3), ValueError, "kernel must have shape"),
        (torch.full((3, 3), math.nan), ValueError, "kernel must be finite"),
        (torch.ones(3, 3).int(), TypeError, "kernel must be float32"),
        ([[1.0]], TypeError, "kernel must be a torch.Tensor"),
    ],
)
def test_bad_kernels(kernel, error, words):
    with pytest.raises(error, match=words):
        signed_kernel_pair(kernel)
