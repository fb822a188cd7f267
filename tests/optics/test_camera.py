import math

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, poisson
from torch import nn

from onnlab.optics.camera import Camera

IDEAL = {"photons": 1000.0, "shot_noise": False}


def seed(n=0):
    return torch.Generator().manual_seed(n)


def ramp(ny=6, nx=8, dtype=torch.float64):
    return torch.linspace(0.05, 1, ny * nx, dtype=dtype).reshape(ny, nx)


def flat(level, size=400, dtype=torch.float64):
    return torch.full((size, size), level, dtype=dtype)


def standard_error_of_variance(values):
    """Of the sample variance, from the fourth moment."""
    centred = (values - values.mean()).double()
    return float((((centred**2) ** 2).mean() - (centred**2).mean() ** 2).sqrt()) / math.sqrt(values.numel())


# Without noise


def test_electrons_follow_the_settings():
    camera = Camera(
        photons=200, binning=2, quantum_efficiency=0.6, dark_current=3, exposure_time=0.5, shot_noise=False
    )
    intensity = torch.tensor([[1.0, 2, 0, 1], [3, 4, 0, 0]])
    expected = torch.tensor([[0.6 * 200 * 10 + 1.5, 0.6 * 200 * 1 + 1.5]])
    torch.testing.assert_close(camera.expected_electrons(intensity), expected)
    torch.testing.assert_close(camera(intensity), expected)


