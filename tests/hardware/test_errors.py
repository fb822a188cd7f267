import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import nn

from onnlab.hardware import (
    Aperture,
    Bandwidth,
    Brightness,
    CameraNoise,
    DeadPixels,
    Defocus,
    LateralShift,
    Magnification,
    NoisyOptics,
    OpticalError,
    PhaseNoise,
    PhaseQuantisation,
    PSFBench,
    PSFError,
    Rotation,
    StrayLight,
    Tilt,
    WavelengthShift,
)
from onnlab.hardware._planes import rough_surface
from onnlab.optics import Camera, Grid, psf
from tests.hardware.helpers import BENCH_PSF, device, images, network, noise, seeded

FLAT = torch.ones(40, 1, 1, 1, dtype=torch.float64)  # kernels of one sample: clear masks, PSFs of one pixel
BOTH = {
    "shift": LateralShift(0, 0),
    "rotation": Rotation(0),
    "magnification": Magnification(1),
    "tilt": Tilt(0, 0),
    "defocus": Defocus(0),
    "wavelength": WavelengthShift(0),
    "bandwidth": Bandwidth(0),
    "aperture": Aperture(math.inf),
    "roughness": PhaseNoise(0, 1e-4),
    "stray light": StrayLight(0),
    "brightness": Brightness(1),
    "camera": CameraNoise(Camera(shot_noise=False)),
}
NO_ERROR = {
    "4f": {**BOTH, "quantisation": PhaseQuantisation(2**40), "dead pixels": DeadPixels(0)},
    "psf": {**BOTH, "psf": PSFError(0)},
}


@pytest.mark.parametrize("size", [20, 21])
@pytest.mark.parametrize("error", [PhaseNoise(1.0, 12e-6), Aperture(12e-6), Defocus(2e-3)], ids=type)
def test_a_wide_spot_reaches_from_one_rim_of_the_window_to_the_other(error, size):
    """Of a sample beside the origin, too: a larger window shows what a smaller one holds of it."""
    weight = torch.zeros(1, 1, 9, 9, dtype=torch.float64)
    weight[..., 0, 1] = weight[..., 7, 8] = 1
    small, large = (
        device("psf", error, weight=weight, size=n).pair().positive[0, 0] for n in (size, 3 * size)
    )
    start = large.shape[0] // 2 - small.shape[0] // 2
    there = large[start : start + small.shape[0], start : start + small.shape[1]]
    torch.testing.assert_close(small, there, rtol=0, atol=3e-5 * large.max().item())
    assert (small[-1] > 0).all() and (small[0] > 0).all()


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, errors in NO_ERROR.items() for name in errors]
)
@pytest.mark.parametrize("weight", [noise(3, 1, 3, 3), noise(2, 3, 2, 4)], ids=["grey", "colours"])
def test_an_error_of_size_zero_is_none(kind, name, weight):
    design = network(kind, weight).optics
    x = images(2, weight.shape[1], 12, 12)
    built = device(kind, NO_ERROR[kind][name], weight=weight)
    torch.testing.assert_close(built(x), design(x), rtol=1e-11, atol=1e-11)


def strehl(transmission):
    """Light on the axis over that of a clear mask."""
    return transmission.mean((-2, -1)).abs().square()


@pytest.mark.parametrize("sigma", [0.1, 0.5, 1.0])
def test_rough_masks_leave_what_marechal_says(sigma):
    masks = device("4f", PhaseNoise(sigma), weight=FLAT, size=32).masks().transmission
    assert masks.shape == (1, 1, 40, 32, 32)
    torch.testing.assert_close(masks.abs(), torch.ones_like(masks.abs()))
    # Beside it stands the mean power of the halo: 1 - e^(-sigma^2) over all samples of the output.
    expected = math.exp(-(sigma**2)) + (1 - math.exp(-(sigma**2))) / 32**2
    assert strehl(masks).mean().item() == pytest.approx(expected, rel=0.02 * sigma)


def test_roughness_has_its_variance_and_correlation():
    pitch, length = (1e-6, 2e-6), 6e-6
    surface = rough_surface((60, 64, 64), pitch, length, seeded())
    assert surface.var().item() == pytest.approx(1, rel=0.05)
    for axis, step in ((-1, 2e-6), (-2, 1e-6)):
        for lag in (1, 3, 6):
            found = (surface * surface.roll(lag, axis)).mean().item()
            assert found == pytest.approx(math.exp(-((lag * step / length) ** 2)), abs=0.03)


