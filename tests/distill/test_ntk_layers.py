"""How layers enter the tangent kernel: each rule against the Jacobian, and what could fool the recording."""

from functools import partial

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from onnlab.distill import _record, layers, ntk, ntk_trace
from onnlab.distill._record import record
from onnlab.distill.layers import LargeConvolution
from onnlab.networks import (
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
)
from tests.distill.helpers import jacobian

biased = partial(SpectralConv2d, bias=True)
LIGHT = {"pitch": 8e-6, "wavelength": 532e-9, "focal_length": 0.1}


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def exact(model: nn.Module, x: Tensor, x2: Tensor | None = None) -> Tensor:
    j = jacobian(model, x)
    return torch.einsum("ncp,mcp->nm", j, j if x2 is None else jacobian(model, x2))


def assert_exact(model: nn.Module, x: Tensor, x2: Tensor | None = None) -> None:
    """With and without the way back, all outputs in one sum and each pair alone."""
    expected = exact(model, x, x2)
    bound = {"rtol": 0, "atol": 1e-10 * exact(model, x).diagonal().max().item()}
    torch.testing.assert_close(ntk(model, x, x2).detach(), expected, **bound)
    with torch.no_grad():
        torch.testing.assert_close(ntk(model, x, x2), expected, **bound)
        full = ntk(model, x, x2, classes="full")
        torch.testing.assert_close(full.diagonal(dim1=2, dim2=3).sum(2), expected, **bound)


def uncovered(model: nn.Module, x: Tensor) -> set[str]:
    return record(model, dict(model.named_parameters()), x, False).uncovered


