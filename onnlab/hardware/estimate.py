"""How accurate will a device be? An answer before anything is trained, by kernel regression."""

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Generator, Tensor, nn
from torch.autograd import grad
from torch.nn.functional import conv2d, one_hot, unfold

from onnlab.data import Dataset
from onnlab.distill import ntk
from onnlab.hardware.device import Device, NoisyConvolution, build, seen_by
from onnlab.hardware.regression import best_ridge, kernel_ridge, wide_back_end, wide_features
from onnlab.optics._check import one_of, whole_number

METHODS = ("features", "tangent")
RIDGES = tuple(10.0**power for power in range(-6, 2))
"""Those to choose from, in units of the mean eigenvalue of the kernel."""

MANY, BATCHES = 1024, 4  # random kernels that stand for infinitely many, and in how many batches
MOST_PIXELS = 49  # of a kernel behind a square law, for which the closed form costs less than they do
CHUNK, ENTRIES = 250, 2**24  # images whose readings, and pooled readings of all images, held at a time
SAMPLES = 10_000  # of the accuracy, for the interval


@dataclass(frozen=True)
class Estimate:
    """What a device is expected to reach.

    Parameters
    ----------
    device : Device
        The candidate.
    mean : float
        Accuracy, from 0 to 1, mean over the draws of random kernels.
    low, high : float
        Where the measured accuracy of one such device lies in 95 of 100 cases: another draw of kernels, and
        other images of the same number. A single draw knows of other images only.
    draws : tuple of float
        The accuracy of each draw.
    ridges : tuple of float
        The ridge that each draw chose, in units of the mean eigenvalue.
    infinite : float or None
        Accuracy with infinitely many kernels, None if not asked for.
    infinite_error : float or None
        Its standard error from the random kernels that stood for infinitely many; 0 for a closed form.
    images : int
        How many images were scored.
    seconds : float
        How long it took.
    """

    device: Device
    mean: float
    low: float
    high: float
    draws: tuple[float, ...]
    ridges: tuple[float, ...]
    infinite: float | None
    infinite_error: float | None
    images: int
    seconds: float


def estimate_accuracy(
    data: Dataset,
    device: Device,
    *,
    method: str = "features",
    n_train: int = 1000,
    split: str = "validation",
    draws: int = 4,
    infinite: bool = False,
    seed: int = 0,
) -> Estimate:
    r"""Estimate the accuracy of a device before it is trained.

    .. math:: \hat y_{\mathrm{new}} = \Theta_{\mathrm{new, train}}
        (\Theta_{\mathrm{train, train}} + \rho I)^{-1} y_{\mathrm{train}}

    with the kernel :math:`\Theta` of the device with random kernels, a finite number of them. The class with
    the largest :math:`\hat y` is the answer.

    Parameters
    ----------
    data : Dataset
        Pictures with one label each.
    device : Device
        The candidate.
    method : {"features", "tangent"}
        ``"features"``: the kernels stay random, and the back end learns from the pooled maps; its hidden
        layers are taken to be infinitely wide, :func:`wide_back_end`. Without one this is ridge regression
        on the maps. ``"tangent"``: the whole network learns, as far as a straight line leads: kernels of
        light with their gradients, which all classes share, and the finite back end with its empirical
        tangent kernel :func:`onnlab.distill.ntk`, the mean over the classes, as if each had hidden layers of
        its own. It takes about ten times as long.
    n_train : int
        Training images, drawn by the seed and stratified.
    split : {"validation", "test"}
        Where to measure. On the validation split, each half is scored with the ridge that the other half
        chose, so that a design never looks at the test split. On the test split, validation chooses.
    draws : int
        How many times to draw the random numbers of a device.
    infinite : bool
        Estimate infinitely many kernels, too: in closed form for a linear camera and for a square law with
        kernels of up to 49 pixels; otherwise from 1024 random kernels, with an error by the jackknife over 4
        batches of them. Hidden layers are infinitely wide.
    seed : int
        Of the training images and of all random numbers.

    Returns
    -------
    Estimate
        With its interval. The interval does not know how far regression is from training.

    Raises
    ------
    TypeError, ValueError
        If an argument is of another kind or out of range, or the device does not fit the images.

    Notes
    -----
    Noise: a network that is trained sees each image many times, each time with other noise. So the kernel of
    the training images is that of readings averaged over the noise, :meth:`NoisyConvolution.expected`. The
    others are read once, and noise is drawn for each of their readings. What training does about noise, it
    does by the ridge: behind a linear camera and a linear read-out, least squares over all noise of variance
    :math:`\sigma^2` is ridge regression with :math:`n_{\mathrm{train}} \sigma^2 / P` and a pool of :math:`P`
    pixels. That ridge is among those that the noisy validation images choose from. Infinitely many kernels
    average all noise out.

    Source: Xiang et al. (2025), arXiv:2508.08421, with infinitely many kernels. That cannot tell devices of
    different numbers of kernels apart.
    """
    start = time.perf_counter()
    one_of("method", method, METHODS)
    one_of("split", split, ("validation", "test"))
    whole_number("draws", draws)
    if data.train.labels.ndim != 1:
        raise ValueError("data must have one label for each image, got one for each pixel")
    parts = (data.train.subset(n_train, seed), data.validation, data.test)
    data = seen_by(device, Dataset(data.name, *parts, data.classes, data.credit))
    scored = [data.validation] if split == "validation" else [data.validation, data.test]
    images = torch.cat([part.images for part in (data.train, *scored)])
    kernel_of = {"features": _features, "tangent": _tangent}[method]
    seeds = torch.randint(2**31, (draws + BATCHES,), generator=Generator().manual_seed(seed)).tolist()
    kernels = (kernel_of(device, data, images, number) for number in seeds[:draws])
    found = [_score(kernel, shared, data, split) for kernel, shared in kernels]
    accuracies, ridges = zip(*found, strict=True)
    wide = _infinite(device, data, images, split, seeds[draws:]) if infinite else (None, None)
    low, high = _interval(accuracies, len(scored[-1]), seed)
    mean, count = sum(accuracies) / draws, len(scored[-1])
    seconds = time.perf_counter() - start
    return Estimate(device, mean, low, high, accuracies, ridges, wide[0], wide[1], count, seconds)


