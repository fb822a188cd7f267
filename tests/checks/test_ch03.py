import math

import pytest
import torch
from torch.nn.functional import conv2d, pad

from onnlab.optics import image_incoherent, signed_kernel_pair
from tests.checks.cases import judge, right, wrong


def bits_by_logarithm(full_well, read_noise):
    return math.ceil(math.log2(1 + 3 * full_well / (math.sqrt(12) * read_noise)))


def first_bits(good):
    """The first number of bits that is good for a full well and a read noise."""
    return lambda well, read: next(b for b in range(1, 30) if good(well, read, b))


def by_conv2d(values, spot, flip=True, before=lambda n: n - 1 - n // 2):
    """A convolution by conv2d, with so many zeros before the first sample of an axis."""
    (ky, kx), spot = spot.shape, spot.flip(0, 1) if flip else spot
    padded = pad(values, (before(kx), kx - 1 - before(kx), before(ky), ky - 1 - before(ky)))
    return conv2d(padded[None, None], spot[None, None])[0, 0]


def lamp_by_conv2d(scene, h, **setting):
    return by_conv2d(scene, h.abs() ** 2, **setting)


def laser_by_conv2d(scene, phase, h, **setting):
    return by_conv2d(torch.polar(scene.sqrt(), phase), h, **setting).abs() ** 2


def laser_in_parts(scene, phase, h):
    """Real and imaginary parts by themselves, in double precision."""
    real, imaginary = ((scene.sqrt() * part(phase)).double() for part in (torch.cos, torch.sin))
    a, b = h.real.double(), h.imag.double()
    return (by_conv2d(real, a) - by_conv2d(imaginary, b)) ** 2 + (
        by_conv2d(real, b) + by_conv2d(imaginary, a)
    ) ** 2


def laser(field_of=lambda scene, phase: torch.polar(scene.sqrt(), phase), sees=lambda u: u.abs() ** 2):
    """A laser image with another field of the scene, or another sensor."""
    return lambda scene, phase, h: sees(by_conv2d(field_of(scene, phase), h))


def around_the_corner(scene, h):
    spectrum = torch.fft.rfft2(scene) * torch.fft.rfft2(h.abs() ** 2, s=scene.shape)
    image = torch.fft.irfft2(spectrum, s=scene.shape)
    return image.roll((-(h.shape[0] // 2), -(h.shape[1] // 2)), (0, 1))


def detector(inside=1 / 9, outside=-1 / 16):
    kernel = torch.full((5, 5), outside)
    kernel[1:4, 1:4] = inside
    return kernel


def split(kernel, factor=lambda plus, minus: max(plus.sum(), minus.sum())):
    plus, minus = (kernel.abs() + kernel) / 2, (kernel.abs() - kernel) / 2
    scale = factor(plus, minus)
    return plus / scale, minus / scale, scale


def split_with_offset(kernel):
    offset = (-kernel).clamp(min=0).max()
    plus, minus = kernel + offset, torch.full_like(kernel, offset.item())
    scale = max(plus.sum(), minus.sum())
    return plus / scale, minus / scale, scale


def split_each(kernel):
    plus, minus = kernel.clamp(min=0), (-kernel).clamp(min=0)
    factor = max(plus.sum(), minus.sum())
    return plus / plus.sum().clamp(min=1e-9), minus / minus.sum().clamp(min=1e-9), factor


def split_exchanged(kernel):
    plus, minus, factor = split(kernel)
    return minus, plus, factor


def split_by_hand(kernel):
    pair = signed_kernel_pair(kernel.double())
    return [pair.positive, pair.negative, pair.scale.item()]


def binned(p, s, n):
    return n * p / (n * p + s**2) ** 0.5


def added(p, s, n):
    return n * p / (n * p + n * s**2) ** 0.5


def score(plus, minus, mean_plus, mean_minus):
    return torch.einsum("nyx,yx->n", plus - minus, mean_plus - mean_minus)


def score_snr(a, b, p, s, variance=lambda a, b, p, s: p * (a + b) + 2 * s**2):
    weights = a - b
    return (p * (weights**2).sum() / (weights**2 * variance(a, b, p, s)).sum() ** 0.5).item()


def with_variance(variance):
    return lambda a, b, p, s: score_snr(a, b, p, s, variance)


CASES = [
    right("ch03-lens", lambda lam, f, d: lam * f / (2 * d)),
    right("ch03-lens", lambda lam, f, d: torch.tensor(0.5 * f * lam / d)),
    wrong("ch03-lens", "a period needs two pixels", lambda lam, f, d: lam * f / d),
    wrong("ch03-lens", "a radius?", lambda lam, f, d: lam * f / (4 * d)),
    wrong("ch03-lens", "first dark ring", lambda lam, f, d: 1.22 * lam * f / d),
    wrong("ch03-lens", "keep to metres", lambda lam, f, d: 1e3 * lam * f / (2 * d)),
    wrong("ch03-lens", "set them equal", lambda lam, f, d: 2 * d * f / lam),
    right("ch03-bits", bits_by_logarithm),
    right("ch03-bits", first_bits(lambda w, r, b: (w / (2**b - 1)) ** 2 / 12 < (r / 3) ** 2)),
    right("ch03-bits", lambda w, r: torch.tensor(float(bits_by_logarithm(w, r)))),
    wrong("ch03-bits", "√12 times", first_bits(lambda w, r, b: w / (2**b - 1) < r / 3)),
    wrong("ch03-bits", "a *third*", first_bits(lambda w, r, b: w / (2**b - 1) / 12**0.5 < r)),
    wrong("ch03-bits", "one step less", first_bits(lambda w, r, b: w / 2**b / 12**0.5 < r / 3)),
    wrong("ch03-bits", "which way", lambda w, r: math.floor(math.log2(1 + 3 * w / (12**0.5 * r)))),
    wrong("ch03-bits", "bits come whole", lambda w, r: math.log2(1 + 3 * w / (12**0.5 * r))),
    wrong("ch03-bits", "one bit less", lambda w, r: bits_by_logarithm(w, r) + 1),
    wrong("ch03-bits", "by hand", lambda w, r: math.ceil(math.log(1 + 3 * w / (12**0.5 * r)))),
    wrong("ch03-bits", "by hand", lambda w, r: 16),
    right("ch03-lamp", laser_by_conv2d, lamp_by_conv2d),
    right("ch03-lamp", laser_in_parts, lambda scene, h: image_incoherent(scene, h.abs().square())),
    wrong("ch03-lamp", "turns its kernel", laser_by_conv2d, lambda i, h: lamp_by_conv2d(i, h, flip=False)),
    wrong("ch03-lamp", "turns its", lambda i, p, h: laser_by_conv2d(i, p, h, flip=False), lamp_by_conv2d),
    wrong("ch03-lamp", "under a lamp", laser_by_conv2d, lambda i, h: by_conv2d(i + 0j, h).abs() ** 2),
    wrong("ch03-lamp", "a lamp adds", laser_by_conv2d, lambda i, h: by_conv2d(i.sqrt() + 0j, h).abs() ** 2),
    wrong("ch03-lamp", "an intensity already", laser_by_conv2d, lambda i, h: lamp_by_conv2d(i.sqrt(), h)),
    wrong("ch03-lamp", "h is a field", laser_by_conv2d, lambda i, h: by_conv2d(i, h.abs())),
    wrong("ch03-lamp", "comes in from outside", laser_by_conv2d, around_the_corner),
    wrong("ch03-lamp", "it is not I", laser(torch.polar), lamp_by_conv2d),
    wrong("ch03-lamp", "phase of the scene", laser(lambda i, p: i.sqrt() + 0j), lamp_by_conv2d),
    wrong(
        "ch03-lamp", "makes the field complex", laser(lambda i, p: i.sqrt() * p.cos() + 0j), lamp_by_conv2d
    ),
    wrong("ch03-lamp", "sees its square", laser(sees=torch.abs), lamp_by_conv2d),
    wrong("ch03-lamp", "reads real numbers", laser(sees=lambda u: u), lamp_by_conv2d),
    wrong("ch03-lamp", "in laser light fields add", lambda i, p, h: lamp_by_conv2d(i, h), lamp_by_conv2d),
    wrong("ch03-lamp", "conjugated", lambda i, p, h: laser_by_conv2d(i, p, h.conj()), lamp_by_conv2d),
    wrong("ch03-lamp", "the other sign", laser(lambda i, p: torch.polar(i.sqrt(), -p)), lamp_by_conv2d),
    wrong(
        "ch03-lamp", "even axis", laser_by_conv2d, lambda i, h: lamp_by_conv2d(i, h, before=lambda n: n // 2)
    ),
    right("ch03-spot", detector, split),
    right("ch03-spot", lambda: detector().double(), split_by_hand),
    wrong("ch03-spot", "a bright spot", lambda: -detector(), split),
    wrong("ch03-spot", "sums, not means", lambda: detector(1.0, -1.0), split),
    wrong("ch03-spot", "does not count", lambda: detector(1 / 9 - 1 / 25, -1 / 25), split),
    wrong("ch03-spot", "add up to", lambda: detector(1 / 9, -1 / 25), split),
    wrong("ch03-spot", "never negative", detector, lambda k: (k.clamp(min=0), k.clamp(max=0), 1.0)),
    wrong("ch03-spot", "no signal", detector, split_with_offset),
    wrong("ch03-spot", "only one for both", detector, split_each),
    wrong("ch03-spot", "exchanged", detector, split_exchanged),
    wrong("ch03-spot", "glass is passive", detector, lambda k: split(k, lambda p, m: 1.0)),
    wrong("ch03-spot", "glass is passive", detector, lambda k: split(k, lambda p, m: p.sum())),
    wrong("ch03-spot", "glass is passive", detector, lambda k: split(k, lambda p, m: k.abs().max())),
    wrong("ch03-spot", "it sets the factor", detector, lambda k: split(k, lambda p, m: (p + m).sum())),
    wrong("ch03-spot", "return plus, minus", detector, lambda k: split(k)[:2]),
    wrong("ch03-spot", "multiply it out", detector, lambda k: (*split(k)[:2], 1 / split(k)[2])),
    right("ch03-binning", binned, added),
    right(
        "ch03-binning",
        lambda p, s, n: 1 / math.sqrt(1 / (n * p) + (s / (n * p)) ** 2),
        lambda p, s, n: torch.tensor(n**0.5 * p / (p + s**2) ** 0.5),
    ),
    wrong("ch03-binning", "count the readings", added, added),
    wrong("ch03-binning", "count the readings", binned, binned),
    wrong("ch03-binning", "count the readings", added, binned),
    wrong("ch03-binning", "root of the variance", lambda p, s, n: binned(p, s, n) ** 2, added),
    wrong("ch03-binning", "all samples together", lambda p, s, n: binned(p, s, n) / n, added),
    wrong("ch03-binning", "reading costs", lambda p, s, n: (n * p) ** 0.5, added),
    wrong("ch03-binning", "scatters do not add", lambda p, s, n: n * p / ((n * p) ** 0.5 + s), added),
    wrong("ch03-binning", "scatters do not", binned, lambda p, s, n: n * p / ((n * p) ** 0.5 + n * s)),
    wrong("ch03-binning", "How often", binned, lambda p, s, n: n * p / (n * p + (n * s) ** 2) ** 0.5),
    wrong("ch03-binning", "How often", binned, lambda p, s, n: p / (p + s**2) ** 0.5),
    right("ch03-faint", score, score_snr),
    right(
        "ch03-faint",
        lambda plus, minus, a, b: 7 * ((plus - minus) * (a - b)).mean((1, 2)).double(),
        lambda a, b, p, s: (
            (a - b).square().sum() / ((a - b).square() * ((a + b) / p + 2 * (s / p) ** 2)).sum().sqrt()
        ),
    ),
    wrong("ch03-faint", "without weights", lambda x, y, a, b: (x - y).sum((1, 2)), score_snr),
    wrong(
        "ch03-faint", "turns a negative", lambda x, y, a, b: ((x - y) * (a - b).abs()).sum((1, 2)), score_snr
    ),
    wrong("ch03-faint", "are subtracted", lambda x, y, a, b: ((x + y) * (a - b)).sum((1, 2)), score_snr),
    wrong("ch03-faint", "score above zero", lambda x, y, a, b: score(y, x, a, b), score_snr),
    wrong("ch03-faint", "shape", lambda x, y, a, b: ((x - y) * (a - b)).sum(), score_snr),
    wrong("ch03-faint", "one weight for each", lambda x, y, a, b: score(x, y, a, 0 * b), score_snr),
    wrong("ch03-faint", "both are read", score, with_variance(lambda a, b, p, s: p * (a + b) + s**2)),
    wrong(
        "ch03-faint", "counts scatter", score, with_variance(lambda a, b, p, s: p * (a - b).abs() + 2 * s**2)
    ),
    wrong("ch03-faint", "counts scatter", score, with_variance(lambda a, b, p, s: p * a + 2 * s**2)),
    wrong("ch03-faint", "where does it count", score, with_variance(lambda a, b, p, s: a + b + 2 * s**2)),
    wrong("ch03-faint", "how many readings", score, with_variance(lambda a, b, p, s: p * (a + b) + 2 * s)),
    wrong("ch03-faint", "take the root", score, lambda *case: score_snr(*case) ** 2),
    wrong("ch03-faint", "missing in the signal", score, lambda a, b, p, s: score_snr(a, b, p, s) / p),
    wrong(
        "ch03-faint",
        "counts scatter",
        score,
        lambda a, b, p, s: (
            p * (a - b).square().sum() / (a - b).abs().sum() / (p * (a + b) + 2 * s**2).mean().sqrt()
        ),
    ),
    wrong(
        "ch03-faint",
        "counts scatter",
        score,
        lambda a, b, p, s: p * (a - b).square().sum() / (p * (a + b) + 2 * s**2).sum().sqrt(),
    ),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_answer(case, capsys):
    judge(case, capsys)
