from copy import deepcopy

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy, one_hot

from onnlab.distill import ntk
from tests.checks.cases import judge, right, wrong


def from_gradients(x, w1, w2):
    """All gradients, then all inner products."""
    weights = torch.tensor([w1, w2], dtype=x.dtype)

    def answer(w):
        return w[1] * torch.relu(w[0] * x)

    J = torch.autograd.functional.jacobian(answer, weights)
    return J @ J.T


def bent(awake, squares=lambda w1, w2: w1**2 + w2**2):
    """A kernel by hand, with a condition for what comes through the bend."""

    def bent_kernel(x, w1, w2):
        on = awake(x, w1).to(x)
        return squares(w1, w2) * (on * x)[:, None] * (on * x)

    return bent_kernel


def tables(
    first_bias=1,
    last_bias=1,
    outputs=None,
    rectify=True,
    slope=True,
    squares=True,
    ones=0,
    only=("first", "last"),
):
    """The kernel of two layers in two tables, and the ways in which it can be written wrongly."""

    def two_layer_kernel(x, W1, b1, W2, b2):
        before = x @ W1.T + b1
        hidden = before.relu() if rectify else before
        awake = (before > 0).to(x) if slope else torch.ones_like(before)
        back = W2.square().sum(0) if squares else W2.sum(0).square()
        first = (x @ x.T + first_bias) * torch.einsum("ik,jk,k->ij", awake, awake, back)
        count = len(W2) if outputs is None else outputs
        last = count * (hidden @ hidden.T + last_bias) + ones
        return first * ("first" in only) + last * ("last" in only)

    return two_layer_kernel


def deltas(x, W1, b1, W2, b2):
    """Output after output, as a pass backwards would do it."""
    before, K = x @ W1.T + b1, 0
    for c in range(len(W2)):
        delta = torch.where(before > 0, W2[c], 0)
        K = K + (x @ x.T + 1) * (delta @ delta.T) + before.relu() @ before.relu().T + 1
    return K


def in_place(x, W1, b1, W2, b2):
    K = deltas(x, W1, b1, W2, b2)
    for tensor in (x, W1, b1, W2, b2):
        tensor.zero_()
    return K


def predict(residual, classes="full", scale=lambda n: 1 / n, pattern="ijcd,jd->ic", sign=-1):
    """The formula of a step, with a residual and with the mistakes that one can make in it."""

    def predicted_change(model, x, labels, new, size):
        with torch.no_grad():
            K = ntk(model, new, x, classes=classes)
            r = residual(model(x), one_hot(labels, 3))
        return sign * size * scale(len(x)) * torch.einsum(pattern, K, r)

    return predicted_change


def softly(answers, one):
    return answers.softmax(1) - one


def by_jvp(model, x, labels, new, size):
    """The derivative of the answers along the gradient; no kernel is made."""
    names = [name for name, _ in model.named_parameters()]
    weights = tuple(p.detach() for p in model.parameters())
    gradient = torch.autograd.grad(cross_entropy(model(x), labels), list(model.parameters()))

    def answers(*weights):
        return torch.func.functional_call(model, dict(zip(names, weights, strict=True)), (new,))

    return torch.autograd.functional.jvp(answers, weights, tuple(-size * g for g in gradient))[1]


def real_step(copy, shrink=1.0):
    def predicted_change(model, x, labels, new, size):
        before, learner = model(new).detach(), deepcopy(model) if copy else model
        gradient = torch.autograd.grad(cross_entropy(learner(x), labels), list(learner.parameters()))
        with torch.no_grad():
            for p, g in zip(learner.parameters(), gradient, strict=True):
                p -= shrink * size * g
            return (learner(new) - before) / shrink

    return predicted_change


def descend(K, K_new, Y, size, steps, sign=1, mean=False, late=False, learn=True, start=0.0, two=1):
    answers, new = torch.full_like(Y, start), torch.full((len(K_new), Y.shape[1]), start, dtype=Y.dtype)
    for _ in range(steps):
        r = two * (Y - answers) / (len(Y) if mean else 1)
        if learn:
            answers = answers + size * K @ r
        if late:
            r = Y - answers
        new = new + sign * size * K_new @ r
    return new


