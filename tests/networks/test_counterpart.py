import copy
import warnings

import pytest
import torch
from torch import nn

from onnlab.networks import (
    AlexNet,
    LeNet,
    SmallCNN,
    SpectralConv2d,
    SpectralPool2d,
    SpectralStack,
    linear_counterpart,
    merge,
)

ODD_CNN = [
    nn.Conv2d(2, 4, 3, padding=1, groups=2), nn.LeakyReLU(),
    nn.Conv2d(4, 6, (2, 3), stride=2, padding=1), nn.GELU(),
    nn.Conv2d(6, 4, 3, padding="same", dilation=2), nn.BatchNorm2d(4), nn.Tanh(), nn.AvgPool2d(2),
]  # fmt: skip

CIRCULAR = nn.Sequential(nn.Conv2d(1, 1, 5, padding=1, padding_mode="circular"))


def noise(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def with_statistics(model):
    """Fill running statistics and affine parameters of BatchNorm with something to fold."""
    generator = torch.Generator().manual_seed(1)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for values in (layer.running_mean, layer.running_var, layer.weight.data, layer.bias.data):
                values.copy_(torch.rand(values.shape, generator=generator) + 0.5)
    return model.double().eval()


def strip(model):
    """The model itself without its activations: the reference that shares no code with the counterpart."""
    return nn.Sequential(
        *(layer for layer in model if not isinstance(layer, (nn.ReLU, nn.LeakyReLU, nn.GELU, nn.Tanh)))
    )


def test_without_pools_it_is_the_model_without_activations():
    model = with_statistics(nn.Sequential(*copy.deepcopy(ODD_CNN), nn.Flatten(), nn.LazyLinear(3)))
    x = noise(2, 2, 14, 13)
    expected = strip(model)(x)
    student = linear_counterpart(model, (2, 14, 13), borders="crop").eval()
    torch.testing.assert_close(student(x), expected, rtol=0, atol=1e-11)


def test_average_pool_in_place_of_max_pool():
    model = with_statistics(SmallCNN(width=4))
    x = noise(2, 1, 28, 28)
    averaged = [nn.AvgPool2d(2) if isinstance(m, nn.MaxPool2d) else m for m in model.features]
    expected = model.classifier(strip(averaged)(x))
    student = linear_counterpart(model, (1, 28, 28), pool="average", borders="crop").eval()
    torch.testing.assert_close(student(x), expected, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("model", "shape"),
    [
        (LeNet(), (1, 28, 28)),
        (SmallCNN(width=4), (1, 28, 28)),
        (AlexNet(image_size=32), (3, 32, 32)),
        (AlexNet(), (3, 224, 224)),
    ],
    ids=["LeNet", "SmallCNN", "AlexNet-32", "AlexNet-224"],
)
def test_the_front_end_of_a_counterpart_is_affine(model, shape):
    features = linear_counterpart(model.eval(), shape).eval().features
    a, b = noise(2, *shape).float()
    with torch.no_grad():
        dark, of_a, of_b, together = features(torch.stack([torch.zeros_like(a), a, b, 2 * a - 3 * b]))
    expected = 2 * (of_a - dark) - 3 * (of_b - dark)
    assert float((together - dark - expected).abs().max()) < 1e-4 * float(expected.abs().max())
    assert model(a[None]).shape == (1, 10)


def test_relu_in_the_pool_is_not_linear():
    student = linear_counterpart(LeNet(), (1, 28, 28), relu_in_pool=True).double()
    a, b = noise(2, 1, 1, 28, 28)
    with torch.no_grad():
        dark, of_a, of_b, of_both = student.features(torch.cat([torch.zeros_like(a), a, b, a + b]))
    together, apart = of_both - dark, of_a + of_b - 2 * dark
    assert float((together - apart).abs().max()) > 0.05 * float(together.abs().max())
    assert [type(m) for m in student.features] == [SpectralStack, nn.ReLU, SpectralStack, nn.ReLU]


def test_a_whole_front_end_merges_into_one_transfer_function():
    student = linear_counterpart(with_statistics(SmallCNN(width=4)), (1, 28, 28)).eval()
    (stack,) = student.features
    x = noise(2, 1, 28, 28)
    torch.testing.assert_close(merge(stack)(x), student.features(x), rtol=0, atol=1e-11)


def test_the_table_tells_what_became_of_each_layer():
    student = linear_counterpart(with_statistics(SmallCNN(width=4)), (1, 28, 28))
    became = {row.name: row.after for row in student.table}
    assert became["features.0"].startswith("SpectralConv2d")
    assert became["features.1"] == "folded into the convolution before it"
    assert became["features.2"] == "dropped"
    assert became["features.3"].startswith("SpectralPool2d")
    assert became["classifier.2"] == "kept"
    assert student.describe().count("\n") == len(student.table)


def test_batchnorm_behind_a_pool_is_folded_too():
    model = with_statistics(nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(2), nn.BatchNorm2d(3)))
    student = linear_counterpart(model, (1, 8, 8), borders="crop")
    x = noise(2, 1, 8, 8)
    expected = model[2](SpectralPool2d(8, 4)(model[0](x)))
    torch.testing.assert_close(student(x), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    "pool",
    [
        nn.AvgPool2d(2),
        nn.AvgPool2d(3, 2, (1, 0), count_include_pad=False),
        nn.AvgPool2d(3, ceil_mode=True),
        nn.AdaptiveAvgPool2d((3, 5)),
    ],
    ids=str,
)
def test_batchnorm_behind_an_average_is_folded_too(pool):
    model = with_statistics(nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), pool, nn.BatchNorm2d(3)))
    x = noise(2, 1, 8, 8)
    student = linear_counterpart(model, (1, 8, 8))
    torch.testing.assert_close(student(x), model(x), rtol=0, atol=1e-12)


