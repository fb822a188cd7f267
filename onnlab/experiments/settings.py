"""What an experiment is: rows of settings, and the runs that they stand for. Nothing is computed here."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from itertools import product
from typing import Any

from onnlab.experiments.devices import PROCESSES
from onnlab.experiments.parts import AUGMENTATIONS, FRONTS, KERNELS, NETWORKS, SOLVED, TASKS
from onnlab.optics._check import one_of

SCALES = ("chapter", "book", "full")
"""``chapter``: the questions of the book in less than ten minutes on two cores, all experiments together, and
without a download; ``book``: what the appendix shows, in hours; ``full``: the data of the articles, as far as
they are public.

Every experiment has each of them. A run is known by its settings alone, so no two scales of an experiment
have settings in common.
"""

VERSION = 1
"""Of the recipe: raise it when the same settings come to mean another training; all runs are made anew."""


@dataclass(frozen=True)
class Trial:
    """One choice of what is tuned. What a row does not have is None.

    Parameters
    ----------
    learning_rate : float or None
        See :func:`onnlab.distill.fit`; None where nothing is trained.
    label_smoothing : float, optional
        See :class:`onnlab.distill.CrossEntropy`.
    temperature : float, optional
        See :func:`onnlab.distill.kd_loss`.
    beta : float, optional
        See :class:`onnlab.distill.NTKD`.
    """

    learning_rate: float | None
    label_smoothing: float | None = None
    temperature: float | None = None
    beta: float | None = None

    def __str__(self) -> str:
        return self.text({})

    def text(self, marks: Mapping[str, str]) -> str:
        """Return what was chosen in words.

        Parameters
        ----------
        marks : mapping
            What is to stand behind the number of a setting, by its name.
        """
        given = {name: value for name, value in asdict(self).items() if value is not None}
        words = [f"{name.replace('_', ' ')} {value:g}{marks.get(name, '')}" for name, value in given.items()]
        return ", ".join(words) or "nothing to choose"


TUNED = tuple(field.name for field in fields(Trial))
"""Names of the settings that are tuned."""

LATER = {
    **dict.fromkeys(("label_smoothing", "kernel", "beta", "student", "process")),
    "keep": "best",
}
"""Settings that version 1 did not have from the start, each with the value that stands for not having it."""

BEFORE = ("teacher", "student")
"""Names of the settings that are those of another run, which has to be made before."""


KEEPS = ("best", "last")
"""Which weights a training may end with, see :func:`onnlab.distill.fit`."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of a result table: a training that is repeated with several seeds.

    Rows are compared fairly if they have equally many :attr:`trials`: seed 0 makes each of them, the
    validation split chooses, and the other seeds use the one that was chosen. The test split has no say.

    Parameters
    ----------
    name : str
        What the table calls it.
    network : str
        One of :data:`onnlab.experiments.parts.NETWORKS`.
    data : str
        One of :data:`onnlab.experiments.parts.TASKS`.
    epochs : int
        Passes over the training images; 0 for a device that is left as it was built, and for a network that
        is solved in closed form, one of :data:`onnlab.experiments.parts.SOLVED`.
    front : str
        One of :data:`onnlab.experiments.parts.FRONTS`. A counterpart starts from fresh weights, not from
        those of a trained network.
    labels : int, optional
        How many training images, drawn by the seed and stratified by class; all if not given. With a
        student, they are drawn from its own, and as large a share of the validation images chooses the epoch.
    augment : str
        One of :data:`onnlab.experiments.parts.AUGMENTATIONS`.
    batch_size : int
        See :func:`onnlab.distill.fit`.
    keep : str
        ``"best"``: validation chooses the epoch; or ``"last"``, where the accuracy of pixels would choose
        badly, because a class is rare.
    learning_rates : tuple of float
        Those to try; none with 0 epochs, and only then.
    label_smoothings : tuple of float
        Those to try; plain labels if none are given.
    teacher : Row, optional
        Distil from what this row trained with the same seed; learn from labels alone if not given.
    temperatures : tuple of float
        Those to try.
    alpha : float, optional
        As in :func:`onnlab.distill.kd_loss`; given with temperatures, and only then. With 1, labels do not
        enter.
    kernel : str, optional
        One of :data:`onnlab.experiments.parts.KERNELS`: learn the teacher's tangent kernel, too.
    betas : tuple of float
        Weights of the kernel to try; given with a kernel, and only then.
    student : Row, optional
        Build the network that this row trained with the same seed, by the process; then learn again with the
        optics frozen, see :func:`onnlab.hardware.compensate`. The seed also draws the errors: each seed has a
        student, a device and a draw of images of its own.
    process : str, optional
        One of :data:`onnlab.experiments.devices.PROCESSES`; given with a student, and only then.

    Raises
    ------
    ValueError
        If a name is unknown, a number is out of range, a teacher comes without anything to learn from it, or
        a student is another network or built itself.
    """

    name: str
    network: str
    data: str
    epochs: int
    front: str = "nonlinear"
    labels: int | None = None
    augment: str = "none"
    batch_size: int = 64
    keep: str = "best"
    learning_rates: tuple[float, ...] = (2e-3, 6e-3, 1.8e-2)
    label_smoothings: tuple[float, ...] = ()
    teacher: "Row | None" = None
    temperatures: tuple[float, ...] = ()
    alpha: float | None = None
    kernel: str | None = None
    betas: tuple[float, ...] = ()
    student: "Row | None" = None
    process: str | None = None

    def __post_init__(self) -> None:
        for what, known in (
            ("network", NETWORKS),
            ("data", TASKS),
            ("front", FRONTS),
            ("augment", AUGMENTATIONS),
            ("keep", KEEPS),
            ("kernel", KERNELS),
            ("process", PROCESSES),
        ):
            value = getattr(self, what)
            if value is not None or what not in ("kernel", "process"):
                one_of(what, value, known)
        for what in ("epochs", "batch_size", "labels"):
            value = getattr(self, what)
            untrained = self.student is not None or self.network in SOLVED
            if value is not None and value < 1 and not (what == "epochs" and value == 0 and untrained):
                raise ValueError(f"{what} must be at least 1, got {value}")
        for what in ("learning_rates", "label_smoothings", "temperatures", "betas"):
            values = getattr(self, what)
            plain = what == "label_smoothings"  # 0 leaves the labels as they are
            if any(value < 0 or (value == 0 and not plain) for value in values):
                raise ValueError(f"{what} must {'not be negative' if plain else 'be positive'}, got {values}")
            if len(set(values)) < len(values):
                raise ValueError(f"{what} must be different, got {values}")
        if bool(self.learning_rates) != bool(self.epochs):
            raise ValueError(
                "learning_rates must be at least one if there are epochs, and none without, got "
                f"{self.learning_rates}"
            )
        if self.alpha is not None and not 0 <= self.alpha <= 1:
            raise ValueError(f"alpha must be from 0 to 1, got {self.alpha}")
        if bool(self.temperatures) != (self.alpha is not None) or bool(self.betas) != (
            self.kernel is not None
        ):
            raise ValueError(
                "temperatures and alpha must be given together, and betas and kernel, got "
                f"{self.temperatures} and {self.alpha}, {self.betas} and {self.kernel}; "
                "(4.0,) and 0.9 are usual"
            )
        if bool(self.temperatures or self.betas) != (self.teacher is not None):
            raise ValueError(
                "temperatures or betas must be given with a teacher, and only then, got "
                f"{self.temperatures} and {self.betas}"
            )
        if self.network in SOLVED and (self.epochs or self.teacher is not None or self.student is not None):
            raise ValueError(
                f"network {self.network!r} must have 0 epochs, no teacher and no student: it is solved"
            )
        self._check_before()

    def _check_before(self) -> None:
        if self.teacher is not None and self.teacher.data != self.data:
            raise ValueError(
                f"teacher must know the data of row {self.name!r} itself, {self.data!r}, "
                f"got one of {self.teacher.data!r}"
            )
        if (self.student is None) != (self.process is None):
            raise ValueError(
                f"student and process must be given together, got process {self.process!r}; "
                "'clean room' is one"
            )
        same = ("network", "data", "front")
        for row in self.before:
            if row.student is not None:
                raise ValueError(f"teacher and student must not be built, got row {row.name!r}")
        if self.student is not None and any(getattr(self, w) != getattr(self.student, w) for w in same):
            raise ValueError(f"student must have the same {', '.join(same)} as row {self.name!r} itself")

    @property
    def before(self) -> tuple["Row", ...]:
        """Rows that have to be trained before: teacher and student, if there are some."""
        return tuple(row for row in (self.teacher, self.student) if row is not None)

    @property
    def depth(self) -> int:
        """How many rows have to be trained before, one after the other."""
        return max((1 + row.depth for row in self.before), default=0)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """Every combination of what is tuned."""
        later = [values or (None,) for values in (self.label_smoothings, self.temperatures, self.betas)]
        return tuple(Trial(*values) for values in product(self.learning_rates or (None,), *later))

    def ends(self, trial: Trial) -> tuple[str, ...]:
        """Return the names of the settings of which a trial has the smallest or the largest to choose from.

        Beyond it another value may do better. Two values have only ends, so that they tell nothing: these
        settings are left out.
        """
        ranges = {name: {getattr(one, name) for one in self.trials} for name in TUNED}
        return tuple(
            name
            for name, values in ranges.items()
            if len(values) > 2 and getattr(trial, name) in (min(values), max(values))
        )

    @property
    def labels_text(self) -> str:
        """How many images it learns from: ``"6000"``, for example, or ``"all"``."""
        return "all" if self.labels is None else str(self.labels)

    @property
    def teacher_labels(self) -> str:
        """The same of its teacher; empty if as many."""
        if self.teacher is None or self.teacher.labels == self.labels:
            return ""
        return self.teacher.labels_text


@dataclass(frozen=True)
class Run:
    """One training: a row with one choice of what is tuned, a seed, and the runs of its teacher and student.

    Raises
    ------
    ValueError
        If the row has temperatures or betas and the trial none, or the other way round.
    """

    row: Row
    trial: Trial
    seed: int
    teacher: "Run | None" = None
    student: "Run | None" = None

    def __post_init__(self) -> None:
        given = self.trial.temperature is not None, self.trial.beta is not None
        if given != (bool(self.row.temperatures), bool(self.row.betas)):
            raise ValueError(
                f"trial must have a temperature or beta if row {self.row.name!r} has some, and only then, "
                f"got {self.trial!r}; take one of row.trials"
            )

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that the result depends on, those of teacher and student included; JSON can hold it."""
        left_out = ("name", "learning_rates", "label_smoothings", "temperatures", "betas", *BEFORE)
        settings = {
            **{f.name: getattr(self.row, f.name) for f in fields(Row) if f.name not in left_out},
            **asdict(self.trial),
            "seed": self.seed,
            "teacher": self.teacher and self.teacher.settings,
            "student": self.student and self.student.settings,
        }
        # What was added later is left out where it is not used: older runs keep their keys.
        return {k: value for k, value in settings.items() if k not in LATER or value != LATER[k]}

    @property
    def key(self) -> str:
        """Name of the run, see :func:`key_of`."""
        return key_of(self.settings, VERSION)


