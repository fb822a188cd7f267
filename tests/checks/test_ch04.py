import copy
import math

import numpy as np
import pytest
import torch
from torch import nn

from onnlab.distill import evaluate, fit
from tests.checks.cases import judge, right, wrong


def reach(layers):
    width = 1
    for kernel, stride in reversed(layers):
        width = (width - 1) * stride + kernel
    return width


def reach_with_own_stride(layers):
    width, step = 1, 1
    for kernel, stride in layers:
        step *= stride
        width += (kernel - 1) * step
    return width


def one_layer(layers, order=1, bias=lambda layers, x: nn.Sequential(*layers)(x), transposed=False):
    """The row as one layer, or with a product or a bias that went wrong."""
    weight = layers[0].weight
    for layer in layers[1:]:
        weight = layer.weight @ weight if order == 1 else weight @ layer.weight
    weight = weight.T if transposed else weight
    merged = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        merged.weight.copy_(weight)
        merged.bias.copy_(bias(layers, torch.zeros(layers[0].in_features)))
    return merged


def bias_as_last(layers):
    """One layer that has a bias only if the last one has."""
    merged = one_layer(layers)
    if layers[-1].bias is None:
        merged.register_parameter("bias", None)
    return merged


def one_layer_by_probing(layers):
    row = nn.Sequential(*layers)
    merged = nn.Linear(layers[0].in_features, layers[-1].out_features)
    with torch.no_grad():
        merged.bias.copy_(row(torch.zeros(layers[0].in_features)))
        merged.weight.copy_((row(torch.eye(layers[0].in_features)) - merged.bias).T)
    return merged


def one_layer_in_place(layers):
    with torch.no_grad():
        merged = one_layer(layers)
        layers[0].weight.mul_(2)
    return merged


def last_bias(layers, x):
    return torch.zeros(layers[-1].out_features) if layers[-1].bias is None else layers[-1].bias


def none(layers, x):
    return torch.zeros(layers[-1].out_features)


def like(conv, weight, bias):
    """A convolution of the same kind, with other numbers."""
    new = copy.deepcopy(conv)
    new.weight = nn.Parameter(weight.detach())
    new.bias = nn.Parameter(bias.detach())
    return new


def fold_norm(
    conv,
    norm,
    scale=lambda n: n.weight / (n.running_var + n.eps).sqrt(),
    bias=lambda b, s, n: (b - n.running_mean) * s + n.bias,
):
    s = scale(norm)
    b = torch.zeros_like(s) if conv.bias is None else conv.bias
    return like(conv, conv.weight * s[:, None, None, None], bias(b, s, norm))


def other(**setting):
    return lambda conv, norm: fold_norm(conv, norm, **setting)


def fold_by_probing(conv, norm):
    """Read factor and offset off the norm itself."""
    channels = conv.out_channels
    with torch.no_grad():
        offset = norm(torch.zeros(1, channels, 1, 1, dtype=conv.weight.dtype)).flatten()
        scale = norm(torch.ones(1, channels, 1, 1, dtype=conv.weight.dtype)).flatten() - offset
    b = 0 if conv.bias is None else conv.bias
    return like(conv, conv.weight * scale.view(-1, 1, 1, 1), b * scale + offset)


def fold_without(*settings):
    """A fold whose layer has some settings as they are by default."""

    def fold(conv, norm):
        folded = copy.deepcopy(fold_norm(conv, norm))
        kept = {
            name: getattr(conv, name) for name in ("stride", "padding", "dilation", "groups", "padding_mode")
        }
        kept = {name: value for name, value in kept.items() if name not in settings}
        other = nn.Conv2d(conv.in_channels, conv.out_channels, conv.kernel_size, **kept)
        other.weight.data, other.bias.data = folded.weight.data, folded.bias.data
        return other

    return fold


def fold_along_inputs(conv, norm):
    folded = fold_norm(conv, norm)
    scale = norm.weight / (norm.running_var + norm.eps).sqrt()
    inputs = conv.in_channels
    folded.weight.data = (conv.weight * scale[:inputs].view(1, -1, 1, 1)).detach()
    return folded


def fold_in_place(conv, norm):
    folded = fold_norm(conv, norm)
    conv.weight.data, conv.bias = folded.weight.data, folded.bias
    return conv


def fold_in_place_without_bias(conv, norm):
    folded = fold_norm(conv, norm)
    conv.weight.data.copy_(folded.weight)
    return folded


def fold_without_stride(conv, norm):
    folded = fold_norm(conv, norm)
    folded.stride = (1, 1)
    return folded


