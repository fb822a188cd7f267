"""From lines to numbers: which trial was chosen, and mean and spread over the seeds."""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from onnlab.experiments.lines import PIXELS, Line, score
from onnlab.experiments.settings import BEFORE, TUNED, VERSION, Experiment, Row, Trial, any_run
from onnlab.networks._text import columns


@dataclass(frozen=True)
class TableRow:
    """Test scores of one row of an experiment, over its seeds.

    Parameters
    ----------
    experiment, scale, row, data, augment : str
        What was trained.
    labels : int or None
        Number of training images; None for all.
    process : str or None
        By which the device was built; None if nothing was.
    trial : Trial
        The one that did best on the validation split with seed 0.
    trials : int
        How many there were to choose from.
    n : int
        Number of seeds.
    score : str
        What the numbers are: ``"accuracy"``, or ``"mIoU"`` where each pixel has a label.
    mean, std : float
        Of the test score, from 0 to 1; ``std`` with ``n - 1`` in the denominator, NaN for one seed.
    scores : tuple of (int, float)
        Each seed with its test score.
    device : str
        On which most of the seeds were made, in the name of their lines. What follows is of runs on it alone.
    seconds : float
        Of one training with its validation, mean over the seeds; other work on the machine counts in.
    fastest : float
        Seconds of the fastest training, of any seed and trial: that with the least other work beside it.
    joules : float or None
        Of one training with its validation, mean over the seeds whose machine told; other work counts in.
    notes : tuple of str
        What is unusual about the data of the runs, if anything.
    """

    experiment: str
    scale: str
    row: str
    data: str
    labels: int | None
    process: str | None
    augment: str
    trial: Trial
    trials: int
    n: int
    score: str
    mean: float
    std: float
    scores: tuple[tuple[int, float], ...]
    device: str
    seconds: float
    fastest: float
    joules: float | None
    notes: tuple[str, ...]


def table(lines: Iterable[Line]) -> list[TableRow]:
    """Return mean, spread and number of seeds for each row, in the order in which rows first appear.

    Lines belong to one row if they agree in all but the seed and what is tuned, in the settings of teacher
    and student, too. Of the trials that seed 0 made, the one with the highest validation score counts; among
    equals the lowest validation loss decides. Lines of the other seeds count if teacher and student had the
    same trials, too. Runs that failed are left out.
    """
    return list(_tabulated(lines).values())


def tables_of(experiment: Experiment, lines: Iterable[Line]) -> dict[Row, TableRow]:
    """Return the :class:`TableRow` of each declared row of an experiment, in the order of the declaration.

    A row is found by all its settings, its teacher's included. One that has no runs yet is left out, and so
    are lines of trials that its declaration does not have any more.
    """
    texts = {row: group_of(experiment, row) for row in experiment.rows}
    trials = {text: row.trials for row, text in texts.items()}
    found = _tabulated(line for line in lines if trial_of(line) in trials.get(group(line), ()))
    return {row: found[text] for row, text in texts.items() if text in found}


def _tabulated(lines: Iterable[Line]) -> dict[str, TableRow]:
    groups: dict[str, list[Line]] = {}
    for line in lines:
        if line["error"] is None:
            groups.setdefault(group(line), []).append(line)
    rows = {}
    for name, mine in groups.items():
        best = _chosen(mine)
        if best is None:
            continue
        # Of one seed there may be several runs of a trial: with teachers that were tuned otherwise.
        wanted = _without(("seed",), best["settings"])
        alike = [line for line in mine if _without(("seed",), line["settings"]) == wanted]
        seeds = sorted((line["seed"], score(line, "test")) for line in alike)
        values = [value for _, value in seeds]
        device = statistics.mode(line["device"] for line in alike)
        timed = [line for line in alike if line["device"] == device]
        joules = [line["joules"] for line in timed if line.get("joules") is not None]
        first = mine[0]
        rows[name] = TableRow(
            experiment=first["experiment"],
            scale=first["scale"],
            row=first["row"],
            data=first["settings"]["data"],
            labels=first["settings"]["labels"],
            process=first["settings"].get("process"),
            augment=first["settings"]["augment"],
            trial=trial_of(best),
            trials=len({trial_of(line) for line in mine if line["seed"] == 0}),
            n=len(values),
            score="mIoU" if first.keys() >= PIXELS.keys() else "accuracy",
            mean=statistics.fmean(values),
            std=statistics.stdev(values) if len(values) > 1 else math.nan,
            scores=tuple(seeds),
            device=device,
            seconds=statistics.fmean(line["seconds"] for line in timed),
            fastest=min(line["seconds"] for line in mine if line["device"] == device),
            joules=statistics.fmean(joules) if joules else None,
            notes=tuple(sorted({line["data_note"] for line in alike if line["data_note"]})),
        )
    return rows


def chosen_trial(lines: Iterable[Line]) -> Trial | None:
    """Return the trial that did best on the validation split with seed 0, None if none ran."""
    best = _chosen(lines)
    return None if best is None else trial_of(best)


def _chosen(lines: Iterable[Line]) -> Line | None:
    tried = [line for line in lines if line["seed"] == 0 and line["error"] is None]
    return max(tried, key=lambda line: (score(line, "validation"), -line["validation_loss"]), default=None)


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
    first, second = dict(better.scores), dict(worse.scores)
    differences = [first[seed] - second[seed] for seed in first if seed in second]
    n = len(differences)
    if n == 0:
        raise ValueError(
            f"better and worse must have a seed in common, got {sorted(first)} and {sorted(second)}; "
            "run both with the same seeds"
        )
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


def format_table(rows: Sequence[TableRow]) -> str:
    """Return the table as text, a line for each row."""
    head = ("scale", "data", "row", "process", "labels", "augment", "chosen", "score", "test", "seeds")
    cells = [
        (
            row.scale,
            row.data,
            row.row,
            row.process or "none",
            "all" if row.labels is None else str(row.labels),
            row.augment,
            str(row.trial),
            row.score,
            f"{row.mean:.2%}" + (f" ± {100 * row.std:.2f}" if row.n > 1 else ""),
            str(row.n),
        )
        for row in rows
    ]
    return columns((head, *cells))


def group_of(experiment: Experiment, row: Row) -> str:
    """Return the :func:`group` of the lines of a row."""
    settings = any_run(row).settings
    line = {"experiment": experiment.name, "scale": experiment.scale, "row": row.name, "version": VERSION}
    return group({**line, "settings": settings})


def group(line: Line) -> str:
    """Return a text that two lines share if they belong to the same row."""
    names = {name: line[name] for name in ("experiment", "scale", "row", "version")}
    return json.dumps({**names, **_without((*TUNED, "seed"), line["settings"])}, sort_keys=True)


def trial_of(line: Line) -> Trial:
    """Return what was chosen of the settings that are tuned."""
    return Trial(**{name: line["settings"].get(name) for name in TUNED})


def _without(names: Sequence[str], settings: dict[str, Any]) -> dict[str, Any]:
    """Leave some settings out, of teacher and student, too."""
    rest = {name: value for name, value in settings.items() if name not in names}
    return {**rest, **{what: _without(names, rest[what]) for what in BEFORE if rest.get(what) is not None}}