def without(**setting):
    return lambda *arguments: descend(*arguments, **setting)


def descend_together(K, K_new, Y, size, steps):
    """All images in one table, in place."""
    both = torch.cat([K, K_new])
    answers = torch.zeros(len(both), Y.shape[1], dtype=Y.dtype)
    for _ in range(steps):
        answers += size * both @ (Y - answers[: len(Y)])
    return answers[len(Y) :]


def series(K, K_new, Y, size, steps):
    """The sum over the powers of what a step leaves."""
    left, total = Y.clone(), torch.zeros_like(Y)
    for _ in range(steps):
        total += left
        left -= size * K @ left
    return size * K_new @ total


def linear(*more, bias=True):
    return lambda: nn.Sequential(nn.Flatten(), nn.Linear(784, 10, bias=bias), *more)


def frozen():
    return linear()().requires_grad_(False)


def two_in_a_row():
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 9), nn.Linear(9, 10))


def one_large_kernel():
    return nn.Sequential(nn.Conv2d(1, 10, 28), nn.Flatten())


def pixels(x, bias=1, outputs=10, one=0):
    x = x.flatten(1)
    return outputs * (x @ x.T + bias) + one


def kernel(**setting):
    return lambda x: pixels(x, **setting)


def aligned(
    truth=lambda labels: one_hot(labels).double() @ one_hot(labels).double().T,
    centre=lambda K: K - K.mean(0) - K.mean(1, keepdim=True) + K.mean(),
    norm=torch.linalg.matrix_norm,
    part=lambda name: [name],
    key=lambda name: name,
):
    def alignment_of_parts(model, x, labels, names):
        found = {}
        for name in names:
            with torch.no_grad():
                a, b = centre(ntk(model, x, parameters=part(name))), centre(truth(labels))
            found[key(name)] = (a * b).sum() / (norm(a) * norm(b))
        return found

    return alignment_of_parts


def by_traces(model, x, labels, names):
    """One side needs centring only, and traces of products are inner products."""
    H = torch.eye(len(x), dtype=x.dtype) - 1 / len(x)
    T = H @ (labels[:, None] == labels[None]).to(x) @ H
    found = {}
    for name in names:
        K = ntk(model, x, parameters=[name]).detach()
        found[name] = float(
            torch.trace(K @ T) / torch.trace(K @ H @ K @ H).sqrt() / torch.trace(T @ T).sqrt()
        )
    return found


def mover(
    loss=lambda f, Y: (f - Y).square().sum() / 2,
    size=lambda K: 1 / torch.linalg.eigvalsh(K)[-1],
    measure=lambda after, before: (after - before).norm() / before.norm(),
    copy=True,
    forget=True,
    more=0,
):
    def movement(model, x, Y, steps):
        learner = deepcopy(model) if copy else model
        weights = list(learner.parameters())
        before = ntk(learner, x).detach()
        eta = size(before)
        total = [torch.zeros_like(p) for p in weights]
        for _ in range(steps + more):
            gradients = torch.autograd.grad(loss(learner(x), Y), weights)
            total = gradients if forget else [t + g for t, g in zip(total, gradients, strict=True)]
            with torch.no_grad():
                for p, t in zip(weights, total, strict=True):
                    p -= eta * t
        return measure(ntk(learner, x).detach(), before)

    return movement


def compares_itself(model, x, Y, steps):
    return mover()(model, x, Y, 0)


