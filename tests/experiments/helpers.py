"""Experiments that take a second, and lines made by hand."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from onnlab.data import load
from onnlab.experiments import Experiment, Row, Run, Trial
from onnlab.experiments.catalogue.rows import distilled
from onnlab.experiments.parts import TASKS
from onnlab.experiments.runs.images import dataset
from onnlab.experiments.runs.scoring import pictures_of
from onnlab.experiments.settings import run_of

TEACHER = Row(
    name="teacher", network="SmallCNN-8", data="mnist-mini", labels=60, epochs=1, learning_rates=(1e-3, 4e-3)
)
LINEAR = replace(TEACHER, name="linear", network="LeNet", front="linear")
KD = distilled(LINEAR, TEACHER, "KD")
HYBRID = replace(
    TEACHER, name="as designed", network="Hybrid-8", teacher=TEACHER, temperatures=(4.0,), alpha=0.9
)
BUILT = replace(
    HYBRID, name="as built", student=HYBRID, process="clean room", epochs=0, learning_rates=(), teacher=None,
    temperatures=(), alpha=None,
)  # fmt: skip
AGAIN = replace(BUILT, name="labels", labels=30, epochs=2, learning_rates=(1e-3, 4e-3))
TAUGHT = distilled(AGAIN, TEACHER, "KD")
PIXELS = Row(name="masks", network="Segmenter", data="scenes-24", labels=8, epochs=1, learning_rates=(1e-3,))
RESCUED = Experiment("rescued", "book", (TEACHER, HYBRID, BUILT, AGAIN, TAUGHT))
TINY = Experiment("tiny", "book", (TEACHER, LINEAR, KD))


def first_run(row: Row, seed: int = 3) -> Run:
    """Return the run of a row with its first trial, and with the first ones of what comes before."""
    return run_of(row, row.trials[0], seed, lambda other: other.trials[0])


@contextmanager
def few_images() -> Iterator[None]:
    """Let mnist-mini have 100 images to train with, and 50 each to validate and test."""
    whole = load("mnist-mini")
    parts = {"train": whole.train.subset(100, 0)}
    parts |= {name: getattr(whole, name).subset(50, 0) for name in ("validation", "test")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(TASKS, "mnist-mini", lambda: replace(whole, **parts))
        dataset.cache_clear()
        pictures_of.cache_clear()
        yield
    dataset.cache_clear()
    pictures_of.cache_clear()


def line_of(run: Run, test: float, validation: float = 0.5, **changes: object) -> dict:
    """Return a valid line of a run of the experiment ``tiny``, with these numbers."""
    line = {
        "key": run.key, "experiment": "tiny", "scale": "book", "row": run.row.name, "seed": run.seed,
        "version": 1, "settings": run.settings, "commit": None, "versions": {}, "device": "cpu",
        "data_note": None, "error": None, "test_accuracy": test, "validation_accuracy": validation,
        "validation_loss": 1.0, "epoch": 1, "parameters": 10, "seconds": 0.1, "data_sha256": "0" * 64,
    }  # fmt: skip
    return {**line, **changes}


def made_up(seed: int, test: float, validation: float = 0.5, rate: float = 1e-3, **changes: object) -> dict:
    """Return a valid line of ``LINEAR`` with these numbers."""
    return line_of(Run(LINEAR, Trial(rate), seed), test, validation, **changes)


def lines_of(row: Row, accuracies: Iterable[float], **changes: object) -> list[dict]:
    """Return a valid line of a row for each accuracy, of first trials; seeds count from 0."""
    return [line_of(first_run(row, seed), value, **changes) for seed, value in enumerate(accuracies)]