@torch.no_grad()
def is_affine(model, shape, draw=torch.randn, rtol=1e-4, atol=0.0, zero=True, mode=True):
    """Test for an affine map, and leave out what students leave out."""
    if mode:
        model = copy.deepcopy(model).eval()
    x, y = draw(2, 8, *shape, generator=torch.Generator().manual_seed(3))
    left = model(x + y) + (model(torch.zeros_like(x)) if zero else 0)
    right = model(x) + model(y)
    return bool(((left - right).abs() <= rtol * right.abs().max() + atol).all())


@torch.no_grad()
def is_affine_on_a_line(model, shape):
    """In double precision: half-way between two inputs stands the mean of the outputs."""
    model = copy.deepcopy(model).eval().double()
    x, y = torch.randn(2, 20, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean = (model(x) + model(y)) / 2
    return torch.allclose(model((x + y) / 2), mean, rtol=0, atol=1e-9 * mean.abs().max().item())


@torch.no_grad()
def by_scaling(model, shape):
    model.eval()
    x = torch.randn(8, *shape, generator=torch.Generator().manual_seed(0))
    offset = model(torch.zeros_like(x))
    left, right = model(2 * x) - offset, 2 * (model(x) - offset)
    return bool((left - right).abs().max() < 1e-4 * right.abs().max())


@torch.no_grad()
def by_turning(model, shape):
    model.eval()
    x = torch.randn(8, *shape, generator=torch.Generator().manual_seed(0))
    middle = (model(x) + model(-x)) / 2 - model(torch.zeros_like(x))
    return bool(middle.abs().max() < 1e-4 * model(x).abs().max())


@torch.no_grad()
def exactly(model, shape):
    model.eval()
    x, y = torch.randn(2, 8, *shape, generator=torch.Generator().manual_seed(3))
    return torch.equal(model(x + y) + model(0 * x), model(x) + model(y))


def by_layers(model, shape):
    model.eval()
    bends = (nn.ReLU, nn.MaxPool2d, nn.LeakyReLU)
    return not any(isinstance(layer, bends) for layer in model.modules())


def test_with(**setting):
    return lambda model, shape: is_affine(model, shape, **setting)


test_with.__test__ = False


def tuned(build, data, rates, fresh=True, seeded=True, chooses="validation", reports="test", peeks=False):
    """Tune as the solution does, or dishonestly."""
    model, tried = None, []
    for rate in rates:
        if seeded:
            torch.manual_seed(0)
        model = build() if fresh or model is None else model
        fit(model, data, seed=0, epochs=3, learning_rate=rate, progress=False)
        if peeks:
            evaluate(model, data.test)
        tried.append((evaluate(model, getattr(data, chooses)).accuracy, rate, model))
    _, rate, model = max(tried, key=lambda trial: trial[0])
    return rate, evaluate(model, getattr(data, reports)).accuracy


def tuned_from_copies(build, data, rates):
    start, best = build(), (-1.0, None, None)
    for rate in rates:
        model = copy.deepcopy(start)
        history = fit(model, data, seed=5, epochs=5, batch_size=32, learning_rate=rate, progress=False)
        if history.best.validation_accuracy > best[0]:
            best = history.best.validation_accuracy, rate, model
    return best[1], evaluate(best[2], data.test).accuracy


def dishonestly(**setting):
    return lambda build, data, rates: tuned(build, data, rates, **setting)


def tuned_with_errors(build, data, rates):
    rate, accuracy = tuned(build, data, rates)
    return rate, 1 - accuracy


def always_the_first(build, data, rates):
    return rates[0], tuned(build, data, rates)[1]


def few(width, pool=nn.AvgPool2d, front=nn.Identity, hidden=nn.ReLU, more=()):
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=2), front(), pool(2), nn.Conv2d(6, 16, 5), pool(2), nn.Flatten(),
        nn.Linear(400, width), hidden(), *more, nn.Linear(width, 10),
    )  # fmt: skip


def built(**setting):
    return lambda width: few(width, **setting)


