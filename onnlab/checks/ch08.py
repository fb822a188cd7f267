"""Checks of chapter 8: comparing kernels, the loss of a batch, sketches, and honest rows."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from onnlab.checks._check import alike, alone, expect, noise, number, same, seeded, several, tensor, worth
from onnlab.data import Dataset, Split
from onnlab.distill import Batch, ntk, ntkd_loss
from onnlab.networks import HybridClassifier, IdealConvolution


def _drawn(model: nn.Module, seed: int) -> nn.Module:
    """Give a network double precision and weights of its own."""
    generator = seeded(seed)
    with torch.no_grad():
        for parameter in model.double().parameters():
            parameter.normal_(generator=generator).mul_(0.5)
    return model


def _network(*sizes: int, seed: int) -> nn.Module:
    layers = [layer for n, m in pairwise(sizes) for layer in (nn.Linear(n, m), nn.Tanh())]
    return _drawn(nn.Sequential(*layers[:-1]), seed)


def _gradient(loss: Tensor, model: nn.Module) -> Tensor:
    """Gradient of a loss by all parameters, as one vector; zero where there is none."""
    found = torch.autograd.grad(loss, list(model.parameters()), retain_graph=True, materialize_grads=True)
    return torch.cat([g.flatten() for g in found])


def _loss(answer: object, what: str = "the loss") -> Tensor:
    """Return an answer that is one number with a gradient."""
    value = answer if isinstance(answer, Tensor) else None
    number(answer, what)
    expect(
        value is not None and value.requires_grad,
        f"{what} has no gradient",
        "no item(), detach() or no_grad() on the way from the student to the loss.",
    )
    assert value is not None
    return value.reshape(())


@worth(1)
def scale(louder_kernel: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """Make the last layer of small networks louder, and take the kernel again."""
    for seed, factor in ((0, 10.0), (1, 0.3), (2, -2.0)):
        model, x = _network(4, 6, 5, 3, seed=seed), noise(7, 4, seed=seed + 10)
        louder = deepcopy(model)
        with torch.no_grad():
            rest, last = ntk(model, x, parameters=["0", "2"]), ntk(model, x, parameters=["4"])
            louder.get_parameter("4.weight").mul_(factor)
            wanted = ntk(louder, x)
            louder.get_parameter("4.weight").mul_(factor)
            twice = ntk(louder, x)
        K = tensor(louder_kernel(rest.clone(), last.clone(), factor), (7, 7))
        who = (
            "gradients by the earlier layers pass through the last one; those by the last one itself do not."
        )
        same(
            K,
            wanted,
            f"weights that are {factor:g} times larger do not give this kernel",
            who,
            mistakes=[
                (factor * rest + last, "a kernel is a product of two gradients."),
                (rest + factor * last, who),
                (factor * (rest + last), who),
                (factor**2 * (rest + last), "what is the gradient by a weight of the last layer?"),
                (
                    rest + factor**2 * last,
                    "it is the other way round: which gradients contain these weights?",
                ),
                (twice, "that is the kernel after doing so twice."),
                (factor**2 * rest, "the parameters of the last layer still count."),
            ],
            rtol=1e-5,
        )


@worth(2)
def loss(batch_loss: Callable[[nn.Module, nn.Module, Tensor, Tensor, float], Tensor]) -> None:
    """Compare value and gradient with those of the library, and ask the teacher whether it learns."""
    batch_loss = alone(batch_loss, "ntkd_loss")
    for seed, n, beta in ((0, 6, 0.6), (1, 9, 4.0)):
        student, teacher = _network(4, 5, 3, seed=seed), _network(4, 8, 3, seed=seed + 20)
        x, labels = noise(n, 4, seed=seed + 30), torch.arange(n) % 3
        entropy = nn.functional.cross_entropy(student(x), labels)
        K_s = ntk(student, x)
        with torch.no_grad():
            K_t = ntk(teacher, x)
        distance = ntkd_loss(K_s, K_t)
        wanted = entropy + beta * distance
        found = _loss(batch_loss(student, teacher, x.clone(), labels.clone(), beta))
        if any(p.requires_grad for p in teacher.parameters()):  # a frozen one gets none
            taught = torch.autograd.grad(
                found, list(teacher.parameters()), retain_graph=True, allow_unused=True
            )
            expect(
                all(gradient is None for gradient in taught),
                "the teacher gets a gradient",
                "nothing should flow back into the teacher: take its kernel in torch.no_grad().",
            )

        instead = partial(ntkd_loss, K_s, K_t)
        rows = torch.eye(n, dtype=x.dtype) - 1 / n
        one_side = ntkd_loss(rows @ K_s, rows @ K_t, centre=False)
        squares = [K / K.square().sum() for K in (rows @ K_s @ rows, rows @ K_t @ rows)]
        pairs = "D is a sum over all pairs of images, and not their mean."
        half = "D is 2 − 2A, and not 1 − A."
        same(
            found,
            wanted,
            f"the loss is {found.item():.5g}, and not {wanted.item():.5g}",
            "the cross entropy, and beta times the squared difference of kernels, centred and of unit norm.",
            mistakes=[
                (
                    entropy + beta * instead(centre=False),
                    "both kernels have a common part: centre them first.",
                ),
                (entropy + beta * one_side, "one side is centred: rows and columns have to be."),
                *(
                    (
                        entropy + beta * share * instead(normalise=None, centre=centre),
                        "the two kernels differ by their scale: divide each by its norm.",
                    )
                    for share in (1, n**2)
                    for centre in (True, False)
                ),
                (
                    entropy + beta * instead(normalise="trace"),
                    "that is the trace, and not the norm of Frobenius.",
                ),
                (entropy + beta * (squares[0] - squares[1]).square().sum(), "a norm is a root."),
                (entropy + beta * distance / n**2, pairs),
                (entropy + beta * distance / n, pairs),
                (entropy + beta * instead(distance="alignment"), half),
                (entropy + beta * distance.sqrt(), "D is the *square* of the norm of the difference."),
                (entropy + distance, "beta is missing."),
                (beta * entropy + distance, "beta belongs to the kernels."),
                (beta * distance, "the labels are missing."),
                (entropy, "the kernels are missing."),
                ((1 - beta) * entropy + beta * distance, "the labels have the weight 1."),
                (entropy - beta * distance, "the sign: the distance has to shrink."),
                (n * entropy + beta * distance, "the cross entropy is a mean over the images."),
            ],
            rtol=1e-6,
        )
        gradient = _gradient(found, student)
        same(
            gradient,
            _gradient(wanted, student),
            "the value is right, and its gradient by the student's parameters is not",
            "nothing on the way from the student to the loss may be cut off.",
            mistakes=[
                (
                    _gradient(entropy, student),
                    "only the labels teach: the kernel of the student is cut off from its parameters.",
                ),
                (
                    _gradient(beta * distance, student),
                    "only the kernels teach: the answers of the student are cut off from its parameters.",
                ),
            ],
            rtol=1e-5,
        )


@worth(2)
def dress(
    distance_of: Callable[[float], float], furthest_pair: Callable[[int], tuple[Tensor, Tensor]]
) -> None:
    """Compare with random kernels, and measure how far apart the pair is."""
    for seed in range(4):
        a, b = (F @ F.T for F in noise(2, 6, 2, seed=seed))
        cosine = 1 - ntkd_loss(a, b, distance="alignment").item()
        wanted = ntkd_loss(a, b).item()
        found = number(distance_of(cosine), "the distance")
        same(
            found,
            wanted,
            f"kernels with the alignment {cosine:.3f} are at D = {wanted:.4g}, and not at {found:.4g}",
            "write out the square of the difference of two unit vectors.",
            mistakes=[
                (wanted / 2, "that is half of it: both unit vectors have a square."),
                (2 + 2 * cosine, "the sign: alike kernels are near."),
                (wanted**0.5, "D is the square of the norm."),
                (2 - cosine, "the product stands twice in a square."),
                (1 - 2 * cosine, "both unit vectors have a square."),
            ],
            rtol=1e-6,
        )
    for n in (4, 5, 9):
        pair = several(furthest_pair(n), 2, "the result is not a pair of kernels", "return one, other.")
        one, other = (tensor(K, (n, n), f"kernel {i}").double() for i, K in enumerate(pair, 1))
        H = torch.eye(n, dtype=torch.float64) - 1 / n
        for i, K in enumerate((one, other), 1):
            expect(alike(K, K.T, 1e-6), f"kernel {i} is not symmetric", "K_ij and K_ji are the same product.")
            lowest, highest = torch.linalg.eigvalsh(K)[[0, -1]].tolist()
            expect(
                lowest >= -1e-5 * max(abs(lowest), highest),
                f"kernel {i} has the eigenvalue {lowest:.3g}",
                "a kernel is a table of inner products, F F^T: it has no negative eigenvalue.",
            )
            expect(
                (H @ K @ H).norm() > 1e-4 * K.norm() and bool(K.any()),
                f"nothing is left of kernel {i} after centring",
                "an image has to differ from another one in it.",
            )
        D = ntkd_loss(one, other).item()
        plain = ntkd_loss(one, other, centre=False).item()
        expect(
            D > 2 - 1e-4,
            f"for {n} images your pair has D = {D:.3f}; it can be larger",
            "without centring they share nothing; with it they share the mean that is taken off."
            if plain > 2 - 1e-4
            else "what is trace(K K') of two kernels that share nothing? Centring belongs to it.",
        )


@worth(2)
def sketch(sketch: Callable[[Tensor, int, Generator], Tensor]) -> None:
    """Ask for what all draws have in common: the mean, the full number of directions, and chance."""
    n, outputs = 3, 4
    factors = noise(n, outputs, 6, seed=0)
    full = torch.einsum("icp,jdp->ijcd", factors, factors)
    exact = full.diagonal(dim1=2, dim2=3).sum(2)
    draw = [tensor(sketch(full.clone(), 2, seeded(seed)), (n, n)).double() for seed in (1, 1, 2)]
    expect(
        torch.equal(draw[0], draw[1]),
        "two generators with one seed do not give the same sketch",
        "draw from the generator that is given: torch.randn(..., generator=generator).",
    )
    expect(
        not torch.equal(draw[0], draw[2]),
        "two generators with other seeds give the same sketch",
        "the directions are random.",
    )
    complete = tensor(sketch(full.clone(), outputs, seeded(3)), (n, n))
    scaled = (complete * exact).sum() / exact.square().sum()
    expect(
        alike(complete, scaled * exact, 1e-4),
        f"{outputs} directions of {outputs} outputs miss something",
        "are your directions at right angles to each other, and of unit length? torch.linalg.qr helps.",
    )
    generator = seeded(4)
    for count in (3, 1, outputs):
        draws = torch.stack([sketch(full.clone(), count, generator).double() for _ in range(600)])
        mean = ((draws.mean(0) * exact).sum() / exact.square().sum()).item()
        ratio = outputs / count
        off = f"the mean of many sketches with {count} of {outputs} directions is {mean:.2f} times the kernel"
        for factor, hint in (
            (1 / ratio, "a few directions see only a part of the sum: scale it."),
            (ratio, "the factor of the kernel is there twice; in each direction it is a root."),
            (ratio**-0.5, "that factor belongs to each *direction*; a kernel is of second order in it."),
            (1 / count, "the kernels of the directions add up: no mean over them."),
            (1 / outputs, "the kernel is a sum over the outputs, and no mean."),
        ):
            expect(abs(mean - 1) < 0.08 or abs(mean / factor - 1) > 0.08, off, hint)
        expect(abs(mean - 1) < 0.08, off, "by which factor is the sum over R of C directions too small?")
        expect(
            alike(draws.mean(0), exact, 0.15),
            "the mean of many sketches is not the kernel",
            "all outputs have to have the same chance.",
        )
    only = torch.zeros(1, 1, outputs, outputs, dtype=torch.float64)
    only[..., 0, 0] = 1
    values = torch.stack([sketch(only.clone(), 1, generator).double().flatten() for _ in range(20)])
    expect(
        len(values.unique()) > 4,
        "each direction is one of the outputs",
        "directions point anywhere: each is a mixture of all outputs.",
    )


class _Skilled(nn.Module):
    """A stand-in for a trained network: right on a chosen share of each split, and it counts its visits."""

    def __init__(self, validation: float, test: float, visits: list[str], name: str) -> None:
        super().__init__()
        self.skills = {0: validation, 1: test}
        self.visits, self.name = visits, name

    def forward(self, x: Tensor) -> Tensor:
        split, truth, place = (x[:, 0, 0, i] for i in range(3))
        if bool((split == 1).any()):
            self.visits.append(self.name)
        skill = torch.where(split == 1, self.skills[1], self.skills[0])
        answer = torch.where(place < skill, truth, 1 - truth).long()
        return nn.functional.one_hot(answer, 2).float()


def _pretended(split: int) -> Split:
    """Images that hold the number of their split, their label, and their place in it."""
    pixels, labels = torch.zeros(100, 1, 1, 3), torch.arange(100) % 2
    pixels[:, 0, 0, 0] = split
    pixels[:, 0, 0, 1] = labels
    pixels[:, 0, 0, 2] = (torch.arange(100) + 0.5) / 100
    return Split(pixels, labels)


@worth(2)
def honest(
    honest_row: Callable[
        [Callable[[float, int], nn.Module], Sequence[float], Dataset, Sequence[int]], list[float]
    ],
) -> None:
    """Let networks be trained whose skills are known, and watch which of them see the test split."""
    data = Dataset("pretence", _pretended(0), _pretended(0), _pretended(1), ("zero", "one"), "none")
    rates, seeds = (0.3, 0.1, 0.01, 0.001, 0.5), (3, 5, 8)
    # Validation and test accuracy of each rate with the first seed; the others differ by the seed.
    skills = {0.3: (0.65, 0.75), 0.1: (0.6, 0.9), 0.01: (0.8, 0.7), 0.001: (0.5, 0.4), 0.5: (0.7, 0.8)}
    visits: list[str] = []
    trained: list[tuple[float, int]] = []

    def at(rate: float, seed: int) -> tuple[float, float]:
        validation, test = skills[rate]
        late = seeds.index(seed)
        # Over all seeds another rate wins on validation.
        return validation + (0.14 if rate == 0.5 else -0.02) * late, test - 0.03 * late

    def train(rate: float, seed: int) -> nn.Module:
        expect(seed in seeds, f"a network was trained with the seed {seed}", "use the seeds that are given.")
        trained.append((rate, seed))
        return _Skilled(*at(rate, seed), visits, f"{rate:g}")

    found = honest_row(train, rates, data, seeds)
    expect(
        isinstance(found, (list, tuple, Tensor)) and torch.as_tensor(found).shape == (len(seeds),),
        "the result does not hold one accuracy for each seed",
        "the best rate is tried with every seed: a list of as many numbers.",
    )
    got = torch.tensor([number(value, "an accuracy") for value in found], dtype=torch.float64)

    def of(rate: float, part: int) -> Tensor:
        values = [at(rate, seed)[part] for seed in seeds]
        return torch.tensor([round(100 * value) for value in values], dtype=torch.float64)

    def first(choose: Callable[[float], float]) -> float:
        return max(rates, key=choose)

    best = first(lambda rate: at(rate, seeds[0])[0])
    on_test = first(lambda rate: at(rate, seeds[0])[1])
    over_all = first(lambda rate: sum(at(rate, seed)[0] for seed in seeds))
    each = [max(rates, key=lambda rate, seed=seed: at(rate, seed)[0]) for seed in seeds]  # type: ignore[misc]
    by_seed = torch.stack([of(rate, 1)[i] for i, rate in enumerate(each)])
    same(
        got,
        of(best, 1),
        f"the row reads {', '.join(f'{value:.4g}' for value in got.tolist())}",
        "choose by validation with the first seed, take that rate for every seed, report the test split.",
        mistakes=[
            (of(best, 1) / 100, "in per cent, please."),
            (of(on_test, 1), "that rate is the best on the *test* split: nobody may choose by it."),
            (of(best, 0), "those are accuracies on validation: report the test split."),
            (of(first(lambda rate: -at(rate, seeds[0])[0]), 1), "that is the worst rate on validation."),
            (of(rates[0], 1), "that is the first rate: nothing was chosen."),
            (of(over_all, 1), "choose with the first seed only; the others would be more trials."),
            (by_seed, "choose once, with the first seed: each seed has a rate of its own here."),
            (of(best, 1)[:1].expand(3), "each seed wants a network of its own."),
        ],
        rtol=1e-6,
    )
    expect(
        set(visits) == {f"{best:g}"},
        f"networks with {len(set(visits))} learning rates have seen the test split",
        "only the networks with the chosen rate may see it.",
    )
    tuned, repeated = (
        [pair for pair in trained if (pair[1] == seeds[0]) == first_seed] for first_seed in (True, False)
    )
    expect(
        {rate for rate, _ in tuned} == set(rates) and {rate for rate, _ in repeated} == {best},
        "the number of trainings is not that of an honest row",
        "each rate with the first seed, and then the chosen one with the other seeds.",
    )


@worth(3)
def heads(
    heads_only: Callable[[nn.Module, float], Callable[[Batch], Tensor]],
    paired: Callable[[Tensor, Tensor], tuple[float, float]],
) -> None:
    """Compare value and gradient of the objective on small networks, and the pairs with their spread."""
    for seed, n, beta in ((0, 8, 3.0), (1, 6, 0.5)):
        student = _drawn(HybridClassifier(IdealConvolution(1, 2, 3, 8), 3, pool=2, hidden=(5,)), seed)
        parts: OrderedDict[str, nn.Module] = OrderedDict(
            features=nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten()),
            classifier=nn.Sequential(nn.Linear(108, 6), nn.Tanh(), nn.Linear(6, 3)),
        )
        teacher = _drawn(nn.Sequential(parts), seed + 1)
        before = deepcopy(teacher.state_dict())
        images, labels = noise(n, 1, 8, 8, seed=seed + 2), torch.arange(n) % 3
        objective = heads_only(teacher, beta)
        expect(callable(objective), "the result is not a function of a Batch", "return the objective itself.")
        found = _loss(objective(Batch(student, images, labels, student(images))), "the objective")

        def kernels(mine: str | None, theirs: str | None) -> Tensor:
            K_s = ntk(student, images, parameters=mine and [mine])  # noqa: B023
            K_t = ntk(teacher, images, parameters=theirs and [theirs]).detach()  # noqa: B023
            return ntkd_loss(K_s, K_t)

        entropy = nn.functional.cross_entropy(student(images), labels)
        distance = kernels("back_end", "classifier")
        wanted = entropy + beta * distance
        layers = "which layers enter which of the two kernels?"
        same(
            found,
            wanted,
            f"the objective is {found.item():.5g} on a batch, and not {wanted.item():.5g}",
            "the cross entropy once, and beta times the distance of the kernels of the heads.",
            mistakes=[
                (entropy + beta * kernels(None, None), f"all layers are in both kernels: {layers}"),
                (entropy + beta * kernels("back_end", None), f"all layers of the teacher are in: {layers}"),
                (entropy + beta * kernels(None, "classifier"), f"all layers of the student are in: {layers}"),
                (entropy + beta * kernels("optics", "features"), "these are the front ends."),
                (2 * entropy + beta * distance, "the labels count twice: NTKD has an alpha of its own."),
                (beta * distance, "the labels are missing."),
                (entropy + distance, "beta is missing."),
                (beta * (entropy + distance), "beta belongs to the kernels alone."),
                (entropy, "the kernels are missing."),
            ],
            rtol=1e-5,
        )
        same(
            _gradient(found, student),
            _gradient(wanted, student),
            "the value is right, and its gradient by the student's parameters is not",
            "the front end learns, too: its light goes through the head.",
            rtol=1e-4,
        )
        if any(p.requires_grad for p in teacher.parameters()):
            taught = torch.autograd.grad(found, list(teacher.parameters()), allow_unused=True)
            expect(
                all(gradient is None for gradient in taught),
                "the teacher gets a gradient",
                "nothing should flow back into the teacher.",
            )
        expect(
            all(torch.equal(before[name], value) for name, value in teacher.state_dict().items()),
            "the teacher is not what it was",
            "an objective changes no weights.",
        )
    scores, others = 90 + noise(5, seed=9), 88 + 3 * noise(5, seed=10)
    pair = several(
        paired(scores.clone(), others.clone()),
        2,
        "the comparison is not two numbers",
        "return the mean and its standard error.",
    )
    mean, error = (number(value, what) for value, what in zip(pair, ("the mean", "the error"), strict=True))
    gap = scores - others
    same(
        mean,
        gap.mean(),
        f"the mean of the differences is not {mean:.4g}",
        "seed by seed: scores minus others.",
        mistakes=[
            (-gap.mean(), "the sign: the first minus the second."),
            (gap.median(), "that is the median."),
        ],
        rtol=1e-4,
    )
    n = len(gap)
    same(
        error,
        (gap.var() / n).sqrt(),
        f"the standard error of the mean is not {error:.4g}",
        "how do the differences scatter, and how does their mean?",
        mistakes=[
            (gap.std(), "that is how one difference scatters. The mean of several scatters less."),
            (
                gap.std(correction=0),
                "that is how one difference scatters. The mean of several scatters less.",
            ),
            (gap.std() / n, "the mean scatters less by the *root* of the number."),
            (
                gap.std(correction=0) / n**0.5,
                "the mean is taken from the same seeds: one less below the line.",
            ),
            (gap.var() / n, "that is the variance of the mean."),
            (
                ((scores.var() + others.var()) / n).sqrt(),
                "that is the error of two rows without pairs: take the differences seed by seed first.",
            ),
        ],
        rtol=1e-4,
    )
