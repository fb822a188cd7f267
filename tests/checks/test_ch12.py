import copy
import math

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from onnlab.hardware import double_phase
from tests.checks.cases import judge, right, wrong


def corrected(weight, bias, factor, black):
    new = weight / factor
    return new, bias - new @ black


def by_layer(weight, bias, factor, black):
    """Ask a layer for its answer to the black level."""
    layer = nn.Linear(len(black), len(bias), dtype=weight.dtype)
    layer.weight.data = weight * (1 / factor)
    layer.bias.data.zero_()
    return layer.weight, bias - layer(black).detach()


def scaled_bias(weight, bias, factor, black):
    new = weight / factor
    return new, bias / factor - new @ black


def only_scaled(weight, bias, factor, black):
    return weight / factor, bias / factor


def in_place(weight, bias, factor, black):
    weight /= factor
    return weight, bias - weight @ black


def device_weights(v, B):
    return torch.linalg.solve(B.T, v)


def scatter(v, B, x, photons):
    return (device_weights(v, B).square() * (B @ x / photons)).sum().sqrt()


def by_covariance(v, B, x, photons):
    """Carry the covariance of the readings to the scene, as a matrix."""
    back = torch.linalg.inv(B)
    covariance = back @ torch.diag(B @ x / photons) @ back.T
    return math.sqrt(v @ covariance @ v)


def undo(seen, aims, rho):
    S, W = seen - seen.mean(0), aims - aims.mean(0)
    M = torch.linalg.solve(S.T @ S + rho * torch.eye(S.shape[1], dtype=S.dtype), S.T @ W).T
    return M, aims.mean(0) - M @ seen.mean(0)


def in_rows(seen, aims, rho):
    """A system of least squares with the ridge as further images."""
    d = seen.shape[1]
    S, W = seen - seen.mean(0), aims - aims.mean(0)
    rows = torch.cat([S, rho**0.5 * torch.eye(d, dtype=S.dtype)])
    M = torch.linalg.lstsq(rows, torch.cat([W, W.new_zeros(d, W.shape[1])])).solution.T
    return M, aims.mean(0) - M @ seen.mean(0)


def uncentred(seen, aims, rho):
    d = seen.shape[1]
    M = torch.linalg.solve(seen.T @ seen + rho * torch.eye(d, dtype=seen.dtype), seen.T @ aims).T
    return M, aims.mean(0) - M @ seen.mean(0)


def as_a_column(seen, aims, rho):
    """The offset as one more weight, which pays the ridge, too."""
    ones = torch.ones(len(seen), 1, dtype=seen.dtype)
    X = torch.cat([seen, ones], 1)
    A = torch.linalg.solve(X.T @ X + rho * torch.eye(X.shape[1], dtype=X.dtype), X.T @ aims)
    return A[:-1].T, A[-1]


def learn(
    back_end,
    seen,
    answers,
    steps,
    generator,
    loss=lambda got, aim: (got - aim).square().mean(),
    parts=None,
    own=True,
    count=None,
    clear=True,
    paired=True,
    rate=5e-3,
):
    """Train a back end as the solution does, or in a way that cannot work."""
    learner = copy.deepcopy(back_end) if own else back_end
    adam = torch.optim.Adam((parts(learner) if parts else learner).parameters(), lr=rate)
    for _ in range(steps if count is None else count):
        batch = torch.randint(len(seen), (64,), generator=generator)
        aims = answers[batch if paired else torch.randint(len(seen), (64,), generator=generator)]
        if clear:
            adam.zero_grad()
        loss(learner(seen[batch]), aims).backward()
        adam.step()
    return learner


def learner(**setting):
    return lambda *arguments: learn(*arguments, **setting)


def hard(got, aim):
    """Towards the class that the design chooses, and not towards its answer."""
    return cross_entropy(got, aim.argmax(1))


def unseeded(back_end, seen, answers, steps, generator):
    """Batches of chance, beside the generator."""
    return learn(back_end, seen, answers, steps, None)


def soft(got, aim):
    return cross_entropy(got, aim.softmax(1))


def own_readings(back_end, seen, answers, steps, generator):
    """Train towards the answers that the device gives already."""
    return learn(back_end, seen, back_end(seen).detach(), steps, generator)


def logits(back_end, seen, *rest):
    return learn(back_end, seen, *rest)(seen)


