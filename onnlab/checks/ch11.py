"""Checks of chapter 11: surfaces and their Strehl ratios, halves that err, and an insurance against gains."""

import math
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator, Tensor

from onnlab.checks._check import Wrong, alike, expect, gaussian, number, same, seeded, tensor, worth
from onnlab.hardware import PSFBench
from onnlab.hardware.benches import PSFs
from onnlab.networks import PSFConvolution


def _quadrature(delay: float) -> float:
    """Length, squared, of the mean arrow over Gaussian heights; the rms height delays by ``delay`` waves."""
    height = torch.linspace(-8, 8, 4001, dtype=torch.float64)
    often = torch.exp(-height.square() / 2)
    arrows = torch.polar(often / often.sum(), 2 * math.pi * delay * height)
    return arrows.sum().abs().item() ** 2


@worth(1)
def mirror(
    mirror_strehl: Callable[[float, float], float], plate_strehl: Callable[[float, float, float], float]
) -> None:
    """Add up the arrows behind many heights."""
    for height, wavelength, index in ((19e-9, 532e-9, 1.46), (45e-9, 633e-9, 1.9), (30e-9, 450e-9, 1.33)):
        waves = height / wavelength
        for answer, passes, name in (
            (lambda h=height, w=wavelength: mirror_strehl(h, w), 2.0, "a mirror"),
            (
                lambda h=height, w=wavelength, n=index: plate_strehl(h, w, n),
                index - 1,
                f"glass of index {index}",
            ),
        ):
            got, wanted = number(answer(), "the Strehl ratio"), _quadrature(passes * waves)
            same(
                got,
                wanted,
                f"{name} with {height * 1e9:.0f} nm of polish in light of {wavelength * 1e9:.0f} nm has a "
                f"ratio of {wanted:.4f}, and not {got:.4g}",
                "find the detour of light at a place that is too high by h, and turn it into radians.",
                mistakes=[
                    (_quadrature(waves), "this is right for a detour of h. How often does light pass h?"),
                    (_quadrature(index * waves), "the glass takes the place of air: what is the *detour*?"),
                    (
                        _quadrature(passes * waves / (2 * math.pi)),
                        "a height in waves is not yet a phase in radians.",
                    ),
                    (math.sqrt(wanted), "this is the length of the mean arrow. Intensity is its square."),
                    (1 - math.log(1 / wanted), "this holds for small errors only."),
                ],
            )


