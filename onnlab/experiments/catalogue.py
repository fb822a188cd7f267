"""The experiments themselves, as tables of settings."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from onnlab.experiments.settings import Experiment, Row

SCALES = ("chapter", "full")
TEMPERATURES, ALPHA = (4.0,), 0.9
RATES = (2e-3, 6e-3, 1.8e-2)
BETAS = (1.0, 5.0)
OTHER_WAYS = ("not centred", "raw", "trace", "head", "one projection", "four projections")
"""To compare the kernels of classifiers."""
OTHER_BETAS = {"raw": (1e-9, 1e-8), "trace": (10.0, 50.0)}
"""Where the distance between kernels has another size."""


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
    rates: tuple[float, ...] = RATES,
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


def ntkd(scale: str) -> Experiment:
    """Whether matching kernels beats matching answers: the simulated rows of table 3 of arXiv:2508.08421.

    The student is a hybrid network: linear kernels of 7 x 7, a linear camera, and fully connected layers.
    Rows that learn from labels, answers, kernels or both have six trials each: three learning rates, times
    two label smoothings, temperatures or weights of the kernel.

    At the chapter scale the student has few labels and the teacher saw all, shifted at random, as in
    :func:`when_kd_helps`; further rows compare the kernels in other ways. At the full scale student and
    teacher see the same images.
    """
    if scale == "full":
        mnist = _kernel_rows(_hybrid_row("mnist", "Hybrid-8", 8, augment="shift"), "LeNet")
        cifar = _kernel_rows(_hybrid_row("cifar10", "Hybrid-16", 20, augment="shift+flip"), "AlexNet")
        return Experiment("ntkd", scale, mnist + cifar)
    rows: list[Row] = []
    for labels, epochs in ((2000, 20), (500, 40), (6000, 10)):
        student = _hybrid_row("mnist-mini", "Hybrid-8", epochs, labels=labels)
        rows += [row for row in _kernel_rows(student, "LeNet") if row not in rows]
    student = next(row for row in rows if row.kernel is not None)
    rows += [
        replace(student, name=f"NTKD, {kernel}", kernel=kernel, betas=OTHER_BETAS.get(kernel, BETAS))
        for kernel in OTHER_WAYS
    ]
    return Experiment("ntkd", scale, tuple(rows))


def segmentation(scale: str) -> Experiment:
    """Whether answers and kernels help where each pixel has a label: table 3 of arXiv:2508.08421.

    The student has 56 linear kernels of 3 x 3 and a back end with up-convolutions. Scores are mIoUs. At the
    chapter scale it has few masks, and in further rows many pictures, with their masks or with a teacher's
    answers alone. At the full scale the pixels of cars are sought in street scenes.
    """
    if scale == "full":
        student, teacher_network = _pixel_row("camvid-cars", labels=None, epochs=30), "UNet-16"
    else:
        student, teacher_network = _pixel_row("scenes-24", labels=40, epochs=80), "UNet-8"
    learner = replace(student, label_smoothings=())
    teacher = replace(learner, name="teacher", network=teacher_network, labels=None, epochs=20, batch_size=16)
    taught = partial(replace, learner, teacher=teacher)
    rows: tuple[Row, ...] = (
        teacher,
        student,
        taught(name="KD", temperatures=(2.0, 4.0), alpha=ALPHA),
        taught(name="NTKD", kernel="last level", betas=(0.1, 1.0)),
        taught(name="KD + NTKD", temperatures=(2.0,), alpha=ALPHA, kernel="last level", betas=(0.1, 1.0)),
    )
    if scale == "chapter":
        rows += (
            replace(student, labels=400, epochs=8),
            taught(name="KD, answers alone", labels=400, epochs=8, temperatures=(2.0, 4.0), alpha=1.0),
        )
    return Experiment("segmentation", scale, rows)


def compensation(scale: str) -> Experiment:
    """What fabrication takes, and what the back end brings back: table 4 of arXiv:2508.08421.

    A student is trained by distillation, and built. As built, single pictures of its noisy camera are
    scored. Then its back end learns again, from a tenth of its images: from labels, answers, kernels or both,
    with four trials each. A seed is a student, a device and a tenth: the spread is over all of them.

    The chapter scale has a part of MNIST, a part of CIFAR-10, with a small CNN in place of AlexNet, and
    scenes; the full scale has MNIST, CIFAR-10 and the cars of CamVid.
    """
    if scale == "full":
        digits = _hybrid_row("mnist", "Hybrid-8", 8, augment="shift")
        objects = _hybrid_row("cifar10", "Hybrid-16", 20, augment="shift+flip")
        pixels = _pixel_row("camvid-cars", labels=None, epochs=30)
        teachers = (
            replace(digits, network="LeNet", learning_rates=RATES),
            replace(objects, network="AlexNet", learning_rates=RATES),
            replace(pixels, network="UNet-16", epochs=20, batch_size=16),
        )
        tenths, epochs, kernel = (5500, 4500, 37), (12, 12, 60), "one projection"
    else:
        digits = _hybrid_row("mnist-mini", "Hybrid-8", 10)
        objects = _hybrid_row("cifar10", "Hybrid-16", 8, labels=10_000, augment="shift+flip")
        pixels = _pixel_row("scenes-24", labels=None, epochs=8)
        teachers = (
            replace(digits, network="LeNet", epochs=12, augment="shift", learning_rates=RATES),
            replace(objects, network="SmallCNN-32", labels=20_000, epochs=6, learning_rates=RATES[:1]),
            replace(pixels, network="UNet-8", epochs=20, batch_size=16, learning_rates=(8e-3,)),
        )
        tenths, epochs, kernel = (600, 1000, 100), (12, 12, 16), "plain"
    students, kernels = (digits, objects, pixels), ("plain", kernel, "last level")
    parts = map(_rescued_rows, students, teachers, tenths, epochs, kernels)
    return Experiment("compensation", scale, tuple(row for rows in parts for row in rows))


def _rescued_rows(student: Row, teacher: Row, labels: int, epochs: int, kernel: str) -> tuple[Row, ...]:
    """The teacher; its student, as designed and as built; and four ways to learn again."""
    teacher = replace(teacher, name="teacher", label_smoothings=())
    plain = replace(student, label_smoothings=())
    design = distilled(plain, teacher, "as designed")
    built = replace(
        plain, name="as built", student=design, process="clean room", augment="none", epochs=0,
        learning_rates=(),
    )  # fmt: skip
    again = replace(built, labels=labels, epochs=epochs, learning_rates=(3e-3, 1e-2))
    taught = partial(replace, again, teacher=teacher)
    betas = (0.3, 2.0)
    return (
        teacher,
        design,
        built,
        replace(again, name="labels", label_smoothings=(0.0, 0.1)),
        taught(name="KD", temperatures=(4.0, 8.0), alpha=ALPHA),
        taught(name="NTKD", kernel=kernel, betas=betas),
        taught(name="KD + NTKD", temperatures=TEMPERATURES, alpha=ALPHA, kernel=kernel, betas=betas),
    )


def _pixel_row(data: str, *, labels: int | None, epochs: int) -> Row:
    return Row(
        name="masks", network="Segmenter", data=data, labels=labels, epochs=epochs, batch_size=8,
        learning_rates=(4e-3, 8e-3, 1.6e-2), label_smoothings=(0.0, 0.1),
    )  # fmt: skip


def _hybrid_row(
    data: str, network: str, epochs: int, *, labels: int | None = None, augment: str = "none"
) -> Row:
    return Row(
        name="labels", network=network, data=data, labels=labels, augment=augment, epochs=epochs,
        learning_rates=(6e-3, 1.2e-2, 2.4e-2), label_smoothings=(0.0, 0.1),
    )  # fmt: skip


def _kernel_rows(student: Row, teacher_network: str) -> tuple[Row, ...]:
    """The teacher; no transfer; answers; kernels; and both."""
    learner = replace(student, label_smoothings=())
    if student.augment == "none":  # few labels: the teacher has seen all
        teacher = replace(learner, labels=6000, epochs=12, augment="shift")
    else:
        teacher = learner
    teacher = replace(teacher, name="teacher", network=teacher_network, learning_rates=RATES)
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


EXPERIMENTS: dict[str, Callable[[str], Experiment]] = {
    "sclc": sclc,
    "when-kd-helps": when_kd_helps,
    "ntkd": ntkd,
    "segmentation": segmentation,
    "compensation": compensation,
}
"""Experiments by name; each is called with a scale."""
