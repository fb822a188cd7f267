import math

import pytest
import torch

from onnlab.hardware import MeasuredPSFs, MetaAtoms, Metasurface, PhaseNoise, WidthError
from tests.hardware.helpers import BENCH_4F, device, images, network, noise, seeded

NANO = 1e-9


def library(widths, phase):
    t = torch.polar(torch.ones_like(phase), phase)[:, None]
    return MetaAtoms(widths, t, (BENCH_4F["wavelength"],), 300 * NANO, 700 * NANO, "square")


WIDTHS = torch.linspace(50, 250, 201, dtype=torch.float64) * NANO
STRAIGHT = library(WIDTHS, torch.linspace(0, 2 * math.pi, 201, dtype=torch.float64))  # 2 pi in 200 nm
SLOPE = 2 * math.pi / (200 * NANO)
NITRIDE = MetaAtoms.silicon_nitride()
HALF_WAVE = -torch.ones(40, 1, 1, 1, dtype=torch.float64)  # masks of the phase pi: pillars of 150 nm


def test_pillars_of_the_right_width_are_no_error():
    x = images(2, 1, 12, 12)
    error = WidthError(0, NITRIDE)
    for kind in ("4f", "psf"):
        torch.testing.assert_close(device(kind, error)(x), network(kind).optics(x), rtol=1e-11, atol=1e-11)
    widths = WIDTHS[30:80:7].repeat(5, 1)
    assert torch.equal(error.on_metasurface(Metasurface(widths, NITRIDE), seeded()).widths, widths)


def test_on_a_mask_the_phase_follows_the_library():
    """A straight library: Strehl exp(-(slope sigma)^2), and a bias that turns all phases alike."""
    sigma = 10 * NANO
    masks = device("4f", WidthError(sigma, STRAIGHT), weight=HALF_WAVE, size=32).masks().transmission
    strehl = masks.mean((-2, -1)).abs().square().mean().item()
    left = math.exp(-((SLOPE * sigma) ** 2))
    assert strehl == pytest.approx(left + (1 - left) / 32**2, rel=0.005)
    wide = device("4f", WidthError(0, STRAIGHT, bias=5 * NANO), weight=HALF_WAVE).masks().transmission
    turned = complex(math.cos(math.pi + SLOPE * 5 * NANO), math.sin(math.pi + SLOPE * 5 * NANO))
    torch.testing.assert_close(wide, torch.full_like(wide, turned))


def test_beyond_the_library_a_width_stops():
    """Here the phase pi is that of the narrowest pillar, and one turn is not reached."""
    ends = library(WIDTHS, math.pi + torch.linspace(0, 1.5 * math.pi, 201, dtype=torch.float64))
    narrower = device("4f", WidthError(0, ends, bias=-20 * NANO), weight=HALF_WAVE).masks().transmission
    torch.testing.assert_close(narrower, torch.full_like(narrower, -1))


def test_for_psfs_it_is_the_rough_surface_of_the_slope():
    sigma, length = 12 * NANO, 20e-6
    found = device("psf", WidthError(sigma, STRAIGHT, correlation_length=length)).pair()
    expected = device("psf", PhaseNoise(SLOPE * sigma, length)).pair()
    torch.testing.assert_close(found.positive, expected.positive)
    # Nitride by the formula of its fit, in green: phi = 2 pi a (1 - exp(-(w^2 - b w) / c)).
    w = torch.linspace(0.065, 0.237, 2001, dtype=torch.float64)
    a, b, c = 2.28293, 0.03756, 0.07134
    slope = 2 * math.pi * a * (2 * w - b) / c * torch.exp(-(w.square() - b * w) / c)
    rms = slope.square().mean().sqrt().item() * 1e6
    assert WidthError(sigma, NITRIDE).phase_noise(532e-9).sigma == pytest.approx(rms * sigma, rel=1e-3)


def test_a_metasurface_has_other_pillars_and_the_same_gaps():
    widths = torch.full((40, 40), 150 * NANO, dtype=torch.float64)
    widths[:, 7] = 0
    etched = WidthError(3 * NANO, NITRIDE, bias=-8 * NANO).on_metasurface(
        Metasurface(widths, NITRIDE), seeded()
    )
    assert (etched.widths[:, 7] == 0).all() and widths[0, 0] == 150 * NANO
    change = (etched.widths - widths)[:, 8:]
    assert change.mean().item() == pytest.approx(-8 * NANO, abs=0.3 * NANO)
    assert change.std().item() == pytest.approx(3 * NANO, rel=0.1)


def test_measured_psfs_take_the_place_of_the_perfect_ones():
    x, weight = images(2, 2, 12, 12), noise(3, 2, 4, 3)
    design = network("psf", weight).optics
    pair = design.pair()
    same = MeasuredPSFs(pair.positive, pair.negative)
    torch.testing.assert_close(device("psf", same, weight=weight)(x), design(x))
    light = noise(3, 2, 5, 5, seed=4).abs()
    found = device("psf", MeasuredPSFs(light, torch.zeros_like(light)), weight=weight)(x)
    expected = torch.nn.functional.conv2d(x, light.flip(-2, -1), padding=2) * pair.scale
    torch.testing.assert_close(found, expected)
    gains = torch.tensor([0.0, 1.0, 7.0], dtype=light.dtype)[:, None, None]
    amplified = device("psf", MeasuredPSFs(light, torch.zeros_like(light), gains), weight=weight)(x)
    torch.testing.assert_close(amplified, gains * expected / pair.scale)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: WidthError(1e-9, "nitride"), TypeError, "MetaAtoms, got str"),
        (lambda: WidthError(-1e-9, NITRIDE), ValueError, "sigma must not be negative"),
        (lambda: device("psf", WidthError(0, STRAIGHT, bias=1e-9)), ValueError, "use on_metasurface"),
        (
            lambda: MeasuredPSFs(-torch.ones(1, 1, 3, 3), torch.ones(1, 1, 3, 3)),
            ValueError,
            "positive must be >=",
        ),
        (
            lambda: device("psf", MeasuredPSFs(torch.ones(2, 1, 3, 3), torch.ones(2, 1, 3, 3))),
            ValueError,
            r"positive must have shape \(3, 1, ky, kx\), up to 12 x 12",
        ),
        (
            lambda: device("psf", MeasuredPSFs(*torch.ones(2, 3, 1, 3, 3), scale=torch.ones(1, 3))),
            ValueError,
            r"scale must have shape \(3, 1, 1\)",
        ),
        (
            lambda: MeasuredPSFs(*torch.ones(2, 3, 1, 3, 3), scale=-torch.ones(3, 1, 1)),
            ValueError,
            "scale must be >=",
        ),
        (lambda: device("4f", MeasuredPSFs(*torch.ones(2, 3, 1, 3, 3))), ValueError, "no meaning"),
    ],
)
def test_refusals(make, error, message):
    with pytest.raises(error, match=message):
        make()
