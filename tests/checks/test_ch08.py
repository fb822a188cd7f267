import pytest
import torch
from torch import nn
from torch.nn.functional import cosine_similarity, cross_entropy

from onnlab.distill import NTKD, Batch, CrossEntropy, evaluate, ntk, ntkd_loss
from tests.checks.cases import judge, right, wrong


def centred(K):
    return K - K.mean(0) - K.mean(1, keepdim=True) + K.mean()


def of_batch(
    prepare=lambda K: centred(K) / centred(K).norm(),
    distance=lambda a, b: (a - b).square().sum(),
    combine=lambda entropy, D, beta: entropy + beta * D,
    freeze=True,
    reduction="mean",
    learn=True,
):
    """The loss of a batch, and the ways in which it can be written wrongly."""

    def batch_loss(student, teacher, images, labels, beta):
        K_s, K_t = ntk(student, images), ntk(teacher, images)
        K_t = K_t.detach() if freeze else K_t
        K_s = K_s if learn else K_s.detach()
        entropy = cross_entropy(student(images), labels, reduction=reduction)
        return combine(entropy, distance(prepare(K_s), prepare(K_t)), beta)

    return batch_loss


def by_cosine(student, teacher, images, labels, beta):
    """The other dress; one of the two kernels need not be centred."""
    n = len(images)
    H = torch.eye(n, dtype=images.dtype) - 1 / n
    with torch.no_grad():
        K_t = H @ ntk(teacher, images) @ H
    K_s = H @ ntk(student, images) @ H
    A = cosine_similarity(K_s.flatten(), K_t.flatten(), dim=0)
    return -student(images).log_softmax(1)[torch.arange(n), labels].mean() + beta * (2 - 2 * A)


def by_library(student, teacher, images, labels, beta):
    return NTKD(teacher, beta=beta)(Batch(student, images, labels, student(images)))


def with_frozen_teacher(student, teacher, images, labels, beta):
    value = of_batch()(student, teacher, images, labels, beta)
    teacher.requires_grad_(False)
    return value


def pair(one, other):
    return lambda n: (one(n), other(n))


def two(n, i=0, j=1):
    """A kernel that tells two images apart."""
    F = torch.zeros(n, 1, dtype=torch.float64)
    F[i], F[j] = 1, -1
    return F @ F.T


def others(n):
    return two(n, 2, 3)


def diagonal(*places):
    return lambda n: torch.diag(torch.tensor([float(i in places) for i in range(n)]))


def cosines(n):
    """Waves of two frequencies over all images share nothing, and have no mean."""
    t = 2 * torch.pi * torch.arange(n, dtype=torch.float64) / n
    return torch.outer(t.cos(), t.cos()), torch.outer(t.sin(), t.sin())


def far(alignment):
    return 2 - 2 * alignment


def sketching(directions, factor=lambda C, R: C / R):
    def sketch(full, count, generator):
        C = full.shape[-1]
        Q = directions(C, count, generator).to(full)
        K = 0
        for q in Q:
            K = K + torch.einsum("ijcd,c,d->ij", full, q, q)
        return K * factor(C, count)

    return sketch


def orthonormal(C, R, generator):
    Q, _ = torch.linalg.qr(torch.randn(C, R, generator=generator))
    return Q.T


def one_side(C, R, generator):
    return torch.linalg.qr(torch.rand(C, R, generator=generator))[0].T


def by_svd(C, R, generator):
    U, _, V = torch.linalg.svd(torch.randn(C, C, generator=generator, dtype=torch.float64))
    return (U @ V)[:R]


def gauss(C, R, generator):
    return torch.randn(R, C, generator=generator)


def unit_gauss(C, R, generator):
    return torch.nn.functional.normalize(torch.randn(R, C, generator=generator))


def outputs(C, R, generator):
    return torch.eye(C)[torch.randperm(C, generator=generator)[:R]]


def first_outputs(C, R, generator):
    return torch.eye(C)[:R]


def global_draw(C, R, generator):
    return torch.linalg.qr(torch.randn(C, R))[0].T


