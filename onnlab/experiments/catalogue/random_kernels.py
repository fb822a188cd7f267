"""Random kernels of light, trained ones, and infinitely many."""

from collections.abc import Iterator
from dataclasses import replace

from onnlab.experiments.parts import RANDOM_CAMERAS
from onnlab.experiments.settings import Experiment, Row

RATES = {
    8: (2e-2, 6e-2, 1.8e-1),
    64: (5e-3, 1.5e-2, 4.5e-2),
    500: (1e-3, 3e-3, 9e-3),
    1000: (3e-4, 1e-3, 3e-3),
}
"""To choose from, by the number of random kernels: the more readings a class adds up, the smaller."""
TRAINED_RATES = (1e-2, 3e-2, 9e-2)
BASELINE_RATES = (3e-3, 1e-2, 3e-2)

BASELINE = "linear, 8 trained, hidden layer"
PAIRS = (
    ("linear, 8 trained", "linear, 8 random"),
    (BASELINE, "linear, 8 trained"),
    ("rectified, 8 random", "linear, 8 random"),
    ("rectified, 8 random", BASELINE),
    ("rectified, 8 trained", "rectified, 8 random"),
    ("rectified, 8 random, regression", "linear, 8 random, regression"),
    *(
        (f"{camera}, {more} random{learner}", f"{camera}, {fewer} random{learner}")
        for camera in RANDOM_CAMERAS
        for more, fewer in ((64, 8), (500, 64), (1000, 64))
        for learner in ("", ", regression")
    ),
    *((f"{camera}, infinitely many", f"{camera}, 1000 random, regression") for camera in RANDOM_CAMERAS),
    ("rectified, infinitely many", "linear, infinitely many"),
)
"""Names of rows that are compared, if data and labels are the same."""


def random_kernels(scale: str) -> Experiment:
    """When the number of random kernels matters, and what training eight buys: table 5 of arXiv:2508.08421.

    Kernels of 7 x 7, drawn by the seed and frozen, stand before a camera, a pool of 4 x 4 pixels and a linear
    read-out. A linear camera leaves the network without any nonlinearity; a rectified one is the only one.
    Beside them are eight kernels that are trained from the same start, with the same read-out; and, behind
    a linear camera, with a hidden layer. Each has three learning rates to choose from; for photographs five,
    because kernels that are trained need slower ones there.

    With few labels the read-out is a ridge regression in closed form, as it is behind infinitely many random
    kernels: so the number alone changes. Validation images choose the ridge, in each run anew.

    The book's scale has a part of MNIST, with many kernels in the regressions only; the full scale has MNIST
    and CIFAR-10. The chapter's scale asks once, with few labels, one learning rate, and at most 64 kernels.
    """
    every = tuple(RATES)
    if scale == "full":
        rows = list(_rows("mnist", None, every, 1000, every))
        rows += [_with_slower(row) for row in _rows("cifar10", None, every, 1000, every)]
    elif scale == "book":
        rows = list(_rows("mnist-mini", None, (8, 64), 300, every))
    else:
        several = _rows("mnist-mini", 1000, (8,), 30, (8, 64))
        rows = [replace(row, learning_rates=row.learning_rates[1:2]) for row in several]
    pairs = tuple(
        (row, other)
        for row in rows
        for other in rows
        if (row.name, other.name) in PAIRS and (row.data, row.labels) == (other.data, other.labels)
    )
    return Experiment("random-kernels", scale, tuple(rows), pairs)


def _with_slower(row: Row) -> Row:
    """Return a row with two more learning rates, a tenth of its slowest ones."""
    slower = tuple(round(rate / 10, 6) for rate in row.learning_rates[:2])
    return replace(row, learning_rates=(*slower, *row.learning_rates))


def _rows(
    data: str, many: int | None, counts: tuple[int, ...], few: int, counts_of_few: tuple[int, ...]
) -> Iterator[Row]:
    """Random and trained kernels with many labels; then regressions, up to infinitely many, with few."""
    for camera in RANDOM_CAMERAS:
        trained = Row(
            name=f"{camera}, 8 trained", network=f"Trained-8 {camera}", data=data, labels=many, epochs=15,
            learning_rates=TRAINED_RATES,
        )  # fmt: skip
        for count in counts:
            name, network = f"{camera}, {count} random", f"Random-{count} {camera}"
            yield replace(trained, name=name, network=network, learning_rates=RATES[count])
        yield trained
        if camera == "linear":
            yield replace(trained, name=BASELINE, network="Hybrid-8", learning_rates=BASELINE_RATES)
    for camera in RANDOM_CAMERAS:
        limit = Row(
            name=f"{camera}, infinitely many", network=f"Solved-infinite {camera}", data=data, labels=few,
            epochs=0, learning_rates=(),
        )  # fmt: skip
        for count in counts_of_few:
            name, network = f"{camera}, {count} random, regression", f"Solved-{count} {camera}"
            yield replace(limit, name=name, network=network)
        yield limit
