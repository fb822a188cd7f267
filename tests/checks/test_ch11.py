import math
from dataclasses import replace

import pytest
import torch
from torch.nn.functional import pad

from onnlab.hardware import PhaseQuantisation
from onnlab.hardware.benches import Masks
from onnlab.networks import FourFConvolution
from tests.checks.cases import judge, right, wrong


def polish(detour, square=True):
    """Maréchal's formula for a detour in waves."""
    return math.exp(-((2 * math.pi * detour) ** 2) / (1 if square else 2))


def mirror(h, lam):
    return polish(2 * h / lam)


def plate(h, lam, n):
    return polish((n - 1) * h / lam)


def by_table(mask, levels):
    """The nearest of a list of levels, by their distance in the plane."""
    steps = torch.exp(2j * math.pi * torch.arange(levels) / levels).to(mask)
    nearest = (mask[..., None] / mask.abs()[..., None] - steps).abs().argmin(-1)
    return mask.abs() * steps[nearest]


def by_library(mask, levels):
    bench = Masks.of(FourFConvolution(1, 1, 3, 6, pitch=8e-6, wavelength=532e-9, focal_length=0.1))
    return PhaseQuantisation(levels).on_masks(replace(bench, transmission=mask), None).transmission


def steps(levels, mask, change=torch.round, modulus=True):
    step = 2 * math.pi / levels
    angle = step * change(mask.angle() / step)
    return torch.polar(mask.abs() if modulus else torch.ones_like(angle), angle)


def arrows(design, built):
    """Share of the light by sums of real numbers."""
    u, v = torch.view_as_real(built), torch.view_as_real(design)
    energy = (v**2).sum((1, 2, 3))
    straight = (u * v).sum((1, 2, 3)) / energy
    sideways = (u[..., 1] * v[..., 0] - u[..., 0] * v[..., 1]).sum((1, 2)) / energy
    return straight**2 + sideways**2


def kept(design, built, conjugate=True, square=True, early=False, energy=None):
    product = built * (design.conj() if conjugate else design)
    total = product.abs().sum((-2, -1)) if early else product.sum((-2, -1)).abs()
    share = total / (design.abs().square() if energy is None else energy(design, built)).sum((-2, -1))
    return share**2 if square else share


def unweighted(design, built):
    return torch.exp(1j * (built.angle() - design.angle())).mean((-2, -1)).abs() ** 2


def surface(shape, pitch, length, generator, factor=0.5, power=True, own=False, shared=False):
    fy, fx = (torch.fft.fftfreq(n, pitch) for n in shape)
    fx = 0 * fx if shared else fx
    response = torch.exp(-((math.pi * length) ** 2) * factor * (fy[:, None] ** 2 + fx**2))
    response = response.expand(shape)
    if power:
        response = response / response.square().mean().sqrt()
    white = torch.randn(shape, generator=generator)
    heights = torch.fft.ifft2(torch.fft.fft2(white) * response).real
    return heights / heights.std() if own else heights


def with_surface(**setting):
    return lambda *arguments: surface(*arguments, **setting)


def by_kernel(shape, pitch, length, generator):
    """Add up Gaussian bumps on a larger window, without any Fourier transform."""
    reach = round(2.5 * length / pitch)
    bump = torch.exp(-2 * (torch.arange(-reach, reach + 1) * pitch / length) ** 2)
    bump = bump / bump.norm()
    white = torch.randn(1, 1, *(n + 2 * reach for n in shape), generator=generator)
    rows = torch.nn.functional.conv2d(white, bump.view(1, 1, -1, 1))
    return torch.nn.functional.conv2d(rows, bump.view(1, 1, 1, -1))[0, 0]


def calm_or_stormy(shape, pitch, length, generator):
    """Surfaces of two kinds, whose variance is 1 on average."""
    heights = surface(shape, pitch, length, generator)
    return heights * (0.3 + 1.4 * torch.randint(2, (), generator=generator)) ** 0.5


