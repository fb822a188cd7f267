"""Checks of chapter 7: the tangent kernel, what it predicts, and how it moves."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from itertools import pairwise

import torch
from torch import Tensor, nn

from onnlab.checks._check import alike, expect, noise, number, same, seeded, tensor, worth
from onnlab.distill import ntk


def _layers(*sizes: int, seed: int, bend: type[nn.Module] = nn.ReLU, bias: bool = True) -> nn.Sequential:
    """Linear layers with a bend between them, and weights and biases near one."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs, bias=bias, dtype=torch.float64), bend()]
    model = nn.Sequential(*layers[:-1])
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(generator=generator)
    return model


def _kernel(model: nn.Module, x: Tensor, parts: Sequence[str] | None = None) -> Tensor:
    with torch.no_grad():
        return ntk(model, x, parameters=parts)


@worth(1)
def hand(bent_kernel: Callable[[Tensor, float, float], Tensor]) -> None:
    """Compare with automatic derivatives, with weights of each sign."""
    for w1, w2, seed in ((2.0, 3.0, 0), (0.7, -1.5, 1), (-1.3, 0.4, 2), (-2.0, -0.6, 3)):
        x = noise(6, seed=seed)
        K = tensor(bent_kernel(x.clone(), w1, w2), (6, 6))
        model = _layers(1, 1, 1, seed=0, bias=False)
        with torch.no_grad():
            for parameter, value in zip(model.parameters(), (w1, w2), strict=True):
                parameter.fill_(value)
        wanted = _kernel(model, x[:, None])
        case = f"for w1 = {w1:g} and w2 = {w2:g}"
        asleep = wanted.diagonal() == 0
        expect(
            not bool(K[asleep].any()) and not bool(K[:, asleep].any()),
            f"{case} the point {x[asleep][0].item():.2g} has entries other than 0, and nothing moves there",
            "look at which points come through the bend: it acts on w1 x, and not on x.",
        )
        expect(
            bool((K.diagonal()[~asleep] != 0).all()),
            f"{case} the point {x[~asleep][0].item():.2g} has entries of 0, though it can learn",
            "look at which points come through the bend: it acts on w1 x, and not on x.",
        )
        one_weight = "that is the part of one weight: the other one learns, too."
        same(
            K,
            wanted,
            f"{case} the entries are not the inner products of the gradients",
            "a gradient has two entries here, one for each weight; multiply and add up.",
            mistakes=[
                (_kernel(model, x[:, None], ["0"]), one_weight),
                (_kernel(model, x[:, None], ["2"]), one_weight),
            ],
            rtol=1e-5,
        )


@worth(2)
def tables(two_layer_kernel: Callable[[Tensor, Tensor, Tensor, Tensor, Tensor], Tensor]) -> None:
    """Compare with the kernel of the library, and each forgotten thing with what it would leave."""
    for seed, (n, d, h, outputs) in enumerate(((7, 3, 5, 4), (4, 6, 2, 3))):
        model, x = _layers(d, h, outputs, seed=seed), noise(n, d, seed=seed + 10)
        K = tensor(two_layer_kernel(x.clone(), *(p.detach().clone() for p in model.parameters())), (n, n))
        whole, first, last = _kernel(model, x), _kernel(model, x, ["0"]), _kernel(model, x, ["2"])
        straight = nn.Sequential(model[0], model[2])
        half_bent = first + _kernel(straight, x, ["1"]), _kernel(straight, x, ["0"]) + last
        no_first, no_last = (
            _kernel(model, x, [name for name, _ in model.named_parameters() if name != left_out])
            for left_out in ("0.bias", "2.bias")
        )
        with torch.no_grad():
            summed = ntk(model, x, classes="full").sum((2, 3))
            in_first = ntk(model, x, classes="full", parameters=["0"]).sum((2, 3))
        count = "is the kernel summed over the outputs? each of them has its own delta in the last layer."
        bias = "a bias has a gradient, too: the 1 in the formula."
        bend = "where a hidden unit is cut off, nothing comes out of it and nothing comes back."
        apart = "the outputs are mixed: they have a kernel each, and only the kernels add up, as squares do."
        same(
            K,
            whole,
            "the kernel is not that of this network",
            "what goes into each of the two layers, and what comes back to it?",
            mistakes=[
                (whole / outputs, count),
                (first + last / outputs, count),
                (_kernel(model, x, ["0.weight", "2.weight"]), bias),
                (no_first, bias),
                (no_last, bias),
                (whole - (outputs - 1), "each output has a bias of its own."),
                (_kernel(straight, x), bend),
                *((half, bend) for half in half_bent),
                (summed, apart),
                (in_first + last, apart),
                (first, "that is the part of the first layer: the other one learns, too."),
                (last, "that is the part of the last layer: the other one learns, too."),
            ],
            rtol=1e-5,
        )


