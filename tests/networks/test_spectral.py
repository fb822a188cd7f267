import itertools
import math
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from onnlab.networks import SpectralConv2d, SpectralPool2d
from onnlab.networks.spectra import kernel_transfer
from onnlab.networks.spectral import fft_is_faster

KERNELS = [1, 2, 3, 5, (4, 3), (1, 6)]
SIZES = [(12, 12), (13, 10)]
SETTINGS = [  # padding, stride, dilation
    ("same", 1, 1), ("same", 1, 2), ("circular", 1, 1), ("circular", 1, 2), (0, 1, 1), (2, 1, 1), (9, 1, 1),
    (1, 2, 1), ((0, 2), (2, 3), (1, 2)),
]  # fmt: skip


def noise(*shape, dtype=torch.float64):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def torch_twin(layer, padding, stride, dilation, groups):
    circular = padding == "circular"
    twin = nn.Conv2d(
        layer.in_channels, layer.out_channels, layer.kernel_size, stride, "same" if circular else padding,
        dilation, groups, padding_mode="circular" if circular else "zeros",
    ).double()  # fmt: skip
    with torch.no_grad():
        twin.weight.copy_(layer.weight)
        twin.bias.copy_(layer.bias)
    return twin


@pytest.mark.parametrize("backend", ["fft", "spatial", "auto"])
@pytest.mark.parametrize("setting", SETTINGS, ids=str)
@pytest.mark.parametrize("channels", [(1, 4, 1), (4, 6, 1), (4, 6, 2)], ids=str)
def test_equal_to_conv2d(channels, setting, backend):
    (inside, outside, groups), (padding, stride, dilation) = channels, setting
    tried = 0
    for kernel, size in itertools.product(KERNELS, SIZES):
        options = {"stride": stride, "dilation": dilation, "groups": groups, "bias": True, "backend": backend}
        layer = SpectralConv2d(inside, outside, kernel, size, padding, **options).double()
        x = noise(2, inside, *size)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch grumbles about its own even kernels
            expected = torch_twin(layer, padding, stride, dilation, groups)(x)
        y = layer(x)
        assert y.shape == expected.shape == (2, outside, *layer.output_size)
        torch.testing.assert_close(y, expected, rtol=0, atol=1e-12)
        tried += 1
    assert tried == len(KERNELS) * len(SIZES)


def test_a_kernel_as_large_as_the_image():
    layer = SpectralConv2d(2, 3, (13, 10), (13, 10), bias=True, backend="fft").double()
    x = noise(1, 2, 13, 10)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.testing.assert_close(layer(x), torch_twin(layer, "same", 1, 1, 1)(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("kernel", [(31, 4), (17, 40)])
def test_kernels_wider_than_the_canvas_wrap_round(kernel):
    """A circular kernel longer than the image meets itself, as a sum of waves says and conv2d cannot."""
    layer = SpectralConv2d(2, 2, kernel, (16, 13), "circular", backend="fft").double()
    folded = torch.zeros(2, 2, 16, 13, dtype=torch.float64)
    for i, j in itertools.product(*map(range, kernel)):
        row, column = (i - layer.before[0]) % 16, (j - layer.before[1]) % 13
        folded[:, :, row, column] += layer.weight.detach()[:, :, i, j]
    x = noise(1, 2, 16, 13)
    spectra = torch.einsum("ncyx,ocyx->noyx", torch.fft.fft2(x), torch.fft.fft2(folded).conj())
    torch.testing.assert_close(layer(x), torch.fft.ifft2(spectra).real, rtol=0, atol=1e-12)


def test_a_transfer_made_under_inference_mode_serves_a_training_later():
    weight = noise(2, 2, 3, 5).requires_grad_()
    with torch.inference_mode():
        first = kernel_transfer(weight, (23, 19), (1, 2))
    second = kernel_transfer(weight, (23, 19), (1, 2))
    second.abs().square().sum().backward()
    torch.testing.assert_close(first, second.detach(), rtol=0, atol=0)
    assert weight.grad.abs().min() > 0


def test_single_precision():
    layer = SpectralConv2d(8, 8, 7, 32, backend="fft")
    x = noise(4, 8, 32, 32, dtype=torch.float32)
    layer.backend = "fft"
    y = layer(x)
    layer.backend = "spatial"
    assert y.dtype == torch.float32
    assert float(((y - layer(x)).abs().max() / y.abs().max()).detach()) < 2e-6


def test_gradients_match_finite_differences():
    layer = SpectralConv2d(2, 3, (2, 3), (5, 4), bias=True, backend="fft").double()
    x = noise(1, 2, 5, 4).requires_grad_()

    def run(x, weight, bias):
        return torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,))

    assert torch.autograd.gradcheck(run, (x, layer.weight, layer.bias))