def key_of(settings: Mapping[str, Any], version: int) -> str:
    """Return the name of the run of these settings: 16 hexadecimal digits of their SHA-256 and the version's.

    Parameters
    ----------
    settings : mapping
        Those of a :class:`Run`, or of the teacher or student in the settings of another.
    version : int
        Of the recipe, see :data:`VERSION`.
    """
    text = json.dumps({"version": version, **settings}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Experiment:
    """A named table of rows.

    Parameters
    ----------
    name : str
        Of the experiment, and of its file in ``results/``.
    scale : str
        One of :data:`onnlab.experiments.SCALES`.
    rows : tuple of Row
        A teacher is a row, too, and comes before those that learn from it; so does a student that is built.
    pairs : tuple of (Row, Row)
        Rows to compare with others, besides those that :func:`onnlab.experiments.report.comparisons` finds.

    Raises
    ------
    ValueError
        If there is no such scale, two rows have the same settings, or a teacher or student is no row before.
    """

    name: str
    scale: str
    rows: tuple[Row, ...]
    pairs: tuple[tuple[Row, Row], ...] = ()

    def __post_init__(self) -> None:
        one_of("scale", self.scale, SCALES)
        for index, row in enumerate(self.rows):
            for what in BEFORE:
                other = getattr(row, what)
                if other is not None and other not in self.rows[:index]:
                    raise ValueError(f"the {what} of row {row.name!r} must be a row before it; put it there")
        keys = [any_run(row).key for row in self.rows]
        for index, key in enumerate(keys):
            if key in keys[:index]:
                raise ValueError(
                    f"row {self.rows[index].name!r} has the settings of another; drop one of them"
                )


def any_run(row: Row) -> Run:
    """Return one of the runs of a row; with its settings but seed and trial, any other has the same."""
    return run_of(row, row.trials[0], 0, lambda other: other.trials[0])


def run_of(row: Row, trial: Trial, seed: int, chosen: Callable[[Row], Trial]) -> Run:
    """Return the run of a row, with the chosen trials of its teacher and student, and with their seed."""
    before = {
        what: None if other is None else run_of(other, chosen(other), seed, chosen)
        for what in BEFORE
        for other in [getattr(row, what)]
    }
    return Run(row, trial, seed, **before)