def test_batchnorm_behind_the_average_in_place_of_a_max_pool():
    layers = [nn.Conv2d(1, 3, 3, padding=1), nn.MaxPool2d(3, 2, padding=1), nn.BatchNorm2d(3)]
    model = with_statistics(nn.Sequential(*layers))
    student = linear_counterpart(model, (1, 8, 8), pool="average")
    x = noise(2, 1, 8, 8)
    averaged = nn.functional.avg_pool2d(model[0](x), 3, 2, 1, count_include_pad=False)
    torch.testing.assert_close(student(x), model[2](averaged), rtol=0, atol=1e-12)


@pytest.mark.parametrize("pool", [nn.AvgPool2d(3, 2, padding=1), nn.AvgPool2d(2, divisor_override=3)])
def test_batchnorm_behind_an_average_that_changes_constants_is_refused(pool):
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), pool, nn.BatchNorm2d(3))
    with pytest.raises(TypeError, match="layer '2' is a BatchNorm that cannot be folded"):
        linear_counterpart(model, (1, 8, 8))


def test_a_flatten_hidden_in_forward_is_found():
    class Usual(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
            self.avgpool = nn.AdaptiveAvgPool2d(3)
            self.classifier = nn.Sequential(nn.Linear(18, 4))

        def forward(self, x):
            return self.classifier(self.avgpool(self.features(x)).flatten(1))

    model = Usual().double()
    x = noise(2, 1, 8, 8)
    expected = model.classifier(model.avgpool(model.features[0](x)).flatten(1))
    torch.testing.assert_close(linear_counterpart(model, (1, 8, 8))(x), expected)


def test_layers_that_are_used_twice_count_twice():
    relu, pool, convolution = nn.ReLU(), nn.AvgPool2d(2), nn.Conv2d(2, 2, 3, padding=1)
    last, batchnorm = nn.Linear(18, 18), nn.BatchNorm2d(2)
    front = [convolution, batchnorm, relu, pool, convolution, batchnorm, relu, pool]
    model = with_statistics(nn.Sequential(*front, nn.Flatten(), last, relu, last))
    student = linear_counterpart(model, (2, 12, 12), borders="crop").eval()
    x = noise(3, 2, 12, 12)
    expected = x
    for layer in (layer for layer in front if layer is not relu):
        expected = layer(expected)
    expected = last(torch.relu(last(expected.flatten(1))))
    torch.testing.assert_close(student(x), expected, rtol=0, atol=1e-11)
    assert [row.name for row in student.table] == [str(number) for number in range(12)]
    assert student.head[1] is student.head[3] is not last


def test_a_part_that_is_used_twice_counts_twice():
    block = nn.Sequential(nn.Conv2d(1, 1, 3, padding=1), nn.ReLU())
    model = nn.Module()
    model.features, model.avgpool, model.classifier = nn.Sequential(block, block), nn.Identity(), nn.Flatten()
    student = linear_counterpart(model.double(), (1, 8, 8), borders="crop")
    x = noise(2, 1, 8, 8)
    torch.testing.assert_close(student(x), block[0](block[0](x)).flatten(1))


@pytest.mark.parametrize(("kernel", "padding", "stride"), [(3, 1, 3), ((3, 5), (1, 2), 2), (4, 1, 2)])
def test_circular_padding_with_a_stride(kernel, padding, stride):
    layer = nn.Conv2d(1, 2, kernel, stride=stride, padding=padding, padding_mode="circular").double()
    x = noise(2, 1, 8, 10)
    student = linear_counterpart(nn.Sequential(layer), (1, 8, 10))
    torch.testing.assert_close(student(x), layer(x), rtol=0, atol=1e-12)


def test_circular_padding_stays_circular():
    model = nn.Sequential(nn.Conv2d(1, 2, 5, padding="same", padding_mode="circular"), nn.ReLU()).double()
    x = noise(2, 1, 9, 8)
    torch.testing.assert_close(linear_counterpart(model, (1, 9, 8))(x), model[0](x))


def test_valid_padding_is_none():
    model = nn.Sequential(nn.Conv2d(1, 2, (4, 3), padding="valid"), nn.ReLU()).double()
    x = noise(2, 1, 9, 8)
    torch.testing.assert_close(linear_counterpart(model, (1, 9, 8))(x), model[0](x))


def test_the_model_is_left_alone():
    model = with_statistics(SmallCNN(width=4))
    before = copy.deepcopy(model.state_dict())
    student = linear_counterpart(model, (1, 28, 28))
    with torch.no_grad():
        for parameter in student.parameters():
            parameter.zero_()
    assert all(torch.equal(before[name], values) for name, values in model.state_dict().items())


def test_fresh_weights():
    model = LeNet()
    torch.manual_seed(0)
    student = linear_counterpart(model, (1, 28, 28), copy_weights=False)
    convolution = next(m for m in student.modules() if isinstance(m, SpectralConv2d))
    assert not torch.equal(convolution.weight, model.features[0].weight)
    assert not torch.equal(student.head[1].weight, model.classifier[1].weight)


class Head(nn.Module):
    """What a user may put behind the Flatten: layers within, and perhaps a parameter of its own."""

    def __init__(self, scale=False):
        super().__init__()
        self.layers = nn.ModuleList([nn.BatchNorm1d(72), nn.Linear(72, 3)])
        if scale:
            self.scale = nn.Parameter(torch.ones(3))


class HeadThatResets(Head):
    def reset_parameters(self):
        nn.init.zeros_(self.scale)


def with_head(head):
    return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), head)


