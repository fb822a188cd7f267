import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.fft import fft2, ifft2, irfft2, rfft2
from torch.nn.functional import conv2d, conv_transpose2d

from onnlab.distill import evaluate, fit
from onnlab.networks import LeNet, linear_counterpart
from tests.checks.cases import judge, right, wrong


def factor(term, combine=math.prod):
    return lambda sides: combine(term(n, m) for n, m in sides)


def way_back(conjugate=False, pattern="noyx,ocyx->ncyx", real=True, share=1.0, norm="backward"):
    """The gradient by spectra, and the ways to get it wrong."""

    def gradient_to_images(gradient, weight):
        kernels = fft2(weight, s=gradient.shape[-2:])
        kernels = kernels.conj() if conjugate else kernels
        result = ifft2(torch.einsum(pattern, fft2(gradient), kernels), norm=norm) * share
        return result.real if real else result

    return gradient_to_images


def way_back_in_pixels(gradient, weight):
    """A transposed convolution whose surplus wraps round."""
    ny, nx = gradient.shape[-2:]
    wide = conv_transpose2d(gradient, weight)
    folded = torch.zeros(*wide.shape[:2], ny, nx, dtype=wide.dtype)
    for i in range(wide.shape[-2]):
        for j in range(wide.shape[-1]):
            folded[..., i % ny, j % nx] += wide[..., i, j]
    return folded


def way_back_by_half_planes(gradient, weight):
    size = gradient.shape[-2:]
    product = torch.einsum("noyx,ocyx->ncyx", rfft2(gradient), rfft2(weight, s=size))
    return irfft2(product, s=size)


def one_output(gradient, weight):
    return way_back()(gradient[:, :1], weight[:1])


def unflattened(conv, norm, linear):
    shape = (conv.out_channels, 28, 28)
    return nn.Sequential(conv, nn.Flatten(), nn.Unflatten(1, shape), norm, nn.Flatten(), linear)


def nested(conv, norm, linear):
    shape = (conv.out_channels, 28, 28)
    head = nn.Sequential(nn.Flatten(), nn.Unflatten(1, shape), norm, nn.Flatten(), linear)
    return nn.Sequential(nn.Sequential(conv), head)


def all_in_the_head(conv, norm, linear):
    start = (nn.Flatten(), nn.Unflatten(1, (1, 28, 28)))
    return nn.Sequential(*start, conv, norm, nn.Flatten(), linear)


class Opaque(nn.Module):
    """A network that is no chain of layers."""

    def __init__(self, *layers):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x):
        conv, norm, linear = self.layers
        return linear(norm(conv(x)).flatten(1))


def by_convolution(first, second):
    margins = [n - 1 for n in second.shape[-2:]]
    turned = second.flip((-2, -1))
    return conv2d(first.transpose(0, 1), turned, padding=margins).transpose(0, 1)


def by_spectra(conjugate=(False, False), surplus=-1, share=1.0, real=True):
    def merged_kernel(first, second):
        size = [a + b + surplus for a, b in zip(first.shape[-2:], second.shape[-2:], strict=True)]
        spectra = [fft2(kernel, s=size) for kernel in (first, second)]
        one, two = (s.conj() if c else s for s, c in zip(spectra, conjugate, strict=True))
        kernel = ifft2(torch.einsum("hcyx,ohyx->ocyx", one, two)) * share
        return kernel.real if real else kernel

    return merged_kernel


def without_room(first, second):
    size = first.shape[-2:]
    spectra = torch.einsum("hcyx,ohyx->ocyx", fft2(first, s=size), fft2(second, s=size))
    return ifft2(spectra).real


def turned(which):
    """Merge kernels of which some are upside down."""

    def merged_kernel(first, second):
        first = first.flip((-2, -1)) if 0 in which else first
        return by_convolution(first, second.flip((-2, -1)) if 1 in which else second)

    return merged_kernel


def root(intensity, reference):
    return intensity.sqrt() - reference


def equal(photons):
    return (0.5 / math.sqrt(photons),) * 2