def row(
    choose="validation", report="test", sign=1, percent=100, best_of="first", all_see=False, seeds_used=None
):
    def honest_row(train, rates, data, seeds):
        def score(rate, seed):
            model = train(rate, seed)
            if all_see:
                evaluate(model, data.test)
            return sign * evaluate(model, getattr(data, choose)).accuracy

        if best_of == "first":
            chosen = {seed: max(rates, key=lambda rate: score(rate, seeds[0])) for seed in seeds[:1]}
            chosen = dict.fromkeys(seeds, chosen[seeds[0]])
        elif best_of == "all":
            chosen = dict.fromkeys(seeds, max(rates, key=lambda rate: sum(score(rate, s) for s in seeds)))
        elif best_of == "each":
            chosen = {seed: max(rates, key=lambda rate: score(rate, seed)) for seed in seeds}
        else:
            chosen = dict.fromkeys(seeds, rates[0])
        split = getattr(data, report)
        used = seeds[: seeds_used or len(seeds)]
        return [percent * evaluate(train(chosen[seed], seed), split).accuracy for seed in used]

    return honest_row


def without_training_twice(train, rates, data, seeds):
    """The network that won is used again; accuracies are tensors."""
    models = [train(rate, seeds[0]) for rate in rates]
    scores = torch.tensor([evaluate(model, data.validation).accuracy for model in models])
    best = int(scores.argmax())
    models = [models[best]] + [train(rates[best], seed) for seed in seeds[1:]]
    return torch.tensor([evaluate(model, data.test).accuracy * 100 for model in models])


def one_network(train, rates, data, seeds):
    best = max(rates, key=lambda rate: evaluate(train(rate, seeds[0]), data.validation).accuracy)
    return [100 * evaluate(train(best, seeds[0]), data.test).accuracy] * len(seeds)


def fixed_seed(train, rates, data, seeds):
    best = max(rates, key=lambda rate: evaluate(train(rate, 0), data.validation).accuracy)
    return [100 * evaluate(train(best, seed), data.test).accuracy for seed in seeds]


def heads(labels=None, scale=1.0, beta=None, mine="back_end", theirs="classifier", alpha=0.0):
    def heads_only(teacher, given):
        parts = {"parameters": mine and [mine], "teacher_parameters": theirs and [theirs]}
        kernels = NTKD(teacher, beta=given if beta is None else beta, alpha=alpha, **parts)
        entropy = CrossEntropy() if labels is None else labels
        return scale * (entropy + kernels) if entropy else kernels

    return heads_only


def own_objective(teacher, beta):
    def objective(batch):
        K = ntk(batch.model, batch.images, parameters=["back_end"])
        with torch.no_grad():
            K_t = ntk(teacher, batch.images, parameters=["classifier"])
        return cross_entropy(batch.logits, batch.targets) + beta * ntkd_loss(K, K_t)

    return objective


def cut_off(teacher, beta):
    """The kernel of the head, with light that is held fixed."""

    def objective(batch):
        maps = batch.model.pool(batch.model.optics(batch.images)).detach()
        K = ntk(batch.model.back_end, maps)
        K_t = ntk(teacher, batch.images, parameters=["classifier"]).detach()
        return cross_entropy(batch.logits, batch.targets) + beta * ntkd_loss(K, K_t)

    return objective


def learning_teacher(teacher, beta):
    def objective(batch):
        unit = [
            centred(ntk(model, batch.images, parameters=[part]))
            for model, part in ((batch.model, "back_end"), (teacher, "classifier"))
        ]
        a, b = (K / K.norm() for K in unit)
        return cross_entropy(batch.logits, batch.targets) + beta * (a - b).square().sum()

    return objective


def value_only(teacher, beta):
    return lambda batch: heads()(teacher, beta)(batch).detach()


def paired(scores, others):
    d = scores - others
    return d.mean(), d.std() / len(d) ** 0.5


def by_sums(scores, others):
    d = (scores - others).tolist()
    mean = sum(d) / len(d)
    return mean, (sum((v - mean) ** 2 for v in d) / (len(d) * (len(d) - 1))) ** 0.5


def error(of):
    return lambda a, b: ((a - b).mean(), of(a, b))