def two_phases(mask, delta=torch.acos, pattern=None, keep=True, half=1.0):
    """Two phases for a mask, and the ways in which they can be wrong."""
    rows, columns = (torch.arange(n) for n in mask.shape)
    sign = 1 - 2 * ((rows[:, None] + columns) % 2) if pattern is None else pattern(rows[:, None], columns)
    return keep * mask.angle() + half * sign * delta(mask.abs().clamp(max=1))


def phases(**setting):
    return lambda mask: two_phases(mask, **setting)


def by_loops(mask):
    phase = torch.empty(mask.shape)
    for row in range(mask.shape[0]):
        for column in range(mask.shape[1]):
            value = mask[row, column]
            turn = math.acos(min(1.0, abs(complex(value))))
            phase[row, column] = value.angle() - turn * (-1) ** (row + column)
    return phase


def by_count(rows, columns):
    """Every other pixel, counted row by row."""
    nx = columns.numel()
    return 1 - 2 * ((rows * nx + columns) % 2)


def to_classes(widths, classes):
    low, high = widths.min(), widths.max()
    step = (high - low) / (classes - 1)
    return low + step * ((widths - low) / step).round()


def nearest_of(levels):
    """The nearest of a list of widths, which is made from the widths and the number of classes."""

    def answer(widths, classes):
        offered = levels(widths, classes)
        return offered[(widths[..., None] - offered).abs().argmin(-1)]

    return answer


def evenly(w, n):
    return torch.linspace(0, 1, n, dtype=w.dtype) * (w.max() - w.min()) + w.min()


def quantiles(w, n):
    return torch.quantile(w.flatten(), torch.linspace(0, 1, n, dtype=w.dtype))


def floored(widths, classes):
    step = (widths.max() - widths.min()) / (classes - 1)
    return widths.min() + step * ((widths - widths.min()) / step + 1e-9).floor()


def off_by_one(widths, classes):
    step = (widths.max() - widths.min()) / classes
    return widths.min() + step * ((widths - widths.min()) / step).round()


def numbered(widths, classes):
    return ((widths - widths.min()) / (widths.max() - widths.min()) * (classes - 1)).round()


def from_zero(widths, classes):
    step = widths.max() / (classes - 1)
    return step * (widths / step).round()


