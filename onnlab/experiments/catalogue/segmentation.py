"""Kernels against answers, pixel by pixel."""

from dataclasses import replace
from functools import partial

from onnlab.experiments.catalogue.rows import ALPHA, pixel_row
from onnlab.experiments.settings import Experiment, Row


def segmentation(scale: str) -> Experiment:
    """Whether answers and kernels help where each pixel has a label: table 3 of arXiv:2508.08421.

    The student has 56 linear kernels of 3 x 3 and a back end with up-convolutions. Scores are mIoUs. At the
    book's scale it has few masks, and in further rows many pictures, with their masks or with a teacher's
    answers alone. At the full scale the pixels of cars are sought in street scenes. The chapter's scale has
    few masks alone, fewer steps, and one learning rate, so two trials.
    """
    teacher_network, epochs = "UNet-8", 20
    if scale == "full":
        student, teacher_network = pixel_row("camvid-cars", labels=None, epochs=30), "UNet-16"
    elif scale == "book":
        student = pixel_row("scenes-24", labels=40, epochs=80)
    else:
        student, epochs = replace(pixel_row("scenes-24", labels=40, epochs=30), learning_rates=(8e-3,)), 5
    learner = replace(student, label_smoothings=())
    teacher = replace(
        learner, name="teacher", network=teacher_network, labels=None, epochs=epochs, batch_size=16
    )
    taught = partial(replace, learner, teacher=teacher)
    rows: tuple[Row, ...] = (
        teacher,
        student,
        taught(name="KD", temperatures=(2.0, 4.0), alpha=ALPHA),
        taught(name="NTKD", kernel="last level", betas=(0.1, 1.0)),
        taught(name="KD + NTKD", temperatures=(2.0,), alpha=ALPHA, kernel="last level", betas=(0.1, 1.0)),
    )
    if scale == "book":
        rows += (
            replace(student, labels=400, epochs=8),
            taught(name="KD, answers alone", labels=400, epochs=8, temperatures=(2.0, 4.0), alpha=1.0),
        )
    return Experiment("segmentation", scale, rows)
