import math

import pytest
import torch
from torch.fft import fft, fft2, fftshift, ifft2, ifftshift

from onnlab.optics import ComplexMask, FourF, mask_for_kernel
from tests.checks.cases import judge, right, wrong


def by_rows(u):
    """One axis after the other, with rolls for shifts."""
    for axis in (0, 1):
        n = u.shape[axis]
        u = torch.roll(fft(torch.roll(u, -(n // 2), axis), dim=axis), n // 2, axis) / math.sqrt(n)
    return u


def blade(keep, axis=0.5, value=1.0, upright=True):
    """A blade, and the ways in which it can be built wrongly."""

    def knife_edge(grid_f):
        x = grid_f.x if upright else grid_f.y
        line = torch.where(keep(x), value, 0.0)
        line[len(x) // 2] = axis
        return line.expand(grid_f.shape) if upright else line[:, None].expand(grid_f.shape)

    return knife_edge


def of_changed_template(template, grid):
    template -= template.mean()
    return correlator(template, grid)


def correlator(template, grid, conjugate=True, middle=True, passive=True, phase_only=False, shifted=True):
    h, w = template.shape
    at = {True: lambda n: n // 2, False: lambda n: 0, "before": lambda n: (n - 1) // 2}[middle]
    rows = (torch.arange(h) - at(h)) % grid.ny
    columns = (torch.arange(w) - at(w)) % grid.nx
    field = torch.zeros(grid.shape)
    field[rows[:, None], columns] = template
    mask = fft2(field)
    mask = fftshift(mask) if shifted else mask
    mask = mask.conj() if conjugate else mask
    if phase_only:
        return mask / mask.abs()
    return mask / mask.abs().max() if passive else mask


def shifted_the_wrong_way(template, grid):
    """As the solution does, with the two shifts exchanged: alike on even windows alone."""
    h, w = template.shape
    field = torch.zeros(grid.shape)
    top, left = grid.ny // 2 - h // 2, grid.nx // 2 - w // 2
    field[top : top + h, left : left + w] = template
    mask = ifftshift(fft2(fftshift(field))).conj()
    return mask / mask.abs().max()


def without(**setting):
    return lambda template, grid: correlator(template, grid, **setting)


def learner(exposure=True, passive=True, steps=None, real=False, keep=1.0):
    """Train a mask as the solution does, or in a way that cannot work."""

    def learn_mask(fields, pictures, count, generator):
        from onnlab.optics import Grid

        grid = Grid(shape=fields.shape[-2:], pitch=10e-6, wavelength=532e-9)
        start = 0.1 * torch.randn(grid.shape, dtype=torch.complex64, generator=generator)
        system = FourF(grid, 0.1, ComplexMask(torch.nn.Parameter(start)))
        (mask,) = system.parameters()
        adam = torch.optim.Adam([mask], lr=0.1)
        for step in range(count if steps is None else steps):
            for group in adam.param_groups:
                group["lr"] = 0.1 * (1 - step / count)
            batch = torch.randint(len(fields), (16,), generator=generator)
            taken, wanted = system(fields[batch]).abs().square(), pictures[batch]
            factor = (taken * wanted).sum() / taken.square().sum() if exposure else 1.0
            loss = (factor * taken - wanted).square().sum() / wanted.square().sum()
            adam.zero_grad()
            loss.backward()
            adam.step()
            with torch.no_grad():
                if real:
                    mask.copy_(mask.real.clamp(min=0) + 0j)
                if passive:
                    mask /= mask.abs().clamp(min=1)
        return keep * mask.detach()

    return learn_mask


CASES = [
    right("ch02-spots", lambda d, lam, f: lam * f / d),
    right("ch02-spots", lambda d, lam, f: torch.tensor(f * lam / d)),
    wrong("ch02-spots", "keep to metres", lambda d, lam, f: 1e3 * lam * f / d),
    wrong("ch02-spots", "finer grating", lambda d, lam, f: lam * d / f),
    wrong("ch02-spots", "finer grating", lambda d, lam, f: lam * f / (2 * d)),
    wrong("ch02-spots", "finer grating", lambda d, lam, f: 2 * math.pi * lam * f / d),
    right("ch02-camera", lambda f, a, b: f * b / a, lambda a, b: (a / b) ** 2),
    right("ch02-camera", lambda f, a, b: f / (a / b), lambda a, b: a * a / b / b),
    wrong("ch02-camera", "which way round", lambda f, a, b: f * a / b, lambda a, b: (a / b) ** 2),
    wrong("ch02-camera", "factor of the amplitude", lambda f, a, b: f * b / a, lambda a, b: a / b),
    wrong("ch02-camera", "brighter one", lambda f, a, b: f * b / a, lambda a, b: (b / a) ** 2),
    wrong("ch02-camera", "convex", lambda f, a, b: -f * b / a, lambda a, b: (a / b) ** 2),
    right("ch02-lens", lambda u: fftshift(fft2(ifftshift(u), norm="ortho"))),
    right("ch02-lens", by_rows),
    wrong("ch02-lens", "missing after", lambda u: fft2(ifftshift(u), norm="ortho")),
    wrong("ch02-lens", "missing before", lambda u: fftshift(fft2(u, norm="ortho"))),
    wrong("ch02-lens", "takes the middle to 0", lambda u: fftshift(fft2(fftshift(u), norm="ortho"))),
    wrong("ch02-lens", "takes 0 to the middle", lambda u: ifftshift(fft2(ifftshift(u), norm="ortho"))),
    wrong("ch02-lens", "argument norm", lambda u: fftshift(fft2(ifftshift(u)))),
    wrong("ch02-lens", "light goes forwards", lambda u: fftshift(ifft2(ifftshift(u), norm="ortho"))),
    wrong("ch02-lens", "do not take abs", lambda u: fftshift(fft2(ifftshift(u), norm="ortho")).abs()),
    right("ch02-knife", blade(lambda x: x > 0)),
    right("ch02-knife", blade(lambda x: x < 0)),
    wrong("ch02-knife", "middle of the sample", blade(lambda x: x > 0, axis=1.0)),
    wrong("ch02-knife", "middle of the sample", blade(lambda x: x > 0, axis=0.0)),
    wrong("ch02-knife", "upright", blade(lambda x: x > 0, upright=False)),
    wrong("ch02-knife", "coordinates", blade(lambda x: x.abs() > 0)),
    wrong("ch02-knife", "amplify", blade(lambda x: x > 0, value=2.0)),
    wrong("ch02-knife", "steel blocks", lambda g: torch.sign(g.x).expand(g.shape)),
    right("ch02-find", correlator),
    right("ch02-find", lambda t, g: mask_for_kernel(t, g, correlate=True).transmission),
    wrong("ch02-find", "matched one", of_changed_template),
    wrong("ch02-find", "One conjugation", without(conjugate=False)),
    wrong("ch02-find", "amplifies", without(passive=False)),
    wrong("ch02-find", "n // 2 of the template", without(middle=False)),
    wrong("ch02-find", "n // 2 of the template", without(middle="before")),
    wrong("ch02-find", "two shifts differ", shifted_the_wrong_way),
    wrong("ch02-find", "n // 2", without(shifted=False)),
    wrong("ch02-find", "modulus matters", without(phase_only=True)),
    right("ch02-few", learner()),
    right("ch02-few", learner(keep=0.5)),
    wrong("ch02-few", "fields that it has not seen", learner(steps=1)),
    wrong("ch02-few", "modulus and phase", learner(real=True)),
    wrong("ch02-few", "clip", learner(passive=False, keep=3.0)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, capsys):
    judge(case, capsys)
