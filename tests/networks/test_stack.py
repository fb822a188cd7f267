import operator
from itertools import pairwise

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, pad

from onnlab.networks import SpectralConv2d, SpectralPool2d, SpectralStack, merge, spectra
from onnlab.optics import ComplexMask, FourF, Grid


def noise(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def stack_with_pools(padding="same"):
    return SpectralStack(
        SpectralConv2d(1, 4, 5, (28, 30), padding, bias=True),
        SpectralConv2d(4, 4, (4, 3), (28, 30), padding, bias=True),
        SpectralPool2d((28, 30), (14, 10)),
        SpectralConv2d(4, 6, 3, (14, 10), padding, bias=True),
        SpectralPool2d((14, 10), (7, 10)),
    ).double()


def layer_by_layer(stack, x):
    for layer in stack:
        x = layer(x)
    return x


def on_a_wide_canvas(stack, x):
    """The layers one by one by conv2d, on a canvas without borders."""
    wide = pad(x, (20, 20, 20, 20))
    for layer in stack:
        (top, left), (bottom, right) = layer.before, layer.after
        wide = conv2d(pad(wide, (left, right, top, bottom)), layer.weight)
    rows, columns = stack.output_size
    return wide[..., 20 : 20 + rows, 20 : 20 + columns]


def test_a_stack_convolves_on_a_canvas_without_borders():
    sizes = [(2, 4, 5), (4, 4, (4, 3)), (4, 3, 7)]
    stack = SpectralStack(*(SpectralConv2d(*s, (20, 21)) for s in sizes)).double()
    x = noise(2, 2, 20, 21)
    torch.testing.assert_close(stack(x), on_a_wide_canvas(stack, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "settings",  # kernel size and padding of each layer
    [[(1, 1)], [(3, 4)], [(2, 2)], [((1, 3), (0, 5))], [(1, 2), (3, 4)], [(1, 4), (7, 0)], [(5, 0), (2, 6)]],
    ids=str,
)
def test_padding_beyond_the_reach_of_the_kernels(settings):
    layers, size = [], (8, 9)
    for kernel, padding in settings:
        layers.append(SpectralConv2d(1, 1, kernel, size, padding).double())
        size = layers[-1].output_size
    stack, x = SpectralStack(*layers), noise(2, 1, 8, 9)
    expected = on_a_wide_canvas(stack, x)
    assert expected.shape[-2:] == size
    torch.testing.assert_close(stack(x), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(merge(stack)(x), expected, rtol=0, atol=1e-12)


def test_a_result_larger_than_the_image_behind_a_pool():
    stack = SpectralStack(SpectralPool2d((8, 9), (4, 6)), SpectralConv2d(1, 2, 1, (4, 6), 3)).double()
    x = noise(2, 1, 8, 9)
    y = stack(x)
    assert y.shape[-2:] == merge(stack)(x).shape[-2:] == stack.output_size == (10, 12)
    wide = pad(x, (0, stack.canvases[0][1] - 9, 0, stack.canvases[0][0] - 8))
    pooled = SpectralPool2d(stack.canvases[0], stack.canvases[1])(wide).roll((3, 3), (-2, -1))
    torch.testing.assert_close(y, stack[1].weight[:, 0] * pooled[..., :10, :12], rtol=0, atol=1e-12)


def test_valid_convolutions_have_no_border_to_differ_at():
    stack = SpectralStack(SpectralConv2d(1, 3, 5, 20, 0), SpectralConv2d(3, 2, (2, 3), 16, 0)).double()
    x = noise(2, 1, 20, 20)
    torch.testing.assert_close(stack(x), layer_by_layer(stack, x), rtol=0, atol=1e-12)


def test_circular_layers_agree_one_by_one():
    stack, x = stack_with_pools("circular"), noise(2, 1, 28, 30)
    torch.testing.assert_close(stack(x), layer_by_layer(stack, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(8, 8), (7, 6), (6, 5), (5, 1), (4, 2)])
def test_free_layers_of_any_numbers_agree_one_by_one(size):
    """Numbers that are no half plane of a real kernel, as training makes them: the product must not tell."""
    layers = [SpectralConv2d(*c, 1, size, "circular", free=True) for c in ((2, 3), (3, 2))]
    stack, x = SpectralStack(*layers).double(), noise(3, 2, *size)
    for layer in stack:
        nn.init.normal_(layer.weight)
    expected = layer_by_layer(stack, x)
    torch.testing.assert_close(stack(x), expected, rtol=0, atol=1e-11)
    torch.testing.assert_close(merge(stack)(x), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize("padding", ["same", "circular"])
def test_merged_equals_the_stack_up_to_the_border(padding):
    stack, x = stack_with_pools(padding), noise(2, 1, 28, 30)
    merged = merge(stack)
    one_by_one = torch.cat([stack(image) for image in x.split(1)])  # layer by layer, as images are few
    torch.testing.assert_close(merged(x), one_by_one, rtol=0, atol=1e-13)
    torch.testing.assert_close(stack(x), one_by_one, rtol=0, atol=1e-13)
    assert merged.transfer.shape[2:] == (1, 6)


@pytest.mark.parametrize("batch", [1, 40])
@pytest.mark.parametrize("widths", [(1, 6, 5), (3, 6, 2, 4), (6, 1, 5, 7), (2, 2)])
def test_the_order_of_the_products_does_not_matter(widths, batch):
    """Few channels or few images: layers meet each other first, or the images; the result is the same."""
    layers = [SpectralConv2d(a, b, 3, (7, 8), "circular", bias=True) for a, b in pairwise(widths)]
    stack, x = SpectralStack(*layers).double(), noise(batch, widths[0], 7, 8)
    torch.testing.assert_close(stack(x), layer_by_layer(stack, x), rtol=0, atol=1e-12)


def test_a_chain_takes_the_fewest_multiplications(monkeypatch):
    factors = [noise(2, 3, m, n) for m, n in pairwise((30, 35, 15, 5, 10, 20, 25))]
    taken = []
    multiply = spectra._matmul

    def counted(left, right):
        taken.append(left.shape[2] * right.shape[2] * right.shape[3])
        return multiply(left, right)

    monkeypatch.setattr(spectra, "_matmul", counted)
    product = spectra.chain(factors)
    expected = factors[0]
    for factor in factors[1:]:
        expected = expected @ factor
    torch.testing.assert_close(product, expected, rtol=1e-12, atol=1e-9)
    assert sum(taken) == 15125  # the known optimum: Cormen et al., Introduction to Algorithms, section 15.2


def test_a_change_of_the_weights_reaches_the_stack_at_once():
    stack, x = stack_with_pools("circular"), noise(2, 1, 28, 30)
    stack(x)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.mul_(-1.5)
    torch.testing.assert_close(stack(x), layer_by_layer(stack, x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("padding", ["same", "circular"])
def test_gradients_match_finite_differences(padding):
    layers = [SpectralConv2d(1, 2, 3, (6, 5), padding, bias=True), SpectralPool2d((6, 5), (3, 5))]
    stack = SpectralStack(*layers, SpectralConv2d(2, 2, (2, 3), (3, 5), padding)).double()
    names = [name for name, _ in stack.named_parameters()]

    def run(x, *values):
        return torch.func.functional_call(stack, dict(zip(names, values, strict=True)), (x,))

    assert torch.autograd.gradcheck(run, (noise(2, 1, 6, 5).requires_grad_(), *stack.parameters()))


def test_released_merge_would_wrap_round():
    """Padding for one kernel only, as the published code does, is visibly wrong at the border."""
    stack = SpectralStack(*(SpectralConv2d(1, 1, 7, 16) for _ in range(3))).double()
    x = noise(1, 1, 16, 16)
    canvas = (16 + 6, 16 + 6)
    product = torch.stack([layer.transfer(canvas)[..., 0, 0] for layer in stack]).prod(0)
    wrapped = torch.fft.irfft2(torch.fft.rfft2(x, s=canvas) * product, s=canvas)[..., :16, :16]
    error = (wrapped - stack(x)).abs()[0, 0].detach()
    assert float(error[5:11, 5:11].max()) < 1e-12 < 1e-3 < float(error.max())


@pytest.mark.parametrize("pool", [False, True])
def test_masks_do_the_same_with_light(pool):
    layers = [SpectralConv2d(1, 4, 5, 28)]
    layers += [SpectralPool2d(28, 14), SpectralConv2d(4, 3, 3, 14)] if pool else [SpectralConv2d(4, 3, 3, 28)]
    merged = merge(SpectralStack(*layers).double())
    x = noise(2, 1, 28, 28)
    ny, nx = merged.canvas
    step = ny // merged.output_canvas[0]
    transmission, scale = merged.masks()
    assert float(transmission.abs().max()) == pytest.approx(1)
    system = FourF(Grid((ny, nx), 8e-6, 532e-9), 0.1, ComplexMask(transmission[:, 0]))
    light = scale * system(pad(x, (0, nx - 28, 0, ny - 28)).to(torch.complex128))
    rows = [(2 * (ny // 2) - i) % ny for i in range(0, 28, step)]
    columns = [(2 * (nx // 2) - i) % nx for i in range(0, 28, step)]
    seen = light[..., rows, :][..., columns]
    torch.testing.assert_close(seen, merged(x).to(torch.complex128), rtol=0, atol=1e-12)


@pytest.mark.parametrize("images", [1, 40])  # "auto" takes another backend for many
@pytest.mark.parametrize("weights", [torch.float32, torch.float64])
def test_images_of_another_dtype_are_named_in_all_spectral_layers(weights, images):
    other = torch.float64 if weights == torch.float32 else torch.float32
    stack = SpectralStack(SpectralConv2d(1, 4, 5, 16), SpectralPool2d(16, 8)).to(weights)
    x = noise(images, 1, 16, 16)
    for layer in (stack, stack[0], merge(stack)):
        assert layer(x.to(weights)).dtype == weights
        with pytest.raises(TypeError, match=f"x must be {weights} .* got {other}; use x.to.{weights}."):
            layer(x.to(other))
    assert stack[1](x.to(other)).dtype == other  # without weights, any dtype will do


@pytest.mark.parametrize("padding", ["same", "circular"])
def test_under_autocast_it_takes_what_layers_before_it_give(padding):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), SpectralStack(SpectralConv2d(2, 3, 5, 12, padding)))
    x = noise(2, 1, 12, 12).float()
    expected = model(x)
    with torch.autocast("cpu", torch.bfloat16):
        assert model[0](x).dtype == torch.bfloat16
        torch.testing.assert_close(model(x), expected, rtol=0, atol=0.02)


def test_a_stack_trains():
    stack = stack_with_pools()
    stack(noise(1, 1, 28, 30)).square().sum().backward()
    assert all(bool((p.grad != 0).any()) for p in stack.parameters())


def test_a_filter_is_fixed_and_saved():
    merged = merge(stack_with_pools())
    assert list(merged.parameters()) == []
    assert set(merged.state_dict()) == {"transfer", "offset"}


def test_a_filter_of_one_layer_shares_no_memory_with_it():
    stack = SpectralStack(SpectralConv2d(1, 2, 1, (6, 5), "circular", bias=True, free=True)).double()
    merged, x = merge(stack), noise(1, 1, 6, 5)
    before = merged(x)
    with torch.no_grad():
        for parameter in stack.parameters():
            parameter.mul_(2)
    torch.testing.assert_close(merged(x), before, rtol=0, atol=0)
    torch.testing.assert_close(stack(x), 2 * before, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "change",
    [
        lambda stack, layer: stack.append(layer),
        lambda stack, layer: stack.extend([layer]),
        lambda stack, layer: stack.insert(0, layer),
        lambda stack, layer: stack.pop(0),
        lambda stack, layer: operator.setitem(stack, 0, layer),
        lambda stack, layer: operator.delitem(stack, 0),
        lambda stack, layer: operator.iadd(stack, nn.Sequential(layer)),
        lambda stack, layer: operator.imul(stack, 2),
    ],
)
def test_a_stack_keeps_the_layers_that_its_canvas_is_made_for(change):
    stack = SpectralStack(SpectralConv2d(1, 1, 3, 8), SpectralConv2d(1, 1, 3, 8))
    x = noise(1, 1, 8, 8).float()
    before = stack(x)
    with pytest.raises(TypeError, match=r"make a new one: SpectralStack\(\*layers\)"):
        change(stack, SpectralConv2d(1, 1, 7, 8))
    assert len(stack) == 2 and torch.equal(stack(x), before)


def test_layers_without_a_bias_have_no_offset():
    layers = [SpectralConv2d(1, 2, 3, 8, "circular"), SpectralConv2d(2, 2, 3, 8, "circular")]
    merged = merge(SpectralStack(*layers).double())
    assert merged.offset is None
    x = noise(3, 1, 8, 8)
    torch.testing.assert_close(merged(x), layer_by_layer(layers, x))


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: SpectralStack(), ValueError, "at least one SpectralConv2d"),
        (lambda: SpectralStack(SpectralPool2d(8, 4)), ValueError, "at least one SpectralConv2d"),
        (
            lambda: SpectralStack(SpectralConv2d(1, 2, 3, 8), nn.ReLU()),
            TypeError,
            "layer 1 must be a Spectral",
        ),
        (
            lambda: SpectralStack(SpectralConv2d(1, 2, 3, 8), SpectralConv2d(2, 2, 3, 9)),
            ValueError,
            r"expects \(9, 9\); make it with image_size=\(8, 8\)",
        ),
        (
            lambda: SpectralStack(SpectralConv2d(1, 2, 3, 8), SpectralConv2d(3, 2, 3, 8)),
            ValueError,
            "channels have to",
        ),
        (
            lambda: SpectralStack(SpectralConv2d(1, 2, 3, 8), SpectralConv2d(2, 2, 3, 8, "circular")),
            ValueError,
            "all layers or none be circular",
        ),
        (lambda: SpectralStack(SpectralConv2d(1, 2, 3, 8, 1, stride=2)), ValueError, "layer 0 has stride"),
        (lambda: merge(nn.Sequential()), TypeError, "stack must be a SpectralStack"),
    ],
)
def test_bad_input_is_named(make, error, words):
    with pytest.raises(error, match=words):
        make()