CASES = [
    right("ch12-dark", corrected),
    right("ch12-dark", by_layer),
    right("ch12-dark", lambda W, b, g, o: [W.float() / g, b.float() - (W @ (o / g)).float()]),
    wrong("ch12-dark", "larger or smaller", lambda W, b, g, o: (W * g, b - W @ o * g)),
    wrong("ch12-dark", "larger or smaller", lambda W, b, g, o: (W, b - W @ o)),
    wrong("ch12-dark", "larger or smaller", lambda W, b, g, o: (W / g**0.5, b - W @ o / g**0.5)),
    wrong("ch12-dark", "take it off again", lambda W, b, g, o: (W / g, b)),
    wrong("ch12-dark", "has not become darker", only_scaled),
    wrong("ch12-dark", "what b' must be", scaled_bias),
    wrong("ch12-dark", "which sign", lambda W, b, g, o: (W / g, b + W @ o / g)),
    wrong("ch12-dark", "which weights", lambda W, b, g, o: (W / g, b - W @ o)),
    wrong("ch12-dark", "in place", in_place),
    wrong("ch12-dark", "not a pair", lambda W, b, g, o: W / g),
    right("ch12-price", scatter),
    right("ch12-price", by_covariance),
    wrong("ch12-price", "old weights", lambda v, B, x, P: (v * (B @ x / P).sqrt()).norm()),
    wrong("ch12-price", "root", lambda *a: scatter(*a) ** 2),
    wrong("ch12-price", "how does the scatter shrink", lambda v, B, x, P: scatter(v, B, x, 1)),
    wrong("ch12-price", "its scatter by the root", lambda v, B, x, P: scatter(v, B, x, P**2)),
    wrong("ch12-price", "not its electrons", lambda v, B, x, P: P * scatter(v, B, x, P)),
    wrong(
        "ch12-price",
        "do not add up",
        lambda v, B, x, P: (device_weights(v, B).abs() * (B @ x / P).sqrt()).sum(),
    ),
    wrong("ch12-price", "not the scene", lambda v, B, x, P: (device_weights(v, B) * (x / P).sqrt()).norm()),
    wrong("ch12-price", "which side", lambda v, B, x, P: scatter(v, B.T, torch.linalg.solve(B.T, B @ x), P)),
    wrong("ch12-price", "independent", lambda v, B, x, P: device_weights(v, B).norm() / P**0.5),
    wrong("ch12-price", "type Tensor", lambda v, B, x, P: device_weights(v, B).abs() * (B @ x / P).sqrt()),
    right("ch12-few", undo),
    right("ch12-few", in_rows),
    wrong("ch12-few", "means off first", uncentred),
    wrong("ch12-few", "mean", as_a_column),
    wrong("ch12-few", "the offset is free", lambda s, a, r: (undo(s, a, r)[0], a.mean(0) - s.mean())),
    wrong("ch12-few", "the offset is free", lambda s, a, r: (undo(s, a, r)[0], a.mean(0))),
    wrong("ch12-few", "has the shape", lambda s, a, r: (undo(s, a, r)[0].T, undo(s, a, r)[1])),
    wrong("ch12-few", "sum", lambda s, a, r: undo(s, a, r * len(s))),
    wrong("ch12-few", "where does rho stand", lambda s, a, r: undo(s, a, 1e-9)),
    wrong("ch12-few", "its square", lambda s, a, r: undo(s, a, 2 * r)),
    wrong("ch12-few", "sum", lambda s, a, r: undo(s, a, r**2)),
    wrong("ch12-few", "not a pair", lambda s, a, r: undo(s, a, r)[0]),
    right("ch12-rectified", learn),
    right("ch12-rectified", learner(loss=soft, rate=1e-2)),
    wrong("ch12-rectified", "learning rate is too small", learner(rate=3e-4)),
    wrong("ch12-rectified", "compare the logits", learner(loss=hard)),
    wrong("ch12-rectified", "from the generator", unseeded),
    wrong("ch12-rectified", "as many steps", learner(count=600)),
    wrong("ch12-rectified", "without training", learner(count=0)),
    wrong("ch12-rectified", "without training", learner(count=15)),
    wrong("ch12-rectified", "all layers", learner(parts=lambda net: net[3])),
    wrong("ch12-rectified", "two names", learner(own=False)),
    wrong("ch12-rectified", "clear the gradients", learner(clear=False, rate=5e-2)),
    wrong("ch12-rectified", "to the same images", learner(paired=False)),
    wrong("ch12-rectified", "of the *device*", own_readings),
    wrong("ch12-rectified", "the trained copy", logits),
    wrong(
        "ch12-rectified", "to the same images", learner(loss=lambda got, aim: -(got - aim).square().mean())
    ),
    right("ch12-panel", two_phases),
    right("ch12-panel", double_phase),
    right("ch12-panel", by_loops),
    right("ch12-panel", lambda mask: two_phases(mask) % (2 * math.pi)),
    wrong("ch12-panel", "nothing cancels", lambda mask: mask.angle()),
    wrong("ch12-panel", "a dark one the largest", phases(delta=torch.asin)),
    wrong("ch12-panel", "not yet an angle", phases(delta=lambda a: a)),
    wrong("ch12-panel", "mask itself is missing", phases(keep=False)),
    wrong("ch12-panel", "take its modulus", phases(delta=lambda a: torch.acos(a**2))),
    wrong("ch12-panel", "two arrows", phases(half=0.5)),
    wrong("ch12-panel", "two arrows", phases(delta=lambda a: torch.rad2deg(torch.acos(a)))),
    wrong(
        "ch12-panel",
        "(0, 0) in common",
        phases(pattern=lambda rows, columns: 1 - 2 * (columns % 2) + 0 * rows),
    ),
    wrong(
        "ch12-panel",
        "(0, 0) in common",
        phases(pattern=lambda rows, columns: 1 - 2 * (rows % 2) + 0 * columns),
    ),
    wrong("ch12-panel", "takes angles", lambda mask: torch.exp(1j * two_phases(mask))),
    right("ch12-classes", to_classes),
    right("ch12-classes", nearest_of(evenly)),
    wrong("ch12-classes", "not the one below", floored),
    wrong("ch12-classes", "how many steps", off_by_one),
    wrong("ch12-classes", "numbers of their classes", numbered),
    wrong("ch12-classes", "the first and the last class", from_zero),
    wrong("ch12-classes", "divide the range", nearest_of(quantiles)),
    wrong(
        "ch12-classes", "the first and the last class", lambda w, n: nearest_of(evenly)(w.clamp(min=1e-7), n)
    ),
    wrong("ch12-classes", "in metres", lambda w, n: 1e9 * to_classes(w, n)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, capsys):
    judge(case, capsys)