@pytest.mark.parametrize("size", [(6, 6), (5, 8)])
def test_a_free_transfer_function_is_any_circular_filter(size):
    layer = SpectralConv2d(2, 3, 1, size, "circular", free=True).double()
    ny, nx = size
    spectrum = torch.view_as_complex(layer.weight.detach()).numpy()
    kernels = np.fft.irfft2(spectrum.transpose(3, 2, 0, 1), s=size)
    x = noise(1, 2, ny, nx)
    expected = np.zeros((3, ny, nx))
    for o, c in itertools.product(range(3), range(2)):
        expected[o] += np.fft.ifft2(np.fft.fft2(x[0, c].numpy()) * np.fft.fft2(kernels[o, c])).real
    np.testing.assert_allclose(layer(x)[0].detach().numpy(), expected, atol=1e-12)


def test_no_half_of_a_free_transfer_function_is_dead():
    layer = SpectralConv2d(1, 1, 1, (5, 5), "circular", free=True).double()
    layer(noise(2, 1, 5, 5)).square().sum().backward()
    dead = (layer.weight.grad == 0).nonzero().tolist()
    assert dead == [[0, 0, 0, 0, 1]]  # the imaginary part at zero frequency, which no real image has


@pytest.mark.parametrize(("n", "m"), [(28, 14), (28, 13), (27, 14), (27, 9), (16, 16), (15, 15)])
def test_pool_is_exact_on_band_limited_images(n, m):
    highest = (m - 1) // 2

    def image(size):
        t = 2 * math.pi * torch.arange(size, dtype=torch.float64) / size
        return 1 + torch.cos(highest * t[:, None] - 2 * t + 0.3) + torch.sin(t[:, None] + highest * t)

    pooled = SpectralPool2d(n, m)(image(n)[None, None])
    torch.testing.assert_close(pooled[0, 0], image(m), rtol=0, atol=1e-12)


def test_pool_keeps_the_brightness():
    pool = SpectralPool2d((12, 9), (5, 4))
    x = noise(2, 3, 12, 9)
    torch.testing.assert_close(pool(x).mean((-2, -1)), x.mean((-2, -1)))


def test_pool_drops_what_lies_beyond_the_new_band():
    t = 2 * math.pi * torch.arange(16, dtype=torch.float64) / 16
    fine = torch.cos(5 * t).expand(16, 16)
    assert float(SpectralPool2d(16, 8)(fine[None, None]).abs().max()) < 1e-12


@pytest.mark.parametrize(
    ("channels", "size", "narrow", "wide"),  # kernels on either side of every measured crossing
    [
        ((1, 16), 28, 13, 27), ((1, 16), 45, 15, 31), ((1, 16), 64, 13, 21), ((1, 16), 224, 13, 21),
        ((16, 16), 28, 5, 9), ((16, 16), 64, 5, 9), ((16, 16), 101, 5, 9), ((16, 16), 224, 5, 9),
        ((32, 64), 28, 3, 7), ((32, 64), 64, 3, 7),
    ],
)  # fmt: skip
def test_auto_takes_the_side_that_was_measured_to_be_faster(channels, size, narrow, wide):
    x = torch.empty(16, channels[0], size, size, device="meta")
    with torch.no_grad():
        taken = [SpectralConv2d(*channels, kernel, size)._takes_fft(x) for kernel in (narrow, wide)]
    assert taken == [False, True]


def test_gradients_and_few_images_move_the_crossing():
    sizes = {"output_size": (64, 64), "canvas": (72, 72)}
    assert not fft_is_faster(16, (1, 16), (15, 15), **sizes, gradients=False)
    assert fft_is_faster(16, (1, 16), (15, 15), **sizes, gradients=True)  # no fast code backwards
    assert not fft_is_faster(1, (32, 64), (7, 7), **sizes)  # the kernels' transforms serve one image only
    assert fft_is_faster(16, (32, 64), (7, 7), **sizes)


