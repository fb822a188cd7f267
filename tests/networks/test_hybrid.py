import doctest

import pytest
import torch
from torch import nn

import onnlab.networks.hybrid
from onnlab.data import load, scenes
from onnlab.distill import evaluate, fit
from onnlab.networks import (
    FourFConvolution,
    HybridClassifier,
    HybridSegmenter,
    IdealConvolution,
    PSFConvolution,
)
from onnlab.optics import Camera

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
        (
            lambda: HybridClassifier(IdealConvolution(1, 8, 7, 28), hidden=64),
            TypeError,
            "hidden must be a seq",
        ),
        (lambda: HybridSegmenter(IdealConvolution(1, 8, 3, 8), groups=8), TypeError, "must be a sequence"),
        (lambda: HybridClassifier(IdealConvolution(1, 8, 7, 28), classes=1.5), TypeError, "classes must be"),
    ],
)
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make()


def segmenter(**settings):
    torch.manual_seed(0)
    optics = IdealConvolution(3, 56, 3, (16, 24), "rectified")
    return HybridSegmenter(optics, 5, **settings).double().eval()


@pytest.mark.parametrize("depth", [0, 1, 2])
def test_every_pixel_gets_its_logits(depth):
    model = segmenter(depth=depth)
    assert model(images(2, 3, 16, 24)).shape == (2, 5, 16, 24)
    assert model.nonlinearities == 1 + 2 + 2 * depth


def test_up_convolutions_alone_by_hand():
    """Groups of 8, 16 and 32 maps, of which the last two are averaged; each is put beside what grows."""
    model, x = segmenter(), images(2, 3, 16, 24)
    maps = nn.functional.conv2d(x, model.optics.weight, padding=1).clamp(min=0)
    fine, middle, coarse = maps[:, :8], maps[:, 8:24], maps[:, 24:]
    middle, coarse = nn.functional.avg_pool2d(middle, 2), nn.functional.avg_pool2d(coarse, 4)
    (first, _), (second, _) = model.back_end.up
    grown = torch.cat([middle, first(coarse).clamp(min=0)], dim=1)
    grown = torch.cat([fine, second(grown).clamp(min=0)], dim=1)
    torch.testing.assert_close(model(x), model.back_end.logits(grown), rtol=1e-12, atol=1e-12)
    assert (first.in_channels, first.out_channels, second.in_channels, second.out_channels) == (32, 16, 32, 8)


@pytest.mark.parametrize("size", [(8, 12), (4, 6)])
def test_a_coarse_front_end_sees_the_image_made_smaller(size):
    coarse = IdealConvolution(3, 7, 3, size, "linear")
    model, x = segmenter(coarse=coarse), images(1, 3, 16, 24)
    level = [(16, 24), (8, 12), (4, 6)].index(size)
    seen = []
    handle = model.back_end.register_forward_pre_hook(lambda module, arguments: seen.append(arguments[0]))
    model(x)
    handle.remove()
    small = x.reshape(1, 3, size[0], 2**level, size[1], 2**level).mean((3, 5))
    expected = nn.functional.conv2d(small, coarse.weight, padding=1)
    assert [len(maps[0]) for maps in seen[0]] == [n + 7 * (i == level) for i, n in enumerate((8, 16, 32))]
    torch.testing.assert_close(seen[0][level][:, -7:], expected, rtol=1e-12, atol=1e-12)


def test_segmentation_by_light_gives_the_same_as_by_numbers():
    model, x = segmenter(coarse=IdealConvolution(3, 4, 3, (4, 6)).double()), images(2, 3, 16, 24)
    expected = model(x)
    model.optics, model.coarse = physical(model.optics, "4f"), physical(model.coarse, "psf")
    torch.testing.assert_close(model(x), expected, rtol=1e-11, atol=1e-11)
    names = [stage.name for stage in model.stages]
    assert names == ["optics", "camera", "coarse optics", "coarse camera", "pool", "back end"]


def test_a_segmenter_learns_from_pixels():
    data = scenes(32, objects=2, train=60, validation=10, test=10).against_rest("background")
    torch.manual_seed(0)
    model = HybridSegmenter(IdealConvolution(1, 14, 3, 32, "rectified"), 2, groups=(4, 10))
    before = evaluate(model, data.validation).loss
    fit(model, data, epochs=2, seed=0, batch_size=10, learning_rate=0.02, progress=False)
    assert evaluate(model, data.validation).loss < before


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"groups": (8, 16)}, r"share out all 56 kernels of the optics, got \(8, 16\)"),
        ({"groups": (56,)}, "at least two"),
        ({"groups": (8, 8, 8, 16, 16)}, "pool must divide the maps of 16 x 24 pixels, got 16"),
        ({"coarse": IdealConvolution(3, 4, 3, (16, 24))}, r"one of the sizes \[\(8, 12\), \(4, 6\)\]"),
        ({"coarse": IdealConvolution(1, 4, 3, (8, 12))}, "made for 3 channels"),
        ({"depth": -1}, "depth must be at least 0"),
    ],
)
def test_segmenters_that_do_not_fit(settings, message):
    with pytest.raises(ValueError, match=message):
        segmenter(**settings)


def test_a_segmenter_needs_every_pixel():
    optics = PSFConvolution(1, 8, 3, 16, sensor=Camera(binning=2))
    with pytest.raises(ValueError, match="optics must have a sensor without binning"):
        HybridSegmenter(optics, groups=(4, 4))
    # Binned, it gives maps of the size of a level, and would be shown images of that size.
    with pytest.raises(ValueError, match="coarse must have a sensor without binning"):
        HybridSegmenter(IdealConvolution(1, 8, 3, 16), groups=(4, 4), coarse=optics)