CASES = [
    right("ch08-scale", lambda rest, last, c: c**2 * rest + last),
    right("ch08-scale", lambda rest, last, c: (rest + last).mul_(c * c).sub_((c * c - 1) * last)),
    wrong("ch08-scale", "product of two", lambda rest, last, c: c * rest + last),
    wrong("ch08-scale", "pass through the last", lambda rest, last, c: c * (rest + last)),
    wrong("ch08-scale", "weight of the last", lambda rest, last, c: c**2 * (rest + last)),
    wrong("ch08-scale", "other way round", lambda rest, last, c: rest + c**2 * last),
    wrong("ch08-scale", "twice", lambda rest, last, c: c**4 * rest + last),
    wrong("ch08-scale", "still count", lambda rest, last, c: c**2 * rest),
    right("ch08-loss", of_batch()),
    right("ch08-loss", by_cosine),
    right("ch08-loss", with_frozen_teacher),
    wrong("ch08-loss", "calls ntkd_loss", by_library),
    wrong("ch08-loss", "calls ntkd_loss", of_batch(lambda K: K, ntkd_loss)),
    wrong("ch08-loss", "teacher gets a gradient", of_batch(freeze=False)),
    wrong("ch08-loss", "common part", of_batch(lambda K: K / K.norm())),
    wrong("ch08-loss", "rows and columns", of_batch(lambda K: (K - K.mean(0)) / (K - K.mean(0)).norm())),
    wrong("ch08-loss", "by their scale", of_batch(centred)),
    wrong("ch08-loss", "by their scale", of_batch(lambda K: K)),
    wrong("ch08-loss", "by their scale", of_batch(centred, nn.functional.mse_loss)),
    wrong("ch08-loss", "that is the trace", of_batch(lambda K: centred(K) / centred(K).trace())),
    wrong("ch08-loss", "norm is a root", of_batch(lambda K: centred(K) / centred(K).square().sum())),
    wrong("ch08-loss", "not their mean", of_batch(distance=nn.functional.mse_loss)),
    wrong("ch08-loss", "2 − 2A", of_batch(distance=lambda a, b: 1 - (a * b).sum())),
    wrong("ch08-loss", "*square*", of_batch(distance=lambda a, b: (a - b).norm())),
    wrong("ch08-loss", "beta is missing", of_batch(combine=lambda e, D, beta: e + D + 0 * beta)),
    wrong("ch08-loss", "belongs to the kernels", of_batch(combine=lambda e, D, beta: beta * e + D)),
    wrong("ch08-loss", "labels are missing", of_batch(combine=lambda e, D, beta: beta * D)),
    wrong("ch08-loss", "weight 1", of_batch(combine=lambda e, D, beta: (1 - beta) * e + beta * D)),
    wrong("ch08-loss", "has to shrink", of_batch(combine=lambda e, D, beta: e - beta * D)),
    wrong("ch08-loss", "mean over the images", of_batch(reduction="sum")),
    wrong("ch08-loss", "only the labels teach", of_batch(learn=False)),
    wrong("ch08-loss", "only the kernels teach", of_batch(combine=lambda e, D, beta: e.detach() + beta * D)),
    wrong("ch08-loss", "no item()", of_batch(combine=lambda e, D, beta: (e + beta * D).detach())),
    wrong("ch08-loss", "no item()", of_batch(combine=lambda e, D, beta: (e + beta * D).item())),
    right("ch08-dress", far, pair(two, others)),
    right("ch08-dress", lambda A: torch.tensor(2.0) * (1 - A), cosines),
    wrong("ch08-dress", "half of it", lambda A: 1 - A, pair(two, others)),
    wrong("ch08-dress", "sign", lambda A: 2 + 2 * A, pair(two, others)),
    wrong("ch08-dress", "square of the norm", lambda A: far(A) ** 0.5, pair(two, others)),
    wrong("ch08-dress", "stands twice", lambda A: 2 - A, pair(two, others)),
    wrong("ch08-dress", "no negative eigenvalue", far, pair(two, lambda n: -two(n))),
    wrong("ch08-dress", "share the mean", far, pair(diagonal(0, 1), diagonal(2, 3))),
    wrong("ch08-dress", "share nothing? Centring", far, pair(two, lambda n: two(n, 1, 2))),
    wrong("ch08-dress", "nothing is left", far, pair(two, lambda n: torch.ones(n, n))),
    wrong("ch08-dress", "nothing is left", far, pair(two, lambda n: torch.zeros(n, n))),
    wrong("ch08-dress", "same product", far, pair(two, lambda n: torch.ones(n, n).triu())),
    wrong("ch08-dress", "return one, other", far, two),
    wrong("ch08-dress", "the shape", far, pair(lambda n: two(4), lambda n: others(4))),
    right("ch08-sketch", sketching(orthonormal)),
    right("ch08-sketch", sketching(by_svd)),
    right("ch08-sketch", sketching(lambda C, R, g: orthonormal(C, R, g) * (C / R) ** 0.5, lambda C, R: 1)),
    wrong("ch08-sketch", "scale it", sketching(orthonormal, lambda C, R: 1)),
    wrong("ch08-sketch", "there twice", sketching(orthonormal, lambda C, R: (C / R) ** 2)),
    wrong("ch08-sketch", "each *direction*", sketching(orthonormal, lambda C, R: (C / R) ** 0.5)),
    wrong("ch08-sketch", "no mean over them", sketching(orthonormal, lambda C, R: C / R**2)),
    wrong("ch08-sketch", "and no mean", sketching(orthonormal, lambda C, R: 1 / R)),
    wrong("ch08-sketch", "right angles", sketching(gauss, lambda C, R: 1 / R)),
    wrong("ch08-sketch", "right angles", sketching(unit_gauss)),
    wrong("ch08-sketch", "mixture of all", sketching(outputs)),
    wrong("ch08-sketch", "the same chance", sketching(one_side)),
    wrong("ch08-sketch", "directions are random", sketching(first_outputs)),
    wrong("ch08-sketch", "generator that is given", sketching(global_draw)),
    right("ch08-honest", row()),
    right("ch08-honest", without_training_twice),
    wrong("ch08-honest", "nobody may choose", row(choose="test")),
    wrong("ch08-honest", "report the test", row(report="validation")),
    wrong("ch08-honest", "worst rate", row(sign=-1)),
    wrong("ch08-honest", "in per cent", row(percent=1)),
    wrong("ch08-honest", "more trials", row(best_of="all")),
    wrong("ch08-honest", "choose once", row(best_of="each")),
    wrong("ch08-honest", "nothing was chosen", row(best_of="none")),
    wrong("ch08-honest", "only the networks with the chosen rate", row(all_see=True)),
    wrong("ch08-honest", "as many numbers", row(seeds_used=1)),
    wrong("ch08-honest", "network of its own", one_network),
    wrong("ch08-honest", "seeds that are given", fixed_seed),
    right("ch08-heads", heads(), paired),
    right("ch08-heads", heads(labels=False, alpha=1.0), by_sums),
    right("ch08-heads", own_objective, paired),
    wrong("ch08-heads", "all layers are in both", heads(mine=None, theirs=None), paired),
    wrong("ch08-heads", "all layers of the teacher", heads(theirs=None), paired),
    wrong("ch08-heads", "all layers of the student", heads(mine=None), paired),
    wrong("ch08-heads", "front ends", heads(mine="optics", theirs="features"), paired),
    wrong("ch08-heads", "count twice", heads(alpha=1.0), paired),
    wrong("ch08-heads", "labels are missing", heads(labels=False), paired),
    wrong("ch08-heads", "beta is missing", heads(beta=1.0), paired),
    wrong("ch08-heads", "light goes through", cut_off, paired),
    wrong("ch08-heads", "flow back", learning_teacher, paired),
    wrong("ch08-heads", "no item()", value_only, paired),
    wrong("ch08-heads", "first minus the second", heads(), lambda a, b: paired(b, a)),
    wrong("ch08-heads", "one difference scatters", heads(), error(lambda a, b: (a - b).std())),
    wrong("ch08-heads", "*root*", heads(), error(lambda a, b: (a - b).std() / len(a))),
    wrong("ch08-heads", "one less", heads(), error(lambda a, b: (a - b).std(correction=0) / len(a) ** 0.5)),
    wrong("ch08-heads", "variance of the mean", heads(), error(lambda a, b: (a - b).var() / len(a))),
    wrong(
        "ch08-heads", "seed by seed first", heads(), error(lambda a, b: ((a.var() + b.var()) / len(a)).sqrt())
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, capsys):
    judge(case, capsys)
