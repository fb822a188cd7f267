"""Candidates: their numbers, their networks and their noise."""

import pytest
import torch
from torch import Generator
from torch.nn.functional import avg_pool2d

from onnlab.data import Dataset, Split, load
from onnlab.hardware import Device, NoisyConvolution, build, seen_by


def tiny(side: int = 8, channels: int = 1) -> Dataset:
    pixels = torch.rand(6, channels, side, side, generator=Generator().manual_seed(0))
    split = Split(pixels, torch.arange(6) % 2)
    return Dataset("tiny", split, split, split, ("a", "b"), "")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"kernels": 0}, ValueError, "kernels must be at least 1"),
        ({"kernel_size": 3.0}, TypeError, "kernel_size must be a whole number"),
        ({"camera": "film"}, ValueError, "camera must be one of"),
        ({"noise": -1.0}, ValueError, "noise must not be negative"),
        ({"hidden": (0,)}, ValueError, "hidden must be at least 1"),
        ({"hidden": 64}, TypeError, "hidden must be a sequence of whole numbers, got 64; pass a tuple"),
        ({"image_size": 10}, ValueError, "image_size must be a multiple of pool=4"),
    ],
)
def test_wrong_numbers(changes: dict, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        Device(**{"kernels": 8, "kernel_size": 7, **changes})


def test_the_network_is_the_device() -> None:
    device = Device(5, 3, "square-law", pool=2, hidden=[7], image_size=6)
    assert device == Device(5, 3, "square-law", pool=2, hidden=(7,), image_size=6)
    model = build(device, tiny(channels=3), seed=0)
    assert model.optics.weight.shape == (5, 3, 3, 3)
    assert model.optics.camera == "square-law"
    assert [layer.out_features for layer in model.back_end if hasattr(layer, "out_features")] == [7, 2]
    assert model(seen_by(device, tiny(channels=3)).train.images).shape == (6, 2)


def test_seeds_and_the_global_generator() -> None:
    before = torch.get_rng_state()
    one, two, other = (build(Device(2, 3), tiny(), seed).optics.weight for seed in (0, 0, 1))
    assert torch.equal(one, two) and not torch.equal(one, other)
    assert torch.equal(torch.get_rng_state(), before)


def test_kernels_have_the_variance_of_torch() -> None:
    own = build(Device(4000, 3), tiny(), 0).optics.weight
    torchs = torch.nn.Conv2d(1, 4000, 3).weight
    assert own.std().item() == pytest.approx(torchs.std().item(), rel=0.02)


def test_a_smaller_image_holds_the_means() -> None:
    data = seen_by(Device(1, 3, pool=2, image_size=4), tiny())
    torch.testing.assert_close(data.test.images, avg_pool2d(tiny().test.images, 2))
    data = tiny()
    assert seen_by(Device(1, 3, pool=2, image_size=8), data) is data
    with pytest.raises(ValueError, match="image_size must be at most that of the data, 8, got 12"):
        seen_by(Device(1, 3, image_size=12), tiny())


@pytest.mark.parametrize("camera", ["linear", "square-law"])
def test_noise_has_the_level_that_was_asked_for(camera: str) -> None:
    x = load("mnist-mini").test[:200][0]
    layer = NoisyConvolution(1, 2, 5, 28, camera, noise=0.3)
    with torch.no_grad():
        noisy = layer(x, Generator().manual_seed(0))
        layer.noise = 0.0
        clean = layer(x)
    assert (noisy - clean).std().item() == pytest.approx(0.3 * clean.square().mean().sqrt().item(), rel=0.01)


def test_noise_comes_before_the_rectification() -> None:
    layer = NoisyConvolution(1, 2, 5, 28, "rectified", noise=0.3)
    assert layer(torch.rand(2, 1, 28, 28)).min() == 0


@pytest.mark.parametrize("camera", ["linear", "rectified", "square-law"])
@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_the_expected_readings_are_the_mean_of_many(camera: str, noise: float) -> None:
    x, generator = tiny().test.images[:2], Generator().manual_seed(0)
    weight = torch.randn(2, 1, 3, 3, generator=generator)
    layer, clean = (NoisyConvolution(1, 2, 3, 8, camera, noise=n, weight=weight) for n in (noise, 0.0))
    level = noise * clean.readings(x, None).square().mean().sqrt().item()
    mean = torch.stack([layer(x, generator) for _ in range(2000)]).mean(0)
    assert (mean - layer.expected(x)).abs().max() <= 5 * level / 2000**0.5 + 1e-5


@pytest.mark.parametrize("noise", [0.5, 1e-9])
def test_expected_readings_of_darkness(noise: float) -> None:
    layer = NoisyConvolution(1, 2, 3, 8, "rectified", noise=noise)
    found = layer.expected(torch.zeros(1, 1, 8, 8))
    assert found.min() >= 0 and found.max() < 1e-30
