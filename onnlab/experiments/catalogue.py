"""The experiments themselves, as tables of settings."""

from collections.abc import Callable
from dataclasses import replace

from onnlab.experiments.settings import Experiment, Row

SCALES = ("chapter", "full")
TEMPERATURES, ALPHA = (4.0,), 0.9


def distilled(row: Row, teacher: Row, name: str) -> Row:
    """Return the row that differs from another only in having a teacher."""
    return replace(row, name=name, teacher=teacher, temperatures=TEMPERATURES, alpha=ALPHA)


def sclc(scale: str) -> Experiment:
    """What the ReLU buys, and how much of it distillation brings back: arXiv:2102.13323.

    ``twin`` is the electronic network whose linear counterpart the students are: the same kernels and the
    same head, with its ReLUs and max-pools. Teacher and students see the same images, shifted at random (and
    flipped, in CIFAR-10).
    """
    if scale == "chapter":
        return Experiment("sclc", scale, _sclc_rows("mnist-mini", "LeNet", "SmallCNN-16", "shift", 10))
    mnist = _sclc_rows("mnist", "LeNet", "SmallCNN-16", "shift", 8)
    cifar = _sclc_rows("cifar10", "SmallCNN-16", "SmallCNN-32", "shift+flip", 8, (6e-4, 2e-3, 6e-3))
    return Experiment("sclc", scale, mnist + cifar)


def _sclc_rows(
    data: str,
    network: str,
    teacher_network: str,
    augment: str,
    epochs: int,
    rates: tuple[float, ...] = (2e-3, 6e-3, 1.8e-2),
) -> tuple[Row, ...]:
    twin = Row(
        name="twin, labels", network=network, data=data, augment=augment, epochs=epochs, learning_rates=rates
    )
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


def when_kd_helps(scale: str) -> Experiment:
    """Accuracy of a linear student over the number of its labels, with and without a teacher.

    ``KD`` learns from a teacher that saw *all* images of the data set with their labels, so that it brings
    knowledge from outside. ``KD, own twin`` learns from the electronic twin, the same network with its ReLUs
    and max-pools, that saw the student's images only. All choose epoch and learning rate on the whole
    validation split.
    """
    if scale == "chapter":
        data, epochs = "mnist-mini", {500: 50, 1000: 35, 2000: 25, 6000: 10}
    else:
        data, epochs = "mnist", {500: 100, 1000: 70, 2000: 50, 6000: 30, 20_000: 20, 55_000: 12}
    with_twin = (2000,) if scale == "chapter" else tuple(epochs)
    most = max(epochs)
    teacher = Row(
        name="teacher", network="SmallCNN-16", data=data, labels=most, epochs=epochs[most], augment="shift"
    )
    rows = [teacher]
    for labels, count in epochs.items():
        for augment in ("none", "shift"):
            student = Row(
                name="labels", network="LeNet", front="linear", data=data, labels=labels, epochs=count,
                augment=augment,
            )  # fmt: skip
            rows += [student, distilled(student, teacher, "KD")]
            if augment == "none" and labels in with_twin:
                twin = replace(student, name="twin", front="nonlinear")
                rows += [twin, distilled(student, twin, "KD, own twin")]
    return Experiment("when-kd-helps", scale, tuple(rows))


EXPERIMENTS: dict[str, Callable[[str], Experiment]] = {"sclc": sclc, "when-kd-helps": when_kd_helps}
"""Experiments by name; each is called with a scale."""