def test_a_size_may_come_from_numpy():
    layer = SpectralConv2d(1, 1, np.int64(3), (np.int64(8), torch.tensor(9)))
    assert (layer.kernel_size, layer.image_size) == ((3, 3), (8, 9))
    assert all(type(n) is int for n in layer.kernel_size + layer.image_size)


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: SpectralConv2d(0, 1, 3, 8), ValueError, "in_channels must be at least 1"),
        (lambda: SpectralConv2d(1, 1.5, 3, 8), TypeError, "out_channels must be a whole number"),
        (lambda: SpectralConv2d(1, 1, (3, 3, 3), 8), TypeError, "kernel_size must be one whole number"),
        (lambda: SpectralConv2d(1, 1, 2.5, 8), TypeError, "kernel_size must be a whole number, got 2.5"),
        (lambda: SpectralConv2d(1, 1, np.arange(3), 8), TypeError, "kernel_size must be one whole number"),
        (lambda: SpectralConv2d(1, np.arange(2), 3, 8), TypeError, "out_channels must be a whole number"),
        (lambda: SpectralConv2d(1, torch.tensor(1.5), 3, 8), TypeError, "out_channels must be a whole"),
        (lambda: SpectralConv2d(1, 1, 9, 8, 0), ValueError, "kernel_size must fit the padded image"),
        (lambda: SpectralConv2d(1, 1, 3, 8, "reflect"), ValueError, 'padding must be "same", "circular"'),
        (lambda: SpectralConv2d(1, 1, 3, 8, stride=2), ValueError, 'padding="same" needs stride 1'),
        (lambda: SpectralConv2d(3, 4, 3, 8, groups=2), ValueError, "groups must divide"),
        (lambda: SpectralConv2d(1, 1, 3, 8, free=True), ValueError, 'free needs padding="circular"'),
        (lambda: SpectralConv2d(1, 1, 3, 8, backend="cuda"), ValueError, "backend must be one of"),
        (lambda: SpectralConv2d(1, 1, 3, 8)(torch.zeros(1, 1, 8, 9)), ValueError, "x must have shape"),
        (lambda: SpectralConv2d(1, 1, 3, 8)(torch.zeros(1, 8, 8)), ValueError, "x must have shape"),
        (
            lambda: SpectralConv2d(1, 1, 3, 8)(torch.zeros(1, 1, 8, 8, dtype=torch.complex64)),
            TypeError,
            "x must be a float tensor",
        ),
        (lambda: SpectralPool2d(8, 9), ValueError, "output_size must not exceed image_size"),
        (lambda: SpectralPool2d(8, 0), ValueError, "output_size must be at least 1"),
        (lambda: SpectralPool2d(8, 4)(torch.zeros(1, 1, 7, 8)), ValueError, "x must have shape"),
        (lambda: SpectralPool2d(8, 4)(torch.zeros(8, 8)), ValueError, r"x must have shape \(batch, channels"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make, error, words):
    with pytest.raises(error, match=words):
        make()


@pytest.mark.parametrize(("kernel", "dilation"), [((9, 3), 1), ((12, 23), 1), (5, 4)])
def test_circular_kernels_wider_than_the_image_go_round_more_than_once(kernel, dilation):
    """Next to the sum written out: pixel i of the result sees i + d k - b, modulo the image."""
    weight, x = noise(2, 1, *((kernel,) * 2 if isinstance(kernel, int) else kernel)), noise(3, 1, 4, 5)
    expected = torch.zeros(3, 2, 4, 5, dtype=torch.float64)
    ky, kx = weight.shape[-2:]
    for i in range(ky):
        for j in range(kx):
            shift = (dilation * (ky - 1) // 2 - dilation * i, dilation * (kx - 1) // 2 - dilation * j)
            expected += weight[None, :, :, i, j, None, None].sum(2) * x.roll(shift, (-2, -1))
    for backend in ("auto", "fft", "spatial"):
        layer = SpectralConv2d(1, 2, kernel, (4, 5), "circular", dilation=dilation, backend=backend).double()
        layer.weight.data.copy_(weight)
        torch.testing.assert_close(layer(x), expected, rtol=0, atol=1e-11)