def _moved(model: nn.Module, x: Tensor, new: Tensor, size: float, loss: Callable[[Tensor], Tensor]) -> Tensor:
    """What a real step of this size on a loss of the answers to ``x`` does to the answers to ``new``."""
    learner = deepcopy(model)
    weights = list(learner.parameters())
    gradients = torch.autograd.grad(loss(learner(x)), weights)
    with torch.no_grad():
        for p, g in zip(weights, gradients, strict=True):
            p.sub_(size * g)
        return learner(new) - model(new)


def _compare_steps(
    change: Tensor, model: nn.Module, x: Tensor, labels: Tensor, new: Tensor, size: float
) -> None:
    """Compare a prediction with a very small step, scaled up."""
    n, one = len(x), nn.functional.one_hot(labels, 3).double()

    def cross_entropy(answers: Tensor) -> Tensor:
        return nn.functional.cross_entropy(answers, labels)

    def squares(answers: Tensor) -> Tensor:
        return (answers - one).square().sum()

    def first_order(loss: Callable[[Tensor], Tensor]) -> Tensor:
        return _moved(model, x, new, 1e-6, loss) * (size / 1e-6)

    wanted = first_order(cross_entropy)
    with torch.no_grad():
        full = ntk(model, new, x, classes="full")
    answers = model(x).detach().requires_grad_()
    (pull,) = torch.autograd.grad(cross_entropy(answers), answers)
    own = full.diagonal(dim1=2, dim2=3)
    shared = -size * own.sum(2) @ pull
    uphill = "the sign: a step goes downhill."
    other = "the answer to one image listens to all outputs at the others: which kernel keeps them apart?"
    same(
        change,
        wanted,
        f"a step of {size:g} on {n} images does not move the answers so, to first order",
        "what is the derivative of the loss by the answers to the batch? Put it in the formula of a step.",
        mistakes=[
            (n * wanted, "the loss is a mean over the batch, and not a sum."),
            (wanted / 3, "the loss is a mean over the images, and not over the outputs as well."),
            (-wanted, uphill),
            (-n * wanted, f"{uphill} And the loss is a mean over the batch."),
            (wanted / size, "how large is the step?"),
            (
                _moved(model, x, new, size, cross_entropy),
                "that is what such a step really does; a prediction to first order was asked for.",
            ),
            *(
                (first_order(squares) / share, "that is the residual of squares: derive the cross entropy.")
                for share in (1, 2, n, 2 * n)
            ),
            (
                first_order(lambda f: (f.logsumexp(0).sum() - (f * one).sum()) / n),
                "the softmax runs over the wrong axis.",
            ),
            (first_order(lambda f: f.logsumexp(1).mean()), "the residual lacks the labels."),
            (
                -size * (full.mT @ pull[:, :, None]).sum(1)[:, :, 0],
                "the pairs of outputs are the wrong way round: which one answers?",
            ),
            *((found, other) for found in (shared, shared / 3, -size * (own * pull).sum(1))),
        ],
        rtol=1e-4,
    )


