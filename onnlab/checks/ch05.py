"""Checks of chapter 5: layers as spectra, their merging, and the linear counterpart of a network."""

import math
from collections.abc import Callable, Iterable
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, pad

from onnlab.checks._check import Wrong, alike, expect, noise, number, same, seeded, several, tensor, worth
from onnlab.data import Dataset, Split, load
from onnlab.distill import evaluate
from onnlab.networks import LinearCounterpart, SpectralConv2d, SpectralPool2d, linear_counterpart
from onnlab.optics import Camera, FourF, Grid


@worth(1)
def bright(brightening: Callable[[list[tuple[int, int]]], float]) -> None:
    """Cut the spectra of white pages, and look how bright they come back."""
    for sides in ([(21, 7), (9, 4), (6, 1)], [(28, 14), (10, 5)]):
        pages = []
        for before, after in sides:
            low = torch.fft.fftfreq(before).abs().argsort(stable=True)[:after]
            cut = torch.fft.fft2(torch.ones(before, before))[low[:, None], low]
            pages.append(torch.fft.ifft2(cut)[0, 0].real.item())
        seen, ratios = math.prod(pages), [before / after for before, after in sides]
        factor = number(brightening(list(sides)), "the factor")
        case = ", then ".join(f"from {before} to {after}" for before, after in sides)
        same(
            factor,
            seen,
            f"a white page cut {case} comes back {seen:.4g} times as bright, and not {factor:.4g} times",
            "follow the zero frequency: what is it before the cut, and what does ifft2 divide by behind it?",
            mistakes=[
                (math.sqrt(seen), "pictures have two axes."),
                (1 / seen, "it is the other way round: the forward transform adds up more samples."),
                (sum(pages), "the second pool gets pictures that are too bright already."),
                (sum(ratios), "the second pool gets pictures that are too bright already."),
                (pages[0], "there is more than one pool."),
                (
                    (sides[0][0] / sides[-1][1]) ** 2,
                    "between pools, convolutions crop pictures, too; they change no brightness.",
                ),
            ],
        )


