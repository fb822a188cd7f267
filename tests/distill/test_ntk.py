"""The tangent kernel, against the Jacobian of torch.func and against numbers made by hand."""

import copy

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F
from torch.nn import utils

from onnlab.distill import fit, ntk, ntk_trace
from onnlab.networks import (
    AlexNet,
    HybridClassifier,
    IdealConvolution,
    LeNet,
    PSFConvolution,
    SmallCNN,
    SpectralConv2d,
    linear_counterpart,
)
from tests.distill.helpers import jacobian, toy_data, toy_model


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.second, self.head = (
            nn.Conv2d(2, 2, 3, padding=1),
            nn.Conv2d(2, 2, 1),
            nn.Linear(50, 3),
        )

    def forward(self, x):
        y = x + self.second(F.relu(self.first(x)))
        return self.head(y.flatten(1))


class Shared(nn.Module):
    """One convolution twice, and one matrix forth and back."""

    def __init__(self):
        super().__init__()
        self.convolution, self.matrix = nn.Conv2d(2, 2, 3, padding=1), nn.Linear(50, 4)

    def forward(self, x):
        y = self.matrix(self.convolution(torch.tanh(self.convolution(x))).flatten(1))
        return F.linear(y, self.matrix.weight.T)


class Own(nn.Module):
    """Parameters and functions that are no layers."""

    def __init__(self):
        super().__init__()
        self.gain, self.linear = nn.Parameter(torch.rand(5)), nn.Linear(5, 4)

    def forward(self, x):
        rows = self.linear(self.gain * x.mean(1)).sin()
        return (
            F.conv2d(x, self.gain[:2, None, None, None].repeat(1, 2, 1, 1)).amax(3).flatten(1)[:, :4]
            + rows[:, 0]
        )


class Skip(nn.Module):
    """A U-Net of two levels: an answer for every pixel."""

    def __init__(self):
        super().__init__()
        self.down, self.deep = nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 4, 3, padding=1)
        self.up, self.out = nn.ConvTranspose2d(4, 3, 2, stride=2), nn.Conv2d(6, 2, 1)

    def forward(self, x):
        a = F.relu(self.down(x))
        b = self.up(F.relu(self.deep(F.max_pool2d(a, 2))))
        return self.out(torch.cat([a, b], 1))


def sequential(*layers):
    return nn.Sequential(*layers, nn.Flatten(), nn.LazyLinear(3))


def with_frozen_front():
    model = LeNet()
    model.features[0].requires_grad_(False)
    return model


class Doubled(nn.Module):
    def forward(self, weight):
        return 2 * weight


def reparametrised():
    layer = nn.Conv2d(2, 3, 3)
    utils.parametrize.register_parametrization(layer, "weight", Doubled())
    return sequential(layer)


class Scaled(nn.Linear):
    def forward(self, x):
        return 2 * super().forward(x)


BIG, SMALL, COLOUR = (1, 28, 28), (2, 5, 5), (3, 32, 32)
ARCHITECTURES = {
    "perceptron": (lambda: sequential(nn.Flatten(), nn.Linear(50, 6), nn.ReLU()), SMALL),
    "LeNet": (LeNet, BIG),
    "SmallCNN": (lambda: SmallCNN(width=4), BIG),
    "counterpart, canvas": (lambda: linear_counterpart(LeNet(), BIG), BIG),
    "counterpart, crop": (lambda: linear_counterpart(LeNet(), BIG, borders="crop"), BIG),
    "counterpart of SmallCNN": (lambda: linear_counterpart(SmallCNN(width=4).eval(), BIG), BIG),
    "hybrid": (lambda: HybridClassifier(IdealConvolution(1, 4, 7, 28), hidden=(8,)), BIG),
    "hybrid, rectified, even": (lambda: HybridClassifier(IdealConvolution(1, 4, 6, 28, "rectified")), BIG),
    "hybrid, PSFs": (lambda: HybridClassifier(PSFConvolution(1, 2, 5, 28, "rectified")), BIG),
    "residual": (Residual, SMALL),
    "shared": (Shared, SMALL),
    "own": (Own, SMALL),
    "skip": (Skip, (2, 4, 6)),
    "strided": (lambda: sequential(nn.Conv2d(2, 4, 3, 2, 1, dilation=2, groups=2, bias=False)), (2, 9, 8)),
    "one pixel": (lambda: sequential(nn.Conv2d(2, 6, 5), nn.ReLU(inplace=True)), SMALL),
    "two by two": (lambda: sequential(nn.Conv2d(2, 9, 4), nn.ReLU()), SMALL),
    "depthwise": (lambda: sequential(nn.Conv2d(2, 2, 2, groups=2)), SMALL),
    "circular": (lambda: sequential(nn.Conv2d(2, 2, 3, padding=1, padding_mode="circular")), SMALL),
    "spectral, circular": (lambda: sequential(SpectralConv2d(2, 3, 4, 5, "circular", bias=True)), SMALL),
    "spectral, free": (lambda: sequential(SpectralConv2d(2, 3, 4, 5, "circular", free=True)), SMALL),
    "pooled": (lambda: sequential(nn.Conv2d(2, 3, 2, padding=1), nn.AvgPool2d(3, 2, 1, True)), SMALL),
    "pooled, used twice": (lambda: sequential(Twice()), SMALL),
    "adaptive pool": (lambda: sequential(nn.Conv2d(2, 3, 2), nn.AdaptiveAvgPool2d(3)), SMALL),
    "norms": (lambda: sequential(nn.Conv2d(2, 4, 2), nn.GroupNorm(2, 4), nn.LayerNorm([4, 4])), SMALL),
    "no scale": (lambda: sequential(nn.Conv2d(2, 4, 2), nn.BatchNorm2d(4, affine=False)), SMALL),
    "rows": (lambda: sequential(nn.Flatten(2), nn.Linear(25, 4), nn.Tanh()), SMALL),
    "reparametrised": (reparametrised, SMALL),
    "subclass": (lambda: nn.Sequential(nn.Flatten(), Scaled(50, 3)), SMALL),
    "frozen front": (with_frozen_front, BIG),
}  # fmt: skip


