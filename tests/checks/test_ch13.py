import math

import numpy as np
import pytest
import torch
from torch.nn.functional import avg_pool2d

from tests.checks.cases import judge, right, wrong


def by_search(side, gap, kernels):
    """Try how many sites stand along a side."""
    across = 1
    while across * across // 2 < kernels:
        across += 1
    return (side - (across - 1) * gap) / across


def kernel_of(mean=False, turned=True, gains=True, sign=-1.0, transposed=False, shared=False, mixed=False):
    """Pixels by pooling, then gains, difference and turn; or without some of it."""

    def answer(psfs, g, samples):
        seen = avg_pool2d(psfs[:, None], samples, divisor_override=None if mean else 1)[:, 0]
        first, second = (g if gains else torch.ones_like(g)).tolist()
        if shared:
            second = first
        if mixed:
            first, second = second, first
        kernel = first * seen[0] + sign * second * seen[1]
        kernel = kernel.T if transposed else kernel
        return torch.rot90(kernel, 2) if turned else kernel

    return answer


def by_loops(psfs, gains, samples):
    n = psfs.shape[-1] // samples
    kernel = torch.zeros(n, n)
    for row in range(n):
        for column in range(n):
            block = psfs[:, row * samples : (row + 1) * samples, column * samples : (column + 1) * samples]
            kernel[n - 1 - row, n - 1 - column] = gains[0] * block[0].sum() - gains[1] * block[1].sum()
    return kernel


def scores(accuracy, images, candidates, draws, generator):
    tries = torch.full((draws, candidates), float(images))
    return torch.binomial(tries, torch.full_like(tries, accuracy), generator=generator) / images


def by_images(accuracy, images, candidates, draws, generator):
    """Image by image."""
    answers = torch.rand(draws, candidates, images, generator=generator) < accuracy
    return 100 * float((answers.double().mean(2).max(dim=1).values - accuracy).mean())


def by_numpy(accuracy, images, candidates, draws, generator):
    """Drawn from NumPy's own generator."""
    return 100 * (np.random.binomial(images, accuracy, (draws, candidates)).max(1) / images - accuracy).mean()


def best_of(reduce):
    return lambda p, n, k, draws, generator: reduce(scores(p, n, k, draws, generator), p)


def shared_luck(accuracy, images, candidates, draws, generator):
    """All candidates get the same images right."""
    same = scores(accuracy, images, 1, draws, generator).expand(-1, candidates)
    return 100 * (same.amax(1) - accuracy).mean().item()


def rescuer(
    centred=True,
    bias=True,
    transposed=False,
    backwards=False,
    choose="held out",
    refit=True,
    unit=True,
    reverse=False,
    keep=False,
):
    """Ridge regression with centred maps by solve, and the ways in which it fails."""

    def affine(S, W, ridge):
        centre, aim = S.mean(0), W.mean(0)
        if not centred:
            centre, aim = torch.zeros_like(centre), torch.zeros_like(aim)
        S, W = S - centre, W - aim
        rho = ridge * (S.square().sum() / S.shape[1] if unit else 1.0)
        M = torch.linalg.solve(S.T @ S + rho * torch.eye(S.shape[1], dtype=S.dtype), S.T @ W)
        return M, aim - centre @ M

    def undo(read, paper, weight, old, ridges):
        if backwards:
            read, paper = paper, read
        order = torch.arange(len(read)).flip(0) if reverse else torch.arange(len(read))
        part = 4 * len(read) // 5
        fitted, held = order[:part], order[part:]

        def missed(ridge):
            S, W = (read, paper) if choose == "fit" else (read[fitted], paper[fitted])
            M, c = affine(S, W, ridge)
            asked = slice(None) if choose == "fit" else held
            return float((read[asked] @ M + c - paper[asked]).square().sum())

        ridge = {"held out": min, "fit": min, "worst": max}.get(choose, lambda r, key: r[0])(
            ridges, key=missed
        )
        M, c = affine(read, paper, ridge) if refit else affine(read[fitted], paper[fitted], ridge)
        new = weight @ (M if transposed else M.T)
        return (weight if keep else new), (old + weight @ c if bias else old)

    return undo


