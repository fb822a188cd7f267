"""Checks of chapter 13: room, noise, pillars, luck, and a rescue without labels."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor
from torch.nn.functional import conv2d

from onnlab.checks._check import alike, expect, noise, number, same, seeded, several, tensor, worth
from onnlab.hardware import kernel_layout
from onnlab.optics import Camera, image_incoherent


@worth(1)
def small(largest_aperture: Callable[[float, float, int], float]) -> None:
    """Lay out sites of that size, and of a size a little larger."""
    for side, gap, kernels in (
        (0.6e-3, 50e-6, 8),
        (2e-3, 30e-6, 13),
        (1e-3, 20e-6, 4),
        (0.8e-3, 80e-6, 1),
        (1.5e-3, 0.0, 16),
    ):
        aperture = number(largest_aperture(side, gap, kernels), "the aperture")
        chip = f"on a chip of {side * 1e3:g} mm with gaps of {gap * 1e6:.0f} µm, "
        expect(
            1e-6 < aperture <= side,
            f"{chip}the sites are {aperture:.3g} m wide",
            "how many sites stand along a side? Keep to metres.",
        )
        case = f"{chip}sites of {aperture * 1e6:.1f} µm"

        def pairs(aperture: float, side: float = side, gap: float = gap) -> int:
            return len(kernel_layout(side, side, aperture, gap).pairs)

        room = pairs(aperture * (1 - 1e-6))
        hint = "count the sites along a side, and the gaps between them: they are one fewer."
        across = (side + gap) / (aperture + gap)
        if abs(across - math.ceil(math.sqrt(kernels))) < 1e-3:
            hint = "a signed kernel is two pictures: how many sites does it take?"
        elif abs(across - round(across)) < 1e-3:
            hint = f"{across:.0f} rows and columns are too few: which way do you round?"
        expect(room >= kernels, f"{case} hold {room} signed kernels, and not {kernels}", hint)
        expect(
            pairs(aperture * 1.002) < kernels,
            f"{case} hold {kernels} signed kernels, and larger ones would do so, too",
            "the sites and the gaps between them fill the side; at the rim there is no gap.",
        )


@worth(2)
def dim(reading_noise: Callable[[Tensor, Tensor, float, float], Tensor]) -> None:
    """Take many pictures of two pixels, and look at the spread of their difference."""
    pixels = torch.tensor([[0.8, 0.3], [0.5, 0.5], [0.02, 0.0], [0.1, 0.9]], dtype=torch.float64)
    plus, minus = pixels.T
    many = 40_000

    def spread(photons: float, read_noise: float, minus_read_noise: float | None = None) -> Tensor:
        taken = [
            Camera(photons=photons, read_noise=noise)(
                light[:, None].expand(-1, many).contiguous(), seeded(seed)
            )
            for seed, (light, noise) in enumerate(
                ((plus, read_noise), (minus, read_noise if minus_read_noise is None else minus_read_noise))
            )
        ]
        return (taken[0] - taken[1]).std(1) / photons

    for photons, read_noise in ((200.0, 3.0), (10.0, 2.5), (50.0, 0.0)):
        noise = tensor(
            reading_noise(plus.clone(), minus.clone(), photons, read_noise), plus.shape, "the noise"
        )
        seen = spread(photons, read_noise)
        added = Camera(photons=photons, read_noise=read_noise)(
            (plus - minus).abs()[:, None].expand(-1, many).contiguous(), seeded(2)
        )
        same(
            noise,
            seen,
            f"at {photons:.0f} photons and a read noise of {read_noise:g} the spread of many readings is "
            f"{[round(value, 3) for value in seen.tolist()]}, "
            f"and not {[round(value, 3) for value in noise.tolist()]}",
            "variances of independent things add. A Poisson number has the variance of its mean.",
            mistakes=[
                (seen**2, "this is the variance; the task asks for its root."),
                (photons * seen, "this is in electrons; the brightness has another unit."),
                ((photons * seen) ** 2, "this is the variance in electrons; the task asks for its root."),
                (spread(photons, read_noise, 0.0), "two pixels are read, each with read noise of its own."),
                (spread(photons, 0.0), "read noise is missing."),
                (
                    (added.var(1) + read_noise**2).sqrt() / photons,
                    "the light of two pixels is subtracted, and their noise is not.",
                ),
                (
                    added.std(1) / photons,
                    "the light of two pixels is subtracted, and their noise is not.",
                ),
            ],
            rtol=0.02,
        )


@worth(2)
def red(kernel_of: Callable[[Tensor, Tensor, int], Tensor]) -> None:
    """Send random pictures through random PSFs, and through `conv2d` with the kernel."""
    for side, samples in ((5, 3), (3, 5), (7, 1)):
        psfs = torch.rand(2, side * samples, side * samples, dtype=torch.float64, generator=seeded(side))
        psfs /= 2 * psfs.sum((-2, -1), keepdim=True)
        gains = torch.tensor([3.0, 1.5], dtype=torch.float64)
        kernel = tensor(kernel_of(psfs.clone(), gains.clone(), samples), (side, side), "the kernel")
        scene = torch.zeros(24, 24, dtype=torch.float64)
        scene[8:16, 8:16] = torch.rand(8, 8, dtype=torch.float64, generator=seeded(1))
        seen = [
            image_incoherent(scene, block.reshape(side, samples, side, samples).sum((1, 3))) for block in psfs
        ]

        def read(kernel: Tensor, scene: Tensor = scene, side: int = side) -> Tensor:
            return conv2d(scene[None, None], kernel[None, None].to(scene.dtype), padding=side // 2)[0, 0]

        wanted = gains[0] * seen[0] - gains[1] * seen[1]
        for mistaken, hint in (
            (kernel.flip(-2, -1), "light convolves and conv2d does not: one of them has to be turned."),
            (kernel.flip(-1), "a turn by half a circle mirrors rows *and* columns."),
            (kernel.flip(-2), "a turn by half a circle mirrors rows *and* columns."),
            (kernel.T.flip(-2, -1), "a transpose is not a turn."),
            (kernel.T, "rows and columns have changed places."),
            (kernel * samples**2, "a pixel adds up the light of its samples; it does not average."),
            (
                kernel.flip(-2, -1) * samples**2,
                "a pixel adds up the light of its samples; it does not average.",
            ),
            (-kernel, "which picture is subtracted from which?"),
        ):
            if not alike(read(kernel), wanted, 1e-5) and alike(read(mistaken), wanted, 1e-5):
                expect(False, "conv2d with this kernel reads something else than the camera", hint)
        same(
            read(kernel),
            wanted,
            "conv2d with this kernel reads something else than the camera",
            "collect what falls on each pixel, multiply each picture by its own gain, and subtract.",
            mistakes=[
                (seen[0] - seen[1], "a PSF is a share of the light, and a kernel is not: each has a gain."),
                (gains[0] * seen[0] + gains[1] * seen[1], "electronics *subtracts* the second picture."),
                (gains[0] * (seen[0] - seen[1]), "each of the two has a gain of its own."),
                (gains[1] * seen[0] - gains[0] * seen[1], "the first gain is that of the positive picture."),
            ],
            rtol=1e-5,
        )


@worth(1)
def luck(luck: Callable[[float, int, int, int, Generator], float]) -> None:
    """Compare with the largest of Gaussian numbers, which many right answers nearly are."""
    for accuracy, images, candidates in ((0.9, 400, 4), (0.7, 300, 10), (0.9, 400, 1)):
        points = number(luck(accuracy, images, candidates, 600, seeded(candidates)), "the luck")
        spread = 100 * math.sqrt(accuracy * (1 - accuracy) / images)
        draws = torch.randn(20_000, candidates, dtype=torch.float64, generator=seeded(0)) * spread
        seen = draws.amax(1).mean().item()
        found = (
            f"the best of {candidates} at {accuracy:.0%} on {images} images is {points:.3g} points too good"
        )
        if candidates == 1:
            expect(
                abs(points) < 0.2 * spread,
                found,
                "a single network is not chosen: on average its score is right. Keep the sign.",
            )
            continue
        expect(
            abs(points) > 0.15 * seen,
            f"{found}; it should be about {seen:.2g}",
            "choose the best in each draw first, and average over the draws then. And points are per cent.",
        )
        same(
            points,
            seen,
            f"{found}, and not {seen:.2g}",
            "each candidate gets each image right or wrong; the best of a draw is compared with the truth.",
            mistakes=[
                (100 * accuracy + seen, "this is the score itself. How far above the truth is it?"),
                (
                    draws[:19_800].reshape(33, 600, candidates).amax(1).mean().item(),
                    "this is the best of all draws; the best of all *candidates* is asked for.",
                ),
                (
                    (draws.amax(1) - draws.amin(1)).mean().item(),
                    "compare with the truth, not with the worst.",
                ),
                (
                    draws.abs().amax(1).mean().item(),
                    "a score that is too low is never chosen: keep the sign.",
                ),
            ],
            rtol=0.1,
        )
        again = number(luck(accuracy, images, candidates, 600, seeded(candidates)), "the luck")
        expect(
            abs(again - points) < 1e-6,
            "two calls with generators of one seed do not give the same result",
            "draw everything from the generator that you are given.",
        )


Layer = tuple[Tensor, Tensor]
Undo = Callable[[Tensor, Tensor, Tensor, Tensor, Sequence[float]], Layer]


@worth(3)
def undo(undo: Undo) -> None:
    """Mix up maps in a known way, and see on other images whether the answer finds the way back."""
    d, h = 12, 5
    weight, bias = noise(h, d, seed=0), noise(h, seed=1)
    mix = torch.eye(d, dtype=torch.float64) + 0.3 * noise(d, d, seed=2) / math.sqrt(d)
    paper, other = noise(d + 3, d, seed=3) + 2, noise(50, d, seed=4) + 2

    def device(maps: Tensor) -> Tensor:
        return maps @ mix + 0.7

    def rescued(read: Tensor, paper: Tensor, ridges: Sequence[float]) -> Layer:
        answer = several(
            undo(read.clone(), paper.clone(), weight.clone(), bias.clone(), ridges),
            2,
            "the result is not a pair",
            "return the weight and the bias of the new layer.",
        )
        return (
            tensor(answer[0], (h, read.shape[1]), "the weight"),
            tensor(answer[1], (h,), "the bias"),
        )

    new, shift = rescued(device(paper), paper, (1e-12,))
    wanted, got = other @ weight.T + bias, device(other) @ new.double().T + shift
    back = torch.linalg.inv(mix)
    for mistaken, hint in (
        (weight @ back, "the map is transposed: which index of W meets a reading?"),
        (weight @ mix, "this leads from paper to the device. The network gets readings and knows paper."),
        (weight @ mix.T, "this leads from paper to the device. The network gets readings and knows paper."),
    ):
        expect(not alike(new, mistaken, 1e-3), "the new layer does not undo a known mixture", hint)
    off = got - wanted
    expect(
        alike(got, wanted, 1e-4) or not alike(off, off.mean(0).expand_as(off), 1e-3),
        "the new layer is off by the same numbers for every image",
        "the two means: what do W and b make of them?",
    )
    same(
        got,
        wanted,
        "the new layer does not undo a known mixture on images that it has not seen",
        "fit on all images in the end, with means taken off, and give the new layer readings of the device.",
        rtol=1e-4,
    )
    new, shift = rescued(device(paper), paper, (1e9,))
    flat = (weight @ paper.mean(0) + bias).expand(50, -1)
    same(
        device(other) @ new.double().T + shift,
        flat,
        "under a huge ridge the layer does not fall back to what it says of the mean image",
        "the ridge holds the map down, not the mean: take both means off first.",
        rtol=1e-3,
    )
    loud = [device(other) @ rescued(device(paper), paper, (0.3,))[0].double().T]
    loud += [10 * device(other) @ rescued(10 * device(paper), paper, (0.3,))[0].double().T]
    same(
        loud[0],
        loud[1],
        "the result depends on the unit of the readings",
        "the docstring says in which unit the ridge is given.",
        rtol=1e-3,
    )
    d = 30
    weight, mix = noise(h, d, seed=5), torch.eye(d, dtype=torch.float64) + 0.05 * noise(d, d, seed=6)
    faint = torch.logspace(0, -1, d, dtype=torch.float64)
    ridges = tuple(10.0**power for power in range(-8, 3))
    for seed in (0, 1, 2):
        paper, other = (noise(n, d, seed=10 * seed + n) * faint for n in (45, 300))
        read, read_other = (
            device(maps) + 0.3 * noise(*maps.shape, seed=10 * seed + len(maps) + 1) for maps in (paper, other)
        )

        def missed(ridges: Sequence[float]) -> float:
            new, shift = rescued(read, paper, ridges)  # noqa: B023
            return (read_other @ new.double().T + shift - other @ weight.T - bias).norm().item()  # noqa: B023

        each = [missed((ridge,)) for ridge in ridges]
        chosen = missed(ridges)
        expect(
            chosen < 1.2 * min(each),
            f"the chosen ridge misses the maps of other images by {chosen:.3g}, the best by {min(each):.3g}",
            "the images that were fitted say nothing about the ridge. Ask images that were held out.",
        )