def come_apart(kernel, step):
    positive, negative = kernel.clamp(min=0), (-kernel).clamp(min=0)
    return pad(positive, (2 * step, 0)) - pad(negative, (0, 2 * step))


def by_loops(kernel, step):
    h, w = kernel.shape
    result = torch.zeros(h, w + 2 * step)
    for row in range(h):
        for column in range(w):
            to = column + (2 * step if kernel[row, column] > 0 else 0)
            result[row, to] += kernel[row, column]
    return result


def swapped(kernel, step):
    return come_apart(kernel.flip(-1), step).flip(-1)


def cropped(kernel, step):
    return come_apart(kernel, step)[:, step : step + kernel.shape[1]]


def rolled(kernel, step):
    positive, negative = kernel.clamp(min=0), (-kernel).clamp(min=0)
    return torch.roll(positive, step, -1) - torch.roll(negative, -step, -1)


def rolled_wide(kernel, step):
    wide = pad(kernel, (step, step))
    return torch.roll(wide.clamp(min=0), 2 * step, -1) - torch.roll((-wide).clamp(min=0), -step, -1)


def whole_kernel(kernel, step):
    return pad(kernel, (2 * step, 0) if kernel.sum() > 0 else (0, 2 * step))


def one_half(kernel, step):
    return pad(kernel.clamp(min=0), (2 * step, 0)) - pad((-kernel).clamp(min=0), (step, step))


def added(kernel, step):
    return pad(kernel.clamp(min=0), (2 * step, 0)) + pad((-kernel).clamp(min=0), (0, 2 * step))


def balance(k):
    return k.sum((-2, -1)).abs() / k.abs().sum((-2, -1))


def by_halves(k):
    bright, dark = k.clamp(min=0).sum((1, 2)), (-k).clamp(min=0).sum((1, 2))
    return (bright - dark).abs() / (bright + dark)


def unequal(shape=(300, 1, 1, 1), clamp=True, offset=1.0, size=1.0, draw=None, scaled=False):
    """The error as asked for, and the ways in which it can be drawn wrongly."""

    def answer(psfs, spread, generator):
        def other(light):
            drawn = torch.randn(shape, generator=generator) if draw is None else draw(generator)
            factor = offset + size * spread * drawn
            return light * (factor.clamp(min=0) if clamp else factor)

        built = replace(psfs, positive=other(psfs.positive), negative=other(psfs.negative))
        return replace(built, scale=built.scale / 2) if scaled else built

    return answer


def drawn_at_once(psfs, spread, generator):
    one, two = (1 + spread * torch.randn(2, len(psfs.positive), generator=generator)).relu()
    each = (slice(None), *3 * (None,))
    return replace(psfs, positive=psfs.positive * one[each], negative=two[each] * psfs.negative)


def alike_halves(psfs, spread, generator):
    factor = (1 + spread * torch.randn(len(psfs.positive), 1, 1, 1, generator=generator)).clamp(min=0)
    return replace(psfs, positive=factor * psfs.positive, negative=factor * psfs.negative)


def in_place(psfs, spread, generator):
    for light in (psfs.positive.detach(), psfs.negative.detach()):
        light *= (1 + spread * torch.randn(len(light), 1, 1, 1, generator=generator)).clamp(min=0)
    return psfs


def detached(psfs, spread, generator):
    built = unequal()(psfs, spread, generator)
    return replace(built, positive=built.positive.detach(), negative=built.negative.detach())


def as_pair(psfs, spread, generator):
    built = unequal()(psfs, spread, generator)
    return built.positive, built.negative


def insured(X, T, s):
    square = X.T @ X
    return torch.linalg.solve(square + s**2 * torch.diag(square.diagonal()), X.T @ T)


def in_rows(X, T, s):
    """The mean penalty as further rows of a system of least squares."""
    further = torch.diag(s * X.norm(dim=0))
    return torch.linalg.lstsq(torch.cat([X, further]), torch.cat([T, T.new_zeros(X.shape[1], T.shape[1])]))[0]


