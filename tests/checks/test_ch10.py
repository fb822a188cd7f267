import math

import numpy as np
import pytest
import torch
from scipy.optimize import nnls
from scipy.stats import rankdata, spearmanr
from torch.nn.functional import avg_pool2d, conv2d, max_pool2d

from onnlab.hardware import Metasurface, kernel_layout, kernel_ridge
from tests.checks.cases import judge, right, wrong


def rows_and_columns(height, width, side, gap, lent=1):
    return [(room + lent * gap) // (side + gap) for room in (height, width)]


def pairs(height, width, side, gap):
    return math.prod(rows_and_columns(height, width, side, gap)) // 2


def by_the_library(height, width, side, gap):
    return len(kernel_layout(1e-6 * height, 1e-6 * width, 1e-6 * side, 1e-6 * gap).pairs)


def row_by_row(height, width, side, gap):
    rows, columns = rows_and_columns(height, width, side, gap)
    return rows * (columns // 2)


def area(height, width, side, gap):
    return (height + gap) * (width + gap) // (side + gap) ** 2 // 2


def shared_gap(room, side, count):
    return (room - count * side) / (count - 1)


def counted_down(room, side, count):
    gap = torch.tensor(room / count - side, dtype=torch.float64)
    return gap * count / (count - 1)


def turns_of(atoms, wavelength):
    return atoms.phase[:, atoms.colour(wavelength)] / (2 * math.pi)


def largest_hole(atoms, wavelength):
    turns = turns_of(atoms, wavelength).remainder(1).sort().values
    return torch.cat([turns, turns[:1] + 1]).diff().max() / 2


def by_trial(atoms, wavelength, count=720, wrap=True, share=torch.max):
    wanted = torch.linspace(0, 2 * math.pi, count + 1, dtype=torch.float64)[None, :-1]
    off = Metasurface.from_phase(wanted, atoms, wavelength).phase(wavelength) - wanted
    if wrap:
        off = (off + math.pi).remainder(2 * math.pi) - math.pi
    return share(off.abs()).item() / (2 * math.pi)


def by_coverage(atoms, wavelength, clamp=True, share=2, colour=None):
    column = atoms.colour(wavelength) if colour is None else colour
    missing = 1 - atoms.coverage[column] / (2 * math.pi)
    return max(0.0, missing) / share if clamp else missing / share


def within_the_turn(atoms, wavelength):
    turns = turns_of(atoms, wavelength).remainder(1).sort().values
    return turns.diff().max().item() / 2


def unwrapped_only(atoms, wavelength):
    return turns_of(atoms, wavelength).sort().values.diff().max().item() / 2


def blocks(psfs, shape):
    (ny, nx), p = shape, psfs.shape[-1] // shape[1]
    return psfs.reshape(2, ny, p, nx, p).sum((2, 4))


def normal_equations(psfs, kernel):
    halves = blocks(psfs, kernel.shape).double()
    halves[1] *= -1
    gram = torch.einsum("iyx,jyx->ij", halves, halves)
    gains = torch.linalg.solve(gram, torch.einsum("iyx,yx->i", halves, kernel.double()))
    return torch.einsum("i,iyx->yx", gains, halves)


def least_squares(psfs, kernel, read=blocks, signs=(1, -1), back=None):
    halves = read(psfs, kernel.shape)
    A = torch.stack([s * h.flatten() for s, h in zip(signs, halves, strict=True)], dim=1)
    gains = torch.linalg.lstsq(A, kernel.flatten()[:, None]).solution
    if back:
        A = A * torch.tensor(back)
    return (A @ gains).reshape(kernel.shape)


def never_negative_gains(psfs, kernel):
    plus, minus = blocks(psfs, kernel.shape).flatten(1).numpy()
    A = np.stack([plus, -minus], axis=1)
    gains, _ = nnls(A, kernel.flatten().numpy())
    return torch.from_numpy(A @ gains).reshape(kernel.shape)


def read_once(offset):
    def read(psfs, shape):
        p = psfs.shape[-1] // shape[1]
        start = p // 2 if offset else 0
        return psfs[:, start::p, start::p]

    return read


def mean_of_pixels(psfs, shape):
    return avg_pool2d(psfs[:, None], psfs.shape[-1] // shape[1])[:, 0]


def mixed_up_blocks(psfs, shape):
    (ny, nx), p = shape, psfs.shape[-1] // shape[1]
    return psfs.reshape(2, p, ny, p, nx).sum((1, 3))


def half_by_half(split):
    def kernel_seen(psfs, kernel):
        result = 0
        for sign, half in zip((1, -1), blocks(psfs, kernel.shape), strict=True):
            part = (sign * kernel).clamp(min=0) if split else sign * kernel
            result = result + sign * half * (half * part).sum() / half.square().sum()
        return result

    return kernel_seen


def equal_norms(psfs, kernel):
    halves = blocks(psfs, kernel.shape)
    parts = kernel.clamp(min=0), (-kernel).clamp(min=0)
    plus, minus = (h * part.norm() / h.norm() for h, part in zip(halves, parts, strict=True))
    return plus - minus


def one_gain(psfs, kernel):
    plus, minus = blocks(psfs, kernel.shape)
    shape = plus - minus
    return shape * (shape * kernel).sum() / shape.square().sum()


def with_offset(psfs, kernel):
    halves = blocks(psfs, kernel.shape)
    A = torch.stack([*halves, torch.ones_like(halves[0])]).flatten(1).T
    return (A @ torch.linalg.lstsq(A, kernel.flatten()[:, None]).solution).reshape(kernel.shape)


def gains_alone(psfs, kernel):
    A = blocks(psfs, kernel.shape).flatten(1).T
    return torch.linalg.lstsq(A, kernel.flatten()[:, None]).solution[:, 0]


def library_ridge(K, y, K_new, ridge):
    return kernel_ridge(K, y, K_new, [ridge])[0]


def multiplied_out(K, y, K_new, ridge):
    mean, n = K.mean(0), len(K)
    centred = K - mean - mean[:, None] + mean.mean()
    weights = torch.linalg.solve(
        centred + ridge * centred.trace() / n * torch.eye(n, dtype=K.dtype), y - y.mean(0)
    )
    return (K_new - K_new.mean(1, keepdim=True) - mean + mean.mean()) @ weights + y.mean(0)


def projected_ridge(
    K,
    y,
    K_new,
    ridge,
    *,
    centre=True,
    centre_new="train",
    unit=lambda raw, centred: centred.trace() / len(raw),
    off=True,
    back=True,
):
    """Centre by projections, take eigenvectors; the options are mistakes."""
    n = len(K)
    P = torch.eye(n, dtype=K.dtype) - 1 / n
    centred = P @ K @ P if centre else K
    if centre_new == "train":
        cross = (K_new - K.mean(0)) @ P if centre else K_new
    elif centre_new == "own":
        cross = (K_new - K_new.mean(0)) @ P
    elif centre_new == "columns":
        cross = K_new - K_new.mean(1, keepdim=True)
    elif centre_new == "rows":
        cross = K_new - K.mean(0)
    else:
        cross = K_new
    values, vectors = torch.linalg.eigh(centred)
    mean = y.mean(0) if off else torch.zeros_like(y[0])
    weight = 1 / (values + ridge * unit(K, centred))
    answers = cross @ (vectors * weight) @ vectors.T @ (y - mean)
    return answers + mean if back else answers


def ridge_with(**mistake):
    return lambda K, y, K_new, ridge: projected_ridge(K, y, K_new, ridge, **mistake)


def midranks(values, high=0.5):
    return torch.tensor([sum((w < v) + high * float(w == v) for w in values) for v in values.tolist()])


def pearson(a, b):
    a, b = (v.double() - v.double().mean() for v in (a, b))
    return (a @ b / (a.norm() * b.norm())).item()


def squares(a, b):
    n = len(a)
    return 1 - 6 * (a - b).double().square().sum().item() / (n * (n * n - 1))


def covariance(a, b):
    return torch.cov(torch.stack([a, b]))[0, 1]


def by_ranks(rank, combine=pearson):
    return lambda guess, truth: combine(rank(guess), rank(truth))


def twice_sorted(values):
    return values.argsort().argsort()


def basis():
    return torch.eye(784).reshape(784, 1, 28, 28)


def matrix(
    pool_with=avg_pool2d, turn=False, bend=False, share=1.0, order=(0, 1, 2, 3), transpose=False, pixels=basis
):
    def one_matrix(kernels, pool, readout):
        kernels = kernels.flip((-2, -1)) if turn else kernels
        maps = conv2d(pixels(), kernels, padding=kernels.shape[-1] // 2)
        maps = maps.relu() if bend else maps
        answers = pool_with(maps, pool).permute(order).flatten(1) @ readout.T * share
        return answers if transpose else answers.T

    return one_matrix


def backwards(kernels, pool, readout):
    """The read-out's rows, sent back through pool and kernels."""
    n, k = len(kernels), kernels.shape[-1]
    spread = readout.reshape(-1, n, 28 // pool, 28 // pool).double()
    spread = spread.repeat_interleave(pool, 2).repeat_interleave(pool, 3) / pool**2
    back = torch.nn.functional.conv_transpose2d(spread, kernels.double(), padding=k // 2)
    return back.flatten(1)


def valid(kernels, pool, readout):
    maps = conv2d(basis(), kernels)
    return readout @ avg_pool2d(maps, pool).flatten(1).T


def every_nth(maps, pool):
    return maps[..., ::pool, ::pool]


def exchanged_pixels():
    return basis().transpose(2, 3)


def price(
    products=lambda n, k, c: n * c * k * k, more=lambda n, c: 2 * n - c, levels=lambda b: 2**b, sign=-1
):
    def break_even(n, k, c, constants):
        converted = products(n, k, c) * constants.mac / more(n, c)
        return converted + sign * levels(constants.bits) * constants.conversion_step

    return break_even


def by_bisection(n, k, c, constants):
    """Costs of one pixel, compared at many prices."""
    conversion = (1 << constants.bits) * constants.conversion_step
    low, high = -1e-6, 1e-6
    for _ in range(80):
        middle = (low + high) / 2
        light, twin = 2 * n * (middle + conversion), c * (middle + conversion) + n * c * k**2 * constants.mac
        low, high = (middle, high) if light < twin else (low, middle)
    return torch.tensor(low, dtype=torch.float64)


CASES = [
    right("ch10-chip", pairs, shared_gap),
    right("ch10-chip", by_the_library, counted_down),
    right("ch10-chip", lambda *a: math.floor(pairs(*a)), lambda r, s, n: (r - s) / (n - 1) - s),
    wrong("ch10-chip", "could be wider", pairs, lambda r, s, n: (r - n * s) // (n - 1)),
    wrong("ch10-chip", "these are sites", lambda *a: math.prod(rows_and_columns(*a)), shared_gap),
    wrong(
        "ch10-chip",
        "no gap behind it.",
        lambda *a: math.prod(rows_and_columns(*a, lent=0)) // 2,
        shared_gap,
    ),
    wrong(
        "ch10-chip",
        "and these are sites",
        lambda *a: math.prod(rows_and_columns(*a, lent=0)),
        shared_gap,
    ),
    wrong("ch10-chip", "each on its own", area, shared_gap),
    wrong("ch10-chip", "half a kernel", lambda *a: math.prod(rows_and_columns(*a)) / 2, shared_gap),
    wrong("ch10-chip", "no partner", lambda *a: -(-math.prod(rows_and_columns(*a)) // 2), shared_gap),
    wrong("ch10-chip", "different rows", row_by_row, shared_gap),
    wrong("ch10-chip", "where are the gaps", lambda h, w, s, g: h * w // s**2 // 2, shared_gap),
    wrong("ch10-chip", "how many gaps", pairs, lambda r, s, n: (r - n * s) / n),
    wrong("ch10-chip", "do not fit", pairs, lambda r, s, n: (r - n * s) / (n - 2) if n > 2 else r),
    wrong("ch10-chip", "could be wider", pairs, lambda r, s, n: (r - n * s) / (n + 1)),
    wrong("ch10-chip", "could be wider", pairs, lambda r, s, n: shared_gap(r, s, n) // 2),
    wrong("ch10-chip", "share the room", pairs, lambda r, s, n: r / (n - 1) - s),
    right("ch10-red", largest_hole),
    right("ch10-red", by_trial),
    wrong("ch10-red", "holes between them", by_coverage),
    wrong("ch10-red", "radians", lambda *a: 2 * math.pi * largest_hole(*a)),
    wrong("ch10-red", "degrees", lambda *a: 360 * largest_hole(*a)),
    wrong("ch10-red", "the nearer of the two", lambda *a: 2 * largest_hole(*a)),
    wrong("ch10-red", "has no sign", lambda *a: by_coverage(*a, clamp=False)),
    wrong("ch10-red", "the mean over all phases", lambda *a: by_trial(*a, share=torch.mean)),
    wrong("ch10-red", "another colour", lambda *a: by_coverage(*a, colour=0)),
    wrong("ch10-red", "Mind the hole", within_the_turn),
    wrong("ch10-red", "Mind the hole", unwrapped_only),
    wrong("ch10-red", "Mind the hole", lambda *a: by_trial(*a, wrap=False)),
    wrong("ch10-red", "count modulo", lambda *a: abs(by_coverage(*a, clamp=False))),
    right("ch10-seen", normal_equations),
    right("ch10-seen", least_squares),
    right("ch10-seen", never_negative_gains),
    right("ch10-seen", lambda *a: least_squares(*a, read=mean_of_pixels)),
    right("ch10-seen", lambda *a: least_squares(*a, signs=(1, 1))),
    wrong("ch10-seen", "overlap", half_by_half(split=False)),
    wrong("ch10-seen", "overlap", half_by_half(split=True)),
    wrong("ch10-seen", "equal norms", equal_norms),
    wrong("ch10-seen", "gain of its own", one_gain),
    wrong("ch10-seen", "no offset", with_offset),
    wrong("ch10-seen", "the gains are missing", lambda p, k: blocks(p, k.shape)[0] - blocks(p, k.shape)[1]),
    wrong("ch10-seen", "not its sum", lambda *a: least_squares(*a, read=read_once(False))),
    wrong("ch10-seen", "not its sum", lambda *a: least_squares(*a, read=read_once(True))),
    wrong("ch10-seen", "first samples", lambda *a: least_squares(*a, read=mixed_up_blocks)),
    wrong("ch10-seen", "corner", lambda *a: least_squares(*a, read=lambda p, s: p[:, : s[0], : s[1]])),
    wrong("ch10-seen", "takes the difference", lambda *a: least_squares(*a, back=(1.0, -1.0))),
    wrong("ch10-seen", "cannot draw it", lambda p, k: k),
    wrong("ch10-seen", "has the shape", gains_alone),
    right("ch10-ridge", multiplied_out),
    wrong("ch10-ridge", "calls kernel_ridge", library_ridge),
    right("ch10-ridge", projected_ridge),
    wrong("ch10-ridge", "not put back", ridge_with(back=False)),
    wrong("ch10-ridge", "is in mean eigenvalues", ridge_with(unit=lambda raw, centred: 1.0)),
    wrong("ch10-ridge", "sum over their number", ridge_with(unit=lambda raw, centred: centred.trace())),
    wrong("ch10-ridge", "after centring", ridge_with(unit=lambda raw, centred: raw.trace() / len(raw))),
    wrong("ch10-ridge", "sum to the trace", ridge_with(unit=lambda raw, centred: raw.mean())),
    wrong("ch10-ridge", "not their own", ridge_with(centre_new="own")),
    wrong("ch10-ridge", "is not centred", ridge_with(centre_new="raw")),
    wrong("ch10-ridge", "is not centred", ridge_with(centre_new="columns")),
    wrong("ch10-ridge", "not centred: multiply", ridge_with(centre=False)),
    wrong("ch10-ridge", "not centred: multiply", ridge_with(centre=False, off=False)),
    wrong("ch10-ridge", "not centred: multiply", ridge_with(centre=False, off=False, unit=lambda *_: 1.0)),
    wrong("ch10-ridge", "mean of the targets", ridge_with(off=False)),
    wrong("ch10-ridge", "check on paper", lambda K, y, K_new, r: projected_ridge(K, y, K_new, r**2)),
    wrong("ch10-ridge", "has the shape", lambda K, y, K_new, r: projected_ridge(K, y, K_new, r).argmax(1)),
    right("ch10-rank", by_ranks(midranks)),
    right("ch10-rank", lambda a, b: np.corrcoef(rankdata(a), rankdata(b))[0, 1]),
    wrong("ch10-rank", "calls spearmanr", lambda a, b: spearmanr(a, b).statistic),
    wrong("ch10-rank", "not of their ranks", pearson),
    wrong("ch10-rank", "which value comes first", by_ranks(torch.argsort)),
    wrong("ch10-rank", "which value comes first", by_ranks(torch.argsort, squares)),
    wrong("ch10-rank", "share the mean", by_ranks(twice_sorted)),
    wrong("ch10-rank", "share the mean", by_ranks(twice_sorted, squares)),
    wrong("ch10-rank", "share the mean", by_ranks(lambda v: midranks(v, high=0.0))),
    wrong("ch10-rank", "share the mean", by_ranks(lambda v: midranks(v, high=1.0))),
    wrong("ch10-rank", "share the mean", by_ranks(lambda v: v.unique(return_inverse=True)[1])),
    wrong("ch10-rank", "without ties only", by_ranks(midranks, squares)),
    wrong("ch10-rank", "the same end", lambda a, b: pearson(midranks(a), midranks(-b))),
    wrong("ch10-rank", "its square", lambda a, b: pearson(midranks(a), midranks(b)) ** 2),
    wrong("ch10-rank", "has no limits", by_ranks(midranks, covariance)),
    right("ch10-ceiling", matrix()),
    right("ch10-ceiling", backwards),
    wrong("ch10-ceiling", "upside down", matrix(turn=True)),
    wrong("ch10-ceiling", "means, not sums", lambda k, p, r: p**2 * matrix()(k, p, r)),
    wrong("ch10-ceiling", "not one pixel", matrix(pool_with=every_nth)),
    wrong("ch10-ceiling", "no rectifier", matrix(bend=True)),
    wrong("ch10-ceiling", "not linear", matrix(pool_with=max_pool2d)),
    wrong("ch10-ceiling", "the order of flatten", matrix(order=(0, 2, 3, 1))),
    wrong("ch10-ceiling", "of the maps", matrix(order=(0, 1, 3, 2))),
    wrong("ch10-ceiling", "of the pixels", matrix(pixels=exchanged_pixels)),
    wrong("ch10-ceiling", "has the shape", matrix(transpose=True)),
    wrong("ch10-ceiling", "your code stops", valid),
    right("ch10-reading", price()),
    right("ch10-reading", by_bisection),
    wrong("ch10-reading", "it reads as well", price(more=lambda n, c: 2 * n)),
    wrong("ch10-reading", "And each reading", price(more=lambda n, c: 2 * n, sign=0)),
    wrong("ch10-reading", "each reading is converted", price(sign=0)),
    wrong("ch10-reading", "on top of the reading", price(sign=1)),
    wrong("ch10-reading", "2 to the b", price(levels=lambda b: b)),
    wrong("ch10-reading", "2 to the b", price(levels=lambda b: 1)),
    wrong("ch10-reading", "in each of its colours", price(lambda n, k, c: n * k * k)),
    wrong("ch10-reading", "how many weights", price(lambda n, k, c: n * c * k)),
    wrong("ch10-reading", "products of one kernel", price(lambda n, k, c: c * k * k)),
    wrong("ch10-reading", "other side of the balance", price(more=lambda n, c: 2 * n + c)),
    wrong("ch10-reading", "each of its colours", price(more=lambda n, c: 2 * n - 1)),
    wrong("ch10-reading", "two pictures", price(more=lambda n, c: n)),
    wrong("ch10-reading", "two pictures", price(more=lambda n, c: n - c if n > c else -1)),
    wrong("ch10-reading", "the power of ten", lambda *a: 1e9 * price()(*a)),
    wrong("ch10-reading", "light never pays", lambda *a: max(price()(*a), 0.0)),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, capsys):
    judge(case, capsys)