def adam(model, x, Y, steps):
    learner = deepcopy(model)
    before = ntk(learner, x).detach()
    optimiser = torch.optim.Adam(learner.parameters(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        ((learner(x) - Y).square().sum() / 2).backward()
        optimiser.step()
    return ((ntk(learner, x).detach() - before).norm() / before.norm()).item()


CASES = [
    right("ch07-hand", from_gradients),
    right("ch07-hand", bent(lambda x, w1: w1 * x > 0)),
    wrong("ch07-hand", "acts on w1 x", bent(lambda x, w1: x > 0)),
    wrong("ch07-hand", "come through the bend", bent(lambda x, w1: x.abs() > 0)),
    wrong("ch07-hand", "part of one weight", bent(lambda x, w1: w1 * x > 0, lambda w1, w2: w2**2)),
    wrong("ch07-hand", "part of one weight", bent(lambda x, w1: w1 * x > 0, lambda w1, w2: w1**2)),
    wrong("ch07-hand", "two entries", bent(lambda x, w1: w1 * x > 0, lambda w1, w2: (w1 + w2) ** 2)),
    wrong("ch07-hand", "two entries", bent(lambda x, w1: w1 * x > 0, lambda w1, w2: w1 * w2)),
    wrong("ch07-hand", "two entries", lambda x, w1, w2: torch.outer(*[w2 * (w1 * x).relu()] * 2)),
    right("ch07-tables", tables()),
    right("ch07-tables", deltas),
    right("ch07-tables", in_place),
    wrong("ch07-tables", "own delta", tables(outputs=1)),
    wrong("ch07-tables", "own delta", lambda x, W1, b1, W2, b2: deltas(x, W1, b1, W2, b2) / len(W2)),
    wrong("ch07-tables", "a bias has", tables(first_bias=0)),
    wrong("ch07-tables", "a bias has", tables(last_bias=0)),
    wrong("ch07-tables", "a bias has", tables(first_bias=0, last_bias=0)),
    wrong("ch07-tables", "bias of its own", tables(last_bias=0, ones=1)),
    wrong("ch07-tables", "nothing comes back", tables(slope=False)),
    wrong("ch07-tables", "nothing comes back", tables(rectify=False)),
    wrong("ch07-tables", "nothing comes back", tables(rectify=False, slope=False)),
    wrong("ch07-tables", "outputs are mixed", tables(squares=False)),
    wrong("ch07-tables", "part of the first", tables(only=("first",))),
    wrong("ch07-tables", "part of the last", tables(only=("last",))),
    right("ch07-step", predict(softly)),
    right("ch07-step", by_jvp),
    right("ch07-step", real_step(copy=True, shrink=1e-6)),
    wrong("ch07-step", "and not a sum", predict(softly, scale=lambda n: 1)),
    wrong("ch07-step", "over the outputs as well", predict(softly, scale=lambda n: 1 / (3 * n))),
    wrong("ch07-step", "downhill", predict(softly, sign=1)),
    wrong("ch07-step", "downhill. And", predict(softly, sign=1, scale=lambda n: 1)),
    wrong("ch07-step", "really does", real_step(copy=True)),
    wrong("ch07-step", "changes no weight", real_step(copy=False)),
    wrong("ch07-step", "residual of squares", predict(lambda f, one: f - one)),
    wrong("ch07-step", "residual of squares", predict(lambda f, one: f - one, scale=lambda n: 1)),
    wrong("ch07-step", "wrong axis", predict(lambda f, one: f.softmax(0) - one)),
    wrong("ch07-step", "lacks the labels", predict(lambda f, one: f.softmax(1))),
    wrong("ch07-step", "wrong way round", predict(softly, pattern="ijdc,jd->ic")),
    wrong("ch07-step", "keeps them apart", predict(softly, classes="trace", pattern="ij,jc->ic")),
    wrong("ch07-step", "keeps them apart", predict(softly, pattern="ijcc,jc->ic")),
    right("ch07-stop", descend),
    right("ch07-stop", descend_together),
    right("ch07-stop", series),
    wrong("ch07-stop", "downhill", without(sign=-1)),
    wrong("ch07-stop", "not a mean", without(mean=True)),
    wrong("ch07-stop", "is there a 2", without(two=2)),
    wrong("ch07-stop", "before any step", without(late=True)),
    wrong("ch07-stop", "move, too", without(learn=False)),
    wrong("ch07-stop", "start at zero", without(start=1.0)),
    wrong("ch07-stop", "one step too many", lambda K, N, Y, s, t: descend(K, N, Y, s, t + bool(t))),
    wrong("ch07-stop", "start at zero", lambda K, N, Y, s, t: N @ torch.linalg.solve(K, Y)),
    wrong("ch07-stop", "end of the way", lambda K, N, Y, s, t: N @ torch.linalg.solve(K, Y) * bool(t)),
    wrong("ch07-stop", "the shape", lambda K, N, Y, s, t: descend(K, K, Y, s, t)),
    right("ch07-constant", linear(), pixels),
    right("ch07-constant", one_large_kernel, lambda x: 10 * torch.einsum("ncij,mcij->nm", x, x) + 10),
    right("ch07-constant", linear(), lambda x: ntk(linear()(), x)),
    wrong("ch07-constant", "no parameter in it", linear(nn.ReLU()), pixels),
    wrong("ch07-constant", "no parameter in it", linear(nn.Softmax(1)), pixels),
    wrong("ch07-constant", "no parameter in it", two_in_a_row, pixels),
    wrong("ch07-constant", "beside the 784", linear(bias=False), kernel(bias=0)),
    wrong("ch07-constant", "no kernel at all", frozen, pixels),
    wrong("ch07-constant", "nn.Module", lambda: nn.Linear, pixels),
    wrong("ch07-constant", "a bias has", linear(), kernel(bias=0)),
    wrong("ch07-constant", "adds up over the outputs", linear(), kernel(outputs=1)),
    wrong("ch07-constant", "of its own", linear(), kernel(bias=0, one=1)),
    right("ch07-parts", aligned()),
    right("ch07-parts", by_traces),
    wrong("ch07-parts", "not centred", aligned(centre=lambda K: K)),
    wrong("ch07-parts", "rows and columns have to be", aligned(centre=lambda K: K - K.mean(0))),
    wrong("ch07-parts", "not the mean", aligned(centre=lambda K: K - K.mean())),
    wrong("ch07-parts", "not numbers", aligned(lambda y: y.double()[:, None] * y)),
    wrong("ch07-parts", "whole network", aligned(part=lambda name: None)),
    wrong("ch07-parts", "divide by both", aligned(norm=lambda K: 1.0)),
    wrong("ch07-parts", "root of the sum", aligned(norm=lambda K: K.square().sum())),
    wrong("ch07-parts", "under this name", aligned(key=lambda name: name.split(".")[0] + "!")),
    right("ch07-lazy", mover()),
    right("ch07-lazy", mover(loss=lambda f, Y: (f - Y).square().mean() * Y.numel() / 2)),
    right("ch07-lazy", mover(size=lambda K: 1 / torch.linalg.matrix_norm(K, 2))),
    wrong("ch07-lazy", "Half the sum", mover(loss=lambda f, Y: (f - Y).square().sum())),
    wrong("ch07-lazy", "Half the sum", mover(loss=lambda f, Y: (f - Y).square().mean())),
    wrong("ch07-lazy", "fresh gradients", mover(forget=False)),
    wrong("ch07-lazy", "deepcopy", mover(copy=False)),
    wrong("ch07-lazy", "does not move", compares_itself),
    wrong("ch07-lazy", "kernel before", mover(measure=lambda a, b: (a - b).norm() / a.norm())),
    wrong("ch07-lazy", "kernel before", mover(measure=lambda a, b: (a - b).norm())),
    wrong("ch07-lazy", "largest eigenvalue", mover(size=lambda K: 1 / K.trace())),
    wrong("ch07-lazy", "largest eigenvalue", mover(size=lambda K: 1 / K.norm())),
    wrong("ch07-lazy", "count the steps", mover(more=1)),
    wrong("ch07-lazy", "same step each time", adam),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, capsys):
    judge(case, capsys)
