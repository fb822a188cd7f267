"""Whether estimates before training put devices in the order in which training puts them."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from onnlab.data import Dataset
from onnlab.distill import evaluate, fit
from onnlab.distill.parallel import processes
from onnlab.experiments.cluster import ClusterError
from onnlab.experiments.runs.images import dataset
from onnlab.hardware import Device, build, estimate_accuracy, seen_by, sweep
from onnlab.networks._text import columns

DEVICES = (
    Device(1, 7, pool=7),
    Device(4, 7),
    Device(16, 7),
    Device(1, 5, "rectified"),
    Device(4, 5, "rectified"),
    Device(4, 5, "rectified", noise=1.0),
    Device(16, 7, "rectified"),
    Device(8, 11, "rectified", pool=7),
    Device(2, 3, "square-law", pool=7),
    Device(8, 7, "square-law"),
    Device(8, 7, "square-law", noise=1.0),
    Device(8, 7, pool=14),
    Device(8, 7, hidden=(64,)),
    Device(8, 7, noise=2.0, hidden=(64,)),
    Device(8, 3, "rectified", hidden=(64,)),
    Device(8, 7, "rectified", image_size=14, pool=2),
)
"""Sixteen candidates that differ in everything that a :class:`onnlab.hardware.Device` says."""


@dataclass(frozen=True)
class Budget:
    """How a device is estimated and how it is trained: alike for all devices.

    Parameters
    ----------
    n_train, n_validation : int
        Training and validation images, the same for both.
    draws : int
        As in :func:`onnlab.hardware.estimate_accuracy`.
    epochs : int
        Passes over the training images.
    learning_rates : tuple of float
        Each is tried with each seed, and validation chooses.
    method : str
        As there.
    batch_size : int
        Images in a step.
    seeds : int
        Trainings of a device; their test accuracies are averaged.
    data : str
        See :func:`onnlab.data.load`.
    """

    n_train: int
    n_validation: int
    draws: int
    epochs: int
    learning_rates: tuple[float, ...]
    seeds: int
    method: str = "features"
    batch_size: int = 32
    data: str = "mnist-mini"


BUDGETS = {
    "chapter": Budget(500, 500, draws=4, epochs=20, learning_rates=(1e-2, 5e-2), seeds=1),
    "full": Budget(2000, 1000, draws=4, epochs=40, learning_rates=(3e-3, 1e-2, 3e-2), seeds=3),
}
"""By scale: a minute for a chapter, or hours."""


@dataclass(frozen=True)
class Agreement:
    """How well estimates and trained devices agree.

    Parameters
    ----------
    correlation : float
        Spearman's rank correlation, of the orders only.
    bias : float
        Mean of estimate minus trained accuracy.
    error : float
        Mean of its absolute value.
    covered : float
        Share of trained accuracies inside the interval of their estimate.
    devices : int
        How many there were.
    """

    correlation: float
    bias: float
    error: float
    covered: float
    devices: int


def compare_estimates(
    devices: Iterable[Device],
    budget: Budget,
    *,
    out: str | Path | None = None,
    jobs: int | None = None,
    report: Callable[[str], None] = print,
) -> list[dict[str, Any]]:
    """Estimate and train each device; return a line for each, as :func:`onnlab.hardware.sweep` does.

    The score of a line holds what :func:`estimated_and_trained` returns. With a file ``out``, what is there
    is not computed again.

    Parameters
    ----------
    devices : iterable of onnlab.hardware.Device
        Such as :data:`DEVICES`.
    budget : Budget
        Such as ``BUDGETS["chapter"]``.
    out, jobs, report
        As for :func:`onnlab.hardware.sweep`.

    Raises
    ------
    ClusterError
        In a process group, for each device is trained by one process.
    """
    if processes() > 1:
        raise ClusterError(
            "each device is trained by one process: leave out torchrun, and use --jobs or --dask"
        )
    score = partial(estimated_and_trained, budget=budget)
    return sweep(devices, score, settings=asdict(budget), out=out, jobs=jobs, report=report)


def estimated_and_trained(device: Device, budget: Budget) -> dict[str, float]:
    """Return what a device is expected to reach, by validation images, and what it reaches on test images.

    The names are ``estimate``, ``low``, ``high``, ``estimate_seconds``, ``trained`` and ``trained_spread``,
    the standard deviation over the seeds (0 for one seed).
    """
    data = few(dataset(budget.data)[0], budget)
    found = estimate_accuracy(data, device, method=budget.method, n_train=len(data.train), draws=budget.draws)
    reached = [trained_accuracy(device, data, budget, seed) for seed in range(budget.seeds)]
    return {
        "estimate": found.mean,
        "low": found.low,
        "high": found.high,
        "estimate_seconds": found.seconds,
        "trained": statistics.mean(reached),
        "trained_spread": statistics.stdev(reached) if len(reached) > 1 else 0.0,
    }


def few(data: Dataset, budget: Budget) -> Dataset:
    """Return a data set with the training and validation images of a budget, and all its test images."""
    train, validation = data.train.subset(budget.n_train, 0), data.validation.subset(budget.n_validation, 0)
    return Dataset(data.name, train, validation, data.test, data.classes, data.credit)


def trained_accuracy(device: Device, data: Dataset, budget: Budget, seed: int) -> float:
    """Return the test accuracy of a device after training, with the learning rate that validation chose.

    All training images of ``data`` are used.
    """
    seen = seen_by(device, data)
    reached = []
    for rate in budget.learning_rates:
        model = build(device, seen, seed)
        history = fit(
            model, seen, epochs=budget.epochs, seed=seed, batch_size=budget.batch_size, learning_rate=rate,
            progress=False,
        )  # fmt: skip
        reached.append((history.best.validation_accuracy, rate, model))
    model = max(reached, key=lambda one: one[:2])[2]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # of the noise
        return evaluate(model, seen.test).accuracy


def agreement(lines: Sequence[Mapping[str, Any]]) -> Agreement:
    """Return how well the estimates of the lines of :func:`compare_estimates` agree with training.

    Raises
    ------
    ValueError
        If a line is of a device that failed, or fewer than two devices are there.
    """
    failed = [line["device"] for line in lines if line["error"] is not None]
    if failed or len(lines) < 2:
        raise ValueError(f"lines must be at least two, none of a device that failed, got {failed}; run again")
    scores = [line["score"] for line in lines]
    estimates, trained = ([score[name] for score in scores] for name in ("estimate", "trained"))
    differences = [a - b for a, b in zip(estimates, trained, strict=True)]
    return Agreement(
        spearman(estimates, trained),
        statistics.mean(differences),
        statistics.mean(map(abs, differences)),
        statistics.mean(score["low"] <= score["trained"] <= score["high"] for score in scores),
        len(lines),
    )


def format_estimates(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return a line of text for each device, those that failed included, and how well the others agree."""
    rows = [("device", "estimate", "interval", "trained")]
    for line in lines:
        name, score = str(Device(**line["device"])), line["score"]
        if score is None:
            rows.append((name, "failed", line["error"], ""))
            continue
        reach = f"{score['low']:.1%} to {score['high']:.1%}"
        rows.append((name, f"{score['estimate']:.1%}", reach, f"{score['trained']:.1%}"))
    good = [line for line in lines if line["error"] is None]
    if len(good) < 2:
        return columns(rows)
    found = agreement(good)
    return (
        f"{columns(rows)}\n\nrank correlation {found.correlation:.2f}, "
        f"mean error {100 * found.error:.1f} points, "
        f"bias {100 * found.bias:+.1f} points, {found.covered:.0%} inside their interval"
    )


def spearman(one: Sequence[float], other: Sequence[float]) -> float:
    """Return Spearman's rank correlation: Pearson's, of the ranks; equal numbers share their mean rank.

    NaN if all numbers of one side are equal.
    """
    left, right = _ranks(one), _ranks(other)
    try:
        return statistics.correlation(left, right)
    except statistics.StatisticsError:
        if len(one) < 2 or len(one) != len(other):
            raise
        return math.nan


def _ranks(values: Sequence[float]) -> list[float]:
    ordered = sorted(values)
    first = {value: rank for rank, value in reversed(list(enumerate(ordered)))}
    return [first[value] + (ordered.count(value) - 1) / 2 for value in values]
