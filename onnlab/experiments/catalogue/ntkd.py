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
SMALL, SHORT = ", small teacher", "labels, 8 epochs"
"""The mark of rows about photographs whose teacher is no AlexNet, where both are; and their baseline."""


def ntkd(scale: str) -> Experiment:
    """Whether matching kernels beats matching answers: the simulated rows of table 3 of arXiv:2508.08421.

    The student is a hybrid network: linear kernels of 7 x 7, a linear camera, and fully connected layers.
    Rows that learn from labels, answers, kernels or both have six trials each: three learning rates, times
    two label smoothings, temperatures or weights of the kernel.

    At the book's scale the student has few labels and the teacher saw more, shifted at random, as in
    :func:`when_kd_helps`; further rows compare the kernels in other ways. Photographs are a part of CIFAR-10,
    with a small CNN in place of AlexNet. At the full scale student and teacher see the same images, and
    photographs have both teachers: the small one for fewer epochs, which a processor can do in a day. The
    chapter's scale asks once, with one learning rate and so two trials.
    """
    if scale == "chapter":
        few = hybrid_row("mnist-mini", "Hybrid-8", 20, labels=300, rates=(1.2e-2,))
        teacher = teacher_of(few, "LeNet", RATES[1:2], labels=6000, epochs=4, augment="shift")
        return Experiment("ntkd", scale, _kernel_rows(few, teacher))
    if scale == "full":
        mnist = hybrid_row("mnist", "Hybrid-8", 8, augment="shift")
        cifar = hybrid_row("cifar10", "Hybrid-16", 20, augment="shift+flip", rates=SLOWER)
        short = replace(cifar, name=SHORT, epochs=8)
        parts = (
            _kernel_rows(mnist, teacher_of(mnist, "LeNet")),
            _kernel_rows(short, teacher_of(short, "SmallCNN-32", RATES[:1]), SMALL),
            _kernel_rows(cifar, teacher_of(cifar, "AlexNet")),
        )
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
    return Experiment("ntkd", scale, tuple(rows))


def _kernel_rows(student: Row, teacher: Row, mark: str = "") -> tuple[Row, ...]:
    """The teacher; no transfer; answers; kernels; and both. The mark stands behind the names."""
    teacher = replace(teacher, name=f"teacher{mark}")
    # Augmented images never come twice: their teacher's kernels cannot be kept, so they are sketched.
    kernel = "plain" if student.augment == "none" else "one projection"
    taught = partial(replace, replace(student, label_smoothings=()), teacher=teacher)
    return (
        teacher,
        student,
        taught(name=f"KD{mark}", temperatures=(2.0, 4.0), alpha=ALPHA),
        taught(name=f"NTKD{mark}", kernel=kernel, betas=BETAS),
        taught(name=f"KD + NTKD{mark}", temperatures=TEMPERATURES, alpha=ALPHA, kernel=kernel, betas=BETAS),
    )