def without_front(width):
    """Rectifiers at once behind the pixels."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Linear(width, 10))


def pooled_only(width):
    return nn.Sequential(
        nn.AvgPool2d(2), nn.Flatten(), nn.Linear(196, width), nn.ReLU(), nn.Linear(width, 10)
    )


def other_kernels(width):
    """Convolutions and pools that give 400 numbers as well."""
    return nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(400, width), nn.ReLU(), nn.Linear(width, 10),
    )  # fmt: skip


def unpadded(width):
    return nn.Sequential(
        nn.Conv2d(1, 6, 5), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(256, width), nn.ReLU(), nn.Linear(width, 10),
    )  # fmt: skip


def nested(width):
    """The front end as one layer of the network."""
    layers = few(width)
    return nn.Sequential(layers[:6], layers[6:])


@torch.no_grad()
def slopes(model, x, direction, t):
    """Measured by a small step to both sides of each place."""
    step = 1e-5
    ahead, behind = (model(x + (t + s)[:, None] * direction) for s in (step, -step))
    return (ahead - behind) / (2 * step)


def bends(model, x, direction, t):
    found = slopes(model, x, direction, t)
    return (found.diff(dim=0).abs().amax(1) > 1e-4 * found.abs().max()).sum()


def bends_by_differences(model, x, direction, t):
    """Slopes over gaps: a bend changes two of them, the one that holds it and the next."""
    with torch.no_grad():
        outputs = model(x + t[:, None] * direction)
    over = outputs.diff(dim=0) / t.diff()[:, None]
    changes = over.diff(dim=0).abs().amax(1) > 1e-7 * over.abs().max()
    count, skip = 0, False
    for change in changes.tolist():
        count, skip = (count + 1, True) if change and not skip else (count, False)
    return count


def bends_twice(model, x, direction, t):
    with torch.no_grad():
        outputs = model(x + t[:, None] * direction)
    over = outputs.diff(dim=0) / t.diff()[:, None]
    return int((over.diff(dim=0).abs().amax(1) > 1e-7 * over.abs().max()).sum())


def bends_without_gaps(model, x, direction, t):
    """Second differences as if all gaps were alike."""
    with torch.no_grad():
        outputs = model(x + t[:, None] * direction)
    second = outputs.diff(n=2, dim=0).abs().amax(1)
    return int((second > 1e-7 * outputs.abs().max()).sum()) // 2


def bends_of_first_output(model, x, direction, t):
    found = slopes(model, x, direction, t)[:, :1]
    return int((found.diff(dim=0).abs().amax(1) > 1e-4 * found.abs().max()).sum())


def bends_of_the_sum(model, x, direction, t):
    found = slopes(model, x, direction, t).sum(1)
    return int((found.diff().abs() > 1e-2).sum())


def rectifiers(model, x, direction, t):
    return sum(isinstance(layer, nn.ReLU) for layer in model.modules())


CASES = [
    right("ch04-row", reach),
    right(
        "ch04-row",
        lambda ls: 1 + sum((k - 1) * math.prod(s for _, s in ls[:i]) for i, (k, _) in enumerate(ls)),
    ),
    wrong("ch04-row", "neighbouring kernels overlap", lambda ls: sum(k for k, _ in ls)),
    wrong("ch04-row", "widths do not multiply", lambda ls: math.prod(k for k, _ in ls)),
    wrong("ch04-row", "one is missing", lambda ls: reach(ls) - 1),
    wrong("ch04-row", "two pixels apart", lambda ls: 1 + sum(k - 1 for k, _ in ls)),
    wrong("ch04-row", "each one before it", reach_with_own_stride),
    wrong("ch04-row", "each one before it", lambda ls: reach(ls[::-1])),
    wrong("ch04-row", "each one before it", lambda ls: 1 + 2 * len(ls) if len(ls) == 5 else 16),
    right("ch04-fold", one_layer),
    right("ch04-fold", one_layer_by_probing),
    wrong("ch04-fold", "biases are lost", bias_as_last),
    wrong("ch04-fold", "other way round", lambda ls: one_layer(ls, order=-1)),
    wrong("ch04-fold", "as (out, in)", lambda ls: one_layer(ls, transposed=True)),
    wrong("ch04-fold", "biases are lost", lambda ls: one_layer(ls, bias=none)),
    wrong("ch04-fold", "only the last bias", lambda ls: one_layer(ls, bias=last_bias)),
    wrong(
        "ch04-fold", "zero vector", lambda ls: one_layer(ls, bias=lambda row, x: row[0].bias + row[1].bias)
    ),
    wrong("ch04-fold", "stays as it is", one_layer_in_place),
    wrong("ch04-fold", "return one nn.Linear", lambda ls: nn.Sequential(*ls)),
    right("ch04-norm", fold_norm),
    right("ch04-norm", fold_by_probing),
    wrong("ch04-norm", "dilation, groups: take over", fold_without("dilation", "groups")),
    wrong("ch04-norm", "in dilation: take over", fold_without("dilation")),
    wrong("ch04-norm", "in groups: take over", fold_without("groups")),
    wrong("ch04-norm", "in padding_mode: take over", fold_without("padding_mode")),
    wrong("ch04-norm", "variance is stored", other(scale=lambda n: n.weight / (n.running_var + n.eps))),
    wrong("ch04-norm", "variance is missing", other(scale=lambda n: n.weight)),
    wrong("ch04-norm", "eps is missing", other(scale=lambda n: n.weight / n.running_var.sqrt())),
    wrong("ch04-norm", "factor γ", other(scale=lambda n: 1 / (n.running_var + n.eps).sqrt())),
    wrong("ch04-norm", "mean of the norm is missing", other(bias=lambda b, s, n: b * s + n.bias)),
    wrong("ch04-norm", "offset β", other(bias=lambda b, s, n: (b - n.running_mean) * s)),
    wrong("ch04-norm", "convolution is lost", other(bias=lambda b, s, n: n.bias - n.running_mean * s)),
    wrong("ch04-norm", "scales the old bias", other(bias=lambda b, s, n: b - n.running_mean * s + n.bias)),
    wrong("ch04-norm", "mean is subtracted", other(bias=lambda b, s, n: b * s - n.running_mean + n.bias)),
    wrong("ch04-norm", "image of zeros", other(bias=lambda b, s, n: (b + n.running_mean) * s + n.bias)),
    wrong("ch04-norm", "*output* channel", fold_along_inputs),
    wrong("ch04-norm", "stays as it is", fold_in_place_without_bias),
    wrong("ch04-norm", "stays as it is", fold_in_place),
    wrong("ch04-norm", "shape", fold_without_stride),
    wrong("ch04-norm", "return one nn.Conv2d", lambda conv, norm: nn.Sequential(conv, norm)),
    right("ch04-test", is_affine),
    right("ch04-test", is_affine_on_a_line),
    right("ch04-test", lambda model, shape: np.bool_(is_affine(model, shape))),
    right("ch04-test", lambda model, shape: torch.tensor([is_affine(model, shape)])),
    wrong("ch04-test", "return True or False", lambda model, shape: np.array([True, True])),
    wrong("ch04-test", "has an offset", test_with(zero=False)),
    wrong("ch04-test", "rounding grows", test_with(rtol=0.0, atol=1e-4)),
    wrong("ch04-test", "compare with their size", test_with(atol=1e-4)),
    wrong("ch04-test", "has rounding", test_with(rtol=0.0, atol=1e-10)),
    wrong("ch04-test", "rounding is far smaller", test_with(rtol=0.2)),
    wrong("ch04-test", "nothing to cut", test_with(draw=torch.rand)),
    wrong("ch04-test", "f(2x) = 2 f(x)", by_scaling),
    wrong("ch04-test", "f(−x) = −f(x)", by_turning),
    wrong("ch04-test", "has an offset", exactly),
    wrong("ch04-test", "odd function", by_layers),
    wrong("ch04-test", "there is a mode", test_with(mode=False)),
    wrong("ch04-test", "two different inputs", lambda model, shape: True),
    wrong("ch04-test", "return True or False", lambda model, shape: 0.0),
    right("ch04-rate", tuned),
    right("ch04-rate", tuned_from_copies),
    wrong("ch04-rate", "a network of its own", dishonestly(fresh=False)),
    wrong("ch04-rate", "set the seed again", dishonestly(seeded=False)),
    wrong("ch04-rate", "which images may choose", dishonestly(chooses="test")),
    wrong("ch04-rate", "chose nothing", dishonestly(reports="validation")),
    wrong("ch04-rate", "contradict all others", tuned_with_errors),
    wrong("ch04-rate", "for the report, once", dishonestly(peeks=True)),
    wrong("ch04-rate", "which images may choose", always_the_first),
    wrong("ch04-rate", "rate and the accuracy", lambda *case: tuned(*case)[1:]),
    right("ch04-few", few, bends),
    right("ch04-few", built(front=nn.Dropout), bends_by_differences),
    right("ch04-few", nested, bends),
    wrong("ch04-few", "not as bare() does", without_front, bends),
    wrong("ch04-few", "not as bare() does", pooled_only, bends),
    wrong("ch04-few", "take them over", other_kernels, bends),
    wrong("ch04-few", "its padding", unpadded, bends),
    wrong("ch04-few", "rectifiers are missing", built(hidden=nn.Identity), bends),
    wrong("ch04-few", "nothing else that bends", built(front=nn.ReLU), bends),
    wrong("ch04-few", "nothing else that bends", built(pool=nn.MaxPool2d), bends),
    wrong("ch04-few", "nothing else that bends", lambda width: few(width + 2), bends),
    wrong("ch04-few", "nothing else that bends", lambda width: few(84), bends),
    wrong("ch04-few", "counted twice", few, bends_twice),
    wrong("ch04-few", "all outputs count", few, bends_of_first_output),
    wrong("ch04-few", "rounding does not", few, bends_of_the_sum),
    wrong("ch04-few", "constant between two bends", few, bends_without_gaps),
    wrong("ch04-few", "constant between two bends", few, rectifiers),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, capsys):
    judge(case, capsys)
