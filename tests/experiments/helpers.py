"""Experiments that take a second, and lines made by hand."""

from dataclasses import replace

from onnlab.experiments import Experiment, Row
from onnlab.experiments.catalogue import distilled

TEACHER = Row(
    name="teacher", network="SmallCNN-8", data="mnist-mini", labels=60, epochs=1, learning_rates=(1e-3, 4e-3)
)
LINEAR = replace(TEACHER, name="linear", network="LeNet", front="linear")
KD = distilled(LINEAR, TEACHER, "KD")
TINY = Experiment("tiny", "chapter", (TEACHER, LINEAR, KD))


def made_up(seed: int, test: float, validation: float = 0.5, rate: float = 1e-3, **changes: object) -> dict:
    """Return a valid line with these numbers."""
    settings = {
        "network": "LeNet", "data": "mnist", "epochs": 1, "front": "linear", "labels": None,
        "augment": "none", "batch_size": 64, "temperature": None, "alpha": None,
        "learning_rate": rate, "seed": seed, "teacher": None,
    }  # fmt: skip
    line = {
        "key": f"{rate}-{seed}", "experiment": "made-up", "scale": "full", "row": "linear", "seed": seed,
        "version": 1, "settings": settings, "commit": None, "versions": {}, "device": "cpu",
        "data_note": None, "error": None, "test_accuracy": test, "validation_accuracy": validation,
        "validation_loss": 1.0, "epoch": 1, "parameters": 10, "seconds": 0.1, "data_sha256": "0",
    }  # fmt: skip
    return {**line, **changes}
