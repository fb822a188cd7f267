"""From lines to numbers: which trial was chosen, and mean and spread over the seeds."""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from onnlab.data.sources import COPIES
from onnlab.experiments.choice import chosen_trials, trial_runs
from onnlab.experiments.lines import PIXELS, Line, check_copies, copies, is_settled, score
from onnlab.experiments.settings import BEFORE, TUNED, VERSION, Experiment, Row, Trial, any_run, run_of


@dataclass(frozen=True)
class TableRow:
    """Test scores of one row of an experiment, over its seeds.

    Parameters
    ----------
    trial : Trial
        The one that did best on the validation split with seed 0.
    trials : int
        How many there were to choose from, those that diverged among them.
    score : str
        What the numbers are: ``"accuracy"``, or ``"mIoU"`` where each pixel has a label.
    scores : tuple of (int, float)
        Each seed with its test score, from 0 to 1.
    keys : tuple of str
        Of the runs that the scores are of, in the same order.
    device : str
        On which most of the seeds were made, in the name of their lines. The seconds are of runs on it alone.
    seconds : float
        Of one training with its validation, median over the seeds: other work on the machine counts in, and
        a mean would hang on the run that had the most of it.
    notes : tuple of str
        What is unusual about the data of the runs, if anything.
    """

    trial: Trial
    trials: int
    score: str
    scores: tuple[tuple[int, float], ...]
    keys: tuple[str, ...]
    device: str
    seconds: float
    notes: tuple[str, ...]

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.scores)

    @property
    def mean(self) -> float:
        """Of the scores."""
        return statistics.fmean(value for _, value in self.scores)

    @property
    def std(self) -> float:
        """Standard deviation of the scores, with ``n - 1`` in the denominator; NaN for one seed."""
        return statistics.stdev(value for _, value in self.scores) if self.n > 1 else math.nan


def tables_of(experiment: Experiment, lines: Iterable[Line]) -> dict[Row, TableRow]:
    """Return the :class:`TableRow` of each declared row of an experiment, in the order of the declaration.

    Rows choose by their depth, teachers first, among the trials that they declare, see
    :func:`onnlab.experiments.choice.chosen_trials`. What counts of a row are the runs of its chosen trial
    behind the chosen trials of its teacher and student, one for each seed. So runs of settings that are not
    declared any more are left out, and students of a teacher that is not the chosen one; and so are runs
    that failed, and rows whose teacher has no runs.

    Parameters
    ----------
    experiment : Experiment
        Which rows.
    lines : iterable of dict
        As :func:`onnlab.experiments.read` returns them, those of teachers and students included.

    Raises
    ------
    LineError
        If lines about one data set are of different copies of it.
    """
    settled = {line["key"]: line for line in lines if is_settled(line)}
    known = {key: line for key, line in settled.items() if line["error"] is None}
    check_copies(copies(known.values()))
    seeds = sorted({line["seed"] for line in known.values()})
    chosen = chosen_trials(experiment, known)
    found = {}
    for row in experiment.rows:
        if row in chosen:
            repeated = [run_of(row, chosen[row], seed, chosen.__getitem__) for seed in seeds]
            trials = sum(one.key in settled for one in trial_runs(row, chosen))
            alike = [known[one.key] for one in repeated if one.key in known]
            found[row] = _table_row(chosen[row], trials, alike)
    return found


def _table_row(trial: Trial, trials: int, alike: Sequence[Line]) -> TableRow:
    """The row that chose this one of so many trials, and the lines of that trial, by seed."""
    device = statistics.mode(line["device"] for line in alike)
    timed = [line for line in alike if line["device"] == device]
    return TableRow(
        trial=trial,
        trials=trials,
        score="mIoU" if alike[0].keys() >= PIXELS.keys() else "accuracy",
        scores=tuple((line["seed"], score(line, "test")) for line in alike),
        keys=tuple(line["key"] for line in alike),
        device=device,
        seconds=statistics.median(line["seconds"] for line in timed),
        notes=tuple(sorted({note for note in map(_note, alike) if note})),
    )


def _note(line: Line) -> str | None:
    """Of a copy that is known, what is known of it; of another one, what its line says."""
    note: str | None = COPIES.get(line["data_sha256"], line["data_note"])
    return note