@worth(2)
def back(gradient_to_images: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Compare with the gradient that PyTorch finds for the same layer, written with conv2d."""
    for inside, outside, size, kernel in ((3, 2, (6, 9), (3, 2)), (3, 3, (7, 8), (4, 5))):
        weight = noise(outside, inside, *kernel, seed=1)
        gradient = noise(2, outside, *size, seed=2)
        with torch.enable_grad():
            x = torch.zeros(2, inside, *size, dtype=torch.float64, requires_grad=True)
            y = conv2d(pad(x, (0, kernel[1] - 1, 0, kernel[0] - 1), mode="circular"), weight)
            (wanted,) = torch.autograd.grad(y, x, gradient)
        got = tensor(gradient_to_images(gradient.clone(), weight.clone()), wanted.shape)
        expect(not got.is_complex(), "the result is complex", "images are real, and so are their gradients.")
        spectrum, kernels = torch.fft.fft2(gradient), torch.fft.fft2(weight, s=size)
        again = torch.fft.ifft2(torch.einsum("noyx,ocyx->ncyx", spectrum, kernels.conj())).real
        mistakes = [
            (again, "the kernels still correlate. A transpose takes each sample back where it came from."),
            (wanted / outside, "the sum over the outputs is a sum, and no mean."),
            (wanted * math.prod(size), "fft2 and ifft2 belong together: who divides by the samples?"),
        ]
        if inside == outside:
            crossed = torch.fft.ifft2(torch.einsum("noyx,coyx->ncyx", spectrum, kernels)).real
            mistakes.append((crossed, "the first axis of the kernels is that of the outputs."))
        same(
            got,
            wanted,
            f"from {inside} to {outside} channels the gradient is not that of the layer",
            "ask of one pixel of one input channel: which outputs saw it, and through which sample of which "
            "kernel? There is nothing else in the gradient.",
            mistakes=mistakes,
        )


@worth(1)
def refuse(with_norm_in_head: Callable[[nn.Module, nn.Module, nn.Module], nn.Module]) -> None:
    """Compare the model with the one that was refused, and hand it to the library."""
    for channels, seed in ((4, 0), (6, 1)):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            conv, linear = nn.Conv2d(1, channels, 3, padding=1), nn.Linear(channels * 784, 10)
            norm = nn.LocalResponseNorm(3, alpha=4.0)
            x = torch.randn(5, 1, 28, 28)
            with torch.no_grad():
                wanted, without = (linear(layer(conv(x)).flatten(1)) for layer in (norm, nn.Identity()))
            model = with_norm_in_head(conv, norm, linear)
            if not isinstance(model, nn.Module):
                raise Wrong(f"the result is of type {type(model).__name__}", "return one nn.Sequential.")
            with torch.no_grad():
                got = tensor(model(x), wanted.shape, "the answer of the model")
        same(
            got,
            wanted,
            "the model answers something else than the one that was refused",
            "only the place of the norm in the list may change, not the order of what is computed; another "
            "kind of norm is another network.",
            mistakes=[(without, "the norm is gone, and with it what it did.")],
        )
        try:
            counterpart = linear_counterpart(model, (1, 28, 28))
        except (TypeError, ValueError) as error:
            raise Wrong(
                f"it is still refused: {error}",
                "the head begins with the first Flatten; nn.Unflatten makes images of its numbers again.",
            ) from None
        expect(
            any(isinstance(layer, SpectralConv2d) for layer in counterpart.features.modules()),
            "no layer is left for the light",
            "the convolution went into the head, too: it has to stand before the first Flatten.",
        )
        with torch.no_grad():
            same(counterpart(x), wanted, "the counterpart answers something else", "which layer was lost?")


@worth(2)
def merge(merged_kernel: Callable[[Tensor, Tensor], Tensor]) -> None:
    """Convolve pictures with both layers, and with the one."""
    for seed, (hidden, narrow, wide) in enumerate(((3, (3, 4), (2, 5)), (2, (5, 5), (3, 3)))):
        first, second = noise(hidden, 2, *narrow, seed=seed), noise(4, hidden, *wide, seed=seed + 9)
        kernel = merged_kernel(first.clone(), second.clone())
        given = f"kernels of {narrow} and {wide}"
        if isinstance(kernel, Tensor) and kernel.shape[-2:] in (narrow, wide):
            raise Wrong(
                f"{given} make one of {tuple(kernel.shape[-2:])}",
                "reaches add up: how far apart are the outermost samples that both layers together see?",
            )
        kernel = tensor(kernel, (4, 2, *(a + b - 1 for a, b in zip(narrow, wide, strict=True))))
        expect(not kernel.is_complex(), "the kernels are complex", "kernels of real layers are real.")
        x = noise(2, 2, 14, 15, seed=seed + 20)

        def both(one: Tensor, other: Tensor, x: Tensor = x) -> Tensor:
            return conv2d(conv2d(x, one), other)

        turned = "one kernel stands upside down: is each bar of the formula on both, or on one only?"
        wanted = both(first, second)
        same(
            conv2d(x, kernel.to(x.dtype)),
            wanted,
            f"one layer does not do what the two of {given} do",
            "send one bright pixel through both layers and through the one, and compare the pictures.",
            mistakes=[
                (both(first, second.flip((-2, -1))), turned),
                (both(first.flip((-2, -1)), second), turned),
                (
                    both(first.flip((-2, -1)), second.flip((-2, -1))),
                    "the kernel is turned by 180°: conv2d correlates already.",
                ),
                (wanted / hidden, "the hidden channels add up; do not take their mean."),
            ],
        )


@worth(2)
def single(
    field_from_one: Callable[[Tensor, float], Tensor], deviations: Callable[[float], Iterable[float]]
) -> None:
    """Read fields without noise; then let a camera count photons, and measure the spread."""
    for reference in (0.7, 2.0):
        v = reference * (2 * torch.rand(9, 12, dtype=torch.float64, generator=seeded(3)) - 1)
        intensity = (v + reference).square()
        same(
            tensor(field_from_one(intensity.clone(), reference), v.shape, "the field"),
            v,
            f"the field behind a reference of {reference:g} is not the one that was there",
            "v + r is never negative. Which operation undoes its square?",
            mistakes=[
                (intensity.sqrt(), "the reference is still in it."),
                ((intensity - reference**2) / (2 * reference), "this leaves out the square of v."),
                (-v, "the sign is lost again, or turned."),
                (v.abs(), "the sign is lost again, or turned."),
            ],
        )
    weak, reference = 0.01 * (2 * torch.rand(300, 300, generator=seeded(4)) - 1), 1.0
    for photons in (400.0, 2e4):
        generator = seeded(int(photons))
        camera, half = Camera(photons=photons), Camera(photons=photons / 2)
        picture = camera.to_intensity(camera((weak + reference).square(), generator))
        plus, minus = (
            half.to_intensity(half((weak + sign * reference).square(), generator)) for sign in (1, -1)
        )
        readings = (field_from_one(picture, reference), (plus - minus) / (4 * reference))
        answer = deviations(photons)
        several(answer, 2, f"deviations returns {answer!r}", "return two numbers: one picture, pair.")
        for name, told, reading in zip(("one picture", "a pair"), answer, readings, strict=True):
            told, seen = number(told, f"the deviation of {name}"), (reading - weak).std().item()
            same(
                told,
                seen,
                f"with {photons:.0f} photons in all the fields from {name} scatter by {seen:.4g}, and not by "
                f"{told:.4g}",
                "start from a Poisson number: its variance is its mean. How much does v change if it does?",
                mistakes=[
                    (seen**2, "this is the variance; a standard deviation is its root."),
                    (2 * seen, "the root of a number scatters less than the number: what is its slope?"),
                    (
                        seen / math.sqrt(2),
                        "this is a pair with all the light in each picture; it has to share.",
                    ),
                    (seen * math.sqrt(2), "both pictures are noisy, but the difference counts v twice."),
                ],
                rtol=0.02,
            )


@worth(2)
def shift(read_camera: Callable[[Tensor, int, int, int], Tensor]) -> None:
    """Image random fields by an empty 4f system, and compare the reading with the object itself."""
    for shape, step, size, displacement in (
        ((16, 16), 4, 3, 0),
        ((9, 14), 2, 4, 0),
        ((16, 16), 4, 3, 1),
        ((9, 14), 2, 4, 3),
        ((15, 11), 3, 3, 2),
    ):
        grid = Grid(shape=shape, pitch=10e-6, wavelength=532e-9)
        u = torch.complex(noise(2, 3, *shape, seed=5), noise(2, 3, *shape, seed=6))
        plane = FourF(grid, focal_length=0.1)(u)

        def every(field: Tensor, step: int = step, end: int = step * size) -> Tensor:
            return field[..., :end:step, :end:step]

        got = read_camera(plane.clone(), step, size, displacement)
        away = displacement * (displacement != 0)
        plain, turned = every(plane.roll(-away, -1)), every(plane.flip((-2, -1)).roll(away, -1))
        mistakes = [
            (plain, "the picture still stands upside down."),
            (
                plain.flip((-2, -1)),
                "the pixels are turned about the middle of the reading, not of the window.",
            ),
            (
                turned,
                "the turn leaves the sample n // 2 where it is. On an even axis flip does not: off by one.",
            ),
        ]
        if displacement:
            mistakes += [
                (every(u.roll(-displacement, -1)), "the camera went to smaller indices."),
                (every(u.roll(displacement, -2)), "rows come before columns: the camera went downwards."),
                (every(u.roll((displacement, displacement), (-2, -1))), "the rows stay where they are."),
                (
                    every(u.roll(step * displacement, -1)),
                    "the displacement is in samples, and not in pixels of the camera.",
                ),
                (every(u), "the camera has not moved."),
            ]
        same(
            tensor(got, (2, 3, size, size)),
            every(u.roll(displacement, -1)),
            f"on {shape[0]} × {shape[1]} samples a camera displaced by {displacement} reads other samples",
            "where does the sample [0, 0] of the object go? Then [0, step], and then move the camera.",
            mistakes=mistakes,
        )


@worth(3)
def average(
    train_counterpart: Callable[[nn.Module, Dataset, str, int, int], tuple[LinearCounterpart, float]],
) -> None:
    """Train tiny students twice; look at their front ends, and at the data they were chosen on."""
    digits = load("mnist-mini")
    held_out = Split(digits.validation.pixels[:400], digits.validation.labels[:400])
    # Whoever looks at this test split is misled: its labels are those of other digits.
    misleading = Split(digits.test.pixels[:400], (digits.test.labels[:400] + 3) % 10)
    data = replace(digits, train=digits.train.subset(600, 0), validation=held_out, test=misleading)
    unseen = Split(digits.test.pixels[400:1000], digits.test.labels[400:1000])
    with torch.random.fork_rng():
        torch.manual_seed(7)
        teacher = nn.Sequential(
            nn.Conv2d(1, 5, 5, padding=2), nn.ReLU(), nn.MaxPool2d(4), nn.Flatten(), nn.Linear(245, 10)
        )
        with torch.no_grad():
            for parameter in teacher.parameters():
                parameter.mul_(2)
        before = _vector(teacher).clone()
        for pool, kind in (("average", nn.AvgPool2d), ("spectral", SpectralPool2d)):
            results: list[tuple[LinearCounterpart, float]] = []
            for seed in (3, 3, 4):
                torch.manual_seed(100 + len(results))
                answer = train_counterpart(teacher, data, pool, 4, seed)
                if not isinstance(answer, tuple) or len(answer) != 2:
                    raise Wrong("the result is no pair", "return the student and its validation accuracy.")
                results.append(answer)
            student = results[0][0]
            _look_at(student, pool, kind, held_out.images[:8])
            expect(
                alike(_vector(teacher), before, 0.0), "the teacher has changed", "only the student learns."
            )
            expect(
                abs(torch.corrcoef(torch.stack([_vector(student), before]))[0, 1].item()) < 0.5,
                "the student starts from the teacher's weights",
                "copy_weights says so; a comparison of pools begins with fresh ones.",
            )
            first, again, other = (_vector(model) for model, _ in results)
            expect(
                alike(first, again, 1e-4),
                "the same seed gives two different students",
                "the first weights come from torch's global generator: seed it before they are drawn.",
            )
            expect(
                not alike(first, other, 1e-2),
                "two seeds give the same student",
                "both the first weights and the order of the batches follow from the argument seed.",
            )
            told = number(results[0][1], "the validation accuracy")
            measured = evaluate(student, held_out).accuracy
            same(
                told,
                measured,
                f"the accuracy that is returned is {told:.4g}; on the validation split it is {measured:.4g}",
                "the history of fit knows the best epoch, whose weights the student has.",
                mistakes=[
                    (evaluate(student, misleading).accuracy, "the test split is read once, at the very end."),
                    (evaluate(student, data.train).accuracy, "this is the accuracy on the training images."),
                    (100 * measured, "give a share from 0 to 1, not per cent."),
                ],
                rtol=1e-6,
            )
            score = evaluate(student, unseen).accuracy
            expect(
                score > 0.6,
                f"with {pool} pools the student gets {score:.0%} of unseen digits right after four epochs",
                "train on data.train, for all epochs, with the learning rate of the task.",
            )


def _vector(model: nn.Module) -> Tensor:
    """All parameters in a row, each kind of layer in its place."""
    return torch.cat([parameter.detach().flatten() for parameter in model.parameters()])


def _look_at(student: object, pool: str, kind: type[nn.Module], x: Tensor) -> None:
    """Raise unless the student is a counterpart with this pool whose front end is linear."""
    if not isinstance(student, LinearCounterpart):
        raise Wrong(
            f"the student is of type {type(student).__name__}", "linear_counterpart returns the student."
        )
    expect(
        any(isinstance(layer, kind) for layer in student.features.modules()),
        f'pool="{pool}" gives a student without such a pool',
        "hand the argument on to linear_counterpart.",
    )
    with torch.no_grad():
        zero, one, other, both = (student.features(part) for part in (0 * x, x, x.flip(0), x - x.flip(0)))
    expect(
        alike(both + other, one + zero, 1e-3),
        "the front end is not linear",
        "look for a ReLU: which option puts one behind each pool?",
    )
