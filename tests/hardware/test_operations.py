"""Counts against PyTorch's own counter, which watches the tensor operations instead of the layers."""

import math

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from onnlab.hardware import count_operations
from onnlab.networks import (
    AlexNet,
    FourFConvolution,
    HybridClassifier,
    HybridSegmenter,
    IdealConvolution,
    LeNet,
    PSFConvolution,
    SmallCNN,
    SpectralConv2d,
    SpectralPool2d,
    SpectralStack,
    UNet,
    linear_counterpart,
    linear_unet,
    merge,
)
from onnlab.optics import Camera

BENCH = {"pitch": 8e-6, "wavelength": 532e-9, "focal_length": 0.1}


def macs(operations, where):
    return sum(step.macs for step in operations if step.where == where)


def public_count(model, shape):
    """MACs by torch: two of its floating-point operations are one of ours."""
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        model.to("meta").eval()(torch.zeros(1, *shape, device="meta"))
    assert counter.get_total_flops() % 2 == 0
    return counter.get_total_flops() // 2


def odd_layers():
    return nn.Sequential(
        nn.Conv2d(6, 8, (3, 5), stride=(2, 1), padding=1, dilation=(1, 2), groups=2),
        nn.BatchNorm2d(8),
        nn.ConvTranspose2d(8, 12, 3, stride=2, padding=1, output_padding=1, groups=4),
        nn.PReLU(),
        nn.Flatten(2),
        nn.LazyLinear(7),
    )


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (LeNet, (1, 28, 28)),
        (AlexNet, (3, 224, 224)),
        (lambda: AlexNet(image_size=32), (3, 32, 32)),
        (SmallCNN, (1, 28, 28)),
        (UNet, (3, 64, 96)),
        (lambda: UNet(1, 5, 8, 3), (1, 20, 12)),
        (odd_layers, (6, 17, 20)),
    ],
)
def test_digital_networks_agree_with_the_public_counter(make, shape):
    model = make()
    model(torch.zeros(2, *shape))  # lazy layers take their size
    operations = count_operations(model, shape)
    assert macs(operations, "electronics") == public_count(model, shape)
    assert macs(operations, "light") == 0
    first, *rest = operations
    assert (first.where, first.read, first.pictures) == ("camera", math.prod(shape), 1)
    assert all(step.read == step.shown == 0 for step in rest)


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: HybridClassifier(IdealConvolution(3, 16, 7, 32), hidden=(128, 64)), (3, 32, 32)),
        (lambda: HybridSegmenter(IdealConvolution(3, 56, 3, (32, 48))), (3, 32, 48)),
        (
            lambda: HybridSegmenter(
                IdealConvolution(3, 56, 3, 32), coarse=IdealConvolution(3, 4, 3, 8), depth=2
            ),
            (3, 32, 32),
        ),
    ],
)
def test_light_and_electronics_together_are_what_the_public_counter_sees(make, shape):
    model = make()
    operations = count_operations(model, shape)
    light, electronics = macs(operations, "light"), macs(operations, "electronics")
    assert light > 0 and electronics > 0
    assert light + electronics == public_count(model, shape)
    assert {step.where for step in operations} == {"light", "electronics"}


@pytest.mark.parametrize(
    ("optics", "pictures"),
    [
        (lambda camera: IdealConvolution(1, 8, 7, (28, 30), camera), {"rectified": 8, "square-law": 8}),
        (lambda camera: PSFConvolution(1, 8, 7, (28, 30), camera), {"linear": 16, "rectified": 16}),
        (
            lambda camera: FourFConvolution(1, 8, 7, (28, 30), camera, **BENCH),
            {"linear": 16, "square-law": 8},
        ),
    ],
)
def test_readings_are_those_that_the_cameras_make(optics, pictures):
    """The pictures are counted by looking how many planes come to a sensor."""
    for camera, expected in pictures.items():
        layer = optics(camera)
        (step,) = count_operations(layer, (1, 28, 30))
        assert (step.where, step.macs) == ("light", 8 * 49 * 28 * 30)
        assert (step.shown, step.read, step.pictures) == (0, expected * 28 * 30, expected)
        seen = []
        expose = layer.expose
        layer.expose = lambda x, generator, seen=seen, expose=expose: seen.append(x) or expose(x, generator)
        layer(torch.rand(1, 1, 28, 30))
        if seen:
            assert sum(x.numel() for x in seen) == step.read


def test_a_sensor_that_bins_reads_less_and_light_does_the_same():
    layer = PSFConvolution(3, 4, 5, 32, sensor=Camera(binning=4))
    (step,) = count_operations(layer, (3, 32, 32))
    assert step.read == 2 * 4 * 8 * 8
    assert step.macs == 4 * 3 * 25 * 32 * 32


@pytest.mark.parametrize("borders", ["canvas", "crop"])
@pytest.mark.parametrize(("make", "shape"), [(LeNet, (1, 28, 28)), (SmallCNN, (1, 28, 28))])
def test_light_does_the_convolutions_of_the_teacher(make, shape, borders):
    """And one camera stands behind them, wherever the layers crop."""
    teacher = make()
    student = linear_counterpart(teacher, shape, borders=borders)
    operations = count_operations(student, shape)
    assert macs(operations, "light") == public_count(teacher.features, shape)
    assert macs(operations, "electronics") == public_count(
        nn.Sequential(teacher.classifier), student.features(torch.zeros(1, *shape)).shape[1:]
    )
    maps = student.features(torch.zeros(1, *shape))
    assert sum(step.read for step in operations) == 2 * maps.numel()
    assert sum(step.shown for step in operations) == 0