def fresh(build, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return build().double().eval()


def tail(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers, nn.Tanh(), nn.Flatten())


class TiedAutoencoder(nn.Module):
    """One set of kernels forth and back, one matrix with two biases, and each layer twice."""

    def __init__(self):
        super().__init__()
        self.kernels = nn.Parameter(random(3, 2, 3, 3, seed=3))
        self.matrix = nn.Linear(6, 6)
        self.other_bias = nn.Parameter(random(6, seed=4))

    def forward(self, x):
        y = F.conv2d(x, self.kernels).tanh()
        z = F.conv2d(F.conv_transpose2d(y, self.kernels), self.kernels).mean((2, 3)).repeat(1, 2)
        return F.linear(self.matrix(self.matrix(z).tanh()).tanh(), self.matrix.weight, self.other_bias)


class TwiceTheSameConvolution(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer, self.norm = nn.Conv2d(2, 2, 3, padding=1), nn.GroupNorm(1, 2)

    def forward(self, x):
        return self.norm(self.layer(self.norm(self.layer(x)).relu())).flatten(1)


class OneVectorForAll(nn.Module):
    """A vector that is the factor of one norm, the offset of the next, and the bias of a matrix."""

    def __init__(self):
        super().__init__()
        self.vector, self.matrix = nn.Parameter(random(6, seed=3)), nn.Parameter(random(6, 6, seed=4))

    def forward(self, x):
        y = F.layer_norm(x.flatten(1, 2), [6], self.vector)
        y = F.layer_norm(y.sin(), [6], None, self.vector)
        return F.linear(y.sin().mean(1), self.matrix, self.vector)


class RowsFirst(nn.Module):
    """A mixer that carries the rows of an image, and not the images, along its first axis."""

    def __init__(self):
        super().__init__()
        self.mix, self.norm = nn.Linear(6, 4), nn.LayerNorm(4)

    def forward(self, x):
        rows = x.flatten(1, 2).transpose(0, 1)  # (rows, n, columns)
        return self.norm(self.mix(rows)).tanh().sum(0)


class RowsFirstConvolved(nn.Module):
    """The same with kernels of one row and BatchNorm: images lie side by side where the others have rows."""

    def __init__(self):
        super().__init__()
        self.kernels, self.norm = nn.Conv2d(2, 3, (1, 3)), nn.BatchNorm2d(3)

    def forward(self, x):
        rows = x.permute(2, 1, 0, 3)  # (rows, channels, n, columns)
        return self.norm(self.kernels(rows)).tanh().sum(0).transpose(0, 1).flatten(1)


class ChannelsFirst(nn.Module):
    """Patches of each channel alone, of all images in one tall picture; and of these larger ones again."""

    def __init__(self):
        super().__init__()
        self.patches, self.back = nn.Conv2d(1, 3, 2, stride=2), nn.ConvTranspose2d(3, 2, 2, stride=2)

    def forward(self, x):
        tall = x.transpose(0, 1).flatten(1, 2)[:, None]  # (channels, 1, n * rows, columns)
        y = self.back(self.patches(tall).tanh()).tanh()
        return y.unflatten(2, (len(x), -1)).sum((0, 1)).flatten(1)


class Attention(nn.Module):
    def __init__(self):
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, batch_first=True)
        self.activation = nn.PReLU()

    def forward(self, x):
        rows = x.flatten(1, 2)
        mixed, _ = self.attention(rows, rows, rows, need_weights=False)
        return self.activation(mixed).sum(1)


SMALL, TINY, DIGIT = (2, 6, 6), (2, 3, 2), (1, 28, 28)
COVERED = {
    "transposed": (lambda: tail(nn.ConvTranspose2d(2, 3, 3)), TINY),
    "transposed, strided": (lambda: tail(nn.ConvTranspose2d(2, 4, 3, 3, 1, 1, 2, True)), TINY),
    "transposed, dilated": (lambda: tail(nn.ConvTranspose2d(2, 3, (3, 2), 1, (2, 0), dilation=2)), TINY),
    "transposed, far output": (lambda: tail(nn.ConvTranspose2d(2, 1, 2, 2, 0, 2, dilation=3)), TINY),
    "group norm": (lambda: tail(nn.Conv2d(2, 4, 3), nn.GroupNorm(2, 4)), SMALL),
    "layer norm": (lambda: tail(nn.Conv2d(2, 3, 3), nn.LayerNorm([4, 4]), nn.LayerNorm([3, 4, 4])), SMALL),
    "norm without bias": (lambda: tail(nn.LayerNorm(6, bias=False)), SMALL),
    "batch norm of numbers": (lambda: tail(nn.Flatten(), nn.BatchNorm1d(72), nn.Linear(72, 3)), SMALL),
    "same, even": (lambda: tail(nn.Conv2d(2, 3, (4, 3), padding="same", dilation=(1, 2))), SMALL),
    "groups": (lambda: tail(nn.Conv2d(2, 6, 3, groups=2), nn.Conv2d(6, 2, 2, groups=2)), SMALL),
    "two layers, each twice": (TwiceTheSameConvolution, SMALL),
    "crop and pool": (lambda: tail(IdealConvolution(2, 3, 4, 6), nn.AvgPool2d(2)), SMALL),
    "overlapping pools": (lambda: tail(nn.Conv2d(2, 3, 2), nn.AvgPool2d(3, 1), nn.AvgPool2d(2)), SMALL),
    "strided and pooled": (lambda: tail(nn.Conv2d(2, 3, 2, 2, groups=1), nn.AvgPool2d(2)), (2, 9, 9)),
    "dilated and pooled": (lambda: tail(nn.Conv2d(2, 4, 2, dilation=2, groups=2), nn.AvgPool2d(2)), SMALL),
    "pool of another divisor": (
        lambda: tail(nn.Conv2d(2, 3, 3), nn.AvgPool2d(2, divisor_override=3)),
        SMALL,
    ),
    "pool beyond the border": (
        lambda: tail(nn.Conv2d(2, 3, 2), nn.AvgPool2d(2, padding=1, count_include_pad=False)),
        SMALL,
    ),
    "in place": (lambda: tail(nn.Conv2d(2, 3, 3), nn.ReLU(inplace=True), nn.Conv2d(3, 2, 2)), SMALL),
    "U-Net": (lambda: UNet(2, width=2, levels=3), (2, 4, 8)),
    "linear U-Net": (lambda: linear_unet(UNet(2, width=2, levels=2).eval(), (2, 4, 6)), (2, 4, 6)),
    "segmenter": (lambda: HybridSegmenter(PSFConvolution(2, 5, 3, 4, "rectified"), groups=(3, 2)), (2, 4, 4)),
    "segmenter of two front ends": (
        lambda: HybridSegmenter(
            IdealConvolution(2, 5, 3, 4), groups=(3, 2), coarse=IdealConvolution(2, 2, 2, 2), depth=1
        ),
        (2, 4, 4),
    ),
    "stack": (
        lambda: tail(SpectralStack(biased(2, 3, 3, 6), SpectralPool2d(6, 3), SpectralConv2d(3, 2, 2, 3))),
        SMALL,
    ),
    "stack, no borders": (
        lambda: tail(SpectralStack(biased(2, 3, 3, 6, "circular"), biased(3, 2, 2, 6, "circular"))),
        SMALL,
    ),
    "stack that shrinks": (
        lambda: tail(SpectralStack(biased(2, 3, 3, 6, 0), SpectralConv2d(3, 2, 2, 4, 2))),
        SMALL,
    ),
    "spectral, strided": (
        lambda: tail(SpectralConv2d(2, 4, 3, 6, 1, stride=2, groups=2, backend="fft")),
        SMALL,
    ),
    "counterpart": (lambda: linear_counterpart(LeNet(), DIGIT), DIGIT),
    "counterpart of SmallCNN": (lambda: linear_counterpart(SmallCNN(width=2).eval(), DIGIT), DIGIT),
    "counterpart of SmallCNN, crop": (
        lambda: linear_counterpart(SmallCNN(width=2).eval(), DIGIT, borders="crop"),
        DIGIT,
    ),
    "PSFs": (lambda: HybridClassifier(PSFConvolution(1, 2, 5, 28, "rectified"), hidden=(5,)), DIGIT),
    "4f": (lambda: HybridClassifier(FourFConvolution(1, 2, 4, 28, "square-law", **LIGHT), hidden=()), DIGIT),
    "4f with a reference": (
        lambda: HybridClassifier(FourFConvolution(1, 2, 4, 28, **LIGHT), hidden=()),
        DIGIT,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("name", COVERED)
def test_a_rule_is_the_jacobian(name: str) -> None:
    build, shape = COVERED[name]
    model, x, x2 = fresh(build), random(4, *shape).abs(), random(3, *shape, seed=1).abs()
    for layer in model.modules():
        if isinstance(layer, nn.modules.batchnorm._BatchNorm):
            layer.running_mean.normal_(generator=Generator().manual_seed(2))
            layer.running_var.uniform_(0.5, 2, generator=Generator().manual_seed(2))
    assert not uncovered(model, x)
    assert_exact(model, x)
    assert_exact(model, x, x2)


@pytest.fixture
def any_size_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layers, "PATCHES", 1)


LARGE = {
    "strided, asymmetric": (
        lambda: tail(nn.Conv2d(2, 3, (3, 2), (2, 3), (2, 0)), nn.Conv2d(3, 2, 1, bias=False)),
        (2, 9, 8),
    ),
    "normed and grouped": (
        lambda: tail(nn.Conv2d(2, 4, 3, groups=2), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 2, dilation=2)),
        (2, 9, 9),
    ),
    **{name: COVERED[name] for name in ("same, even", "groups", "group norm", "in place", "U-Net")},
    **{name: COVERED[name] for name in ("segmenter", "spectral, strided", "stack")},
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Using padding='same':UserWarning")
@pytest.mark.parametrize("name", LARGE)
@pytest.mark.usefixtures("any_size_is_large")
def test_without_patches_it_is_the_jacobian_too(name: str) -> None:
    build, shape = LARGE[name]
    model, x, x2 = fresh(build), random(4, *shape).abs(), random(3, *shape, seed=1).abs()
    taps = record(model, dict(model.named_parameters()), x, False).taps
    assert any(isinstance(use, LargeConvolution) for tap in taps for _, use in tap.uses)
    assert not uncovered(model, x)
    assert_exact(model, x)
    assert_exact(model, x, x2)
    for p in model.parameters():
        p.requires_grad_(p.ndim == 1)  # biases alone
    if name != "spectral, strided":  # which has none
        assert_exact(model, x)


def test_weights_that_come_twice_keep_their_patches(any_size_is_large: None) -> None:
    model, x = fresh(TwiceTheSameConvolution), random(4, *SMALL)
    taps = record(model, dict(model.named_parameters()), x, False).taps
    assert not any(isinstance(use, LargeConvolution) for tap in taps for _, use in tap.uses)


class ScaledNorm(nn.Module):
    """A parameter without a rule in front of a LayerNorm."""

    def __init__(self):
        super().__init__()
        self.gain, self.norm, self.linear = nn.Parameter(torch.rand(6)), nn.LayerNorm(6), nn.Linear(72, 2)

    def forward(self, x):
        return self.linear(self.norm(self.gain * x).tanh().flatten(1))


WITH_GRADIENTS = {
    **{name: COVERED[name] for name in ("transposed, strided", "layer norm", "two layers, each twice")},
    **{name: COVERED[name] for name in ("groups", "U-Net", "stack", "crop and pool")},
    "no rule": (TiedAutoencoder, SMALL),
    "no rule, layer norm": (ScaledNorm, SMALL),
}


@pytest.mark.parametrize("name", WITH_GRADIENTS)
@pytest.mark.parametrize("chunk", [None, 1])
def test_the_gradient_is_that_of_finite_differences(name: str, chunk: int | None) -> None:
    assert_gradient(*WITH_GRADIENTS[name], chunk)


@pytest.mark.parametrize("name", ["strided, asymmetric", "normed and grouped", "groups", "U-Net"])
@pytest.mark.parametrize("chunk", [None, 1])
def test_without_patches_so_is_the_gradient(name: str, chunk: int | None, any_size_is_large: None) -> None:
    assert_gradient(*LARGE[name], chunk)


def assert_gradient(build, shape: tuple[int, ...], chunk: int | None) -> None:
    """For a batch with itself and beside another one."""
    model, x, x2 = fresh(build), random(3, *shape), random(2, *shape, seed=1)
    weights = random(3, 3, seed=5), random(3, 2, seed=6)

    def value() -> Tensor:
        kernels = ntk(model, x, chunk=chunk), ntk(model, x, x2, chunk=chunk)
        return sum((w * kernel).sum() for w, kernel in zip(weights, kernels, strict=True))

    parameters = list(model.parameters())
    pushes = [random(*p.shape, seed=7) for p in parameters]
    gradients = torch.autograd.grad(value(), parameters, materialize_grads=True)
    slope = sum((g * push).sum() for g, push in zip(gradients, pushes, strict=True))
    step, values = 1e-5, []
    with torch.no_grad():
        for sign in (1, -2):
            for p, push in zip(parameters, pushes, strict=True):
                p.add_(push, alpha=sign * step)
            values.append(value())
    torch.testing.assert_close(slope, (values[0] - values[1]) / (2 * step), rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("build", [TiedAutoencoder, OneVectorForAll])
def test_what_no_rule_covers_takes_the_other_way(build) -> None:
    assert_exact(fresh(build), random(4, *SMALL))


@pytest.mark.parametrize(("build", "length"), [(RowsFirst, 12), (RowsFirstConvolved, 6), (ChannelsFirst, 2)])
def test_a_first_axis_that_is_not_the_batch_is_noticed_though_it_is_as_long(build, length: int) -> None:
    model = fresh(build)
    assert_exact(model, random(length, *SMALL))
    assert_exact(model, random(length, *SMALL), random(length, *SMALL, seed=1))


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_functions_that_vmap_cannot_do() -> None:
    model, x = fresh(Attention), random(4, *SMALL)
    with pytest.raises(RuntimeError):
        jacobian(model, x)
    rows = [
        torch.stack(
            [
                torch.cat(
                    [g.flatten() for g in torch.autograd.grad(y, list(model.parameters()), retain_graph=True)]
                )
                for y in model(image[None])[0]
            ]
        )
        for image in x
    ]
    j = torch.stack(rows)
    torch.testing.assert_close(ntk(model, x).detach(), torch.einsum("ncp,mcp->nm", j, j))


@pytest.mark.parametrize("entries", [1, 300, 10**9])
def test_how_many_outputs_go_back_together_does_not_matter(entries: int, monkeypatch) -> None:
    monkeypatch.setattr(_record, "TOGETHER", entries)
    assert_exact(fresh(lambda: tail(nn.Conv2d(2, 3, 3), nn.MaxPool2d(2))), random(4, *SMALL))


def test_a_way_back_that_cannot_go_together() -> None:
    class Peeking(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, slope):
            return 2 * slope if slope.sum().item() > -1e9 else slope  # vmap has no single number to show

    class Doubling(nn.Module):
        def forward(self, x):
            return Peeking.apply(x)

    model = fresh(lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 4), Doubling(), nn.Linear(4, 3)))
    plain = fresh(lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 4), nn.Linear(4, 3)))
    with torch.no_grad():
        plain[2].weight.copy_(2 * model[3].weight)
    x = random(4, *SMALL)
    parts = {"1": 1.0}  # what lies before it sees twice the slope
    torch.testing.assert_close(ntk(model, x, parameters=parts), ntk(plain, x, parameters=parts))


