"""Kernels against answers, image by image."""

from dataclasses import replace
from functools import partial

from onnlab.experiments.catalogue.rows import ALPHA, RATES, SLOWER, TEMPERATURES, hybrid_row, teacher_of
from onnlab.experiments.settings import Experiment, Row

BETAS = (1.0, 5.0)
OTHER_WAYS = ("not centred", "raw", "trace", "head", "one projection", "four projections")
"""To compare the kernels of classifiers."""
OTHER_BETAS = {"raw": (1e-9, 1e-8), "trace": (10.0, 50.0)}
"""Where the distance between kernels has another size."""


def ntkd(scale: str) -> Experiment:
    """Whether matching kernels beats matching answers: the simulated rows of table 3 of arXiv:2508.08421.

    The student is a hybrid network: linear kernels of 7 x 7, a linear camera, and fully connected layers.
    Rows that learn from labels, answers, kernels or both have six trials each: three learning rates, times
    two label smoothings, temperatures or weights of the kernel.

    At the book's scale the student has few labels and the teacher saw more, shifted at random, as in
    :func:`when_kd_helps`; further rows compare the kernels in other ways. Photographs are a part of CIFAR-10,
    and then all of it, with a small CNN in place of AlexNet. At the full scale student and teacher see the
    same images. The chapter's scale asks once, with one learning rate and so two trials.
    """
    if scale == "chapter":
        few = hybrid_row("mnist-mini", "Hybrid-8", 20, labels=300, rates=(1.2e-2,))
        teacher = teacher_of(few, "LeNet", RATES[1:2], labels=6000, epochs=4, augment="shift")
        return Experiment("ntkd", scale, _kernel_rows(few, teacher))
    if scale == "full":
        mnist = hybrid_row("mnist", "Hybrid-8", 8, augment="shift")
        cifar = hybrid_row("cifar10", "Hybrid-16", 20, augment="shift+flip", rates=SLOWER)
        both = ((mnist, "LeNet"), (cifar, "AlexNet"))
        parts = (_kernel_rows(student, teacher_of(student, network)) for student, network in both)
        return Experiment("ntkd", scale, tuple(row for part in parts for row in part))
    rows: list[Row] = []
    for labels, epochs in ((2000, 20), (500, 40), (6000, 10)):
        student = hybrid_row("mnist-mini", "Hybrid-8", epochs, labels=labels)
        teacher = teacher_of(student, "LeNet", labels=6000, epochs=12, augment="shift")
        rows += [row for row in _kernel_rows(student, teacher) if row not in rows]
    student = next(row for row in rows if row.kernel is not None)
    rows += [
        replace(student, name=f"NTKD, {kernel}", kernel=kernel, betas=OTHER_BETAS.get(kernel, BETAS))
        for kernel in OTHER_WAYS
    ]
    photographs = hybrid_row("cifar10", "Hybrid-16", 20, labels=5000, rates=SLOWER)
    teacher = teacher_of(
        photographs, "SmallCNN-32", RATES[:1], labels=20_000, epochs=10, augment="shift+flip"
    )
    rows += _kernel_rows(photographs, teacher)
    rows.append(replace(rows[-2], name="NTKD, head", kernel="head"))
    every = replace(photographs, labels=None, epochs=8, augment="shift+flip")
    rows += _kernel_rows(every, teacher_of(every, "SmallCNN-32", RATES[:1]))
    return Experiment("ntkd", scale, tuple(rows))


def _kernel_rows(student: Row, teacher: Row) -> tuple[Row, ...]:
    """The teacher; no transfer; answers; kernels; and both."""
    learner = replace(student, label_smoothings=())
    taught = partial(replace, learner, teacher=teacher)
    # Augmented images never come twice: their teacher's kernels cannot be kept, so they are sketched.
    kernel = "plain" if student.augment == "none" else "one projection"
    return (
        teacher,
        student,
        taught(name="KD", temperatures=(2.0, 4.0), alpha=ALPHA),
        taught(name="NTKD", kernel=kernel, betas=BETAS),
        taught(name="KD + NTKD", temperatures=TEMPERATURES, alpha=ALPHA, kernel=kernel, betas=BETAS),
    )