@dataclass(frozen=True)
class Gain:
    """How much better one row scores than another, seed by seed.

    Parameters
    ----------
    mean : float
        Of the differences between runs with the same seed, from -1 to 1.
    low, high : float
        Ends of the confidence interval of the mean; infinite for one seed.
    n : int
        Number of seeds that both rows have.
    """

    mean: float
    low: float
    high: float
    n: int

    @property
    def clear(self) -> bool:
        """Whether the interval leaves out zero: only then call one of the rows better."""
        return self.low > 0 or self.high < 0


def paired(better: TableRow, worse: TableRow) -> tuple[TableRow, TableRow]:
    """Return two rows with the scores of those seeds alone that both have, of which :func:`gain` is.

    Raises
    ------
    ValueError
        If the rows have no seed in common.
    """
    common = dict(better.scores).keys() & dict(worse.scores).keys()
    if not common:
        seeds = " and ".join(str(sorted(dict(one.scores))) for one in (better, worse))
        raise ValueError(
            f"better and worse must have a seed in common, got {seeds}; run both with the same seeds"
        )
    first, second = (
        replace(
            one,
            scores=tuple(pair for pair in one.scores if pair[0] in common),
            keys=tuple(key for key, (seed, _) in zip(one.keys, one.scores, strict=True) if seed in common),
        )
        for one in (better, worse)
    )
    return first, second


def gain(better: TableRow, worse: TableRow, level: float = 0.95) -> Gain:
    r"""Return the gain in the test score of one row over another, paired over their seeds.

    With the differences :math:`d_s` of :math:`n` seeds, their mean and standard deviation :math:`s_d`, the
    interval is :math:`\bar d \pm t_{0.975,\,n-1}\, s_d / \sqrt n` at the level of 95 %. It supposes that
    differences are normally distributed; it covers other seeds, not other data.

    Raises
    ------
    ValueError
        If the rows have no seed in common.

    Notes
    -----
    Source: Student (1908), DOI 10.1093/biomet/6.1.1.
    """
    first, second = (dict(one.scores) for one in paired(better, worse))
    differences = [first[seed] - second[seed] for seed in first]
    n = len(differences)
    mean = statistics.fmean(differences)
    if n == 1:
        return Gain(mean, -math.inf, math.inf, n)
    reach = student_t(n - 1, level) * statistics.stdev(differences) / math.sqrt(n)
    return Gain(mean, mean - reach, mean + reach, n)


def student_t(degrees: int, level: float = 0.95) -> float:
    r"""Return :math:`t` so that Student's distribution has the given probability between -t and t.

    With :math:`\theta = \arctan(t/\sqrt\nu)` the probability is a finite sum of powers of
    :math:`\cos\theta`; :math:`\theta` is found by halving an interval.

    Source: Abramowitz & Stegun (1964), equations 26.7.3 and 26.7.4.
    """

    def within(theta: float) -> float:
        start = 1 + degrees % 2
        term = math.sin(theta) * (math.cos(theta) if degrees % 2 else 1.0)
        total = 0.0
        for power in range(start, degrees, 2):
            total += term
            term *= math.cos(theta) ** 2 * power / (power + 1)
        return 2 / math.pi * (theta + total) if degrees % 2 else total

    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if within(middle) > level else (middle, high)
    return math.sqrt(degrees) * math.tan(low)


def percent(row: TableRow) -> str:
    """Mean and standard deviation in per cent."""
    return f"{100 * row.mean:.2f}" + (f" ± {100 * row.std:.2f}" if row.n > 1 else "")


def group_of(experiment: Experiment, row: Row) -> str:
    """Return the :func:`group` of the lines of a row."""
    settings = any_run(row).settings
    line = {"experiment": experiment.name, "scale": experiment.scale, "row": row.name, "version": VERSION}
    return group({**line, "settings": settings})


def group(line: Line) -> str:
    """Return a text that two lines share if they belong to the same row."""
    names = {name: line[name] for name in ("experiment", "scale", "row", "version")}
    return json.dumps({**names, **_without((*TUNED, "seed"), line["settings"])}, sort_keys=True)


def _without(names: Sequence[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Leave some settings out, of teacher and student, too."""
    rest = {name: value for name, value in settings.items() if name not in names}
    return {**rest, **{what: _without(names, rest[what]) for what in BEFORE if rest.get(what) is not None}}