class Twice(nn.Module):
    """A convolution that is read by a pool and by something else."""

    def __init__(self):
        super().__init__()
        self.convolution, self.pool = nn.Conv2d(2, 3, 2), nn.AvgPool2d(2)

    def forward(self, x):
        y = self.convolution(x)
        return self.pool(y) * y.amax((2, 3), keepdim=True)


def made(name: str, n: int = 5) -> tuple[nn.Module, Tensor, Tensor]:
    build, shape = ARCHITECTURES[name]
    generator = Generator().manual_seed(1)
    images = [torch.randn(count, *shape, dtype=torch.float64, generator=generator) for count in (n, 3)]
    if "PSF" in name:  # light is not negative
        images = [image.abs() for image in images]
    torch.manual_seed(0)
    model = build().double()
    model(images[0])  # materialise, and give BatchNorm something to remember
    return model.eval(), *images


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_equal_to_the_jacobian(name: str) -> None:
    model, x, x2 = made(name)
    j, j2 = jacobian(model, x), jacobian(model, x2)
    scale = j.square().sum((1, 2)).max()
    for images, other in ((None, j), (x2, j2)):
        full = torch.einsum("ncp,mdp->nmcd", j, other)
        expected = full.diagonal(dim1=2, dim2=3).sum(2)
        torch.testing.assert_close(ntk(model, x, images) / scale, expected / scale, rtol=0, atol=1e-10)
        with torch.no_grad():
            torch.testing.assert_close(ntk(model, x, images) / scale, expected / scale, rtol=0, atol=1e-10)
        if full.shape[2] <= 4:
            torch.testing.assert_close(
                ntk(model, x, images, classes="full") / scale, full / scale, rtol=0, atol=1e-10
            )
    chunked = ntk(model, x, chunk=1)
    torch.testing.assert_close(chunked, ntk(model, x), rtol=1e-9, atol=1e-9)


@pytest.mark.slow
def test_equal_to_the_jacobian_of_alexnet() -> None:
    torch.manual_seed(0)
    model, x = AlexNet(image_size=32).double().eval(), torch.randn(3, *COLOUR, dtype=torch.float64)
    kernel = torch.zeros(3, 3, dtype=torch.float64)
    for c in range(10):
        rows = []
        for image in x:
            gradients = torch.autograd.grad(model(image[None])[0, c], list(model.parameters()))
            rows.append(torch.cat([g.flatten() for g in gradients]))
        kernel += torch.stack(rows) @ torch.stack(rows).T
    torch.testing.assert_close(ntk(model, x).detach(), kernel, rtol=1e-10, atol=0)


def test_two_weights_by_hand() -> None:
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.ReLU(), nn.Linear(1, 1, bias=False))
    with torch.no_grad():
        model[0].weight.fill_(2.0)
        model[2].weight.fill_(3.0)
    x = torch.tensor([[1.0], [2.0], [-1.0]])
    # f = w2 relu(w1 x) has the gradient (w2 x, w1 x) where x is positive, and none elsewhere.
    assert ntk(model, x).tolist() == [[13, 26, 0], [26, 52, 0], [0, 0, 0]]


@pytest.mark.parametrize("name", ["LeNet", "counterpart, canvas", "skip", "shared"])
def test_symmetric_and_positive(name: str) -> None:
    model, x, _ = made(name, n=12)
    kernel = ntk(model, x).detach()
    assert torch.equal(kernel, kernel.T)
    values = torch.linalg.eigvalsh(kernel)
    assert values[0] > -1e-12 * values[-1]


