import doctest

import pytest
import torch
from torch import nn

import onnlab.networks.hybrid
from onnlab.data import load
from onnlab.distill import evaluate, fit
from onnlab.networks import FourFConvolution, HybridClassifier, IdealConvolution, PSFConvolution

BENCH = {"pitch": 8e-6, "wavelength": 532e-9, "focal_length": 0.1}


def images(*shape):
    return torch.rand(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def physical(optics, kind):
    """A bench with the very kernels of an ideal layer."""
    count, channels, *size = optics.weight.shape
    arguments = (channels, count, tuple(size), optics.image_size, optics.camera)
    if kind == "4f":
        return FourFConvolution(*arguments, weight=optics.weight, **BENCH)
    return PSFConvolution(*arguments, weight=optics.weight)


def test_the_examples():
    found = doctest.testmod(onnlab.networks.hybrid)
    assert found.attempted > 0 and found.failed == 0


def test_it_is_convolution_rectification_pool_and_layers():
    torch.manual_seed(0)
    model = HybridClassifier(IdealConvolution(3, 16, 7, 32, "rectified"), 5, pool=8, hidden=(20, 12)).double()
    conv = nn.Conv2d(3, 16, 7, padding=3, bias=False).double()
    conv.weight = model.optics.weight
    reference = nn.Sequential(conv, nn.ReLU(), nn.AvgPool2d(8), *model.back_end)
    x = images(3, 3, 32, 32)
    torch.testing.assert_close(model(x), reference(x), rtol=1e-12, atol=1e-12)
    widths = [layer.out_features for layer in model.back_end if isinstance(layer, nn.Linear)]
    assert widths == [20, 12, 5]


@pytest.mark.parametrize(
    ("camera", "kind"), [("linear", "psf"), ("rectified", "psf"), ("rectified", "4f"), ("square-law", "4f")]
)
def test_light_in_place_of_numbers_changes_nothing_but_rounding(camera, kind):
    model = HybridClassifier(IdealConvolution(1, 8, 7, 28, camera)).double()
    x = images(4, 1, 28, 28)
    expected = model(x)
    model.optics = physical(model.optics, kind)
    torch.testing.assert_close(model(x), expected, rtol=1e-11, atol=1e-11)


def test_frozen_kernels_stay_and_the_read_out_learns():
    torch.manual_seed(0)
    data = load("mnist-mini")
    model = HybridClassifier(IdealConvolution(1, 8, 7, 28, "rectified").requires_grad_(False), hidden=())
    before = model.optics.weight.clone()
    score = evaluate(model, data.validation).accuracy
    fit(model, data, epochs=1, seed=0, learning_rate=0.01, progress=False)
    assert torch.equal(model.optics.weight, before)
    assert evaluate(model, data.validation).accuracy > score + 0.5


@pytest.mark.parametrize("hidden", [(), (16,), (16, 8)])
@pytest.mark.parametrize("camera", ["linear", "rectified", "square-law"])
def test_it_counts_what_is_not_linear(camera, hidden):
    """By looking: with no nonlinear step, and only then, the network is affine."""
    torch.manual_seed(1)
    model = HybridClassifier(IdealConvolution(1, 4, 3, 8, camera), hidden=hidden).double()
    assert model.nonlinearities == (camera != "linear") + len(hidden)
    assert len(hidden) == sum(isinstance(layer, nn.ReLU) for layer in model.modules())
    a, b = images(2, 1, 1, 8, 8)
    dark = model(torch.zeros_like(a))
    additive = torch.allclose(model(3 * a + b) - dark, 3 * (model(a) - dark) + (model(b) - dark))
    assert additive == (model.nonlinearities == 0)
    assert model.describe().splitlines()[-1].split() == ["in", "all", str(model.nonlinearities)]


def test_the_description_follows_the_optics():
    model = HybridClassifier(IdealConvolution(1, 8, 7, 28, "rectified"))
    model.optics = physical(model.optics, "psf")
    text = model.describe()
    assert "8 kernels 7 x 7 on 1 channel: pairs of PSFs" in text
    assert "rectified: negative readings become 0" in text and "392-64-10" in text


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: HybridClassifier(nn.Conv2d(1, 8, 7)),
            TypeError,
            "must be an OpticalLayer, got Conv2d",
        ),
        (
            lambda: HybridClassifier(IdealConvolution(1, 8, 7, 28), pool=5),
            ValueError,
            "28 x 28 pixels",
        ),
        (lambda: HybridClassifier(IdealConvolution(1, 8, 7, 28), hidden=(0,)), ValueError, "hidden must be"),
        (lambda: HybridClassifier(IdealConvolution(1, 8, 7, 28), classes=1.5), TypeError, "classes must be"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()