@worth(2)
def step(predicted_change: Callable[[nn.Module, Tensor, Tensor, Tensor, float], Tensor]) -> None:
    """Compare with a very small step, scaled up to the size that was asked for."""
    for seed, n, size in ((0, 5, 3.0), (1, 3, 0.7)):
        model = _layers(4, 6, 5, 3, seed=seed, bend=nn.Tanh)
        x, new = noise(n, 4, seed=seed + 20), noise(6, 4, seed=seed + 30)
        labels = torch.arange(n) % 3
        before = [p.detach().clone() for p in model.parameters()]
        change = tensor(predicted_change(model, x.clone(), labels.clone(), new.clone(), size), (6, 3))
        expect(
            all(torch.equal(p, was) for p, was in zip(model.parameters(), before, strict=True)),
            "the model is not what it was",
            "a prediction changes no weight; if you need another network, make a copy.",
        )
        _compare_steps(change, model, x, labels, new, size)


@worth(2)
def stop(descend: Callable[[Tensor, Tensor, Tensor, float, int], Tensor]) -> None:
    """Compare with the same descent along the eigenvectors of the kernel."""
    for seed, steps in ((3, 0), (0, 1), (1, 2), (2, 40)):
        factors = noise(9, 7, seed=seed)
        both, Y = factors @ factors.T, noise(6, 3, seed=seed + 40)
        K, K_new = both[:6, :6], both[6:, :6]
        values, vectors = torch.linalg.eigh(K)
        size = 0.6 / values[-1].item()

        def along(done: Tensor, values: Tensor = values, vectors: Tensor = vectors) -> Tensor:
            return vectors @ torch.diag(done / values) @ vectors.T

        learnt = 1 - (1 - size * values) ** steps
        wanted = K_new @ along(learnt) @ Y
        answers = tensor(descend(K.clone(), K_new.clone(), Y.clone(), size, steps), (3, 3))
        if steps == 0:
            expect(not bool(answers.any()), "after no step there are answers", "all answers start at zero.")
            continue
        count = "count: the first step of the new answers sees the residual before any step."
        same(
            answers,
            wanted,
            f"{steps} steps of descent do not lead there",
            "one step moves the answers to both kinds of images, by the residual of the training images.",
            mistakes=[
                (-wanted, "the sign: a step goes downhill."),
                (wanted / 6, "the loss is a sum over the images, and not a mean."),
                (
                    K_new @ along(1 - (1 - size / 6 * values) ** steps) @ Y,
                    "the loss is a sum, and not a mean.",
                ),
                (
                    K_new @ along(1 - (1 - 2 * size * values) ** steps) @ Y,
                    "half the sum of squares: is there a 2?",
                ),
                (K_new @ along(learnt * (1 - size * values)) @ Y, count),
                (K_new @ along(1 - (1 - size * values) ** (steps + 1)) @ Y, "that is one step too many."),
                (K_new @ along(1 - (1 - size * values) ** (steps - 1)) @ Y, "that is one step too few."),
                (K_new @ along(torch.ones_like(values)) @ Y, "that is the end of the way: stop before."),
                (
                    steps * size * K_new @ Y,
                    "the residual stays what it was: the answers to the training images move, too.",
                ),
            ],
            rtol=1e-6,
        )