def test_fresh_weights_within_a_head_of_your_own():
    model = with_head(HeadThatResets(scale=True))
    before = copy.deepcopy(model.state_dict())
    norm = model[3].layers[0]
    norm(torch.rand(5, 72))
    torch.manual_seed(0)
    head = linear_counterpart(model, (1, 8, 8), copy_weights=False).head[1]
    torch.manual_seed(0)
    SpectralConv2d(1, 2, 3, 8, bias=True)  # drawn before the head is
    torch.testing.assert_close(head.layers[1].weight, nn.Linear(72, 3).weight, rtol=0, atol=0)
    assert not head.layers[0].running_mean.any() and not head.scale.any()
    assert norm.running_mean.any() and torch.equal(model[3].scale, before["3.scale"])


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (
            lambda: linear_counterpart(nn.Sequential(nn.Conv2d(1, 2, 3), nn.LocalResponseNorm(2)), (1, 8, 8)),
            TypeError,
            "layer '1' .LocalResponseNorm.*has no linear counterpart.*or put it behind the Flatten",
        ),
        (
            lambda: linear_counterpart(nn.Sequential(nn.Conv2d(1, 2, 3, padding_mode="reflect")), (1, 8, 8)),
            TypeError,
            "pads by 'reflect'",
        ),
        (
            lambda: linear_counterpart(nn.Sequential(nn.BatchNorm2d(1), nn.Conv2d(1, 2, 3)), (1, 8, 8)),
            TypeError,
            "BatchNorm that cannot be folded",
        ),
        (
            lambda: linear_counterpart(nn.Sequential(nn.MaxPool2d(2, dilation=2)), (1, 8, 8), pool="average"),
            TypeError,
            'dilated max-pool.*use pool="spectral"',
        ),
        (
            lambda: linear_counterpart(CIRCULAR, (1, 8, 8)),
            TypeError,
            "must pad by half of its kernel on each side.*use padding='same'",
        ),
        (
            # As many pixels as with the right padding, but other ones.
            lambda: linear_counterpart(
                nn.Sequential(nn.Conv2d(1, 1, 3, stride=3, padding=0, padding_mode="circular")), (1, 9, 9)
            ),
            TypeError,
            "got \\(0, 0\\).*use padding=\\(1, 1\\)",
        ),
        (
            lambda: linear_counterpart(
                nn.Sequential(nn.Conv2d(1, 1, 4, padding=1, padding_mode="circular")), (1, 8, 8)
            ),
            TypeError,
            "use padding='same'",
        ),
        (
            lambda: linear_counterpart(with_head(Head(scale=True)), (1, 8, 8), copy_weights=False),
            TypeError,
            "parameters.*in a Head without reset_parameters.*or set copy_weights=True",
        ),
        (lambda: linear_counterpart(nn.Bilinear(1, 1, 1), (1, 8, 8)), TypeError, "model must be a Seq"),
        (lambda: linear_counterpart(LeNet(), (28, 28)), ValueError, "input_shape must be"),
        (lambda: linear_counterpart(LeNet(), (1, 28, 28), pool="x"), ValueError, "pool must be one of"),
        (lambda: linear_counterpart(LeNet(), (1, 28, 28), borders="x"), ValueError, "borders must be"),
        (lambda: AlexNet(image_size=64), ValueError, "image_size must be 32 or 224"),
        (lambda: SmallCNN(image_size=7), ValueError, "image_size must be at least 8"),
        (lambda: LeNet(classes=0), ValueError, "classes must be at least 1"),
    ],
)  # fmt: skip
def test_bad_input_is_named(make, error, words):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(error, match=words):
            make()
