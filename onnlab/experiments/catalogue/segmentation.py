"""Kernels against answers, pixel by pixel."""

from dataclasses import replace
from functools import partial

from onnlab.experiments.catalogue.rows import ALPHA, STREETS, pixel_row, street_rows, teacher_of
from onnlab.experiments.settings import Experiment, Row


def segmentation(scale: str) -> Experiment:
    """Whether answers and kernels help where each pixel has a label: table 3 of arXiv:2508.08421.

    The student has 56 linear kernels of 3 x 3 and a back end with up-convolutions. Scores are mIoUs. At the
    book's scale it has few masks of drawn scenes, and in further rows many, or a teacher's answers alone; and
    it seeks the pixels of cars in street scenes, a third as large as at the full scale. The chapter's scale
    has few masks of drawn scenes alone, fewer steps, and one learning rate, so two trials.
    """
    if scale == "full":
        return Experiment("segmentation", scale, _rows(*street_rows("camvid-cars"), STREETS))
    if scale == "chapter":
        scenes = replace(pixel_row("scenes-24", labels=40, epochs=30), learning_rates=(8e-3,))
        return Experiment("segmentation", scale, _rows(scenes, _unet(scenes, epochs=5)))
    scenes = pixel_row("scenes-24", labels=40, epochs=80)
    rows = _rows(scenes, _unet(scenes, epochs=20))
    many = partial(replace, labels=400, epochs=8)
    _, masks, answers, *_ = rows
    rows += many(masks), many(answers, name="KD, answers alone", alpha=1.0)
    rows += _rows(*street_rows("camvid-cars-60"), STREETS)
    return Experiment("segmentation", scale, rows)


def _unet(student: Row, epochs: int) -> Row:
    """The teacher for drawn scenes; it sees all of them."""
    rates = student.learning_rates
    return teacher_of(student, "UNet-8", rates, labels=None, epochs=epochs, batch_size=16)


def _rows(student: Row, teacher: Row, kernel: str = "last level") -> tuple[Row, ...]:
    """The teacher; masks alone; answers; kernels; and both."""
    taught = partial(replace, student, label_smoothings=(), teacher=teacher)
    return (
        teacher,
        student,
        taught(name="KD", temperatures=(2.0, 4.0), alpha=ALPHA),
        taught(name="NTKD", kernel=kernel, betas=(0.1, 1.0)),
        taught(name="KD + NTKD", temperatures=(2.0,), alpha=ALPHA, kernel=kernel, betas=(0.1, 1.0)),
    )