@worth(2)
def constant(unmoved_network: Callable[[], nn.Module], unmoved_kernel: Callable[[Tensor], Tensor]) -> None:
    """Give the network other weights, and look whether its kernel notices."""
    model = unmoved_network()
    expect(
        isinstance(model, nn.Module),
        f"the network is of type {type(model).__name__}",
        "return a torch.nn.Module, such as nn.Sequential(...).",
    )
    x = torch.rand(6, 1, 28, 28, generator=seeded(0))
    with torch.no_grad():
        tensor(model(x.clone()), (6, 10), "the answer of the network")
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    expect(count > 0, "no parameter of the network learns", "a frozen network has no kernel at all.")
    other, generator = deepcopy(model), seeded(1)
    with torch.no_grad():
        for p in other.parameters():
            if p.requires_grad:
                p.add_(torch.randn(p.shape, generator=generator))
    before, after = _kernel(model, x), _kernel(other, x)
    expect(
        alike(after, before, 1e-4),
        "with other weights its kernel is another one",
        "in which networks has the gradient by a parameter no parameter in it?",
    )
    expect(
        count == 7850,
        f"the network has {count:,} parameters that learn".replace(",", " "),
        "7 850 is ten times 785: what is the one beside the 784 pixels?",
    )
    K = tensor(unmoved_kernel(x.clone()), (6, 6), "the kernel")
    flaws = []
    for names, hint in (
        ([n for n, p in model.named_parameters() if p.numel() > 10], "a bias has a gradient, too."),
        ([n for n, p in model.named_parameters() if p.numel() <= 10], "the weights are missing."),
    ):
        if names:
            flaws += [(_kernel(model, x, names), hint), (_kernel(model, x, names) / 10, hint)]
    same(
        K,
        before,
        "the kernel is not that of the network",
        "write down the gradient of one answer, and multiply it with that of another image.",
        mistakes=[
            (before / 10, "the kernel adds up over the outputs."),
            (before - 9, "each output has a bias of its own."),
            *flaws,
        ],
        rtol=1e-4,
    )


@worth(2)
def parts(alignment_of_parts: Callable[[nn.Module, Tensor, Tensor, Sequence[str]], dict[str, float]]) -> None:
    """Compare with alignments that are computed by a projection, for each part of a small network."""
    for seed, names in ((0, ["0", "2"]), (1, ["2.weight", "0.bias", "0.weight"])):
        model, x = _layers(5, 6, 4, seed=seed), noise(12, 5, seed=seed + 50) + 0.5
        labels = torch.arange(12) * (1 + 2 * seed) % 4
        found = alignment_of_parts(model, x.clone(), labels.clone(), list(names))
        expect(
            isinstance(found, dict) and set(found) == set(names),
            f"the result is not a dictionary with the keys {', '.join(names)}",
            "one entry for each name that is given, under this name.",
        )
        H = torch.eye(12, dtype=torch.float64) - 1 / 12
        one = torch.nn.functional.one_hot(labels).double()
        plain, truth, unit = one @ one.T, H @ one @ one.T @ H, labels.double()[:, None] * labels
        whole = _kernel(model, x)
        for name in names:
            part = _kernel(model, x, [name])
            value = number(found[name], f"the alignment of {name}")

            def cosine(a: Tensor, b: Tensor) -> Tensor:
                return (a * b).sum() / (a.norm() * b.norm())

            centred = H @ part @ H
            same(
                value,
                cosine(centred, truth),
                f"the alignment of the part {name} is not {value:.4g}",
                "centre, take the inner product with the kernel of the classes, and divide by both norms.",
                mistakes=[
                    (cosine(part, plain), "that is the alignment of kernels that are not centred."),
                    (cosine(H @ part, H @ plain), "one side is centred: rows and columns have to be."),
                    (
                        cosine(part - part.mean(), plain - plain.mean()),
                        "centre rows and columns, not the mean.",
                    ),
                    (cosine(centred, H @ unit @ H), "the labels are names, and not numbers to multiply."),
                    (cosine(part, unit), "the labels are names, and not numbers to multiply."),
                    (cosine(H @ whole @ H, truth), "that is the alignment of the whole network."),
                    ((centred * truth).sum(), "divide by both norms: a cosine is asked for."),
                    (
                        (centred * truth).sum() / centred.square().sum() / truth.square().sum(),
                        "a norm is the root of the sum of the squares.",
                    ),
                    (1 - cosine(centred, truth), "that is the distance, one minus the alignment."),
                ],
                rtol=1e-5,
            )


