"""What the papers report: each number once, with its source, and the rows of ours that it stands beside."""

from dataclasses import dataclass
from typing import Any

from onnlab.experiments.catalogue.ntkd import SHORT, SMALL
from onnlab.experiments.places import Place, place

SCLC, TANGENT = "xiang2022", "xiang2025"
"""Keys in the book's list of references: arXiv:2102.13323 and arXiv:2508.08421."""


@dataclass(frozen=True)
class Reported:
    """A score that a paper reports.

    Parameters
    ----------
    paper : str
        Key in the list of references.
    table, system, row : str
        Where it stands: the table, the system of its column, and the row.
    score : float
        In per cent, with the digits of the paper.
    std : float or None
        Standard deviation in points, where it is given.
    seeds : int or None
        How many trainings it is over, where that is said.
    measure : str
        ``"accuracy"`` or ``"mIoU"``.
    experiment : str
        Which experiment of ours asks the same question.
    beside : tuple of Place
        Our rows that it stands beside, of this experiment or of another; none where we have nothing of the
        kind.
    """

    paper: str
    table: str
    system: str
    row: str
    score: float
    std: float | None
    seeds: int | None
    measure: str
    experiment: str
    beside: tuple[Place, ...]

    def __str__(self) -> str:
        return f"{self.score:g}" + ("" if self.std is None else f" ± {self.std:g}")

    def places(self, experiment: str) -> tuple[Place, ...]:
        """Return our rows beside it that belong to one experiment."""
        return tuple(one for one in self.beside if one.experiment.name == experiment)


@dataclass(frozen=True)
class Consumption:
    """What a system takes for one image, as a paper reports it.

    Parameters
    ----------
    paper, system : str
        Key in the list of references, and what the paper calls the system.
    macs : float
        Multiply-accumulates of electronics.
    energy : float
        In joules.
    capture : float
        The part of it that the camera takes.
    """

    paper: str
    system: str
    macs: float
    energy: float
    capture: float

    @property
    def per_mac(self) -> float:
        """Energy without capture, over the MACs: joules for each, an inference of ours."""
        return (self.energy - self.capture) / self.macs


PART, MNIST = ("book", "mnist-mini"), ("full", "mnist")
SOME, CIFAR = ("book", "cifar10"), ("full", "cifar10")
SCENES, STREETS, CAMVID = ("book", "scenes-24"), ("book", "camvid-cars-60"), ("full", "camvid-cars")
DIGITS, OBJECTS = "MNIST, 8 kernels of 7 × 7", "CIFAR-10, 16 kernels of 7 × 7 for each colour"
CARS = "Carvana, 56 kernels of 3 × 3"
RANDOM_DIGITS, RANDOM_OBJECTS = "MNIST, random kernels", "CIFAR-10, random kernels"

Number = tuple[str, float, float | None, tuple[Place, ...]]
"""Name of the row in the paper, score, spread, and our rows beside it."""


def _column(
    where: tuple[str, str, str],
    experiment: str,
    *numbers: Number,
    seeds: int | None = None,
    measure: str = "accuracy",
) -> tuple[Reported, ...]:
    """A column of a paper's table. ``seeds`` holds for the numbers with a spread."""
    return tuple(
        Reported(*where, row, score, std, None if std is None else seeds, measure, experiment, beside)
        for row, score, std, beside in numbers
    )


def _rows(experiment: str, row: str, *spots: tuple[str, str], **settings: Any) -> tuple[Place, ...]:
    """Our rows of one name, on each data set at its scale."""
    return tuple(place(experiment, scale, data, row, **settings) for scale, data in spots)


def _digits(row: str) -> tuple[Place, ...]:
    """Those that see as many digits as their teacher."""
    return _rows("ntkd", row, PART, labels=6000) + _rows("ntkd", row, MNIST)


def _objects(row: str) -> tuple[Place, ...]:
    """Those that see few photographs, and those that see all of them, as their small teacher."""
    name = SHORT if row == "labels" else f"{row}{SMALL}"
    return _rows("ntkd", row, SOME) + _rows("ntkd", name, CIFAR)


def _random(kernels: str, *spots: tuple[str, str], labels: int | None = None) -> tuple[Place, ...]:
    """Those behind a rectifying camera: without any nonlinearity, no kernel beyond the 49th could matter."""
    return _rows("random-kernels", f"rectified, {kernels}", *spots, labels=labels)


def _built(row: str, *spots: tuple[str, str]) -> tuple[Place, ...]:
    return _rows("compensation", row, *spots, process="clean room")