def test_float32_is_as_exact_as_it_can_be() -> None:
    model, x, _ = made("LeNet", n=20)
    exact = ntk(model, x)
    assert (ntk(model.float(), x.float()) - exact).norm() < 5e-6 * exact.norm()


@pytest.mark.parametrize(
    "name", ["hybrid", "LeNet", "SmallCNN", "residual", "shared", "pooled", "counterpart, canvas"]
)
def test_the_gradient_is_that_of_finite_differences(name: str) -> None:
    model, x, x2 = made(name, n=3)
    for images in (None, x2):
        weight = torch.randn(3, 3, dtype=torch.float64, generator=Generator().manual_seed(2))
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(
            (weight * ntk(model, x, images)).sum(), parameters, materialize_grads=True
        )
        generator = Generator().manual_seed(3)
        push = [torch.randn(p.shape, dtype=p.dtype, generator=generator) for p in parameters]
        slope = sum((g * d).sum() for g, d in zip(gradients, push, strict=True))
        step, values = 1e-6, []
        for sign in (1, -1):
            moved = copy.deepcopy(model)
            for p, d in zip(moved.parameters(), push, strict=True):
                p.data.add_(d, alpha=sign * step)
            values.append((weight * ntk(moved, x, images)).sum())
        numeric = (values[0] - values[1]) / (2 * step)
        torch.testing.assert_close(slope, numeric, rtol=1e-6, atol=1e-6 * numeric.abs().item())


def test_without_gradients_there_is_no_graph() -> None:
    model, x, _ = made("LeNet")
    assert ntk(model, x).requires_grad
    with torch.no_grad():
        assert not ntk(model, x).requires_grad
    assert all(p.grad is None for p in model.parameters())
    assert not any(layer._forward_hooks for layer in model.modules())


def test_parts_add_up_and_weights_multiply() -> None:
    model, x, _ = made("LeNet")
    front, head = (ntk(model, x, parameters=[name]) for name in ("features", "classifier"))
    torch.testing.assert_close(front + head, ntk(model, x))
    weighted = ntk(model, x, parameters={"features": 0.25, "classifier": 3.0, "classifier.1.bias": 0.0})
    bias = ntk(model, x, parameters=["classifier.1.bias"])
    torch.testing.assert_close(weighted, 0.25 * front + 3 * (head - bias))
    shared, images, _ = made("shared")
    half = ntk(shared, images, parameters={"convolution": 0.5, "matrix": 1.0})
    parts = [ntk(shared, images, parameters=[name]) for name in ("convolution", "matrix")]
    torch.testing.assert_close(half, 0.5 * parts[0] + parts[1])


def test_projections_are_right_on_average_and_closer_with_more() -> None:
    model, x, _ = made("LeNet", n=8)
    generator = Generator().manual_seed(0)
    with torch.no_grad():
        exact = ntk(model, x)
        sketches = {
            r: torch.stack([ntk(model, x, projections=r, generator=generator) for _ in range(60)])
            for r in (1, 4)
        }
    errors = {r: (s - exact).flatten(1).norm(dim=1).mean() / exact.norm() for r, s in sketches.items()}
    assert errors[4] < 0.7 * errors[1]
    for r, s in sketches.items():
        # The mean of 60 is about eight times closer than one of them.
        assert (s.mean(0) - exact).norm() / exact.norm() < 0.35 * errors[r]


def test_as_many_orthonormal_directions_as_outputs_would_be_exact() -> None:
    model, x, _ = made("perceptron")
    generator = Generator().manual_seed(0)
    # Two of three directions, and the third by hand: Q^T Q = 1.
    with torch.no_grad():
        part = ntk(model, x, projections=2, generator=generator) * 2 / 3
    rows, _ = torch.linalg.qr(torch.randn(3, 2, generator=Generator().manual_seed(0), dtype=torch.float64))
    third = torch.linalg.cross(rows[:, 0], rows[:, 1])
    j = torch.einsum("ncp,c->np", jacobian(model, x), third)
    torch.testing.assert_close(part + j @ j.T, ntk(model, x).detach())


def test_the_trace_from_random_pushes() -> None:
    model, x, _ = made("LeNet", n=4)
    with torch.no_grad():
        estimate = ntk_trace(model, x, samples=400, scale=1e-5, generator=Generator().manual_seed(0))
        trace = ntk(model, x).trace()
    assert abs(estimate / trace - 1) < 0.1
    head = ntk_trace(model, x, samples=2, parameters=["classifier"], generator=Generator().manual_seed(0))
    assert head.requires_grad and head < estimate