@worth(2)
def levels(rounded: Callable[[Tensor, int], Tensor], light_kept: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Ask for the properties of a rounded phase, and build errors whose Strehl ratio is known."""
    for count in (3, 2, 8):
        mask = torch.randn(2, 9, 12, dtype=torch.complex128, generator=seeded(count))
        got = tensor(rounded(mask.clone(), count), mask.shape, "the mask")
        expect(got.is_complex(), "the rounded mask is real", "return the transmission, not its phase.")
        got = got.to(torch.complex128)
        expect(
            alike(got.abs(), mask.abs(), 1e-5),
            "the modulus of the mask changes",
            "a panel turns phases only.",
        )
        turn = count * got.angle() / (2 * math.pi)
        expect(
            bool((turn - turn.round()).abs().max() < 1e-4),
            f"with {count} levels there are phases that are no multiple of 2π/{count}",
            "how many levels are there on a circle, and how far apart? The last is not the first again.",
        )
        off = (got * mask.conj()).angle().abs().max().item()
        expect(
            off <= math.pi / count + 1e-4,
            f"with {count} levels a phase moves by {off:.2f} rad, more than half a step",
            "take the nearest level, not the one below, and measure on the circle.",
        )
    design = torch.randn(3, 6, 8, dtype=torch.complex128, generator=seeded(0))
    factors = torch.tensor([1.0, 0.5j, -0.2 + 0.1j], dtype=torch.complex128)[:, None, None]
    wanted = factors.abs().square().flatten()
    kept = tensor(light_kept(design.clone(), (factors * design).clone()), (3,), "the light kept")
    expect(
        not kept.is_complex(), "the light kept is complex", "the length of the mean arrow is a real number."
    )
    same(
        kept,
        wanted,
        "if each sample of a mask takes the same factor, the light kept is not the square of its modulus",
        "compare with the design: a dim design that is built as it is keeps all of its light.",
        mistakes=[(wanted.sqrt(), "this is the amplitude; the Strehl ratio is an intensity.")],
    )
    back_and_forth = torch.polar(torch.ones(8), torch.tensor([1.0, -1.0]).repeat(4) * 0.8)
    pairs = design[..., :4].repeat_interleave(2, -1)
    kept = tensor(light_kept(pairs.clone(), pairs * back_and_forth), (3,), "the light kept")
    expect(
        bool((kept < 0.99).all()),
        "errors of the phase cost no light",
        "add the arrows first, and take the modulus of the sum.",
    )
    same(
        kept,
        torch.full((3,), math.cos(0.8) ** 2),
        "half of the samples early by 0.8 rad and half late do not keep cos² 0.8 of the light",
        "an arrow is built times the conjugate of the design.",
    )
    uneven = torch.ones(1, 4, 8, dtype=torch.complex128)
    uneven[..., 4:] = 2.0
    flipped = uneven.clone()
    flipped[..., :4] *= -1
    kept = tensor(light_kept(uneven, flipped), (1,), "the light kept")
    same(
        kept,
        torch.tensor([0.36]),
        f"where the dark half of a mask has the wrong sign, {kept.item():.2f} of the light is kept, not 0.36",
        "bright samples send more light: a sample counts with its intensity.",
    )


def _correlation(surfaces: Tensor, down: int, right: int) -> float:
    ny, nx = surfaces.shape[-2:]
    product = surfaces[:, : ny - down, : nx - right] * surfaces[:, down:, right:]
    return (product.mean() / surfaces.square().mean()).item()


@worth(2)
def correlation(rough_surface: Callable[[tuple[int, int], float, float, Generator], Tensor]) -> None:
    """Measure variance and correlation of many surfaces."""
    shape, pitch, length = (48, 64), 5e-6, 20e-6
    generator = seeded(0)
    surfaces = torch.stack(
        [tensor(rough_surface(shape, pitch, length, generator), shape, "the surface") for _ in range(120)]
    )
    expect(not surfaces.is_complex(), "the surface is complex", "heights are real: take the real part.")
    again = rough_surface(shape, pitch, length, seeded(0))
    expect(
        alike(again, surfaces[0], 1e-6) and not alike(surfaces[0], surfaces[1], 1e-2),
        "the surface is not drawn from the generator",
        "give the generator to torch.randn: its state makes this surface and the next one.",
    )
    ratio = length / pitch
    seen = [_correlation(surfaces, *lag) for lag in ((0, 4), (4, 0), (3, 3), (0, 2), (6, 0))]
    wanted = [math.exp(-((d / ratio) ** 2)) for d in (4, 4, math.sqrt(18), 2, 6)]
    near = [abs(a - b) < 0.06 for a, b in zip(seen, wanted, strict=True)]
    if not all(near):
        what = f"at the distance of one length the correlation is {seen[0]:.2f} across and {seen[1]:.2f} down"
        what += f", and not {wanted[0]:.2f}"
        expect(
            max(seen[:2]) > 0.02,
            what,
            "neighbours know nothing of each other: is the frequency in cycles per metre, as the length is?",
        )
        expect(
            abs(seen[0] - seen[1]) < 0.1,
            what,
            "the two axes differ. Does each have frequencies of its own, and is r the distance in the plane?",
        )
        expect(
            abs(seen[0] - math.exp(-1 / 2)) > 0.06,
            what,
            "the surface is too smooth: its correlation is the filter's correlation with itself.",
        )
        raise Wrong(what, "transform the correlation: it is the power of the filter, not the filter.")
    variance = surfaces.double().square().mean().item()
    expect(
        abs(variance - 1) < 0.06,
        f"the variance is {variance:.3g}, and not 1",
        "what does the filter do to the power of white noise? Divide by the root of its mean power.",
    )
    expect(
        surfaces.square().mean((-2, -1)).std().item() > 0.05,
        "every surface has the same variance",
        "one surface may be smoother than the next: scale by a constant, not by what was drawn.",
    )
    expect(gaussian(surfaces, 0.3), "the heights are not Gaussian", "filter the noise of torch.randn.")


@worth(2)
def halves(come_apart: Callable[[Tensor, int], Tensor], balance: Callable[[Tensor], Tensor]) -> None:
    """Move kernels of one sign, and put them together."""
    for shape, step in (((5, 7), 1), ((4, 3), 2), ((3, 3), 0)):
        h, w = shape
        light = torch.rand(shape, generator=seeded(step)) + 0.1
        across = (torch.rand(shape, generator=seeded(9)) > 0.5).float()
        whole = tensor(come_apart(light.clone(), step), (h, w + 2 * step), "the kernel")
        aside = f"a kernel without negative samples does not move by {step} to the right, as it is"
        if step:
            expect(
                not alike(whole[:, :w], light, 1e-5) and not alike(whole[:, step : step + w], light, 1e-5),
                aside,
                "the middle stays in the middle: to move right, there is more room on the left.",
            )
        expect(
            alike(whole[:, 2 * step :], light, 1e-5) and alike(whole.sum(), light.sum(), 1e-5),
            aside,
            "pad with zeros and shift; nothing wraps round, and nothing is lost.",
        )
        dark = tensor(come_apart(-light, step), (h, w + 2 * step), "the kernel")
        expect(
            bool((dark <= 0).all()),
            "a negative kernel becomes positive",
            "its light is positive, and the electronics subtracts it.",
        )
        expect(
            alike(dark[:, :w], -light, 1e-5) and alike(dark.sum(), -light.sum(), 1e-5),
            f"a kernel without positive samples does not move by {step} to the left, as it is",
            "each half has a direction of its own.",
        )
        mixed = tensor(come_apart(light * (2 * across - 1), step), (h, w + 2 * step), "the kernel")
        parts = come_apart(light * across, step) + come_apart(-light * (1 - across), step)
        expect(
            alike(mixed, parts, 1e-5),
            "a kernel with both signs is not the sum of its moved halves",
            "split by the sign of each *sample*, and move each half as a whole.",
        )
    k = torch.tensor([[3.0, 0, 0, 1], [2, -2, 0, 0], [3, -1, 0, 0], [1, -3, 0, 0]]).reshape(4, 2, 2)
    wanted = torch.tensor([1.0, 0.0, 0.5, 0.5])
    b = tensor(balance(k.clone()), (4,), "the balance")
    expect(
        bool((b >= 0).all()),
        f"a balance is {b.min().item():.2f}",
        "more light may be negative than positive: b is a share, from 0 to 1.",
    )
    same(
        b,
        wanted,
        f"the balance of kernels with samples (3, 1), (2, −2), (3, −1) and (1, −3) is {b.tolist()}",
        "compare what is left of the light with all the light, for each kernel.",
        mistakes=[
            (1 - wanted, "this is the share that cancels; b is what is left."),
            (torch.ones(4), "take the modulus of the sum above, and the sum of the moduli below."),
            (wanted.square(), "b is a share of the light, and not squared."),
        ],
    )


@worth(3)
def own(unequal: Callable[[PSFs, float, Generator], PSFs]) -> None:
    """Look at the factors of many pairs: which of them agree, how they spread, where they come from."""
    kernels = torch.randn(300, 2, 5, 5, generator=seeded(5))
    with torch.random.fork_rng():  # a layer draws its first kernels, even if it gets others
        layer = PSFConvolution(2, 300, 5, 8, weight=kernels)
    perfect = PSFs.of(layer, PSFBench(pitch=5e-6))
    before = {name: getattr(perfect, name).detach().clone() for name in ("positive", "negative", "scale")}

    def build(spread: float, seed: int) -> dict[str, Tensor]:
        built = unequal(perfect, spread, seeded(seed))
        expect(
            isinstance(built, PSFs),
            f"the result is of type {type(built).__name__}, and not PSFs",
            "return replace(psfs, positive=..., negative=...).",
        )
        for name, old in before.items():
            expect(
                torch.equal(getattr(perfect, name), old),
                f"psfs.{name} itself has changed",
                "an error leaves its input as it is: no operation in place.",
            )
            tensor(getattr(built, name), old.shape, f"the {name} of the result")
        expect(
            alike(built.scale, before["scale"], 1e-5),
            "the scale has changed",
            "only the light of the halves differs from the design.",
        )
        return {name: getattr(built, name) for name in ("positive", "negative")}

    factors = {}
    for name, light in build(0.2, 0).items():
        lit = before[name] > 0
        ratio = light.detach() / before[name].where(lit, 1)
        low, high = (ratio.where(lit, x).flatten(2) for x in (math.inf, -math.inf))
        low, high = low.amin(2), high.amax(2)
        expect(
            bool((high - low).max() < 1e-3),
            "the samples of a half have factors of their own",
            "a half is brighter or darker as a whole: how many numbers do you draw?",
        )
        expect(
            bool((high[:, 0] - high[:, 1]).abs().max() < 1e-3),
            "the channels of a half have factors of their own",
            "one factor for each half of each kernel: how many numbers do you draw?",
        )
        factors[name] = high[:, 0]
    positive, negative = factors["positive"], factors["negative"]
    for one in (positive, negative):
        expect(
            bool(one.std() > 1e-3),
            "all kernels get the same factor",
            "draw for each kernel: what is the shape of the drawn numbers?",
        )
    together = torch.corrcoef(torch.stack([positive, negative]))[0, 1].item()
    expect(
        abs(together) < 0.3,
        "both halves of a kernel err together",
        "draw anew for the second half: an equal factor would be a mere gain.",
    )
    drawn = torch.cat([positive, negative])
    expect(
        abs(drawn.mean() - 1) < 0.04,
        f"the mean factor is {drawn.mean():.2f}",
        "the factor is 1 plus a Gaussian.",
    )
    expect(
        abs(drawn.std() - 0.2) < 0.025,
        f"for a spread of 0.2 the factors have the standard deviation {drawn.std():.3f}",
        "torch.randn has the standard deviation 1; is yours Gaussian, and multiplied by the spread?",
    )
    expect(gaussian(drawn, 0.8), "the factors are not 1 plus a Gaussian", "draw them with torch.randn.")
    first, again, other = (build(0.2, seed)["positive"] for seed in (1, 1, 2))
    expect(
        torch.equal(first, again) and not torch.equal(first, other),
        "the same generator does not draw the same device",
        "give the generator to torch.randn.",
    )
    expect(
        all(bool((light >= 0).all()) for light in build(1.0, 3).values()),
        "with a spread of 1 there is negative light",
        "a factor below zero: what is left of the light?",
    )
    perfect = replace(
        perfect, **{name: before[name].clone().requires_grad_() for name in ("positive", "negative")}
    )
    built = build(0.2, 4)
    for name in ("positive", "negative"):
        leaf = getattr(perfect, name)
        built[name].sum().backward() if built[name].requires_grad else None
        expect(
            leaf.grad is not None and bool(leaf.grad.abs().max() > 0),
            f"no gradient goes through the {name} half",
            "noise-aware training needs it: no detach, no item, no no_grad.",
        )


def _devices(n: int) -> Tensor:
    """Signs (2 n, n) whose rows have mean 0 and covariance 1: a few devices that stand for all; n is 2**k."""
    signs = torch.ones(1, 1, dtype=torch.float64)
    while len(signs) < n:
        signs = torch.cat([torch.cat([signs, signs], 1), torch.cat([signs, -signs], 1)])
    return torch.cat([signs, -signs])


@worth(3)
def insurance(insured: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    """Fit sixteen devices at once that stand for all, and ask how the weights follow the readings."""
    draw = seeded(0)
    X = torch.rand(20, 8, dtype=torch.float64, generator=draw) * torch.arange(1, 9)
    T = torch.randn(20, 3, dtype=torch.float64, generator=draw)

    def weights(readings: Tensor, targets: Tensor, spread: float) -> Tensor:
        got = insured(readings.clone(), targets.clone(), spread)
        return tensor(got, (readings.shape[1], targets.shape[1]), "the weights").double()

    plain = torch.linalg.lstsq(X, T).solution
    same(
        weights(X, T, 0.0),
        plain,
        "without any spread the weights are not those of least squares",
        "the targets are met best by X W: look at shapes and transposes.",
    )
    for spread in (0.5, 0.1):
        got = weights(X, T, spread)
        what = f"with a spread of {spread}"
        expect(
            not alike(got, plain, 1e-4),
            f"{what} the weights are those of least squares without any error",
            "errors have the mean 0, and their squares have not.",
        )
        expect(
            alike(weights(torch.cat([X, X]), torch.cat([T, T]), spread), got, 1e-4),
            f"{what} the weights change if each image is there twice",
            "the mean is over devices; both terms are sums over the same images.",
        )
        factor = torch.tensor([1.0, 3, 1, 1, 1, 1, 1, 0.2], dtype=torch.float64)
        expect(
            alike(weights(X * factor, T, spread) * factor[:, None], got, 1e-4),
            f"{what} a reading in other units gives other answers",
            "an error of gain is larger where the reading is bright: to which reading does a term belong?",
        )
        many = torch.cat([X * (1 + spread * signs) for signs in _devices(8)])
        wanted = torch.linalg.lstsq(many, T.repeat(16, 1)).solution
        same(
            got,
            wanted,
            f"{what} there are weights with a smaller mean error over the devices",
            "expand the square, and take the mean of 1 + s g and of its square. Do gains of two readings "
            "have anything in common?",
        )