def test_a_random_network_is_refused_where_no_rule_sees_it() -> None:
    class Noisy(nn.Module):
        def __init__(self):
            super().__init__()
            self.gain = nn.Parameter(torch.ones(6))

        def forward(self, x):
            return (self.gain * x + torch.rand_like(x)).square().flatten(1)

    with pytest.raises(ValueError, match="draws random numbers"):
        ntk(Noisy().double(), random(2, *TINY[:2], 6))


@pytest.mark.parametrize(
    "tail",
    [
        lambda x: torch.dropout(x, 0.5, True),
        lambda x: torch.rrelu(x, training=True),
        nn.MultiheadAttention(6, 2, dropout=0.5).double(),
    ],
    ids=["dropout", "rrelu", "attention"],
)
def test_randomness_is_noticed_whatever_draws_it(tail) -> None:
    class Random(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm, self.layer = nn.LayerNorm(6).double(), nn.Linear(6, 6).double()

        def forward(self, x):
            x = self.layer(self.norm(x))
            return tail(x, x, x, need_weights=False)[0] if isinstance(tail, nn.Module) else tail(x)

    for differentiable in (True, False):
        with torch.set_grad_enabled(differentiable), pytest.raises(ValueError, match="model must be in eval"):
            ntk(Random(), random(4, 6))
    with pytest.raises(ValueError, match="model must be in eval mode"):
        ntk_trace(Random(), random(4, 6), generator=Generator().manual_seed(0))


class Twice(nn.Module):
    """One module, or one weight of two, that stands in two places."""

    def __init__(self, shared: str):
        super().__init__()
        gain = lambda: ScaledBy(random(36, seed=9))  # noqa: E731
        make = gain if shared == "no rule" else partial(nn.Conv2d, 1, 1, 3, padding=1)
        first = make()
        second = make() if shared == "weight" else first
        if shared == "weight":
            second.weight = first.weight
        self.layers = nn.Sequential(first, nn.Tanh(), second, nn.Flatten(), nn.Linear(36, 3)).double()

    def forward(self, x):
        return self.layers(x)


class ScaledBy(nn.Module):
    def __init__(self, gain: Tensor):
        super().__init__()
        self.gain = nn.Parameter(gain)

    def forward(self, x):
        return x * self.gain.view(6, 6)


def plain_jacobian(model: nn.Module, x: Tensor) -> Tensor:
    """By autograd, one output after the other: ``functional_call`` cannot put back what it finds twice."""
    weights = list(model.parameters())
    rows = [torch.autograd.grad(y, weights, retain_graph=True) for y in model(x).flatten()]
    return torch.stack([torch.cat([part.flatten() for part in row]) for row in rows]).unflatten(
        0, (len(x), -1)
    )


@pytest.mark.parametrize("shared", ["module", "weight", "no rule"])
def test_what_stands_in_two_places_counts_twice_and_stays_where_it_was(shared: str) -> None:
    model, x = fresh(lambda: Twice(shared)), random(3, 1, 6, 6)
    weights, values = list(model.parameters()), [p.detach().clone() for p in model.parameters()]
    j = plain_jacobian(model, x)
    for differentiable in (False, True, False):
        with torch.set_grad_enabled(differentiable):
            torch.testing.assert_close(ntk(model, x).detach(), torch.einsum("ncp,mcp->nm", j, j))
    ntk_trace(model, x, scale=0.1, generator=Generator().manual_seed(0))
    left = list(model.parameters())
    assert all(one is other for one, other in zip(left, weights, strict=True))
    assert all(torch.equal(one, value) for one, value in zip(left, values, strict=True))
    assert all(isinstance(layer._parameters[name], nn.Parameter)
               for layer in model.modules() for name in layer._parameters)  # fmt: skip


def test_a_tied_weight_is_known_by_either_name() -> None:
    model, x = fresh(lambda: Twice("weight")), random(3, 1, 6, 6)
    first, second = (
        ntk(model, x, parameters=["layers.0.weight"]),
        ntk(model, x, parameters=["layers.2.weight"]),
    )
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    j = plain_jacobian(model, x)[..., :9]  # the weight comes first
    torch.testing.assert_close(first.detach(), torch.einsum("ncp,mcp->nm", j, j))


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")
@pytest.mark.parametrize("normed", [nn.utils.weight_norm, nn.utils.parametrizations.weight_norm])
def test_normed_weights_have_the_gradient_of_finite_differences(normed) -> None:
    assert_gradient(lambda: nn.Sequential(nn.Flatten(), normed(nn.Linear(36, 4)), nn.Tanh(), nn.Linear(4, 2)),
                    (1, 6, 6), None)  # fmt: skip


def test_a_norm_of_many_features_without_pixels() -> None:
    features = layers.PATCHES
    model, x = (
        nn.Sequential(nn.BatchNorm1d(features), nn.Linear(features, 1)).double().eval(),
        random(2, features),
    )
    factors = x * model[1].weight / (1 + model[0].eps) ** 0.5
    by_hand = factors @ factors.T + model[1].weight.square().sum() + model[0](x) @ model[0](x).T + 1
    torch.testing.assert_close(ntk(model, x).detach(), by_hand.detach())


def test_kernels_that_go_round_their_canvas_twice() -> None:
    wide = partial(SpectralConv2d, padding="circular", dilation=3)
    for build in (lambda: wide(1, 2, 5, 4), lambda: SpectralStack(wide(1, 2, 5, 4), wide(2, 1, 3, 4))):
        assert_exact(fresh(lambda build=build: nn.Sequential(build(), nn.Flatten())), random(3, 1, 4, 4))


def test_a_matrix_of_one_row_takes_the_other_way() -> None:
    class Single(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.row = nn.Linear(6, 4), nn.Parameter(torch.ones(4))

        def forward(self, x):
            return F.linear(torch.tanh(self.layer(x)), self.row)[:, None]

    assert_exact(fresh(Single), random(3, 6))


def test_what_a_checkpoint_hides_is_refused() -> None:
    class Hidden(LeNet):
        def forward(self, x):
            return self.classifier(checkpoint(self.features, x.requires_grad_(), use_reentrant=True))

    with pytest.raises(ValueError, match="hides a part of it; .* use_reentrant=False"):
        ntk(fresh(Hidden), random(3, *DIGIT))


def test_a_matrix_with_two_biases_and_kernels_forth_and_back() -> None:
    model, x = fresh(TiedAutoencoder), random(4, *SMALL)
    assert uncovered(model, x) == {"kernels"}
    for names in (
        ["matrix.weight"],
        ["matrix.bias"],
        ["other_bias"],
        ["matrix"],
        ["matrix.weight", "other_bias"],
    ):
        j = jacobian(model.requires_grad_(False).requires_grad_(True), x)
        sizes = {name: p.numel() for name, p in model.named_parameters()}
        start, columns = 0, []
        for name, size in sizes.items():
            if any(name == wanted or name.startswith(f"{wanted}.") for wanted in names):
                columns.append(j[..., start : start + size])
            start += size
        part = torch.cat(columns, 2)
        expected = torch.einsum("ncp,mcp->nm", part, part)
        torch.testing.assert_close(ntk(model, x, parameters=names).detach(), expected)


def test_frozen_parts_enter_if_they_are_named() -> None:
    model, x = fresh(LeNet), random(3, *DIGIT)
    whole, head = ntk(model, x).detach(), ntk(model, x, parameters=["classifier"]).detach()
    model.features.requires_grad_(False)
    torch.testing.assert_close(ntk(model, x).detach(), head)
    named = ntk(model, x, parameters=["features", "classifier"])
    torch.testing.assert_close(named.detach(), whole)
    named.sum().backward()
    assert all(p.grad is None and not p.requires_grad for p in model.features.parameters())


def test_the_network_is_left_as_it_was() -> None:
    model = fresh(lambda: tail(SpectralConv2d(2, 2, 3, 6), PSFConvolution(2, 2, 3, 6), nn.BatchNorm2d(2)))
    x = random(3, *SMALL).abs()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    attributes = [set(vars(layer)) for layer in model.modules()]
    for _ in range(2):
        with torch.no_grad():
            ntk(model, x)
    assert [set(vars(layer)) for layer in model.modules()] == attributes
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())

    def fail(layer, inputs):
        raise RuntimeError("on purpose")

    model[2].register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="on purpose"):
        ntk(model, x)
    assert [set(vars(layer)) for layer in model.modules()] == attributes