@worth(3)
def lazy(movement: Callable[[nn.Module, Tensor, Tensor, int], float]) -> None:
    """Compare with a straight network of one hidden unit, whose descent is written out by hand."""
    x, Y = noise(5, 3, seed=60), noise(5, 2, seed=61)
    for seed, steps in ((0, 1), (1, 7)):
        model = _layers(3, 1, 2, seed=seed, bend=nn.Identity, bias=False)
        start = [p.detach().clone() for p in model.parameters()]
        moved = number(movement(model, x.clone(), Y.clone(), steps), "the movement")
        expect(
            all(torch.equal(p, was) for p, was in zip(model.parameters(), start, strict=True)),
            "the model that was given has learnt",
            "let a copy learn: copy.deepcopy(model).",
        )
        expect(moved >= 0, f"the movement is {moved:.3g}", "a norm is never negative.")
        expect(
            moved > 0, "the kernel does not move at all", "compare kernels of the learner before and after."
        )

        def reference(
            size: Callable[[Tensor], Tensor] = lambda K: 1 / torch.linalg.eigvalsh(K)[-1],
            factor: float = 1.0,
            forget: bool = True,
            measure: Callable[[Tensor, Tensor], Tensor] = lambda a, b: (a - b).norm() / b.norm(),
            start: list[Tensor] = start,
            steps: int = steps,
        ) -> Tensor:
            inner, outer = (p.clone() for p in start)  # (1, 3) and (2, 1)
            inner_sum, outer_sum = torch.zeros_like(inner), torch.zeros_like(outer)

            def kernel() -> Tensor:
                h = x @ inner.T
                return 2 * h @ h.T + outer.square().sum() * (x @ x.T)

            before = kernel()
            eta = size(before) * factor
            for _ in range(steps):
                h = x @ inner.T
                residual = h @ outer.T - Y
                keep = 0.0 if forget else 1.0
                inner_sum = keep * inner_sum + (residual @ outer).T @ x
                outer_sum = keep * outer_sum + residual.T @ h
                inner, outer = inner - eta * inner_sum, outer - eta * outer_sum
            return measure(kernel(), before)

        loss = "which loss? Half the sum of the squares, over all images and outputs."
        ratio = "the norm of the difference, over the norm of the kernel before."
        which_size = "which step? One over the largest eigenvalue of the kernel before learning."
        same(
            moved,
            reference(),
            f"the kernel of a small network moves by {reference().item():.4g} in {steps} steps, "
            f"and not by {moved:.4g}",
            "the same step each time, over all images, and the kernel before and after.",
            mistakes=[
                *((reference(factor=factor), loss) for factor in (2.0, 0.2, 0.4, 0.1, 0.5)),
                (reference(forget=False), "each step starts with fresh gradients: they add up in torch."),
                (reference(measure=lambda a, b: (a - b).norm() / a.norm()), ratio),
                (reference(measure=lambda a, b: (a - b).norm()), ratio),
                (reference(measure=lambda a, b: (a - b).square().sum() / b.square().sum()), ratio),
                (reference(measure=lambda a, b: a.norm() / b.norm()), ratio),
                (reference(measure=lambda a, b: (a.norm() / b.norm() - 1).abs()), ratio),
                (reference(measure=lambda a, b: ((a - b) / b).norm()), ratio),
                (reference(measure=lambda a, b: (a - b).abs().max() / b.abs().max()), ratio),
                (reference(lambda K: 1 / K.trace()), which_size),
                (reference(lambda K: 1 / K.norm()), which_size),
                (reference(lambda K: 2 / torch.linalg.eigvalsh(K)[-1]), which_size),
                (reference(steps=steps + 1), "count the steps."),
                (reference(steps=steps - 1), "count the steps."),
            ],
            rtol=1e-3,
        )
    expect(
        number(movement(_layers(3, 2, seed=2), x.clone(), Y.clone(), 5)) < 1e-6,
        "the kernel of one linear layer moves",
        "that kernel has no weights in it: what do you compare?",
    )
