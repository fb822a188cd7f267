"""Claims of the papers and of the book, each bound to the rows that test it, and a computed verdict."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from onnlab.experiments.catalogue.ntkd import SHORT, SMALL
from onnlab.experiments.papers import (
    CAMVID,
    CARS,
    CIFAR,
    DIGITS,
    MNIST,
    OBJECTS,
    PART,
    RANDOM_DIGITS,
    RANDOM_OBJECTS,
    SCENES,
    SCLC,
    SOME,
    STREETS,
    TANGENT,
    Reported,
    reported,
)
from onnlab.experiments.places import Place, place
from onnlab.experiments.tables import Gain, TableRow, gain

HELD, FAILED, UNSEEN = "held", "did not hold", "no difference seen"
FEW, NONE = "not enough seeds", "no runs yet"
VERDICTS = (HELD, FAILED, UNSEEN, FEW, NONE)


@dataclass(frozen=True)
class Pair:
    """Two rows of ours, and by how much the first has to win.

    Parameters
    ----------
    better, worse : Place
        Rows of one experiment, at one scale and on one data set.
    margin : float
        The gain of the first over the second that the claim speaks of, from -1 to 1. A negative one lets it
        lose so much.

    Raises
    ------
    ValueError
        If the two do not belong together.
    """

    better: Place
    worse: Place
    margin: float = 0.0

    def __str__(self) -> str:
        built = [one.row.process for one in (self.better, self.worse) if one.row.process is not None]
        return ", ".join([str(self.better), *built[:1]])

    def __post_init__(self) -> None:
        first, second = ((one.experiment, one.row.data) for one in (self.better, self.worse))
        if first != second or self.better == self.worse:
            raise ValueError(
                "better and worse must be two rows of one experiment and data set, got "
                f"{self.better.row.name!r} of {self.better} and {self.worse.row.name!r} of {self.worse}"
            )


@dataclass(frozen=True)
class Claim:
    """A sentence that results can bear out or not.

    Parameters
    ----------
    name : str
        By which a page asks for it.
    says : str
        The sentence.
    source : str
        Where it is made: a key in the list of references, or the file of a page.
    pairs : tuple of Pair
        Our rows that speak of it.
    reported : tuple of (Reported, Reported)
        The paper's own numbers for the two rows, the better one first.
    beside : tuple of Pair
        One for each of ``pairs``, in their order, that shows what else would do as much; or none. Their
        verdicts do not count for the claim.
    """

    name: str
    says: str
    source: str
    pairs: tuple[Pair, ...]
    reported: tuple[tuple[Reported, Reported], ...] = ()
    beside: tuple[Pair, ...] = ()

    @property
    def shown(self) -> tuple[Pair, ...]:
        """All pairs, each followed by that beside it."""
        if not self.beside:
            return self.pairs
        return tuple(pair for both in zip(self.pairs, self.beside, strict=True) for pair in both)


def outcome(pair: Pair, found: Mapping[Place, TableRow]) -> Gain | None:
    """Return the paired gain of the first row over the second, None without runs of both.

    Parameters
    ----------
    pair : Pair
        Which rows.
    found : mapping
        What :func:`onnlab.experiments.places.scores` says of them.
    """
    if not {pair.better, pair.worse} <= found.keys():
        return None
    return gain(found[pair.better], found[pair.worse])


def verdict(one: Gain | None, margin: float = 0.0) -> str:
    """Return what a gain says of a claim.

    The claim *held* if the whole 95 % interval lies above the margin, and *did not hold* if it lies below;
    otherwise there is *no difference seen*. One seed has no interval.

    Parameters
    ----------
    one : Gain or None
        None if there are no runs.
    margin : float
        See :class:`Pair`.

    Returns
    -------
    str
        One of ``VERDICTS``.
    """
    if one is None:
        return NONE
    if math.isinf(one.high):
        return FEW
    if one.low > margin:
        return HELD
    return FAILED if one.high < margin else UNSEEN


def _sclc(
    better: str, worse: str, spots: Sequence[tuple[str, str]] = (PART, MNIST, CIFAR)
) -> tuple[Pair, ...]:
    return tuple(Pair(place("sclc", *spot, better), place("sclc", *spot, worse)) for spot in spots)


def _teacher_helps(
    counts: Mapping[tuple[str, str], Sequence[int]],
    name: str = "KD",
    augments: Sequence[str] = ("none", "shift"),
) -> tuple[Pair, ...]:
    """A row against labels alone, with so many of them on each data set."""

    def row(name: str, spot: tuple[str, str], labels: int, augment: str) -> Place:
        return place("when-kd-helps", *spot, name, labels=labels, augment=augment)

    cases = [(spot, labels, augment) for spot in counts for labels in counts[spot] for augment in augments]
    return tuple(Pair(row(name, *case), row("labels", *case)) for case in cases)


def _random(better: str, worse: str, *spots: tuple[str, str, int | None]) -> tuple[Pair, ...]:
    """Two rows of random kernels, on each data set with so many labels."""

    def row(name: str, spot: tuple[str, str, int | None]) -> Place:
        return place("random-kernels", *spot[:2], name, labels=spot[2])

    return tuple(Pair(row(better, spot), row(worse, spot)) for spot in spots)


def _kernels(better: str, worse: str) -> tuple[Pair, ...]:
    """Digits with few labels and many, photographs, and pixels."""
    spots = [(*PART, 500), (*PART, 2000), (*PART, 6000), (*MNIST, None)]
    spots += [(*SOME, 5000), (*CIFAR, None)]
    pixels = [(*SCENES, 40), (*STREETS, None), (*CAMVID, None)]

    def pair(experiment: str, spot: tuple[str, str, int | None], plain: str, mark: str = "") -> Pair:
        scale, data, labels = spot
        first, second = (plain if row == "labels" else f"{row}{mark}" for row in (better, worse))
        return Pair(
            place(experiment, scale, data, first, labels=labels),
            place(experiment, scale, data, second, labels=labels),
        )

    return (
        *(pair("ntkd", spot, "labels") for spot in spots),
        pair("ntkd", (*CIFAR, None), SHORT, SMALL),
        *(pair("segmentation", spot, "masks") for spot in pixels),
    )


def _devices(better: str, worse: str, margins: Mapping[str, float] | None = None) -> tuple[Pair, ...]:
    """Devices of each process, on each data set; a margin for each system, if there are some."""
    room, laboratory = "clean room", "4f laboratory"
    built = {
        DIGITS: ((PART, room), (MNIST, room), (PART, laboratory), (MNIST, laboratory)),
        OBJECTS: ((SOME, room), (CIFAR, room)),
        CARS: ((SCENES, room), (CAMVID, room)),
    }

    def row(spot: tuple[str, str], process: str, name: str) -> Place:
        return place("compensation", *spot, name, **({} if name == "as designed" else {"process": process}))

    return tuple(
        Pair(row(*where, better), row(*where, worse), (margins or {}).get(system, 0.0))
        for system, places in built.items()
        for where in places
    )


def _pairs(
    better: tuple[str, str], worse: tuple[str, str], *systems: str
) -> tuple[tuple[Reported, Reported], ...]:
    """The paper's numbers, named by table and row, for each system."""

    def number(system: str, where: tuple[str, str]) -> Reported:
        return reported(where[0], system, where[1])

    return tuple((number(system, better), number(system, worse)) for system in systems)


