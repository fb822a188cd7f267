"""What the experiments share: rows of one kind of network, and what a teacher adds to them."""

from dataclasses import replace

from onnlab.experiments.settings import Row

TEMPERATURES, ALPHA = (4.0,), 0.9
RATES = (2e-3, 6e-3, 1.8e-2)


def distilled(row: Row, teacher: Row, name: str) -> Row:
    """Return the row that differs from another only in having a teacher."""
    return replace(row, name=name, teacher=teacher, temperatures=TEMPERATURES, alpha=ALPHA)


def pixel_row(data: str, *, labels: int | None, epochs: int) -> Row:
    """Return the row of a segmenter that learns from masks, with six trials."""
    return Row(
        name="masks", network="Segmenter", data=data, labels=labels, epochs=epochs, batch_size=8,
        learning_rates=(4e-3, 8e-3, 1.6e-2), label_smoothings=(0.0, 0.1),
    )  # fmt: skip


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