REPORTED: tuple[Reported, ...] = (
    *_column(
        (SCLC, "log of the released code", "HIGH-10"), "sclc",
        ("teacher: AlexNet", 93.96, None, _rows("sclc", "teacher", CIFAR)),
        ("student, from labels", 72.73, None, _rows("sclc", "ReLU in pool, labels", CIFAR)),
        ("student, after distillation", 79.84, None, _rows("sclc", "ReLU in pool, KD", CIFAR)),
    ),
    *_column(
        (SCLC, "log of the released code", "MNIST"), "sclc",
        ("one convolution of 256 kernels, with ReLU", 98.76, None, ()),
    ),
    *_column(
        (TANGENT, "table 3", DIGITS), "ntkd",
        ("teacher: LeNet", 99.1, None, _rows("ntkd", "teacher", PART, MNIST)),
        ("no transfer", 91.4, 0.8, _digits("labels")),
        ("KD", 95.9, 0.6, _digits("KD")),
        ("NTKD", 97.3, 0.6, _digits("NTKD") + _rows("compensation", "as designed", PART, MNIST)),
        seeds=5,
    ),
    *_column(
        (TANGENT, "table 3", OBJECTS), "ntkd",
        ("teacher: AlexNet", 85.4, None, _objects("teacher")),
        ("no transfer", 56.4, 1.9, _objects("labels")),
        ("KD", 72.5, 2.1, _objects("KD")),
        ("NTKD", 75.6, 0.9, _objects("NTKD") + _rows("compensation", "as designed", SOME, CIFAR)),
        seeds=5,
    ),
    *_column(
        (TANGENT, "table 3", CARS), "segmentation",
        ("teacher: U-Net", 95.4, None, _rows("segmentation", "teacher", SCENES, STREETS, CAMVID)),
        (
            "no transfer", 74.3, 0.4,
            _rows("segmentation", "masks", SCENES, labels=40)
            + _rows("segmentation", "masks", STREETS, CAMVID),
        ),
        ("KD", 86.7, 0.4, _rows("segmentation", "KD", SCENES, STREETS, CAMVID)),
        (
            "NTKD", 91.5, 0.4,
            _rows("segmentation", "NTKD", SCENES, STREETS, CAMVID)
            + _rows("compensation", "as designed", SCENES, CAMVID),
        ),
        seeds=5, measure="mIoU",
    ),
    *_column(
        (TANGENT, "table 4", DIGITS), "compensation",
        ("as fabricated", 89.2, None, _built("as built", PART, MNIST)),
        ("back end tuned end to end", 93.2, 0.1, _built("labels", PART, MNIST)),
        ("back end tuned with NTKD", 95.1, 0.1, _built("NTKD", PART, MNIST)),
    ),
    *_column(
        (TANGENT, "table 4", OBJECTS), "compensation",
        ("as fabricated", 47.3, None, _built("as built", SOME, CIFAR)),
        ("back end tuned end to end", 70.4, 2.1, _built("labels", SOME, CIFAR)),
        ("back end tuned with NTKD", 74.9, 1.3, _built("NTKD", SOME, CIFAR)),
    ),
    *_column(
        (TANGENT, "table 4", CARS), "compensation",
        ("as fabricated", 49.7, None, _built("as built", SCENES, CAMVID)),
        ("back end tuned end to end", 62.7, 0.9, _built("labels", SCENES, CAMVID)),
        ("back end tuned with NTKD", 81.2, 0.6, _built("NTKD", SCENES, CAMVID)),
        measure="mIoU",
    ),
    *_column(
        (TANGENT, "table 5", RANDOM_DIGITS), "random-kernels",
        ("8 kernels", 96.12, None, _random("8 random", PART, MNIST)),
        ("500 kernels", 96.81, None, _random("500 random", MNIST)),
        ("1000 kernels", 97.24, None, _random("1000 random", MNIST)),
        ("infinitely many", 97.72, None, _random("infinitely many", MNIST, labels=1000)),
    ),
    *_column(
        (TANGENT, "table 5", RANDOM_OBJECTS), "random-kernels",
        ("8 kernels", 36.73, None, _random("8 random", CIFAR)),
        ("500 kernels", 49.32, None, _random("500 random", CIFAR)),
        ("1000 kernels", 56.23, None, _random("1000 random", CIFAR)),
        ("infinitely many", 67.33, None, _random("infinitely many", CIFAR, labels=1000)),
    ),
)  # fmt: skip
"""Every score of the papers that stands in a table of ours or in a claim."""

CONSUMPTIONS = (
    Consumption(TANGENT, "hybrid", 65e6, 5.83e-3, 3.82e-3),
    Consumption(TANGENT, "compact digital network", 239e6, 9.73e-3, 2.36e-3),
    Consumption(TANGENT, "U-Net", 65.9e9, 2.04, 2.36e-3),
)
"""Energies and MACs of one image. The capture of 2.36 mJ is given for digital networks alike."""


def reported(table: str, system: str, row: str) -> Reported:
    """Return one declared number.

    Raises
    ------
    ValueError
        If there is not exactly one.
    """
    found = [one for one in REPORTED if (one.table, one.system, one.row) == (table, system, row)]
    if len(found) != 1:
        raise ValueError(
            f"table, system and row must name one number of REPORTED, got {table!r}, {system!r}, {row!r}"
        )
    return found[0]