def penalised(penalty):
    return lambda X, T, s: torch.linalg.solve(X.T @ X + penalty(X, s), X.T @ T)


def shrunk(X, T, s):
    return torch.linalg.lstsq(X, T).solution / (1 + s**2)


def one_device(X, T, s):
    gains = 1 + s * torch.randn(X.shape[1], generator=torch.Generator().manual_seed(0))
    return torch.linalg.lstsq(X * gains, T).solution


CASES = [
    right("ch11-mirror", mirror, plate),
    right(
        "ch11-mirror",
        lambda h, lam: torch.exp(torch.tensor(-((4 * math.pi * h / lam) ** 2))),
        lambda h, lam, n: math.exp(-(((n - 1) * 2 * math.pi / lam * h) ** 2)),
    ),
    wrong("ch11-mirror", "How often", lambda h, lam: polish(h / lam), plate),
    wrong("ch11-mirror", "*detour*", mirror, lambda h, lam, n: polish(n * h / lam)),
    wrong("ch11-mirror", "How often", mirror, lambda h, lam, n: polish(h / lam)),
    wrong("ch11-mirror", "not yet a phase", lambda h, lam: math.exp(-((2 * h / lam) ** 2)), plate),
    wrong("ch11-mirror", "Intensity is its square", lambda h, lam: polish(2 * h / lam, False), plate),
    wrong("ch11-mirror", "small errors only", lambda h, lam: 1 - (4 * math.pi * h / lam) ** 2, plate),
    wrong("ch11-mirror", "too high by h", mirror, lambda h, lam, n: polish(2 * (n - 1) * h / lam)),
    right("ch11-levels", lambda mask, count: steps(count, mask), kept),
    right("ch11-levels", by_table, arrows),
    right("ch11-levels", by_library, kept),
    wrong("ch11-levels", "nearest level", lambda m, n: steps(n, m, torch.floor), kept),
    wrong("ch11-levels", "not the first again", lambda m, n: steps(n - 1, m), kept),
    wrong("ch11-levels", "not the first again", lambda m, n: steps(2 * n, m), kept),
    wrong("ch11-levels", "turns phases only", lambda m, n: steps(n, m, modulus=False), kept),
    wrong("ch11-levels", "not its phase", lambda m, n: steps(n, m).angle(), kept),
    wrong("ch11-levels", "intensity", lambda m, n: steps(n, m), lambda d, b: kept(d, b, square=False)),
    wrong("ch11-levels", "arrows first", lambda m, n: steps(n, m), lambda d, b: kept(d, b, early=True)),
    wrong("ch11-levels", "dim design", lambda m, n: steps(n, m), lambda d, b: kept(d, b, conjugate=False)),
    wrong(
        "ch11-levels",
        "dim design",
        lambda m, n: steps(n, m),
        lambda d, b: kept(d, b, energy=lambda d, b: (d * b).abs()),
    ),
    wrong("ch11-levels", "dim design", lambda m, n: steps(n, m), unweighted),
    wrong(
        "ch11-levels",
        "counts with its intensity",
        lambda m, n: steps(n, m),
        lambda d, b: (b / d).mean((-2, -1)).abs() ** 2,
    ),
    wrong("ch11-levels", "(3,)", lambda m, n: steps(n, m), lambda d, b: kept(d, b).mean()),
    right("ch11-correlation", surface),
    right("ch11-correlation", by_kernel),
    wrong("ch11-correlation", "too smooth", with_surface(factor=1.0)),
    wrong("ch11-correlation", "transform the correlation", with_surface(factor=0.25)),
    wrong("ch11-correlation", "mean power", with_surface(power=False)),
    wrong("ch11-correlation", "scale by a constant", with_surface(own=True)),
    wrong("ch11-correlation", "two axes differ", with_surface(shared=True)),
    wrong("ch11-correlation", "cycles per metre", lambda s, d, length, g: surface(s, 1.0, length, g)),
    wrong("ch11-correlation", "to torch.randn", lambda s, d, length, g: surface(s, d, length, None)),
    wrong("ch11-correlation", "Gaussian", calm_or_stormy),
    wrong("ch11-correlation", "neighbours know nothing", lambda s, d, length, g: torch.randn(s, generator=g)),
    right("ch11-halves", come_apart, balance),
    right("ch11-halves", by_loops, by_halves),
    wrong("ch11-halves", "more room on the left", swapped, balance),
    wrong("ch11-halves", "has the shape", cropped, balance),
    wrong("ch11-halves", "has the shape", rolled, balance),
    wrong("ch11-halves", "nothing wraps round", rolled_wide, balance),
    wrong("ch11-halves", "each *sample*", whole_kernel, balance),
    wrong("ch11-halves", "a direction of its own", one_half, balance),
    wrong("ch11-halves", "electronics subtracts", added, balance),
    wrong("ch11-halves", "what is left", come_apart, lambda k: 1 - balance(k)),
    wrong("ch11-halves", "a share", come_apart, lambda k: k.sum((-2, -1)) / k.abs().sum((-2, -1))),
    wrong("ch11-halves", "moduli below", come_apart, lambda k: k.abs().sum((1, 2)) / k.abs().sum((1, 2))),
    wrong("ch11-halves", "not squared", come_apart, lambda k: balance(k) ** 2),
    wrong("ch11-halves", "(4,)", come_apart, lambda k: balance(k).mean()),
    right("ch11-own", unequal()),
    right("ch11-own", drawn_at_once),
    wrong("ch11-own", "how many numbers", unequal((300, 2, 8, 8))),
    wrong("ch11-own", "channels", unequal((300, 2, 1, 1))),
    wrong("ch11-own", "draw for each kernel", unequal(())),
    wrong("ch11-own", "draw anew", alike_halves),
    wrong("ch11-own", "below zero", unequal(clamp=False)),
    wrong("ch11-own", "1 plus a Gaussian", unequal(offset=0.0, size=5.0)),
    wrong("ch11-own", "standard deviation", unequal(size=0.5)),
    wrong(
        "ch11-own", "standard deviation", unequal(draw=lambda g: torch.rand(300, 1, 1, 1, generator=g) - 0.5)
    ),
    wrong(
        "ch11-own",
        "with torch.randn",
        unequal(draw=lambda g: 12**0.5 * (torch.rand(300, 1, 1, 1, generator=g) - 0.5)),
    ),
    wrong("ch11-own", "give the generator", unequal(draw=lambda g: torch.randn(300, 1, 1, 1))),
    wrong("ch11-own", "leaves its input", in_place),
    wrong("ch11-own", "no gradient goes through the positive", detached),
    wrong("ch11-own", "return replace", as_pair),
    wrong("ch11-own", "only the light", unequal(scaled=True)),
    right("ch11-insurance", insured),
    right("ch11-insurance", in_rows),
    wrong("ch11-insurance", "errors have the mean 0", lambda X, T, s: torch.linalg.lstsq(X, T).solution),
    wrong(
        "ch11-insurance", "in other units", penalised(lambda X, s: s**2 * X.square().sum() / 8 * torch.eye(8))
    ),
    wrong("ch11-insurance", "twice", penalised(lambda X, s: s**2 * torch.eye(8))),
    wrong("ch11-insurance", "twice", penalised(lambda X, s: s**2 * torch.diag(X.square().mean(0)))),
    wrong("ch11-insurance", "expand the square", penalised(lambda X, s: s * torch.diag(X.square().sum(0)))),
    wrong("ch11-insurance", "expand the square", shrunk),
    wrong("ch11-insurance", "expand the square", one_device),
    wrong("ch11-insurance", "has the shape", lambda X, T, s: insured(X, T, s).T),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, capsys):
    judge(case, capsys)