def test_hooks_of_the_reader_count() -> None:
    model, x = (
        fresh(lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 4), nn.Linear(4, 3))),
        random(4, *SMALL),
    )
    model[1].register_forward_hook(lambda layer, inputs, output: output.sin())
    assert_exact(model, x)


def test_layouts_of_memory_do_not_matter() -> None:
    model, x = fresh(lambda: SmallCNN(width=4)), random(4, *DIGIT)
    expected = ntk(model, x).detach()
    model.to(memory_format=torch.channels_last)
    torch.testing.assert_close(ntk(model, x.to(memory_format=torch.channels_last)).detach(), expected)
    torch.testing.assert_close(ntk(model, x.mT.contiguous().mT).detach(), expected)


def test_autocast_has_no_say() -> None:
    model, x = fresh(LeNet).float(), random(3, *DIGIT).float()
    expected = ntk(model, x).detach()
    with torch.autocast("cpu", torch.bfloat16):
        kernel = ntk(model, x)
    assert kernel.dtype == torch.float32 and torch.equal(kernel.detach(), expected)


def test_one_image_and_a_batch_beside_itself() -> None:
    model, x = fresh(LeNet), random(4, *DIGIT)
    whole = ntk(model, x).detach()
    torch.testing.assert_close(ntk(model, x[:1]).detach(), whole[:1, :1])
    torch.testing.assert_close(ntk(model, x, x).detach(), whole)
    blocks = [[ntk(model, a, b).detach() for b in x.split(3)] for a in x.split(3)]
    torch.testing.assert_close(torch.cat([torch.cat(row, 1) for row in blocks]), whole)