def _score(kernel: Tensor, shared: Tensor | None, data: Dataset, split: str) -> tuple[float, float]:
    """Accuracy and ridge of a kernel ``(train + validation (+ test), train)``, and of shared gradients."""
    n, classes = len(data.train), len(data.classes)
    labels = (
        data.validation.labels
        if split == "validation"
        else torch.cat([data.validation.labels, data.test.labels])
    )
    gradients = None if shared is None else (shared[:n], shared[n:])
    predictions = kernel_ridge(
        kernel[:n], one_hot(data.train.labels, classes), kernel[n:], RIDGES, shared=gradients
    )
    right = (predictions.argmax(-1) == labels).double()

    def best(chosen: slice) -> int:
        return best_ridge(predictions[:, chosen], labels[chosen])

    everything = slice(len(data.validation))
    overall = best(everything)
    if split == "test":
        return right[overall, len(data.validation) :].mean().item(), RIDGES[overall]
    halves = slice(0, None, 2), slice(1, None, 2)
    counted = torch.cat([right[best(one), other] for one, other in (halves, halves[::-1])])
    return counted.mean().item(), RIDGES[overall]


def _features(device: Device, data: Dataset, images: Tensor, seed: int) -> tuple[Tensor, Tensor | None]:
    """Kernel of a wide back end behind the maps of random kernels."""
    gram, own = _gram([_maps(device, data, images, seed)], len(data.train))
    return wide_back_end(gram, own, own[: len(data.train)], len(device.hidden)), None