def reader(turn=True, sign=1, rows=0, columns=1, scale=1):
    """Read a camera, with a turn about the axis or a mistake."""

    def read_camera(plane, step, size, displacement):
        moved = sign * scale * displacement * (step if scale == "pixels" else 1)
        places = []
        for n, share in zip(plane.shape[-2:], (rows, columns), strict=True):
            pixel = step * torch.arange(size)
            start = 2 * (n // 2) - pixel if turn else pixel
            places.append((start + share * moved) % n)
        return plane[..., places[0][:, None], places[1]]

    return read_camera


def by_rolls(plane, step, size, displacement):
    ny, nx = plane.shape[-2:]
    upright = plane.flip((-2, -1)).roll((1 - ny % 2, 1 - nx % 2 + displacement), (-2, -1))
    return upright[..., : step * size : step, : step * size : step]


def by_flip(plane, step, size, displacement):
    upright = plane.flip((-2, -1)).roll(displacement, -1)
    return upright[..., : step * size : step, : step * size : step]


def turned_reading(plane, step, size, displacement):
    pixel = torch.arange(size) * step
    ny, nx = plane.shape[-2:]
    return plane[..., pixel[:, None] % ny, (pixel + displacement) % nx].flip((-2, -1))


def in_pixels(plane, step, size, displacement):
    return reader()(plane, step, size, step * displacement)


def trainer(seeded=True, copy=False, relu=False, report="validation", percent=1, spoil=False, **fixed):
    """Train a counterpart as the solution does, or with one thing wrong."""

    def train_counterpart(teacher, data, pool, epochs, seed):
        if seeded:
            torch.manual_seed(fixed.get("weights", seed))
        options = {"pool": fixed.get("pool", pool), "copy_weights": copy, "relu_in_pool": relu}
        student = linear_counterpart(teacher, (1, 28, 28), **options)
        settings = {"learning_rate": 5e-3, "progress": False}
        history = fit(
            student, data, epochs=fixed.get("epochs", epochs), seed=fixed.get("seed", seed), **settings
        )
        if spoil:
            fit(teacher, data, epochs=1, seed=0, progress=False)
        if report == "history":
            return student, history.best.validation_accuracy
        return student, percent * evaluate(student, getattr(data, report)).accuracy

    return train_counterpart


def trained_on_the_test_split(teacher, data, pool, epochs, seed):
    student, _ = trainer()(teacher, replace(data, train=data.test), pool, epochs, seed)
    return student, evaluate(student, data.validation).accuracy


def trains_the_teacher(teacher, data, pool, epochs, seed):
    fit(teacher, data, epochs=epochs, seed=seed, progress=False)
    return teacher, evaluate(teacher, data.validation).accuracy


CASES = [
    right("ch05-bright", factor(lambda n, m: (n / m) ** 2)),
    right(
        "ch05-bright",
        lambda sides: torch.tensor(sides).double().prod(0).square().pow(torch.tensor([1, -1])).prod(),
    ),
    wrong("ch05-bright", "two axes", factor(lambda n, m: n / m)),
    wrong("ch05-bright", "other way round", factor(lambda n, m: (m / n) ** 2)),
    wrong("ch05-bright", "too bright already", factor(lambda n, m: (n / m) ** 2, sum)),
    wrong("ch05-bright", "too bright already", factor(lambda n, m: n / m, sum)),
    wrong("ch05-bright", "more than one pool", lambda sides: (sides[0][0] / sides[0][1]) ** 2),
    wrong("ch05-bright", "crop pictures, too", lambda sides: (sides[0][0] / sides[-1][1]) ** 2),
    wrong("ch05-bright", "zero frequency", lambda sides: 16),
    wrong("ch05-bright", "zero frequency", factor(lambda n, m: (n // m) ** 2)),
    right("ch05-back", way_back()),
    right("ch05-back", way_back_in_pixels),
    right("ch05-back", way_back_by_half_planes),
    wrong("ch05-back", "still correlate", way_back(conjugate=True)),
    wrong("ch05-back", "your code stops", way_back(pattern="noyx,coyx->ncyx")),
    wrong("ch05-back", "gradients", way_back(real=False)),
    wrong("ch05-back", "sum over the outputs", lambda g, w: way_back(share=1 / w.shape[0])(g, w)),
    wrong("ch05-back", "who divides", way_back(norm="forward")),
    wrong("ch05-back", "which outputs saw it", one_output),
    wrong("ch05-back", "has the shape", lambda g, w: way_back_in_pixels(g, w).sum(1, keepdim=True)),
    wrong("ch05-back", "has the shape", lambda g, w: conv_transpose2d(g, w)),
    right("ch05-refuse", unflattened),
    right("ch05-refuse", nested),
    wrong("ch05-refuse", "still refused", lambda c, n, h: nn.Sequential(c, n, nn.Flatten(), h)),
    wrong("ch05-refuse", "the norm is gone", lambda c, n, h: nn.Sequential(c, nn.Flatten(), h)),
    wrong("ch05-refuse", "went into the head", all_in_the_head),
    wrong("ch05-refuse", "another", lambda c, n, h: unflattened(c, nn.BatchNorm2d(c.out_channels), h)),
    wrong(
        "ch05-refuse",
        "another",
        lambda c, n, h: nn.Sequential(c, nn.BatchNorm2d(c.out_channels), nn.Flatten(), h),
    ),
    wrong("ch05-refuse", "not the order", lambda c, n, h: nn.Sequential(n, c, nn.Flatten(), h)),
    wrong("ch05-refuse", "still refused", Opaque),
    wrong("ch05-refuse", "one nn.Sequential", lambda c, n, h: [c, n, h]),
    right("ch05-merge", by_spectra()),
    right("ch05-merge", by_convolution),
    wrong("ch05-merge", "reaches add up", without_room),
    wrong("ch05-merge", "has the shape", by_spectra(surplus=0)),
    wrong("ch05-merge", "upside down", turned([0])),
    wrong("ch05-merge", "upside down", turned([1])),
    wrong("ch05-merge", "by 180°", turned([0, 1])),
    wrong("ch05-merge", "one bright pixel", by_spectra(conjugate=(False, True))),
    wrong("ch05-merge", "one bright pixel", by_spectra(conjugate=(True, True))),
    wrong("ch05-merge", "real layers", by_spectra(real=False)),
    wrong("ch05-merge", "add up", lambda a, b: by_spectra(share=1 / len(a))(a, b)),
    wrong("ch05-merge", "has the shape", lambda a, b: by_convolution(a, b).transpose(0, 1)),
    wrong("ch05-merge", "one bright pixel", lambda a, b: by_convolution(a[:1], b[:, :1])),
    right("ch05-single", root, equal),
    right("ch05-single", root, lambda p: torch.tensor(equal(p))),
    right("ch05-single", root, lambda p: np.array(equal(p), dtype=np.float32)),
    wrong("ch05-single", "two numbers", root, lambda p: torch.full((3,), 0.5 / p**0.5)),
    right("ch05-single", lambda i, r: i**0.5 - r, lambda p: [(4 * p) ** -0.5, torch.tensor(0.25 / p).sqrt()]),
    wrong("ch05-single", "the reference is still in it", lambda i, r: i.sqrt(), equal),
    wrong("ch05-single", "the square of v", lambda i, r: (i - r**2) / (2 * r), equal),
    wrong("ch05-single", "sign is lost", lambda i, r: r - i.sqrt(), equal),
    wrong("ch05-single", "sign is lost", lambda i, r: (i.sqrt() - r).abs(), equal),
    wrong("ch05-single", "never negative", lambda i, r: i - r, equal),
    wrong("ch05-single", "it has to share", root, lambda p: (0.5 / p**0.5, 0.125**0.5 / p**0.5)),
    wrong("ch05-single", "what is its slope", root, lambda p: (1 / p**0.5, 0.5 / p**0.5)),
    wrong("ch05-single", "this is the variance", root, lambda p: (0.25 / p, 0.25 / p)),
    wrong("ch05-single", "counts v twice", root, lambda p: (0.5 / p**0.5, 0.5**0.5 / p**0.5)),
    wrong("ch05-single", "its variance is its mean", root, lambda p: (p**0.5, p**0.5)),
    wrong("ch05-single", "two numbers", root, lambda p: 0.5 / p**0.5),
    right("ch05-shift", reader()),
    right("ch05-shift", by_rolls),
    wrong("ch05-shift", "upside down", reader(turn=False)),
    wrong("ch05-shift", "off by one", by_flip),
    wrong("ch05-shift", "not of the window", turned_reading),
    wrong("ch05-shift", "smaller indices", reader(sign=-1)),
    wrong("ch05-shift", "went downwards", reader(rows=1, columns=0)),
    wrong("ch05-shift", "rows stay", reader(rows=1)),
    wrong("ch05-shift", "has not moved", reader(columns=0)),
    wrong("ch05-shift", "in samples", in_pixels),
    wrong("ch05-shift", "other samples", lambda p, s, n, d: reader()(p, 1, n, d)),
    right("ch05-average", trainer()),
    right("ch05-average", trainer(report="history")),
    wrong("ch05-average", "which option", trainer(relu=True)),
    wrong("ch05-average", "fresh ones", trainer(copy=True)),
    wrong("ch05-average", "seed it before", trainer(seeded=False)),
    wrong("ch05-average", "two seeds", trainer(weights=0, seed=0)),
    wrong("ch05-average", "hand the argument on", trainer(pool="spectral")),
    wrong("ch05-average", "at the very end", trainer(report="test")),
    wrong("ch05-average", "training images", trainer(report="train")),
    wrong("ch05-average", "not per cent", trainer(percent=100)),
    wrong("ch05-average", "only the student learns", trainer(spoil=True)),
    wrong("ch05-average", "for all epochs", trainer(epochs=1)),
    wrong("ch05-average", "on data.train", trained_on_the_test_split),
    wrong("ch05-average", "returns the student", trains_the_teacher),
    wrong("ch05-average", "no pair", lambda *_: LeNet()),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, capsys):
    judge(case, capsys)
