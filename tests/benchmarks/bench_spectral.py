"""Convolution in the frequency domain: when does it pay? ``make bench`` prints ratios of times.

The first entry of each group is what PyTorch does: ``conv2d``, or a round trip of transforms for each layer.
"""

from collections.abc import Callable

import pytest
import torch

from onnlab.networks import SpectralConv2d, SpectralStack, merge

BATCH = 16
CHANNELS = [(1, 16), (16, 16), (32, 64)]
KERNELS = [3, 7, 11, 15, 21, 31, 63]
SIZES = [28, 64, 128]


def images(channels: int, size: int) -> torch.Tensor:
    return torch.randn(BATCH, channels, size, size, generator=torch.Generator().manual_seed(0))


def layer(channels: tuple[int, int], kernel: int, size: int, backend: str) -> Callable[[], object]:
    x = images(channels[0], size)
    convolution = SpectralConv2d(*channels, kernel, size, backend=backend)
    return lambda: convolution(x)


def linear_cascade(way: str) -> Callable[[], object]:
    """Three linear layers 1-16-16-16 with 7 x 7 kernels on images of 32 x 32, circular."""
    widths = [(1, 16), (16, 16), (16, 16)]
    layers = [SpectralConv2d(*c, 7, 32, "circular", backend="fft") for c in widths]
    stack, x = SpectralStack(*layers), images(1, 32)
    merged = merge(stack)

    def round_trips() -> torch.Tensor:
        y = x
        for convolution in layers:
            y = convolution(y)
        return y

    return {
        "three round trips": round_trips,
        "one stack": lambda: stack(x),
        "merged": lambda: merged(x),
    }[way]


LAYERS = [
    pytest.param(channels, kernel, size, backend, id=f"{channels}, {size} px, k = {kernel}: {backend}")
    for channels in CHANNELS
    for size in SIZES
    for kernel in KERNELS
    if kernel <= size
    for backend in ("spatial", "fft", "auto")
]


@pytest.mark.parametrize(("channels", "kernel", "size", "backend"), LAYERS)
def test_layer(benchmark, channels, kernel, size, backend):
    run = layer(channels, kernel, size, backend)
    benchmark.group, benchmark.name = f"{channels[0]} -> {channels[1]}, {size} px, k = {kernel}", backend
    with torch.no_grad():
        run()
        benchmark.pedantic(run, rounds=3)


@pytest.mark.parametrize("way", ["three round trips", "one stack", "merged"])
def test_cascade(benchmark, way):
    run = linear_cascade(way)
    benchmark.group, benchmark.name = "three linear layers 1-16-16-16, 7 x 7, 32 px", way
    with torch.no_grad():
        run()
        benchmark.pedantic(run, rounds=30)