def test_the_halo_of_a_psf_is_the_mean_over_rough_pupils():
    """Whatever the pupil: here a clear square, whose own spot is far below a pixel of the halo."""
    sigma, length = 0.9, 25e-6
    pupil = Grid((128, 128), BENCH_PSF.diameter / 64, BENCH_PSF.wavelength)
    clear = torch.zeros(pupil.shape, dtype=torch.complex128)
    clear[32:96, 32:96] = 1
    surfaces = rough_surface((160, *pupil.shape), pupil.pitch, length, seeded())
    fine = BENCH_PSF.pitch / 5
    speckled, _ = psf(clear * torch.exp(1j * sigma * surfaces), pupil, BENCH_PSF.distance, (105, 105), fine)
    pixels = speckled.mean(0).reshape(21, 5, 21, 5).sum((1, 3))
    clean, _ = psf(clear, pupil, BENCH_PSF.distance, (105, 105), fine)
    perfect = clean.reshape(21, 5, 21, 5).sum((1, 3))

    weight = perfect[None, None]
    built = device("psf", PhaseNoise(sigma, length), weight=weight, size=32).pair()
    light = (built.scale * built.positive)[0, 0]
    centre = (light.shape[-2] // 2, light.shape[-1] // 2)
    found = light[centre[0] - 10 : centre[0] + 11, centre[1] - 10 : centre[1] + 11]
    assert (found - pixels).norm() < 0.05 * (pixels - perfect).norm()
    assert found[10, 10].item() == pytest.approx(pixels[10, 10].item(), rel=0.03)


@pytest.mark.parametrize("sigma", [0.5, 2.0])
@pytest.mark.parametrize("length", [1e-6, 25e-6, 1e-4])
def test_a_halo_wider_than_the_window_leaves_it(sigma, length):
    """The share of the light within the window by quadrature of the transfer function, ring by ring."""
    size, reach = 31, BENCH_PSF.distance * BENCH_PSF.wavelength
    point = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    found = device("psf", PhaseNoise(sigma, length), weight=point, size=size).pair().positive.sum().item()
    half = size * BENCH_PSF.pitch / 2
    # A ring at the frequency nu passes the window with the mean of sinc(W nu_y) sinc(W nu_x) over its angles.
    angles = (np.arange(400) + 0.5) * math.pi / 800

    def ring(u):  # u = reach nu / length
        nu = u * length / reach
        passed = np.sinc(2 * half * nu * np.sin(angles)) * np.sinc(2 * half * nu * np.cos(angles))
        scattered = math.expm1(sigma**2 * math.exp(-(u**2))) * math.exp(-(sigma**2))
        return 2 * math.pi * u * (length / reach) ** 2 * (2 * half) ** 2 * passed.mean() * scattered

    halo = quad(ring, 0, 7, limit=2000)[0]
    assert found == pytest.approx(math.exp(-(sigma**2)) + halo, rel=1e-6)


def test_roughness_without_correlation_loses_the_light():
    built = device("psf", PhaseNoise(0.5), weight=FLAT[:1]).pair()
    assert built.positive.sum().item() == pytest.approx(math.exp(-0.25))
    nearly = device("psf", PhaseNoise(0.5, 1e-9), weight=FLAT[:1]).pair()
    torch.testing.assert_close(nearly.positive.sum(), built.positive.sum(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("levels", [2, 3, 4, 8])
def test_few_phases_diffract_as_a_stepped_grating(levels):
    """A kernel that shifts by one sample is a phase ramp, and its efficiency is sinc^2(1/L)."""
    weight = torch.zeros(1, 1, 1, 3, dtype=torch.float64)
    weight[..., 0] = 1
    ramp = network("4f", weight, size=(1, 478)).optics.masks().transmission
    built = device("4f", PhaseQuantisation(levels), weight=weight, size=(1, 478)).masks().transmission
    efficiency = (built * ramp.conj()).mean().abs().square().item()
    assert efficiency == pytest.approx((math.sin(math.pi / levels) / (math.pi / levels)) ** 2, rel=0.01)


def test_phases_become_the_nearest_of_a_table():
    table = (0.1, 1.0, 1.3, 3.0, 6.0)
    perfect = network("4f").optics.masks().transmission
    built = device("4f", PhaseQuantisation(table)).masks().transmission[0, 0]
    options = torch.exp(1j * torch.tensor(table, dtype=torch.float64))
    nearest = (perfect[..., None] / perfect.abs()[..., None] - options).abs().argmin(-1)
    torch.testing.assert_close(built, perfect.abs() * options[nearest])


def test_the_gradient_of_rounding_goes_straight_through():
    """Along the circle and along the radius it is that of the unrounded mask, turned with it."""
    weight = nn.Parameter(noise(1, 1, 3, 3))
    optics = network("4f", weight).optics
    perfect = optics.masks().transmission
    noisy = NoisyOptics(optics, PhaseQuantisation(4)).train()
    before = torch.autograd.grad(perfect.abs().square().sum(), weight)[0]
    readings = []

    class Look(OpticalError):
        def on_masks(self, masks, generator):
            readings.append(masks.transmission)
            return masks

    noisy.errors = (PhaseQuantisation(4), Look())
    noisy(images(1, 1, 12, 12))
    after = torch.autograd.grad(readings[0].abs().square().sum(), weight)[0]
    torch.testing.assert_close(after, before)


def test_measured_phases_may_come_as_an_array_or_a_tensor():
    phases = [0.0, 1.0, 2.5, 4.0]
    for levels in (np.array(phases), torch.tensor(phases), torch.tensor(phases, requires_grad=True)):
        assert PhaseQuantisation(levels) == PhaseQuantisation(phases)
    assert PhaseQuantisation(np.int64(4)) == PhaseQuantisation(torch.tensor(4)) == PhaseQuantisation(4)
    four = (device("4f", PhaseQuantisation(levels)).masks().transmission for levels in (4, np.int64(4)))
    assert torch.equal(*four)


@pytest.mark.parametrize(("state", "left"), [(0, 0.7**2), (1, 1.0), (-1, 0.4**2)])
def test_dead_pixels_take_their_share_of_the_amplitude(state, left):
    masks = device("4f", DeadPixels(0.3, state), weight=FLAT, size=32).masks().transmission
    # The variance of the number of dead pixels adds a little: p (1 - p) |1 - state|^2 / n.
    expected = left + 0.21 * abs(1 - state) ** 2 / 32**2
    assert strehl(masks).mean().item() == pytest.approx(expected, rel=0.01)


def test_a_psf_is_missed_by_as_much_as_was_asked():
    weight = 5 + noise(30, 2, 7, 7)  # bright everywhere, so that nothing is cut off
    perfect = network("psf", weight).optics.pair().positive
    built = device("psf", PSFError(0.1), weight=weight).pair().positive
    error = (built - perfect).norm(dim=(-2, -1)) / perfect.norm(dim=(-2, -1))
    assert error.mean().item() == pytest.approx(0.1, rel=0.05)
    torch.testing.assert_close(built.sum((-2, -1)), perfect.sum((-2, -1)))


def test_stray_light_lies_evenly_over_each_picture():
    x = images(2, 1, 12, 12)
    design = network("psf").optics
    signed = [design.pair().scale * picture for picture in pictures(design, x)]
    expected = sum(
        s * (0.8 * p + 0.2 * p.mean((-2, -1), keepdim=True)) for s, p in zip((1, -1), signed, strict=True)
    )
    torch.testing.assert_close(device("psf", StrayLight(0.2))(x), expected)
    twice = device("psf", [StrayLight(0.1), StrayLight(1 - 0.8 / 0.9)])
    torch.testing.assert_close(twice(x), expected)


def pictures(layer, x):
    """Both pictures, by a plain convolution."""
    for light in (layer.pair().positive, layer.pair().negative):
        yield nn.functional.conv2d(x, light.flip(-2, -1), padding=light.shape[-1] // 2)


@pytest.mark.parametrize("kind", ["4f", "psf"])
def test_brightness_is_a_factor(kind):
    x = images(2, 1, 12, 12)
    torch.testing.assert_close(
        device(kind, [Brightness(2), Brightness(0.4)])(x), 0.8 * network(kind).optics(x)
    )


def test_light_is_added_before_the_full_well():
    sensor = Camera(photons=100, full_well=50, shot_noise=False)
    built = device("psf", [CameraNoise(sensor), Brightness(2)], weight=FLAT[:1], size=4)
    dark, bright = torch.full((2, 1, 1, 4, 4), 0.2).double() * torch.tensor([1, 4]).reshape(2, 1, 1, 1, 1)
    torch.testing.assert_close(built(dark), 2 * dark)
    torch.testing.assert_close(built(bright), torch.full_like(bright, 0.5))


def test_the_noise_of_the_camera_that_is_there():
    built = device("psf", CameraNoise(Camera(photons=400)), weight=FLAT[:1], size=64)
    x = torch.full((1, 1, 64, 64), 0.5, dtype=torch.float64)
    readings = built(x, seeded())
    assert readings.var().item() == pytest.approx(0.5 / 400, rel=0.1)
    torch.testing.assert_close(built(x), x)


def test_errors_act_in_their_order():
    """First four levels and then noise leaves any phase; the other way round leaves four."""
    coarse, rough = PhaseQuantisation(4), PhaseNoise(0.3)
    last, first = (
        device("4f", errors).masks().transmission.angle() for errors in ([rough, coarse], [coarse, rough])
    )
    steps = [
        (phase / (math.pi / 2) - (phase / (math.pi / 2)).round()).abs().amax() for phase in (last, first)
    ]
    assert steps[0] < 1e-9 < 0.1 < steps[1]


DIFFERENTIABLE = {
    "4f": [
        PhaseNoise(0.3, 1e-4), DeadPixels(0.1), LateralShift(20e-6, -30e-6), Rotation(0.1),
        Magnification(1.1), Tilt(0.2, 0.3), Defocus(1e-3), WavelengthShift(20e-9), Bandwidth(20e-9),
        Aperture(2e-3), StrayLight(0.1), Brightness(0.8),
    ],
    "psf": [
        PhaseNoise(0.3, 2e-5), PSFError(0.2), LateralShift(2e-6, -3e-6, spread=1e-6), Rotation(0.1),
        Magnification(1.1), Tilt(0.2, 0.3), Defocus(5e-5), WavelengthShift(20e-9), Bandwidth(20e-9),
        Aperture(0.2e-3), StrayLight(0.1), Brightness(0.8),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "error"),
    [(kind, error) for kind, errors in DIFFERENTIABLE.items() for error in errors],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_gradients_go_through_to_the_kernels(kind, error):
    weight = nn.Parameter(noise(2, 2, 3, 3))
    optics = network(kind, weight, size=6).optics
    noisy = NoisyOptics(optics, error, BENCH_PSF if kind == "psf" else None).train()
    x, against = images(2, 2, 6, 6), noise(2, 2, 6, 6, seed=5)

    def loss():
        torch.manual_seed(3)  # the same device each time
        return (noisy(x) * against).sum()

    found = torch.autograd.grad(loss(), weight)[0]
    step, direction = 1e-6, noise(*weight.shape, seed=6)
    with torch.no_grad():
        ends = []
        for sign in (1, -2):
            weight.add_(sign * step * direction)
            ends.append(loss())
    slope = (ends[0] - ends[1]) / (2 * step)
    assert (found * direction).sum().item() == pytest.approx(slope.item(), rel=1e-5)


@pytest.mark.parametrize("error", DIFFERENTIABLE["psf"], ids=lambda error: type(error).__name__)
def test_a_kernel_of_one_sign_has_a_dark_psf_and_finite_gradients(error):
    weight = nn.Parameter(noise(2, 1, 3, 3).abs())
    noisy = NoisyOptics(network("psf", weight, size=6).optics, error, BENCH_PSF).train()
    noisy(images(1, 1, 6, 6)).sum().backward()
    assert torch.isfinite(weight.grad).all() and weight.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: device("psf", PhaseQuantisation(8)),
            ValueError,
            "has no meaning for PSF.* FourF",
        ),
        (lambda: device("psf", DeadPixels(0.1)), ValueError, "use it with FourFConvolution"),
        (lambda: device("4f", PSFError(0.1)), ValueError, "PSFError has no meaning .* PSFConvolution"),
        (lambda: device("psf", Defocus(1e-5), bench=PSFBench(5e-6)), ValueError, "distance for Defocus"),
        (lambda: device("psf", Aperture(1e-3), bench=PSFBench(5e-6, 1e-3)), ValueError, "wavelength for Ap"),
        (lambda: device("psf", Defocus(-1)), ValueError, "sensor behind the optic"),
        (lambda: device("4f", WavelengthShift(-1e-6)), ValueError, "must leave a wavelength"),
        (lambda: device("4f", CameraNoise(Camera(binning=2))), ValueError, "binning of the design, 1, got 2"),
        (lambda: PSFBench(0), ValueError, "pitch must be positive"),
        (lambda: PhaseQuantisation(()), ValueError, "at least one phase"),
        (lambda: PhaseQuantisation(0), ValueError, "levels must be at least 1"),
        (lambda: PhaseQuantisation("8"), TypeError, "levels must be a whole number"),
        (lambda: PhaseQuantisation(torch.zeros(2, 2)), TypeError, "levels must be one real number"),
        (lambda: PhaseNoise(-0.1), ValueError, "sigma must not be negative"),
        (lambda: DeadPixels(20), ValueError, "fraction must be from 0 to 1"),
        (lambda: DeadPixels(0.1, 2), ValueError, "state must be a transmission"),
        (lambda: Rotation(45), ValueError, "pi/4 radians"),
        (lambda: Tilt(2, 0), ValueError, "about_x must be below pi/2"),
        (lambda: Magnification(0), ValueError, "factor must be positive"),
        (lambda: CameraNoise("good"), TypeError, "Camera, got str"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()