def _tangent(device: Device, data: Dataset, images: Tensor, seed: int) -> tuple[Tensor, Tensor | None]:
    """Tangent kernel of the untrained back end, for one class, and the gradients by the kernels of light."""
    model, generator, n = build(device, data, seed), Generator().manual_seed(seed), len(data.train)
    optics, size = cast(NoisyConvolution, model.optics), device.kernel_size
    convolved: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        convolved.append(output.detach().requires_grad_())
        return convolved[-1]

    handle = optics.convolution.register_forward_hook(cut)
    maps, gradients = [], []
    for x, is_new in (
        (x, new) for new, part in enumerate((images[:n], images[n:])) for x in part.split(CHUNK)
    ):
        maps.append(model.pool(optics(x, generator) if is_new else optics.expected(x)))
        logits = model.back_end(maps[-1])
        patches = unfold(x, size, padding=size // 2).mT
        deltas = [grad(one.sum(), convolved[-1], retain_graph=True)[0].flatten(2) for one in logits.unbind(1)]
        gradients.append(torch.stack([(delta @ patches).flatten(1) for delta in deltas], dim=1))
    handle.remove()
    seen = torch.cat(maps).detach()
    with torch.no_grad():
        rows = [ntk(model.back_end, seen[:n]), *(ntk(model.back_end, x, seen[:n]) for x in seen[n:].split(n))]
    return torch.cat(rows) / len(data.classes), torch.cat(gradients)


def _infinite(
    device: Device, data: Dataset, images: Tensor, split: str, seeds: Sequence[int]
) -> tuple[float, float]:
    """Accuracy with infinitely many kernels, and its standard error."""
    n, size = len(data.train), device.kernel_size
    pixels = images.shape[1] * size**2

    def accuracy(gram: Tensor, own: Tensor) -> float:
        kernel = wide_back_end(gram, own, own[:n], len(device.hidden))
        return _score(kernel, None, data, split)[0]

    if device.camera == "linear" or (device.camera == "square-law" and pixels <= MOST_PIXELS):
        gram, own = _gram(wide_features(images, size, device.pool, device.camera), n)
        own[n:] += _noise_level(device, images)
        return accuracy(gram, own), 0.0
    count = MANY // BATCHES
    step = max(1, ENTRIES * device.pool**2 // (len(images) * images.shape[-2] * images.shape[-1]))
    batches = []
    for seed in seeds:
        starts = range(0, count, step)
        some = (replace(device, kernels=min(step, count - start)) for start in starts)
        batches.append(_gram((_maps(one, data, images, seed + i) for i, one in enumerate(some)), n))
    grams, owns = (torch.stack(kind) for kind in zip(*batches, strict=True))
    gram, own = grams.sum(0), owns.sum(0)
    without = torch.tensor([accuracy(gram - g, own - o) for g, o in zip(grams, owns, strict=True)])
    error = ((BATCHES - 1) * without.var(correction=0)).sqrt().item()
    return accuracy(gram, own), error


def _maps(device: Device, data: Dataset, images: Tensor, seed: int) -> Tensor:
    """Pooled readings of all images, flat, of random kernels; those of the training images averaged."""
    model, generator, n = build(device, data, seed), Generator().manual_seed(seed), len(data.train)
    optics = cast(NoisyConvolution, model.optics)
    with torch.no_grad():
        readings = [optics.expected(x) for x in images[:n].split(CHUNK)]
        readings += [optics(x, generator) for x in images[n:].split(CHUNK)]
        return torch.cat([model.pool(y).flatten(1) for y in readings])


def _gram(blocks: Iterable[Tensor], n: int) -> tuple[Tensor, Tensor]:
    """Inner products of rows with the first ``n``, and of each with itself, over blocks of columns."""
    gram, own = torch.zeros(1, dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    for block in blocks:
        gram = gram + block @ block[:n].T
        own = own + block.square().sum(1)
    return gram, own


def _noise_level(device: Device, images: Tensor) -> float:
    """What noise adds to the kernel of an image with itself, for infinitely many kernels."""
    channels, rows, columns = images.shape[1:]
    size = device.kernel_size
    mean = torch.full((1, channels, size, size), 1 / (channels * size**2))
    energy = conv2d(images.square(), mean, padding=size // 2)[..., -rows:, -columns:]
    power = energy.mean() if device.camera == "linear" else 3 * energy.square().mean()
    return device.noise**2 * power.item() * rows * columns / device.pool**4


def _interval(accuracies: Sequence[float], count: int, seed: int) -> tuple[float, float]:
    """Middle 95 % of the accuracies of another draw, on as many other images.

    What is not known is drawn as well: by Student's t the mean of the draws and their scatter, and by a beta
    distribution which true accuracy stands behind a count of right answers.
    """
    random = np.random.default_rng(seed)
    n, mean = len(accuracies), np.mean(accuracies)
    scatter = np.std(accuracies, ddof=1) * np.sqrt(1 + 1 / n) if n > 1 else 0.0
    drawn = np.clip(mean + scatter * random.standard_t(max(n - 1, 1), SAMPLES), 0, 1)
    truth = random.beta(count * drawn + 1, count * (1 - drawn) + 1)
    right = random.binomial(count, truth) / count
    low, high = np.quantile(right, (0.025, 0.975)).tolist()
    return low, high
