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


LAYERS = [
    pytest.param(channels, kernel, size, way, id=f"{channels}, {size} px, k = {kernel}: {way}")
    for channels in CHANNELS
    for size in SIZES
    for kernel in KERNELS
    if kernel <= size and BATCH * math.prod(channels) * (size * kernel) ** 2 < MOST
    for way in WAYS
]


@pytest.mark.parametrize(("channels", "kernel", "size", "way"), LAYERS)
def test_layer(benchmark, channels, kernel, size, way):
    run = layer(channels, kernel, size, way)
    with torch.no_grad():
        run()
        peak = peak_mebibytes(run)
        benchmark.group = f"{channels[0]} -> {channels[1]}, {size} px, k = {kernel}"
        benchmark.name = f"{way}, {peak:.0f} MiB"
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