def test_the_weights_of_a_mapping_enter_the_trace() -> None:
    model, x, _ = made("LeNet", n=4)
    wanted = {"features": 0.0, "classifier": 9.0}
    with torch.no_grad():
        estimate = ntk_trace(
            model, x, samples=200, scale=1e-5, parameters=wanted, generator=Generator().manual_seed(0)
        )
        trace = ntk(model, x, parameters=wanted).trace()
    assert abs(estimate / trace - 1) < 0.1


def test_a_scale_of_pushes_has_no_unit() -> None:
    with pytest.raises(ValueError, match="scale must be finite, got nan"):
        ntk_trace(nn.Linear(2, 2), torch.rand(2, 2), scale=float("nan"), generator=Generator())


def test_one_small_step_of_gradient_descent_moves_the_outputs_by_the_kernel() -> None:
    model, x, _ = made("perceptron")
    target = torch.randn(5, 3, dtype=torch.float64, generator=Generator().manual_seed(5))
    before, kernel = model(x).detach(), ntk(model, x, classes="full").detach()
    ((model(x) - target).square().sum() / 2).backward()
    step = 1e-6
    with torch.no_grad():
        for p in model.parameters():
            p -= step * p.grad
        moved = (model(x) - before) / step
    torch.testing.assert_close(
        moved, -torch.einsum("nmcd,md->nc", kernel, before - target), rtol=1e-4, atol=1e-4
    )


def test_training_mode_is_refused() -> None:
    with pytest.raises(ValueError, match=r"BatchNorm mixes the images.*model.eval\(\)"):
        ntk(toy_model().train(), torch.rand(2, 1, 6, 6))
    with pytest.raises(ValueError, match="is random"):
        ntk(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), torch.rand(2, 2))
    ntk(nn.Sequential(nn.Linear(2, 2), nn.Dropout()).eval(), torch.rand(2, 2))


def test_training_mode_is_refused_for_the_trace_and_changes_nothing() -> None:
    model = toy_model().train()
    before = model[1].running_mean.clone()
    with pytest.raises(ValueError, match="BatchNorm mixes the images"):
        ntk_trace(model, torch.rand(2, 1, 6, 6), generator=Generator())
    assert torch.equal(model[1].running_mean, before)
    with pytest.raises(ValueError, match="is random"):
        ntk_trace(nn.Sequential(nn.Linear(2, 2), nn.Dropout()), torch.rand(2, 2), generator=Generator())


def test_an_input_overwritten_in_place_is_noticed() -> None:
    class Careless(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(3, 3)

        def forward(self, x):
            x = x + 0
            y = self.linear(x)
            x.mul_(2)
            return y

    with pytest.raises(ValueError, match="keep the input of a layer"):
        ntk(Careless(), torch.rand(2, 3))


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        ({"model": torch.relu}, TypeError, "torch.nn.Module"),
        ({"x": [1.0]}, TypeError, "x must be a float tensor"),
        ({"x2": torch.ones(2, 2, dtype=torch.int64)}, TypeError, "x2 must be a float tensor"),
        ({"classes": "mean"}, ValueError, "'trace'"),
        ({"parameters": ["3"]}, ValueError, "parts are 0, 2"),
        ({"parameters": {"0": -1.0}}, ValueError, "must not be negative"),
        ({"parameters": {"0": float("nan")}}, ValueError, r"parameters\['0'\] must be finite, got nan"),
        ({"parameters": []}, ValueError, "parameter"),
        ({"parameters": "0"}, TypeError, r"sequence of names, got '0'; pass \['0'\]"),
        ({"projections": 3}, ValueError, "smaller than the 3 outputs"),
        ({"projections": 1}, ValueError, "generator"),
        ({"projections": 1, "classes": "full"}, ValueError, "must be None"),
        ({"chunk": 0}, ValueError, "chunk"),
        ({"model": nn.Sequential(nn.Linear(2, 3), nn.Flatten(0))}, TypeError, "each of the 2 images"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict, error: type[Exception], said: str) -> None:
    model = nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 3))
    arguments = {"model": model, "x": torch.rand(2, 2), **change}
    with pytest.raises(error, match=said):
        ntk(**arguments)


def test_a_frozen_network_has_no_kernel() -> None:
    with pytest.raises(ValueError, match="requires_grad_"):
        ntk(nn.Linear(2, 2).requires_grad_(False), torch.rand(2, 2))


def test_fixed_batches_are_the_same_in_another_order() -> None:
    data, seen = toy_data(train=60), []

    def spy(images, targets, generator):
        seen.append(images)
        return images, targets

    fit(toy_model(), data, epochs=2, seed=0, batch_size=10, augment=spy, fixed_batches=True, progress=False)
    first, second = seen[:6], seen[6:]
    places = [[i for i, other in enumerate(second) if torch.equal(batch, other)] for batch in first]
    order = [place for (place,) in places]
    assert sorted(order) == list(range(6)) != order