def test_a_stride_needs_a_camera():
    operations = count_operations(linear_counterpart(AlexNet(), (3, 224, 224)), (3, 224, 224))
    first, second = (step for step in operations if step.where == "light")
    assert (first.read, second.shown) == (2 * 64 * 55 * 55, 64 * 55 * 55)


def test_levels_of_a_linear_unet_are_read_one_by_one():
    operations = count_operations(linear_unet(UNet(width=4), (3, 32, 32)), (3, 32, 32))
    light = [step for step in operations if step.where == "light"]
    assert [step.read for step in light] == [2 * 4 * 2**i * (32 >> i) ** 2 for i in range(4)]
    assert [step.shown for step in light] == [0, *(step.read // 2 for step in light[:-1])]


def test_display_shows_the_image_and_nothing_more():
    shape = (1, 28, 28)
    for model in (HybridClassifier(IdealConvolution(1, 8, 7, 28)), linear_counterpart(LeNet(), shape)):
        plain, shown = (count_operations(model, shape, display=display) for display in (False, True))
        assert sum(step.shown for step in plain) == 0
        assert sum(step.shown for step in shown) == 28 * 28
    digital = count_operations(LeNet(), shape, display=True)
    assert sum(step.shown for step in digital) == 0


def fft_macs(pixels):
    """Real transform of a power of two: log2 P stages of P/2 butterflies of four products, halved."""
    stages = 0
    while 2**stages < pixels:
        stages += 1
    assert 2**stages == pixels
    return stages * pixels // 2 * 4 // 2


def test_spectral_layers_by_electronics():
    def by_hand(model, channels=2, size=16):
        *_, step = count_operations(model, (channels, size, size), spectral="electronics")
        assert step.where == "electronics"
        return step.macs

    full, small = fft_macs(256), fft_macs(64)
    free = SpectralConv2d(2, 3, 1, 16, "circular", free=True)
    large = SpectralConv2d(2, 3, 9, 16, "circular")
    pool = SpectralPool2d(16, 8)
    assert by_hand(pool) == 2 * (full + small)
    assert by_hand(free) == by_hand(large) == 5 * full + 4 * 16 * 9 * 6
    assert by_hand(SpectralConv2d(1, 1, 3, 16, "circular"), 1) == 256 * 9  # the direct way takes fewer
    stack = SpectralStack(large, pool, SpectralConv2d(3, 4, 3, 8, "circular"))
    assert by_hand(stack) == 2 * full + 4 * small + 4 * 16 * 9 * 6 + 4 * 8 * 5 * 12
    assert by_hand(merge(stack)) == 2 * full + 4 * small + 4 * 8 * 5 * 8
    for model in (free, merge(stack)):  # what no kernel tells is counted the same way by light
        (step,) = count_operations(model, (2, 16, 16))
        assert step.macs == by_hand(model)


def test_a_layer_that_two_containers_share_counts_once_for_each_call():
    layer = nn.Linear(16, 16)
    shared = nn.Sequential(nn.Flatten(), nn.Sequential(layer, nn.ReLU()), nn.Sequential(layer, layer))
    operations = count_operations(shared, (1, 4, 4))
    assert macs(operations, "electronics") == public_count(shared, (1, 4, 4)) == 3 * 16 * 16
    assert [step.name for step in operations[1:]] == ["1.0"] * 3


def test_the_model_stays_as_it_is():
    model = HybridClassifier(PSFConvolution(1, 8, 7, 28)).train()
    x = torch.rand(2, 1, 28, 28)
    before = model(x)
    count_operations(model, (1, 28, 28))
    assert model.training and torch.equal(model(x), before)
    assert not any(module._forward_hooks for module in model.modules())


def test_counts_of_large_images_take_no_memory():
    """Half a terabyte of maps, were it run."""
    operations = count_operations(UNet(3, 2, 64, 5), (3, 16384, 16384))
    small = count_operations(UNet(3, 2, 64, 5), (3, 16, 16))
    assert macs(operations, "electronics") == 1024**2 * macs(small, "electronics")


class Moody(nn.Module):
    """Does what its image tells it."""

    def forward(self, x):
        return x if x.sum() > 0 else -x


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: count_operations(torch.relu, (1, 8, 8)), TypeError, "model must be an nn.Module"),
        (
            lambda: count_operations(LeNet(), (1, 32, 32)),
            ValueError,
            r"one that the model takes, got \(1, 32, 32\): .*576.*400",
        ),
        (lambda: count_operations(Moody(), (1, 8, 8)), ValueError, "meta tensors; .* reads their numbers"),
        (lambda: count_operations(LeNet(), (28, 28)), ValueError, r"must be \(channels, rows, columns\)"),
        (lambda: count_operations(LeNet(), (1, 28, -28)), ValueError, "input_shape must be at least 1"),
        (lambda: count_operations(LeNet(), (1, 28, 28.0)), TypeError, "whole number"),
        (lambda: count_operations(LeNet(), (1, 28, 28), spectral="sound"), ValueError, "spectral must be"),
        (
            lambda: count_operations(PSFConvolution(1, 8, 7, 28), (1, 32, 32)),
            ValueError,
            r"shape \(batch, 1, 28, 28\), got \(1, 1, 32, 32\)",
        ),
        (
            lambda: count_operations(nn.Sequential(nn.Flatten(), nn.Bilinear(1, 1, 1)), (1, 1, 1)),
            TypeError,
            "layer '1' is a Bilinear, whose operations are not counted",
        ),
    ],
)
def test_errors(call, error, message):
    with pytest.raises(error, match=message):
        call()
