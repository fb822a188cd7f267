"""What the ReLU buys, and what distillation brings back."""

from dataclasses import replace

from onnlab.experiments.catalogue.rows import RATES, distilled
from onnlab.experiments.settings import Experiment, Row


def sclc(scale: str) -> Experiment:
    """What the ReLU buys, and how much of it distillation brings back: arXiv:2102.13323.

    ``twin`` is the electronic network whose linear counterpart the students are: the same kernels and the
    same head, with its ReLUs and max-pools, and in CIFAR-10 with BatchNorm, which the students drop. There
    a second twin drops it, too, to part what it does from what the ReLUs do. Teacher and students see the
    same images, shifted at random (and flipped, in CIFAR-10). At the chapter's scale they are a third of the
    book's, with two trials and a smaller teacher.
    """
    if scale == "chapter":
        small = _sclc_rows("mnist-mini", "LeNet", "SmallCNN-8", "shift", 8, RATES[1:], labels=2000)
        return Experiment("sclc", scale, small, (_pools(small),))
    if scale == "book":
        digits = _sclc_rows("mnist-mini", "LeNet", "SmallCNN-16", "shift", 10)
        return Experiment("sclc", scale, digits, (_pools(digits),))
    mnist = _sclc_rows("mnist", "LeNet", "SmallCNN-16", "shift", 8)
    cifar = _sclc_rows("cifar10", "SmallCNN-16", "SmallCNN-32", "shift+flip", 8, (6e-4, 2e-3, 6e-3, 1.8e-2))
    teacher, twin, linear, *others = cifar
    bare = replace(twin, name="twin without BatchNorm, labels", network=f"{twin.network} without BatchNorm")
    rows = (*mnist, teacher, twin, bare, linear, *others)
    pairs = (_pools(mnist), (twin, bare), (bare, linear), _pools((bare, *others)))
    return Experiment("sclc", scale, rows, pairs)


def _pools(rows: tuple[Row, ...]) -> tuple[Row, Row]:
    """Return the rectified counterpart and its twin: both have their ReLUs, and differ by the pool."""
    twin = next(row for row in rows if row.name.startswith("twin"))
    return next(row for row in rows if row.name == "ReLU in pool, labels"), twin


def _sclc_rows(
    data: str,
    network: str,
    teacher_network: str,
    augment: str,
    epochs: int,
    rates: tuple[float, ...] = RATES,
    labels: int | None = None,
) -> tuple[Row, ...]:
    twin = Row(
        name="twin, labels", network=network, data=data, labels=labels, augment=augment, epochs=epochs,
        learning_rates=rates,
    )  # fmt: skip
    teacher = replace(twin, name="teacher", network=teacher_network)
    linear = replace(twin, name="linear, labels", front="linear")
    rectified = replace(twin, name="ReLU in pool, labels", front="relu-in-pool")
    return (
        teacher,
        twin,
        linear,
        distilled(linear, teacher, "linear, KD"),
        rectified,
        distilled(rectified, teacher, "ReLU in pool, KD"),
    )