def by_folds(read, paper, weight, bias, ridges):
    """Five folds, and least squares on stacked equations in place of normal ones."""
    d = read.shape[1]

    def affine(S, W, ridge):
        s, w = S.mean(0, keepdim=True), W.mean(0, keepdim=True)
        rho = ridge * (S - s).pow(2).sum() / d
        rows = torch.cat([S - s, rho.sqrt() * torch.eye(d, dtype=S.dtype)])
        M = torch.linalg.lstsq(rows, torch.cat([W - w, torch.zeros(d, d, dtype=S.dtype)])).solution
        return M, (w - s @ M)[0]

    fold = torch.arange(len(read)) % 5

    def missed(ridge):
        total = 0.0
        for number in range(5):
            M, c = affine(read[fold != number], paper[fold != number], ridge)
            total += float((read[fold == number] @ M + c - paper[fold == number]).square().sum())
        return total

    M, c = affine(read, paper, sorted(ridges, key=missed)[0])
    return [(M @ weight.T).T, weight @ c + bias]


def shot(p, m, n, r):
    return ((n * (p + m) + 2 * r**2) / n**2) ** 0.5


CASES = [
    right("ch13-small", lambda s, g, k: (s + g) / math.ceil(math.sqrt(2 * k)) - g),
    right("ch13-small", by_search),
    wrong("ch13-small", "two pictures", lambda s, g, k: (s + g) / math.ceil(math.sqrt(k)) - g),
    wrong("ch13-small", "one fewer", lambda s, g, k: s / math.ceil(math.sqrt(2 * k))),
    wrong("ch13-small", "at the rim", lambda s, g, k: s / math.ceil(math.sqrt(2 * k)) - g),
    wrong(
        "ch13-small", "5 rows and columns are too few", lambda s, g, k: (s + g) / int(math.sqrt(2 * k)) - g
    ),
    wrong("ch13-small", "at the rim", lambda s, g, k: (s + g) / (2 * math.ceil(math.sqrt(k))) - g),
    wrong("ch13-small", "at the rim", lambda s, g, k: (s + g) / (math.ceil(math.sqrt(2 * k)) + 1) - g),
    wrong("ch13-small", "Keep to metres", lambda s, g, k: 1e6 * by_search(s, g, k)),
    wrong("ch13-small", "along a side", lambda s, g, k: (s + g) / (2 * k) - g),
    right("ch13-dim", lambda p, m, n, r: ((p + m) / n + 2 * (r / n) ** 2).sqrt()),
    right("ch13-dim", shot),
    right("ch13-dim", lambda p, m, n, r: torch.hypot((n * p + r**2) ** 0.5, (n * m + r**2) ** 0.5) / n),
    wrong("ch13-dim", "each with read noise", lambda p, m, n, r: (n * (p + m) + r**2).sqrt() / n),
    wrong("ch13-dim", "their noise is not", lambda p, m, n, r: (n * (p - m).abs() + 2 * r**2).sqrt() / n),
    wrong("ch13-dim", "their noise is not", lambda p, m, n, r: (n * (p - m).abs() + r**2).sqrt() / n),
    wrong("ch13-dim", "in electrons; the brightness", lambda p, m, n, r: n * shot(p, m, n, r)),
    wrong("ch13-dim", "asks for its root", lambda p, m, n, r: shot(p, m, n, r) ** 2),
    wrong("ch13-dim", "variance in electrons", lambda p, m, n, r: n * (p + m) + 2 * r**2),
    wrong("ch13-dim", "read noise is missing", lambda p, m, n, r: shot(p, m, n, 0)),
    wrong("ch13-dim", "variances", lambda p, m, n, r: (n * (p + m)).sqrt() / n + 2**0.5 * r / n),
    wrong("ch13-dim", "variances", lambda p, m, n, r: ((n * p).sqrt() + (n * m).sqrt() + 2 * r) / n),
    wrong("ch13-dim", "variances", lambda p, m, n, r: (n * (p + m) + 2 * r).sqrt() / n),
    wrong("ch13-dim", "has the shape", lambda p, m, n, r: shot(p, m, n, r).mean()),
    right("ch13-red", kernel_of()),
    right("ch13-red", by_loops),
    wrong("ch13-red", "has to be turned", kernel_of(turned=False)),
    wrong("ch13-red", "does not average", kernel_of(mean=True)),
    wrong("ch13-red", "does not average", kernel_of(mean=True, turned=False)),
    wrong("ch13-red", "each has a gain", kernel_of(gains=False)),
    wrong("ch13-red", "each of the two", kernel_of(shared=True)),
    wrong("ch13-red", "first gain", kernel_of(mixed=True)),
    wrong("ch13-red", "*subtracts*", kernel_of(sign=1.0)),
    wrong("ch13-red", "changed places", kernel_of(transposed=True)),
    wrong("ch13-red", "not a turn", lambda p, g, s: kernel_of(turned=False)(p, g, s).T),
    wrong("ch13-red", "rows *and* columns", lambda p, g, s: kernel_of()(p, g, s).flip(-1)),
    wrong("ch13-red", "rows *and* columns", lambda p, g, s: kernel_of()(p, g, s).flip(-2)),
    wrong("ch13-red", "subtracted from which", lambda p, g, s: -by_loops(p, g, s)),
    wrong("ch13-red", "collect what falls", lambda p, g, s: kernel_of()(p[..., ::s, ::s], g, 1)),
    wrong("ch13-red", "has the shape", lambda p, g, s: kernel_of()(p, g, 1) if s > 1 else None),
    right("ch13-luck", best_of(lambda s, p: 100 * (s.amax(1) - p).mean().item())),
    right("ch13-luck", by_images),
    wrong("ch13-luck", "from the generator", by_numpy),
    wrong("ch13-luck", "choose the best in each draw", best_of(lambda s, p: 100 * (s.mean(1) - p).mean())),
    wrong("ch13-luck", "points are per cent", best_of(lambda s, p: (s.amax(1) - p).mean())),
    wrong("ch13-luck", "the score itself", best_of(lambda s, p: 100 * s.amax(1).mean())),
    wrong("ch13-luck", "keep the sign", best_of(lambda s, p: 100 * (s - p).abs().amax(1).mean())),
    wrong("ch13-luck", "best of all *candidates*", best_of(lambda s, p: 100 * (s.amax(0) - p).mean())),
    wrong("ch13-luck", "not with the worst", best_of(lambda s, p: 100 * (s.amax(1) - s.amin(1)).mean())),
    wrong("ch13-luck", "compared with the truth", best_of(lambda s, p: 100 * (p - s.amax(1)).mean())),
    wrong("ch13-luck", "best of all *candidates*", best_of(lambda s, p: 100 * (s - p).amax())),
    wrong("ch13-luck", "choose the best in each draw", shared_luck),
    wrong(
        "ch13-luck",
        "choose the best",
        lambda p, n, k, draws, g: 100 * (scores(p, n, k, draws, g).mean(0).amax().item() - p),
    ),
    wrong("ch13-luck", "compared with the truth", lambda p, n, k, draws, g: by_images(p, 2 * n, k, draws, g)),
    right("ch13-undo", rescuer()),
    right("ch13-undo", rescuer(reverse=True)),
    right("ch13-undo", by_folds),
    wrong("ch13-undo", "two means", rescuer(bias=False)),
    wrong("ch13-undo", "means taken off", rescuer(centred=False)),
    wrong("ch13-undo", "transposed", rescuer(transposed=True)),
    wrong("ch13-undo", "from paper to the device", rescuer(backwards=True)),
    wrong("ch13-undo", "held out", rescuer(choose="fit")),
    wrong("ch13-undo", "held out", rescuer(choose="worst")),
    wrong("ch13-undo", "held out", rescuer(choose="first")),
    wrong("ch13-undo", "on all images in the end", rescuer(refit=False)),
    wrong("ch13-undo", "unit the ridge", rescuer(unit=False)),
    wrong("ch13-undo", "known mixture", rescuer(keep=True)),
    wrong("ch13-undo", "known mixture", lambda read, paper, weight, bias, ridges: (weight, bias)),
    wrong("ch13-undo", "not a pair", lambda read, paper, weight, bias, ridges: weight),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, capsys):
    judge(case, capsys)