SYSTEMS = (DIGITS, OBJECTS, CARS)
PLAIN, ANSWERS, KERNELS = (("table 3", row) for row in ("no transfer", "KD", "NTKD"))
AS_BUILT, END_TO_END, RESCUED = (
    ("table 4", row) for row in ("as fabricated", "back end tuned end to end", "back end tuned with NTKD")
)
LOG = "log of the released code"
RANDOM, THOUSAND = (RANDOM_DIGITS, RANDOM_OBJECTS), ("table 5", "1000 kernels")
MANY = ((*PART, None), (*MNIST, None), (*CIFAR, None))
CLOSE = _pairs(RESCUED, KERNELS, *SYSTEMS)
NEAR = {first.system: round((first.score - second.score) / 100, 6) for first, second in CLOSE}
"""How far the paper's rescued devices stay from their designs."""

CLAIMS: tuple[Claim, ...] = (
    Claim(
        "nonlinearity", "Without its nonlinearities, a network loses accuracy.", SCLC,
        (
            *_sclc("twin, labels", "linear, labels", (PART, MNIST)),
            *_sclc("twin without BatchNorm, labels", "linear, labels", (CIFAR,)),
        ),
    ),
    Claim(
        "rectifier", "A rectifier behind each pool buys a part of that accuracy back.", "ch05_counterpart",
        _sclc("ReLU in pool, labels", "linear, labels"),
    ),
    Claim(
        "linear-student", "A teacher's answers raise a strictly linear student.", SCLC,
        _sclc("linear, KD", "linear, labels"),
    ),
    Claim(
        "rectified-student", "A teacher's answers raise a student with a rectifier behind each pool.", SCLC,
        _sclc("ReLU in pool, KD", "ReLU in pool, labels"),
        _pairs((LOG, "student, after distillation"), (LOG, "student, from labels"), "HIGH-10"),
    ),
    Claim(
        "few-labels", "With few labels, a teacher's answers raise a linear student.", "ch06_distillation",
        _teacher_helps({PART: (500, 1000, 2000), MNIST: (500, 1000, 2000)}),
    ),
    Claim(
        "many-labels", "With as many labels as its teacher had, a linear student still gains by its answers.",
        SCLC, _teacher_helps({PART: (6000,), MNIST: (55_000,)}),
    ),
    Claim(
        "own-twin", "Answers raise a linear student even if its teacher saw no more than it did.", SCLC,
        _teacher_helps(
            {PART: (2000,), MNIST: (500, 1000, 2000, 6000, 20_000, 55_000)}, "KD, own twin", ("none",)
        ),
    ),
    Claim(
        "answers", "Answers beat labels alone.", TANGENT,
        _kernels("KD", "labels"), _pairs(ANSWERS, PLAIN, *SYSTEMS),
    ),
    Claim(
        "kernels", "Kernels beat labels alone.", TANGENT,
        _kernels("NTKD", "labels"), _pairs(KERNELS, PLAIN, *SYSTEMS),
    ),
    Claim(
        "kernels-answers", "Kernels beat answers.", TANGENT,
        _kernels("NTKD", "KD"), _pairs(KERNELS, ANSWERS, *SYSTEMS),
    ),
    Claim("both-answers", "Kernels add to answers.", "ch08_kernel_distillation", _kernels("KD + NTKD", "KD")),
    Claim(
        "both-kernels", "Answers add to kernels.", "ch08_kernel_distillation", _kernels("KD + NTKD", "NTKD"),
    ),
    Claim(
        "random-number", "More random kernels score more.", TANGENT,
        (
            *_random("rectified, 64 random", "rectified, 8 random", (*PART, None), (*CIFAR, None)),
            *_random("rectified, 1000 random", "rectified, 8 random", (*MNIST, None), (*CIFAR, None)),
        ),
        _pairs(THOUSAND, ("table 5", "8 kernels"), *RANDOM),
    ),
    Claim(
        "random-limit", "Infinitely many random kernels score more than a thousand.", TANGENT,
        _random(
            "rectified, infinitely many", "rectified, 1000 random, regression",
            (*PART, 300), (*MNIST, 1000), (*CIFAR, 1000),
        ),
        _pairs(("table 5", "infinitely many"), THOUSAND, *RANDOM),
    ),
    Claim(
        "random-baseline", "Eight random kernels score more than a trained baseline.", TANGENT,
        _random("rectified, 8 random", "linear, 8 trained, hidden layer", *MANY),
        tuple(
            (reported("table 5", system, "8 kernels"), reported("table 3", other, "no transfer"))
            for system, other in zip(RANDOM, (DIGITS, OBJECTS), strict=True)
        ),
    ),
    Claim(
        "random-trained", "Behind one camera, trained kernels score more than random ones.", "results",
        (
            *_random("rectified, 8 trained", "rectified, 8 random", *MANY),
            *_random("linear, 8 trained", "linear, 8 random", *MANY),
        ),
    ),
    Claim(
        "fabrication", "Fabrication costs accuracy.", TANGENT,
        _devices("as designed", "as built"), _pairs(KERNELS, AS_BUILT, *SYSTEMS),
    ),
    Claim(
        "rescue", "A back end that learns again from labels brings a part of that back.", TANGENT,
        _devices("labels", "as built"), _pairs(END_TO_END, AS_BUILT, *SYSTEMS),
    ),
    Claim(
        "rescue-answers", "Answers bring back more than labels.", "ch12_compensation",
        _devices("KD", "labels"),
    ),
    Claim(
        "rescue-kernels", "Kernels bring back more than labels.", TANGENT,
        _devices("NTKD", "labels"), _pairs(RESCUED, END_TO_END, *SYSTEMS),
    ),
    Claim(
        "rescue-both", "Answers and kernels together bring back more than labels.", "ch12_compensation",
        _devices("KD + NTKD", "labels"),
    ),
    Claim(
        "rescue-near", "With kernels, a device comes as near to its design as in the article.", TANGENT,
        _devices("NTKD", "as designed", NEAR), CLOSE, _devices("labels", "as designed", NEAR),
    ),
)  # fmt: skip
"""What stands on the page *What held, and what did not*."""


def claim(name: str) -> Claim:
    """Return the claim of a name.

    Raises
    ------
    ValueError
        If there is none.
    """
    for one in CLAIMS:
        if one.name == name:
            return one
    raise ValueError(f"name must be one of {', '.join(one.name for one in CLAIMS)}, got {name!r}")
