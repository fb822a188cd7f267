"""Checks of chapter 3: light that adds as fields or as intensities, signed kernels, and noise."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, pad

from onnlab.checks._check import expect, number, same, seeded, several, tensor, worth
from onnlab.optics import Camera, Grid, circular_aperture, image_incoherent, mtf, psf


@worth(1)
def lens(lens_diameter: Callable[[float, float, float], float]) -> None:
    """Compare with the diameter for which a simulated MTF ends at the sensor's Nyquist frequency."""
    for wavelength, focal_length, pitch in ((532e-9, 0.1, 4e-6), (633e-9, 0.035, 2e-6), (450e-9, 0.2, 9e-6)):
        grid = Grid(shape=(256, 256), pitch=20e-6, wavelength=wavelength)
        trial = 96 * grid.dx
        spot, focus = psf(circular_aperture(grid, trial / 2), grid, focal_length)
        passed = focus.fx[mtf(spot)[128] > 1e-5].max().item()
        seen = trial * grid.with_(pitch=pitch).nyquist[0] / passed
        diameter = number(lens_diameter(wavelength, focal_length, pitch), "the diameter")
        same(
            diameter,
            seen,
            f"at f = {focal_length * 1e3:.0f} mm pixels of {pitch * 1e6:.0f} µm ask for a lens of "
            f"{seen * 1e3:.3g} mm, and not {diameter * 1e3:.4g} mm",
            "write down the cut-off of the lens and the Nyquist frequency of the pixels, and set them equal.",
            mistakes=[
                (
                    2 * seen,
                    "twice too large: a period needs two pixels, and the cut-off is that of an intensity.",
                ),
                (seen / 2, "half of it: a radius? Or twice one of the two frequencies?"),
                (2.44 * seen, "1.22 belongs to the first dark ring; the cut-off is another matter."),
                (1e3 * seen, "the digits are right and the power of ten is not: keep to metres."),
            ],
            rtol=0.03,
        )


def _rounding(full_well: float, bits: int) -> float:
    """Noise of rounding in electrons, measured with a camera that has no other."""
    electrons = full_well * torch.rand(200, 200, dtype=torch.float64, generator=seeded(bits))
    camera = Camera(photons=1.0, full_well=full_well, bits=bits, shot_noise=False)
    return (camera(electrons) / camera.gain - electrons).std().item()


@worth(1)
def bits(bits_needed: Callable[[float, float], int]) -> None:
    """Compare with converters of more and more bits, whose rounding is measured."""
    for full_well, read_noise in ((10_000.0, 3.0), (500.0, 1.2), (30_000.0, 10.0), (12.0, 3.0)):
        rounding = {count: _rounding(full_well, count) for count in range(1, 20)}

        def first(limit: float, rounding: dict[int, float] = rounding) -> int:
            return next((count for count, noise in rounding.items() if noise < limit), 20)

        got = number(bits_needed(full_well, read_noise), "the number of bits")
        expect(got == int(got), f"your converter has {got:.4g} bits", "bits come whole: which way to round?")
        wanted = first(read_noise / 3)
        what = f"{full_well:g} electrons read with a noise of {read_noise:g} need {wanted} bits, not {got:g}"
        expect(
            full_well != 12 or got != wanted - 1,
            what,
            "b bits count from 0 to 2^b − 1: that is one step less than there are numbers.",
        )
        same(
            got,
            float(wanted),
            what,
            "put a few numbers of bits into the formula by hand. The first that is good enough wins.",
            mistakes=[
                (float(first(read_noise / 3 / math.sqrt(12))), "a step is √12 times as wide as its noise."),
                (float(first(read_noise)), "below a *third* of the read noise."),
                (float(wanted - 1), "with one bit less rounding is still too noisy: which way to round?"),
                (float(wanted + 1), "one bit less would do."),
            ],
        )


