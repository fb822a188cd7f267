"""What the experiments share: rows of one kind of network, and what a teacher adds to them."""

from dataclasses import replace
from typing import Any

from onnlab.experiments.settings import Row

TEMPERATURES, ALPHA = (4.0,), 0.9
RATES = (2e-3, 6e-3, 1.8e-2)
SLOWER = (6e-4, 2e-3, 6e-3)
"""Learning rates for two hidden layers: 0.012 already harms, and at 0.024 they learn nothing."""
STREETS = "last level, one projection"
"""The kernel for street scenes, whose many pixels make a kernel costly."""


def teacher_of(student: Row, network: str, rates: tuple[float, ...] = RATES, **changes: Any) -> Row:
    """Return the row of a larger network that sees what its student sees, but for the changes."""
    return replace(
        student, name="teacher", network=network, label_smoothings=(), learning_rates=rates, **changes
    )


def distilled(row: Row, teacher: Row, name: str) -> Row:
    """Return the row that differs from another only in having a teacher."""
    return replace(row, name=name, teacher=teacher, temperatures=TEMPERATURES, alpha=ALPHA)


def pixel_row(data: str, *, labels: int | None, epochs: int) -> Row:
    """Return the row of a segmenter that learns from masks, with six trials."""
    return Row(
        name="masks", network="Segmenter", data=data, labels=labels, epochs=epochs, batch_size=8,
        learning_rates=(4e-3, 8e-3, 1.6e-2), label_smoothings=(0.0, 0.1),
    )  # fmt: skip


def street_rows(data: str) -> tuple[Row, Row]:
    """Return the rows of a segmenter and of its teacher, which learn the pixels of cars in street scenes.

    Cars fill a few hundredths of the pixels: the accuracy of pixels can hardly tell one epoch from another.
    """
    student = replace(pixel_row(data, labels=None, epochs=30), keep="last", learning_rates=(2e-3, 4e-3, 8e-3))
    return student, teacher_of(student, "UNet-16", student.learning_rates, epochs=20, batch_size=16)


def hybrid_row(
    data: str,
    network: str,
    epochs: int,
    *,
    labels: int | None = None,
    augment: str = "none",
    rates: tuple[float, ...] = (6e-3, 1.2e-2, 2.4e-2),
) -> Row:
    """Return the row of a hybrid classifier that learns from labels, with two trials for each rate."""
    return Row(
        name="labels", network=network, data=data, labels=labels, augment=augment, epochs=epochs,
        learning_rates=rates, label_smoothings=(0.0, 0.1),
    )  # fmt: skip