@pytest.mark.parametrize("binning", [1, 2, 3])
def test_binning_adds_photons_up_block_by_block(binning):
    intensity = ramp(6, 12)
    got = Camera(binning=binning, photons=1, shot_noise=False)(intensity.expand(2, 3, 6, 12))
    blocks = intensity.numpy().reshape(6 // binning, binning, 12 // binning, binning)
    np.testing.assert_allclose(got[1, 2].numpy(), blocks.sum((1, 3)), rtol=1e-14)


def test_digital_numbers_by_hand():
    camera = Camera(photons=10, full_well=100, bits=3, shot_noise=False)
    assert camera.gain == pytest.approx(0.07)
    electrons = torch.tensor([[0.0, 7.0, 7.2, 50.1, 99.0, 100.0, 250.0]])
    # 0.07 DN per electron; half a digital number is 7.14 electrons.
    expected = torch.tensor([[0.0, 0.0, 1.0, 4.0, 7.0, 7.0, 7.0]])
    assert torch.equal(camera(electrons / 10), expected)


def test_full_well_without_converter():
    camera = Camera(photons=1000, full_well=300, shot_noise=False)
    assert torch.equal(camera(torch.tensor([[0.1, 0.3, 5.0]])), torch.tensor([[100.0, 300.0, 300.0]]))


@pytest.mark.parametrize("bits", [None, 1, 8, 16, 24])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_camera_without_noise_reads_what_is_expected(bits, dtype):
    camera = Camera(photons=900, binning=2, dark_current=2, full_well=4000, bits=bits, shot_noise=False)
    intensity = 1.3 * ramp(dtype=dtype)
    image = camera(intensity)
    assert image.dtype == dtype and image.shape == (3, 4)
    assert torch.equal(image, camera.expected(intensity))
    assert torch.equal(image, camera(intensity, seed(5)))
    if bits is not None:
        assert torch.equal(image, image.round()) and float(image.max()) == 2**bits - 1


def test_expected_leaves_noise_out_and_keeps_the_limits():
    noisy = Camera(photons=900, read_noise=20, full_well=500, bits=6)
    quiet = Camera(photons=900, full_well=500, bits=6, shot_noise=False)
    assert torch.equal(noisy.expected(ramp()), quiet(ramp()))


def test_to_intensity_inverts_the_expected_picture():
    camera = Camera(
        photons=500,
        binning=2,
        quantum_efficiency=0.7,
        dark_current=40,
        full_well=2e3,
        bits=16,
        shot_noise=False,
    )
    intensity = ramp()
    mean = torch.nn.functional.avg_pool2d(intensity[None], 2)[0]
    step = 1 / camera.gain / (0.7 * 500 * 4)
    error = (camera.to_intensity(camera(intensity)) - mean).abs().max()
    assert 0 < float(error) <= 0.5 * step * (1 + 1e-9)


# Noise


def test_same_seed_same_picture():
    camera = Camera(photons=50, read_noise=2, full_well=200, bits=8)
    assert torch.equal(camera(ramp(), seed(1)), camera(ramp(), seed(1)))
    assert not torch.equal(camera(ramp(), seed(1)), camera(ramp(), seed(2)))


@pytest.mark.parametrize("mean", [0.4, 3.0, 25.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shot_noise_is_poisson(mean, dtype):
    # Half of the electrons come from light and half from dark current: both are counted alike.
    camera = Camera(photons=100, quantum_efficiency=0.5, dark_current=mean, exposure_time=0.5)
    counts = camera(flat(mean / 100, dtype=dtype), seed())
    assert counts.dtype == dtype and torch.equal(counts, counts.round())
    low, high = poisson.ppf([0.001, 0.999], mean)
    values = np.clip(counts.numpy().ravel(), low, high)
    bins = np.arange(low, high + 1)
    observed = np.array([(values == n).sum() for n in bins])
    chance = poisson.pmf(bins, mean)
    chance[0], chance[-1] = poisson.cdf(low, mean), poisson.sf(high - 1, mean)
    assert chisquare(observed, chance / chance.sum() * values.size).pvalue > 1e-3


@pytest.mark.parametrize("read_noise", [0.0, 12.0])
@pytest.mark.parametrize("bits", [None, 12])
def test_photon_transfer_curve(bits, read_noise):
    camera = Camera(
        photons=8000,
        binning=2,
        quantum_efficiency=0.5,
        dark_current=100,
        read_noise=read_noise,
        full_well=16_000,
        bits=bits,
    )
    for level in (0.1, 0.3, 0.7):
        intensity = flat(level)
        image = camera(intensity, seed())
        mean = camera.gain * (0.5 * 8000 * 4 * level + 100)
        rounding = 1 / 12 if bits else 0.0
        variance = camera.gain * mean + camera.gain**2 * read_noise**2 + rounding
        assert abs(float(image.mean()) - mean) < 4 * math.sqrt(variance / image.numel())
        assert abs(float(image.var()) - variance) < 4 * standard_error_of_variance(image)
        torch.testing.assert_close(camera.variance(intensity), torch.full_like(image, variance))


def test_read_noise_alone_is_gaussian_and_may_go_below_zero_before_the_converter():
    image = Camera(**IDEAL, read_noise=5)(flat(0.0), seed())
    assert abs(float(image.mean())) < 4 * 5 / 400
    assert abs(float(image.var()) - 25) < 4 * standard_error_of_variance(image)
    within = float((image.abs() < 5).double().mean())
    assert within == pytest.approx(math.erf(1 / math.sqrt(2)), abs=0.005)
    assert float(Camera(**IDEAL, read_noise=5, full_well=100, bits=8)(flat(0.0), seed()).min()) == 0


def test_the_well_is_full_before_it_is_read():
    # Far above saturation all pixels hold the same charge, and only the reading scatters.
    image = Camera(photons=1e5, full_well=1000, read_noise=4)(flat(1.0), seed())
    assert abs(float(image.mean()) - 1000) < 4 * 4 / 400
    assert abs(float(image.var()) - 16) < 4 * standard_error_of_variance(image)


def test_quantisation_error_is_uniform():
    camera = Camera(photons=1e4, full_well=1e4, bits=8, shot_noise=False)
    electrons = torch.linspace(0, 1e4, 100_001, dtype=torch.float64)[None]
    error = camera(electrons / 1e4) / camera.gain - electrons
    step = 1e4 / 255
    assert float(error.abs().max()) <= step / 2 * (1 + 1e-9)
    assert float(error.var()) == pytest.approx(step**2 / 12, rel=1e-3)
    counts = torch.histc(error, 10, -step / 2, step / 2)
    assert float(counts.min() / counts.max()) > 0.97


def test_many_pictures_average_to_the_expected_one():
    camera = Camera(photons=300, read_noise=3, dark_current=5, full_well=2000, bits=10)
    stack = camera(ramp().expand(4000, 6, 8), seed())
    error = (stack.mean(0) - camera.gain * camera.expected_electrons(ramp())) / (stack.var(0) / 4000).sqrt()
    assert float(error.abs().max()) < 4.5 and float(error.square().mean().sqrt()) < 1.4


# Gradients


@pytest.mark.parametrize("converter", [{}, {"full_well": 1e4, "bits": 9}])
def test_gradient_is_that_of_the_mean(converter):
    camera = Camera(photons=700, binning=2, quantum_efficiency=0.8, read_noise=6, dark_current=9, **converter)
    intensity, weight = ramp().requires_grad_(), ramp(3, 4).flip(0)
    (camera(intensity, seed()) * weight).sum().backward()
    shift = 0.01 * ramp().flip(1)

    def mean(x):
        return float((camera.gain * camera.expected_electrons(x) * weight).sum())

    with torch.no_grad():
        slope = (mean(intensity + shift) - mean(intensity - shift)) / 2
    assert float((intensity.grad * shift).sum()) == pytest.approx(slope, rel=1e-9)


def test_gradient_of_a_noisy_mean_is_the_finite_difference_of_noisy_means():
    # The same against drawn numbers only: the mean of many pictures, brighter and darker.
    camera = Camera(photons=400, read_noise=2, full_well=1000, bits=8)
    level = torch.tensor(0.5, dtype=torch.float64, requires_grad=True)
    camera(level.expand(200, 200), seed()).mean().backward()
    up, down = (camera(flat(0.5 + d), seed(3)) for d in (0.05, -0.05))
    slope = float(up.mean() - down.mean()) / 0.1
    scatter = math.sqrt(2 * float(up.var()) / up.numel()) / 0.1
    assert abs(float(level.grad) - slope) < 4 * scatter < 0.02 * slope


def test_no_gradient_at_the_limits():
    camera = Camera(photons=1000, read_noise=5, full_well=1000, bits=8)
    intensity = torch.tensor([[0.0, 0.5, 3.0]], dtype=torch.float64).repeat(50, 1).requires_grad_()
    image = camera(intensity, seed())
    image.sum().backward()
    slope = 1000 * camera.gain
    assert torch.equal(intensity.grad[:, 2], torch.zeros(50, dtype=torch.float64))
    torch.testing.assert_close(intensity.grad[:, 1], torch.full((50,), slope, dtype=torch.float64))
    # Dark pixels: those that the converter cut at zero pass nothing, the others all.
    cut = intensity.grad[:, 0] == 0
    assert 0 < int(cut.sum()) < 50
    assert not bool(image.detach()[cut, 0].any())


def test_a_gradient_at_the_very_limits_and_none_beyond():
    camera = Camera(photons=1, full_well=9, bits=8, shot_noise=False)
    intensity = torch.tensor([[0.0, 9.0, 9.1]], dtype=torch.float64).requires_grad_()
    camera(intensity).sum().backward()
    torch.testing.assert_close(intensity.grad, torch.tensor([[255 / 9, 255 / 9, 0.0]], dtype=torch.float64))


def test_the_camera_fits_into_a_sequential_model():
    model = nn.Sequential(nn.Softplus(), Camera(photons=10, full_well=100, bits=4, shot_noise=False))
    assert model(torch.zeros(1, 2, 2)).shape == (1, 2, 2)
    assert not list(model.parameters()) and "bits=4" in repr(model)


def test_numbers_whose_sum_is_beyond_their_type_are_finite():
    light = torch.full((8, 8), 1e37)
    camera = Camera(photons=1, shot_noise=False)
    assert torch.equal(camera(light), light)
    light[3, 4] = math.inf
    with pytest.raises(ValueError, match="intensity must be finite"):
        camera(light)


# Bad input


@pytest.mark.parametrize(
    ("intensity", "error", "words"),
    [
        (-ramp(), ValueError, "intensity must be >= 0"),
        (torch.full((4, 4), math.nan), ValueError, "intensity must be finite"),
        (torch.full((4, 4), math.inf), ValueError, "intensity must be finite"),
        (ramp().cfloat(), TypeError, "intensity must be real.*abs"),
        (torch.ones(4, 4, dtype=torch.uint8), TypeError, "intensity must be float32"),
        (torch.ones(4), ValueError, "intensity must have shape"),
        (np.ones((4, 4)), TypeError, "intensity must be a torch.Tensor"),
        (ramp(5, 8), ValueError, r"multiples of binning=2, got \(5, 8\); crop it to \(4, 8\)"),
        (ramp(1, 8), ValueError, r"multiples of binning=2, got \(1, 8\); use binning=1"),
        (ramp(6, 7), ValueError, r"multiples of binning=2, got \(6, 7\); crop it to \(6, 6\)"),
    ],
)
@pytest.mark.parametrize("method", ["forward", "expected", "expected_electrons", "variance"])
def test_bad_intensity(intensity, error, words, method):
    camera = Camera(binning=2, shot_noise=False)
    with pytest.raises(error, match=words):
        getattr(camera, method)(intensity)


@pytest.mark.parametrize("settings", [{}, {"shot_noise": False, "read_noise": 1}])
def test_noise_needs_a_generator(settings):
    with pytest.raises(ValueError, match=r"generator must be given.*manual_seed.*expected"):
        Camera(**settings)(ramp())


def test_generator_of_another_kind_or_place():
    with pytest.raises(TypeError, match="generator must be a torch.Generator, got 7"):
        Camera()(ramp(), 7)
    with pytest.raises(ValueError, match="generator must be on the device of intensity, meta, got cpu"):
        Camera()(ramp().to("meta"), seed())


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"photons": 0}, ValueError, "photons must be positive"),
        ({"photons": math.inf}, ValueError, "photons must be finite"),
        ({"photons": "many"}, TypeError, "photons must be one real number"),
        ({"binning": 0}, ValueError, "binning must be at least 1, got 0"),
        ({"binning": 1.5}, TypeError, "binning must be a whole number, got 1.5"),
        ({"quantum_efficiency": 0}, ValueError, "quantum_efficiency must be positive"),
        ({"quantum_efficiency": 60}, ValueError, "quantum_efficiency must be at most 1, got 60"),
        ({"dark_current": -1}, ValueError, "dark_current must not be negative"),
        ({"exposure_time": 0}, ValueError, "exposure_time must be positive"),
        ({"read_noise": -0.1}, ValueError, "read_noise must not be negative"),
        ({"read_noise": math.nan}, ValueError, "read_noise must be finite"),
        ({"full_well": 0}, ValueError, "full_well must be positive"),
        ({"bits": 8}, ValueError, "bits must come with a full_well.*full_well=10_000"),
        ({"bits": 0, "full_well": 100}, ValueError, "bits must be from 1 to 24, got 0"),
        ({"bits": 25, "full_well": 100}, ValueError, "bits must be from 1 to 24, got 25"),
        ({"bits": True, "full_well": 100}, TypeError, "bits must be a whole number"),
        ({"shot_noise": 1}, TypeError, "shot_noise must be True or False"),
    ],
)
def test_bad_settings(settings, error, words):
    with pytest.raises(error, match=words):
        Camera(**settings)