def _on_sensor(values: Tensor, spot: Tensor) -> Tensor:
    """Linear convolution by a padded transform, cropped about the spot's origin."""
    (ny, nx), (ky, kx) = values.shape, spot.shape
    size = (ny + ky, nx + kx)
    image = torch.fft.ifft2(torch.fft.fft2(values, s=size) * torch.fft.fft2(spot, s=size))
    return image[ky // 2 : ky // 2 + ny, kx // 2 : kx // 2 + nx]


@worth(2)
def lamp(laser_image: Callable[[Tensor, Tensor, Tensor], Tensor], lamp_image: Callable[..., Tensor]) -> None:
    """Send random scenes through random spots; odd spots first, then even ones."""
    for (ny, nx), (ky, kx) in (((12, 15), (5, 3)), ((11, 10), (3, 7)), ((10, 12), (4, 6))):
        generator = seeded(ny)
        scene = torch.rand(ny, nx, generator=generator)
        phase = 2 * torch.pi * torch.rand(ny, nx, generator=generator)
        h = torch.randn(ky, kx, dtype=torch.complex64, generator=generator)
        power, case = h.abs().square(), f"through a spot of {(ky, kx)} samples "
        flipped = "the image of a point is h the right way round: conv2d turns its kernel."
        even = "on an even axis the sample k // 2 has one more sample before it than behind it."
        got = tensor(lamp_image(scene.clone(), h.clone()), scene.shape, "the image under the lamp")
        expect(not got.is_complex(), "the image under the lamp is complex", "a sensor reads real numbers.")
        same(
            got,
            image_incoherent(scene, power),
            case + "the image under the lamp is not the scene's",
            "each point prints the intensity of h, as bright as the point; nothing comes in from outside.",
            mistakes=[
                (image_incoherent(scene, power.flip(0, 1)), flipped),
                (image_incoherent(scene, pad(power, (1, 0, 1, 0))), even),
                (_on_sensor(scene + 0j, h).abs() ** 2, "fields were added; under a lamp intensities add."),
                (_on_sensor(scene.sqrt() + 0j, h).abs() ** 2, "fields were added; a lamp adds intensities."),
                (image_incoherent(scene.sqrt(), power), "the scene is an intensity already."),
                (image_incoherent(scene, h.abs()), "h is a field: what would a sensor see of it?"),
            ],
        )
        got = tensor(laser_image(scene.clone(), phase.clone(), h.clone()), scene.shape, "the laser's image")
        expect(not got.is_complex(), "the laser's image is complex", "a sensor reads real numbers.")
        field = torch.polar(scene.sqrt(), phase)
        wanted = _on_sensor(field, h)
        same(
            got,
            wanted.abs() ** 2,
            case + "the laser's image is not the scene's",
            "each point prints the field h, with its own amplitude and phase; the square comes last.",
            mistakes=[
                (_on_sensor(field, h.flip(0, 1)).abs() ** 2, flipped),
                (_on_sensor(field, pad(h, (1, 0, 1, 0))).abs() ** 2, even),
                (wanted.abs(), "that is the modulus of the field, and a sensor sees its square."),
                (
                    _on_sensor(torch.polar(scene, phase), h).abs() ** 2,
                    "a scene of intensity I has an amplitude, and it is not I.",
                ),
                (image_incoherent(scene, power), "intensities were added; in laser light fields add."),
                (_on_sensor(scene.sqrt() + 0j, h).abs() ** 2, "the phase of the scene was lost."),
                (_on_sensor(field.real + 0j, h).abs() ** 2, "a phase makes the field complex: exp(iφ)."),
                (
                    _on_sensor(field, h.conj()).abs() ** 2,
                    "h was conjugated, or the phase has the other sign.",
                ),
            ],
        )


@worth(2)
def spot(spot_kernel: Callable[[], Tensor], split: Callable[[Tensor], tuple[Tensor, Tensor, Tensor]]) -> None:
    """Try the kernel on random patches and split it and random kernels; signs of all kinds included."""
    kernel = tensor(spot_kernel(), (5, 5), "the kernel").double()
    for seed in range(30):
        patch = torch.rand(1, 5, 5, dtype=torch.float64, generator=seeded(seed))
        middle = avg_pool2d(patch, 3, stride=1)[0, 1, 1]
        around = (patch.sum() - 9 * middle) / 16
        same(
            (kernel * patch[0]).sum(),
            middle - around,
            "the kernel does not give the mean of the middle minus the mean around it",
            "on a patch of ones each of the two means is one: what do the weights add up to?",
            mistakes=[
                (around - middle, "the sign: a bright spot should give a positive number."),
                (9 * middle - 16 * around, "those are sums, not means."),
                (middle - avg_pool2d(patch, 5)[0, 0, 0], "the middle does not count among those around it."),
            ],
        )
    for k in (kernel.float(), *_kernels()):
        shape = tuple(k.shape)
        parts = several(
            split(k.clone()), 3, "the split has not three parts", "return plus, minus and the factor."
        )
        plus, minus = (
            tensor(p, shape, name).double()
            for p, name in zip(parts, ("the first PSF", "the second PSF"), strict=False)
        )
        factor = number(parts[2], "the factor")
        lowest = min(plus.min().item(), minus.min().item())
        expect(lowest >= 0, f"a PSF has the value {lowest:.3g}", "light is never negative.")
        most = max(plus.sum().item(), minus.sum().item())
        expect(
            most < 1 + 1e-5,
            f"a PSF passes {most:.3g} of the light that comes in",
            "glass is passive: what may the sum of a PSF be, at most?",
        )
        same(
            factor * (plus - minus),
            k.double(),
            "factor * (plus - minus) is not the kernel",
            "multiply it out by hand for a kernel of two numbers.",
            mistakes=[
                (-k.double(), "plus and minus are exchanged."),
                (
                    factor * (k.clamp(min=0) / k.clamp(min=0).sum() + k.clamp(max=0) / -k.clamp(max=0).sum()),
                    "each PSF has its own factor here; the computer has only one for both.",
                ),
            ],
            rtol=1e-5,
        )
        common = torch.minimum(plus, minus).max().item()
        expect(
            common < 1e-6,
            f"both PSFs share a light of {common:.3g} in one place",
            "what both pictures share brings noise and no signal.",
        )
        expect(
            most > 1 - 1e-5,
            f"the brighter PSF passes only {most:.3g} of the light",
            "make the brighter one as bright as glass can: it sets the factor.",
        )


def _kernels() -> list[Tensor]:
    random = [torch.randn(*shape, generator=seeded(sum(shape))) for shape in ((3, 3), (4, 5), (7, 2))]
    bright, dim = (k * torch.where(k > 0, gain, 1.0) for k, gain in zip(random[:2], (5.0, 0.2), strict=True))
    return [*random, bright, dim, random[0].abs(), -random[1].abs()]


@worth(2)
def binning(
    binned_snr: Callable[[float, float, int], float], added_snr: Callable[[float, float, int], float]
) -> None:
    """Take pictures of a grey wall, with binning and without, and compare."""
    for photons, read_noise, side in ((5.0, 2.5, 2), (2.0, 1.5, 3), (40.0, 12.0, 4)):
        samples = side**2
        wall = torch.full((300 * side, 300 * side), photons, dtype=torch.float64)
        binned = Camera(photons=1.0, binning=side, read_noise=read_noise)(wall, seeded(side))
        single = Camera(photons=1.0, read_noise=read_noise)(wall, seeded(side))
        added = samples * avg_pool2d(single[None], side)[0]
        signal = samples * photons
        case = f"{samples} samples with {photons:g} photons each and a read noise of {read_noise:g}"
        for name, answer, picture in (
            ("binned in the sensor", binned_snr, binned),
            ("added in the computer", added_snr, added),
        ):
            seen = (picture.mean() / picture.std()).item()
            got = number(answer(photons, read_noise, samples), "the ratio")
            other = added if picture is binned else binned
            shot = signal / math.sqrt(signal)
            same(
                got,
                seen,
                f"{case}, {name}, have a ratio of {seen:.2f}, and not {got:.4g}",
                "variances add: that of the photons, and that of each reading. How often is it read?",
                mistakes=[
                    (
                        (other.mean() / other.std()).item(),
                        "count the readings: one for each time that the converter runs.",
                    ),
                    (seen**2, "the noise is the root of the variance."),
                    (seen / samples, "the signal is that of all samples together."),
                    (shot, "reading costs noise as well."),
                    (
                        signal / (signal / shot + read_noise),
                        "scatters do not add; their squares do.",
                    ),
                    (
                        signal / (signal / shot + samples * read_noise),
                        "scatters do not add; their squares do.",
                    ),
                ],
                rtol=0.015,
            )


@worth(3)
def faint(
    score: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor],
    score_snr: Callable[[Tensor, Tensor, float, float], float],
) -> None:
    """Score exposures of random pictures, and compare the predicted ratio with thousands of them."""
    # Bright and faint regions, where the pictures differ by unequal amounts.
    means = torch.rand(2, 9, 12, generator=seeded(0)) * torch.linspace(0.1, 3, 12)
    expected = means[0] - means[1]
    shots = Camera(photons=3.0, read_noise=1.0)(means.expand(5, 2, 9, 12), seeded(1))
    plus, minus = shots.unbind(1)
    got = tensor(
        score(plus.clone(), minus.clone(), means[0].clone(), means[1].clone()), (5,), "the score"
    ).double()
    wanted = torch.einsum("nyx,yx->n", plus - minus, expected).double()
    same(
        got / got.norm(),
        wanted / wanted.norm(),
        "the scores of five exposures are not in the right proportion",
        "one weight for each pixel: what the difference should be there. Then add the pixels.",
        mistakes=[
            (-wanted / wanted.norm(), "the sign: a digit that is there should score above zero."),
            *(
                (found / found.norm(), hint)
                for found, hint in (
                    ((plus - minus).sum((-2, -1)).double(), "the pixels were added without weights."),
                    (
                        torch.einsum("nyx,yx->n", plus - minus, expected.abs()).double(),
                        "the sign of a weight matters: it turns a negative difference round.",
                    ),
                    (
                        torch.einsum("nyx,yx->n", plus + minus, expected).double(),
                        "the two exposures are subtracted.",
                    ),
                )
            ),
        ],
    )
    for photons, read_noise, hint in (
        (
            50.0,
            0.0,
            "without read noise: counts scatter, in both pictures, and a weight is squared with them.",
        ),
        (1.0, 20.0, "with much read noise: how many readings does a pixel's difference hold?"),
        (
            5.0,
            2.0,
            "add the variances of light and reading in each pixel, then weight, add and take the root.",
        ),
    ):
        shots = Camera(photons=photons, read_noise=read_noise)(means.expand(8000, 2, 9, 12), seeded(2))
        scores = torch.einsum("nyx,yx->n", shots[:, 0] - shots[:, 1], expected)
        seen = (photons * expected.square().sum() / scores.std()).item()
        ratio = number(score_snr(means[0].clone(), means[1].clone(), photons, read_noise), "the ratio")
        same(
            ratio,
            seen,
            f"at {photons:g} photons and a read noise of {read_noise:g} the score has a ratio of {seen:.3g}, "
            f"and not {ratio:.4g}",
            hint,
            mistakes=[
                (seen**2, "that is the mean squared over the variance: take the root."),
                (math.sqrt(2) * seen, "a pixel's difference comes from two pictures, and both are read."),
                (seen / photons, "the light is missing in the signal."),
                (
                    seen / math.sqrt(photons),
                    "brightness is not yet a number of photons: where does it count?",
                ),
                (
                    seen * math.sqrt(photons),
                    "brightness is not yet a number of photons: where does it count?",
                ),
            ],
            rtol=0.04,
        )
