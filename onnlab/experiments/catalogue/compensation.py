"""What fabrication takes, and what the back end brings back."""

from dataclasses import replace
from functools import partial

from onnlab.experiments.catalogue.rows import ALPHA, RATES, TEMPERATURES, distilled, hybrid_row, pixel_row
from onnlab.experiments.settings import Experiment, Row


def compensation(scale: str) -> Experiment:
    """What fabrication takes, and what the back end brings back: table 4 of arXiv:2508.08421.

    A student is trained by distillation, and built. As built, single pictures of its noisy camera are
    scored. Then its back end learns again, from a tenth of its images: from labels, answers, kernels or both,
    with four trials each. A seed is a student, a device and a tenth: the spread is over all of them.
    The students of the digits are built in both kinds of light, as PSFs and as 4f systems.

    The book's scale has a part of MNIST, a part of CIFAR-10, with a small CNN in place of AlexNet, and
    scenes; the full scale has MNIST, CIFAR-10 and the cars of CamVid. The chapter's scale has digits alone,
    half as many, and two trials.
    """
    if scale == "chapter":
        student = hybrid_row("mnist-mini", "Hybrid-8", 5, labels=3000, rates=(1.2e-2,))
        teacher = replace(student, network="LeNet", labels=None, epochs=4, learning_rates=RATES[1:2])
        rows = _rows(student, teacher, 300, 12, "plain", ("clean room",), (1e-2,))
        return Experiment("compensation", scale, rows)
    if scale == "full":
        digits = hybrid_row("mnist", "Hybrid-8", 8, augment="shift")
        objects = hybrid_row("cifar10", "Hybrid-16", 20, augment="shift+flip")
        pixels = pixel_row("camvid-cars", labels=None, epochs=30)
        teachers = (
            replace(digits, network="LeNet", learning_rates=RATES),
            replace(objects, network="AlexNet", learning_rates=RATES),
            replace(pixels, network="UNet-16", epochs=20, batch_size=16),
        )
        tenths, epochs, kernel = (5500, 4500, 37), (12, 12, 60), "one projection"
    else:
        digits = hybrid_row("mnist-mini", "Hybrid-8", 10)
        objects = hybrid_row("cifar10", "Hybrid-16", 8, labels=10_000, augment="shift+flip")
        pixels = pixel_row("scenes-24", labels=None, epochs=8)
        teachers = (
            replace(digits, network="LeNet", epochs=12, augment="shift", learning_rates=RATES),
            replace(objects, network="SmallCNN-32", labels=20_000, epochs=6, learning_rates=RATES[:1]),
            replace(pixels, network="UNet-8", epochs=20, batch_size=16, learning_rates=(8e-3,)),
        )
        tenths, epochs, kernel = (600, 1000, 100), (12, 12, 16), "plain"
    students, kernels = (digits, objects, pixels), ("plain", kernel, "last level")
    processes = (("clean room", "4f laboratory"), ("clean room",), ("clean room",))
    parts = map(_rows, students, teachers, tenths, epochs, kernels, processes)
    return Experiment("compensation", scale, tuple(row for rows in parts for row in rows))


def _rows(
    student: Row,
    teacher: Row,
    labels: int,
    epochs: int,
    kernel: str,
    processes: tuple[str, ...],
    rates: tuple[float, ...] = (3e-3, 1e-2),
) -> tuple[Row, ...]:
    """The teacher; its student, as designed; and the devices of each process."""
    teacher = replace(teacher, name="teacher", label_smoothings=())
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
