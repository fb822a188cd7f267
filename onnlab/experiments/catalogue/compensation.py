"""What fabrication takes, and what the back end brings back."""

from dataclasses import replace
from functools import partial

from onnlab.experiments.catalogue.rows import (
    ALPHA,
    RATES,
    SLOWER,
    STREETS,
    TEMPERATURES,
    distilled,
    hybrid_row,
    pixel_row,
    street_rows,
    teacher_of,
)
from onnlab.experiments.settings import Experiment, Row

BOTH = ("clean room", "4f laboratory")
"""Processes for both kinds of light."""


def compensation(scale: str) -> Experiment:
    """What fabrication takes, and what the back end brings back: table 4 of arXiv:2508.08421.

    A student is trained by distillation, and built. As built, single pictures of its noisy camera are
    scored. Then its back end learns again, from a tenth of its images: from labels, answers, kernels or both,
    with four trials each. A seed is a student, a device and a tenth: the spread is over all of them.
    The students of the digits are built in both kinds of light, as PSFs and as 4f systems.

    The book's scale has a part of MNIST, a part of CIFAR-10, with a small CNN in place of AlexNet, and drawn
    scenes; the full scale has all of MNIST and CIFAR-10, and the cars of CamVid. The chapter's scale has
    digits on PSFs alone, half as many, with one learning rate to choose from.
    """
    if scale == "chapter":
        student = hybrid_row("mnist-mini", "Hybrid-8", 5, labels=3000, rates=(1.2e-2,))
        teacher = teacher_of(student, "LeNet", RATES[1:2], labels=None, epochs=4)
        rows = _rows(student, teacher, 300, 12, "plain", rates=(1e-2,))
        return Experiment("compensation", scale, rows)
    if scale == "full":
        digits = hybrid_row("mnist", "Hybrid-8", 8, augment="shift")
        objects = hybrid_row("cifar10", "Hybrid-16", 20, augment="shift+flip", rates=SLOWER)
        parts: tuple[tuple[Row, ...], ...] = (
            _rows(digits, teacher_of(digits, "LeNet"), 5500, 12, "plain", BOTH),
            _rows(objects, teacher_of(objects, "AlexNet"), 4500, 12, "one projection"),
            _rows(*street_rows("camvid-cars"), 37, 60, STREETS),
        )
    else:
        digits = hybrid_row("mnist-mini", "Hybrid-8", 10)
        every = (*SLOWER, 1.2e-2, 2.4e-2)
        objects = hybrid_row("cifar10", "Hybrid-16", 8, labels=10_000, augment="shift+flip", rates=every)
        scenes = pixel_row("scenes-24", labels=None, epochs=8)
        lenet = teacher_of(digits, "LeNet", epochs=12, augment="shift")
        cnn = teacher_of(objects, "SmallCNN-32", RATES[:1], labels=20_000, epochs=6)
        unet = teacher_of(scenes, "UNet-8", (8e-3,), epochs=20, batch_size=16)
        parts = (
            _rows(digits, lenet, 600, 12, "plain", BOTH),
            _rows(objects, cnn, 1000, 12, "plain"),
            _rows(scenes, unet, 100, 16, "last level"),
        )
    return Experiment("compensation", scale, tuple(row for rows in parts for row in rows))


def _rows(
    student: Row,
    teacher: Row,
    labels: int,
    epochs: int,
    kernel: str,
    processes: tuple[str, ...] = ("clean room",),
    rates: tuple[float, ...] = (3e-3, 1e-2),
) -> tuple[Row, ...]:
    """The teacher; its student, as designed; and the devices of each process."""
    plain = replace(student, label_smoothings=())
    design = distilled(plain, teacher, "as designed")
    built = partial(
        replace, plain, name="as built", student=design, augment="none", epochs=0, learning_rates=()
    )
    rows = [teacher, design]
    for process in processes:
        device = built(process=process)
        again = replace(device, labels=labels, epochs=epochs, learning_rates=rates)
        rows += [device, *_rescued_rows(again, teacher, kernel)]
    return tuple(rows)


def _rescued_rows(again: Row, teacher: Row, kernel: str) -> tuple[Row, ...]:
    """Four ways to learn again."""
    taught = partial(replace, again, teacher=teacher)
    betas = (0.3, 2.0)
    return (
        replace(again, name="labels", label_smoothings=(0.0, 0.1)),
        taught(name="KD", temperatures=(4.0, 8.0), alpha=ALPHA),
        taught(name="NTKD", kernel=kernel, betas=betas),
        taught(name="KD + NTKD", temperatures=TEMPERATURES, alpha=ALPHA, kernel=kernel, betas=betas),
    )
