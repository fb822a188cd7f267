"""Convolution in the frequency domain: when does it pay? ``make bench`` prints ratios of times.

The first entry of each group is what PyTorch does: ``conv2d``, or a round trip of transforms for each layer.
The peak memory of a call stands behind its name. Cases in which ``conv2d`` alone would take minutes are left
out: the products grow with the area of the kernel, the transforms do not.
"""

import math
from collections.abc import Callable

import pytest
import torch
from fft_conv_pytorch import fft_conv

from onnlab.networks import SpectralConv2d, SpectralStack, merge
from tests.benchmarks.memory import peak_mebibytes

BATCH = 16
CHANNELS = [(1, 16), (16, 16), (32, 64)]
KERNELS = [3, 7, 11, 15, 21, 31, 63]
SIZES = [28, 64, 128, 224]
PEER = "fft-conv-pytorch"
WAYS = ["spatial", "fft", "auto", PEER]
MOST = 1e11  # products of conv2d
# Channels, size and kernel of the layers of AlexNet behind the first; the first, of any kernel, is in SHAPES.
ALEXNET = [((64, 192), 27, 5), ((192, 384), 13, 3), ((384, 256), 13, 3), ((256, 256), 13, 3)]
SHAPES = [(channels, size) for channels in CHANNELS for size in SIZES] + [((3, 64), 224)]


def images(channels: int, size: int) -> torch.Tensor:
    return torch.randn(BATCH, channels, size, size, generator=torch.Generator().manual_seed(0))


def layer(channels: tuple[int, int], kernel: int, size: int, way: str) -> Callable[[], object]:
    x = images(channels[0], size)
    convolution = SpectralConv2d(*channels, kernel, size, backend="fft" if way == PEER else way)
    if way == PEER:
        weight = convolution.weight
        return lambda: fft_conv(x, weight, padding=kernel // 2)
    return lambda: convolution(x)


def linear_cascade(way: str) -> Callable[[], object]:
    """Three linear layers 1-16-16-16 with 7 x 7 kernels on images of 32 x 32, circular."""
    widths = [(1, 16), (16, 16), (16, 16)]
    layers = [SpectralConv2d(*c, 7, 32, "circular", backend="fft") for c in widths]
    stack, x = SpectralStack(*layers), images(1, 32)
    merged = merge(stack)

    def plain() -> torch.Tensor:
        y = x
        for convolution in layers:
            transfer = torch.fft.rfft2(convolution.weight, s=(32, 32)).conj()
            y = torch.fft.irfft2(torch.einsum("ncyx,ocyx->noyx", torch.fft.rfft2(y), transfer), s=(32, 32))
        return y

    def round_trips() -> torch.Tensor:
        y = x
        for convolution in layers:
            y = convolution(y)
        return y

    return {
        "three round trips, torch.fft and einsum": plain,
        "three round trips, SpectralConv2d": round_trips,
        "one stack": lambda: stack(x),
        "merged": lambda: merged(x),
    }[way]


def products(channels: tuple[int, int], size: int, kernel: int) -> int:
    """Multiplications of conv2d."""
    return BATCH * math.prod(channels) * (size * kernel) ** 2


CASES = ALEXNET + [
    (channels, size, kernel)
    for channels, size in SHAPES
    for kernel in KERNELS
    if kernel <= size and products(channels, size, kernel) < MOST
]
LAYERS = [
    pytest.param(*case, way, id=f"{case[0]}, {case[1]} px, k = {case[2]}: {way}")
    for case in CASES
    for way in WAYS
]
TRAININGS = [
    pytest.param(*case, way, id=f"{case[0]}, {case[1]} px, k = {case[2]}: {way}")
    for case in CASES
    if products(*case) < MOST / 5
    for way in ("spatial", "fft", "auto")
]


@pytest.mark.filterwarnings("ignore:Using a non-tuple sequence:UserWarning")  # by the peer
@pytest.mark.parametrize(("channels", "size", "kernel", "way"), LAYERS)
def test_layer(benchmark, channels, size, kernel, way):
    run = layer(channels, kernel, size, way)
    with torch.no_grad():
        run()
        peak = peak_mebibytes(run)
        benchmark.group = f"{channels[0]} -> {channels[1]}, {size} px, k = {kernel}"
        benchmark.name = f"{way}, {peak:.0f} MiB"
        benchmark.pedantic(run, rounds=3)


@pytest.mark.parametrize(("channels", "size", "kernel", "way"), TRAININGS)
def test_training(benchmark, channels, size, kernel, way):
    # The first layer of a network sees images, which need no gradient.
    x = images(channels[0], size).requires_grad_(channels[0] > 3)
    convolution = SpectralConv2d(*channels, kernel, size, backend=way)

    def run() -> None:
        convolution(x).sum().backward()

    run()
    benchmark.group = f"forward and backward, {channels[0]} -> {channels[1]}, {size} px, k = {kernel}"
    benchmark.name = way
    benchmark.pedantic(run, rounds=3)


@pytest.mark.parametrize(
    "way",
    ["three round trips, torch.fft and einsum", "three round trips, SpectralConv2d", "one stack", "merged"],
)
def test_cascade(benchmark, way):
    run = linear_cascade(way)
    benchmark.group, benchmark.name = "three linear layers 1-16-16-16, 7 x 7, 32 px", way
    with torch.no_grad():
        run()
        benchmark.pedantic(run, rounds=30)