def test_parameters_that_do_nothing_have_no_share() -> None:
    model, x = fresh(lambda: nn.Sequential(nn.Flatten(), nn.Linear(72, 3))), random(4, *SMALL)
    expected = ntk(model, x).detach()
    model.idle = nn.Parameter(torch.ones(3, dtype=torch.float64))
    model.unused = nn.Linear(3, 3).double()
    model.forward = lambda images: nn.Sequential.forward(nn.Sequential(model[0], model[1]), images)
    assert torch.equal(ntk(model, x).detach(), expected)


def test_a_network_that_recomputes_its_activations() -> None:
    class Thrifty(LeNet):
        def forward(self, x):
            return self.classifier(checkpoint(self.features, x, use_reentrant=False))

    model, x = fresh(Thrifty), random(3, *DIGIT)
    plain = fresh(LeNet)
    torch.testing.assert_close(ntk(model, x).detach(), ntk(plain, x).detach())


class Product(torch.autograd.Function):
    """A function that PyTorch shows to nobody who watches its functions."""

    generate_vmap_rule = True

    @staticmethod
    def forward(a, b):
        return a * b

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, slope):
        a, b = ctx.saved_tensors
        return (slope * b).sum_to_size(a.shape), slope * a


class Hidden(nn.Module):
    """A vector in a list that is no module, and one that goes through a function of its own."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Parameter(random(72, seed=3)), nn.Parameter(random(72, seed=4))
        self.kept = [self.one]

    def forward(self, x):
        return Product.apply(self.two, (x.flatten(1) * self.kept[0]).sin()).tanh()


@pytest.mark.parametrize("frozen", [False, True])
def test_hidden_parameters_are_not_left_out(frozen: bool) -> None:
    model, x = Hidden(), random(3, *SMALL)
    rows, output = x.flatten(1), model(x).detach()
    slope = 1 - output**2
    by_one = slope * model.two * (rows * model.one).cos() * rows
    by_two = slope * (rows * model.one).sin()
    expected = (by_one @ by_one.T + by_two @ by_two.T).detach()
    model.requires_grad_(not frozen)
    torch.testing.assert_close(ntk(model, x, parameters=["one", "two"]).detach(), expected)


def test_calls_that_the_outputs_do_not_depend_on() -> None:
    class Aside(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer, self.out = nn.Conv2d(2, 3, 3), nn.Linear(3, 2)

        def forward(self, x):
            y = self.layer(x)
            self.seen = self.out(F.avg_pool2d(y, 4).flatten(1))  # to look at
            weight = self.out(y.mean((2, 3))).detach()
            return weight * self.out(y.sin().mean((2, 3)))

    def watched(parameters, image):  # what is detached stays as it is when the parameters move
        y = F.conv2d(image[None], parameters["layer.weight"], parameters["layer.bias"])
        still = F.conv2d(image[None], model.layer.weight, model.layer.bias)
        weight = model.out(still.mean((2, 3))).detach()
        return (weight * F.linear(y.sin().mean((2, 3)), parameters["out.weight"], parameters["out.bias"]))[0]

    model, x = fresh(Aside), random(3, *SMALL)
    named = {name: p.detach() for name, p in model.named_parameters()}
    parts = torch.func.vmap(torch.func.jacrev(watched), (None, 0))(named, x)
    j = torch.cat([part.flatten(2) for part in parts.values()], 2)
    torch.testing.assert_close(ntk(model, x).detach(), torch.einsum("ncp,mcp->nm", j, j))
    assert uncovered(model, x) == set()


def test_inference_mode_is_refused() -> None:
    model, x = fresh(lambda: nn.Linear(6, 3)), random(2, 6)
    with torch.inference_mode(), pytest.raises(ValueError, match=r"use torch.no_grad\(\)"):
        ntk(model, x)


def test_kernels_do_not_depend_on_how_many_images_share_a_product() -> None:
    model, x = fresh(lambda: tail(nn.Conv2d(2, 8, 3, padding=1))), random(300, *SMALL)
    with torch.no_grad():
        kernel = ntk(model, x)
    some = torch.tensor([0, 127, 128, 255, 256, 299])
    torch.testing.assert_close(kernel[some][:, some], exact(model, x[some]))
    assert torch.equal(kernel, kernel.T)


def test_complex_parameters_are_refused() -> None:
    class Mask(nn.Module):
        def __init__(self):
            super().__init__()
            self.mask = nn.Parameter(torch.ones(6, 6, dtype=torch.complex128))

        def forward(self, x):
            return (x * self.mask).abs().flatten(1)

    with pytest.raises(TypeError, match=r"mask of torch.complex128.*view_as_complex"):
        ntk(Mask(), random(2, *SMALL))


def test_outputs_that_are_no_rows_are_refused() -> None:
    x = random(2, *SMALL)
    with pytest.raises(TypeError, match="got tuple"):
        ntk(fresh(lambda: nn.Sequential(nn.Flatten(2), nn.LSTM(36, 3))), x)
    with pytest.raises(TypeError, match=r"float tensor, got torch.complex128"):
        ntk(fresh(lambda: nn.Sequential(nn.Linear(6, 3), Fourier())), x)
    with pytest.raises(ValueError, match="at least one image"):
        ntk(fresh(lambda: nn.Linear(6, 3)), x[:0])


class Fourier(nn.Module):
    def forward(self, x):
        return torch.fft.fft2(x)


def test_dropout_as_a_function_is_noticed() -> None:
    class Careless(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(6, 3)

        def forward(self, x):
            return F.dropout(self.linear(x))  # in training mode whatever the mode of the module is

    with pytest.raises(ValueError, match="dropout is random"):
        ntk(Careless().double().eval(), random(2, *SMALL))
