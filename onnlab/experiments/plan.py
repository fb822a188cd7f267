"""Which runs an experiment has, in which order; what is still to be run, and how long that may take."""

import math
import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import onnlab
from onnlab.experiments.lines import Line, read
from onnlab.experiments.settings import Experiment, Row, Run, Trial, run_of
from onnlab.experiments.tables import chosen_trial, group, group_of
from onnlab.networks._text import columns

SHIPPED = Path(onnlab.__file__).parents[1] / "results"
"""Results of the checkout that this package lies in: they tell what runs cost before you have made one."""


@dataclass(frozen=True)
class Planned:
    """What a row of an experiment still needs.

    Parameters
    ----------
    experiment : Experiment
        To which the row belongs.
    row : Row
        What is trained.
    runs : int
        All trials with seed 0, and the chosen one with each other seed.
    missing : int
        How many of them are not in the file of results yet.
    seconds : float
        Of one run: the mean over those of this row that were made, NaN if none ever was.
    here : bool
        Whether the folder of the results tells the seconds. Otherwise those that come with the package do.
    """

    experiment: Experiment
    row: Row
    runs: int
    missing: int
    seconds: float
    here: bool


def walk(experiment: Experiment, seeds: int, known: Mapping[str, Line]) -> Iterator[list[Run]]:
    """Give the runs of an experiment in groups, each of which can be made once those before it are.

    Rows come by their depth: first all trials with seed 0, then the chosen ones with the other seeds.

    Parameters
    ----------
    experiment : Experiment
        What is to be run.
    seeds : int
        How many seeds, counted from 0.
    known : Mapping
        Lines by the keys of their runs, read again after each group. A row is left out as long as a trial of
        its own, or of a row before it, is not there, or all of them failed: its runs are not known yet.

    Raises
    ------
    ValueError
        If ``seeds`` is below 1.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    chosen: dict[Row, Trial] = {}
    for _, level in groupby(sorted(experiment.rows, key=lambda row: row.depth), lambda row: row.depth):
        rows = [row for row in level if chosen.keys() >= set(row.before)]
        tried = {row: [run_of(row, trial, 0, chosen.__getitem__) for trial in row.trials] for row in rows}
        yield [one for runs in tried.values() for one in runs]
        for row, runs in tried.items():
            lines = [known[one.key] for one in runs if one.key in known]
            best = chosen_trial(lines)
            if best is not None and len(lines) == len(runs):
                chosen[row] = best
        made = [row for row in rows if row in chosen]
        yield [run_of(row, chosen[row], seed, chosen.__getitem__) for seed in range(1, seeds) for row in made]


def plan(experiment: Experiment, out: str | Path, *, seeds: int, shipped: Path = SHIPPED) -> list[Planned]:
    """Return for each row of an experiment what :func:`run` would do. Nothing is trained.

    Parameters
    ----------
    experiment, out, seeds
        As for :func:`run`.
    shipped : path
        Folder of other results, for the seconds of rows that ``out`` has no runs of.

    Raises
    ------
    ValueError
        If ``seeds`` is below 1, or the file of results holds a broken line.
    """
    here, elsewhere = (_whole(Path(folder) / f"{experiment.name}.jsonl") for folder in (out, shipped))
    known = {line["key"]: line for line in here}
    found = Counter(one.row for runs in walk(experiment, seeds, known) for one in runs if one.key in known)
    planned = []
    for row in experiment.rows:
        runs = len(row.trials) + seeds - 1
        mine, theirs = (_seconds(experiment, row, lines) for lines in (here, elsewhere))
        measured = not math.isnan(mine)
        seconds = mine if measured else theirs
        planned.append(Planned(experiment, row, runs, runs - found[row], seconds, measured))
    return planned


def _whole(path: Path) -> list[Line]:
    return [line for line in read(path) if line["error"] is None]


def _seconds(experiment: Experiment, row: Row, lines: Sequence[Line]) -> float:
    mine = group_of(experiment, row)
    return statistics.fmean([line["seconds"] for line in lines if group(line) == mine] or [math.nan])


def format_plan(planned: Sequence[Planned]) -> str:
    """Return a plan as text: a line for each row, and the time of all; ``~`` marks times from elsewhere."""
    head = (
        "experiment", "scale", "data", "row", "process", "labels", "runs", "missing", "seconds each", "hours"
    )  # fmt: skip
    rows = [
        (
            one.experiment.name,
            one.experiment.scale,
            one.row.data,
            one.row.name,
            one.row.process or "none",
            "all" if one.row.labels is None else str(one.row.labels),
            str(one.runs),
            str(one.missing),
            "?" if math.isnan(one.seconds) else f"{_mark(one)}{one.seconds:.0f}",
            "?" if math.isnan(one.seconds) and one.missing else f"{_hours(one):.2f}",
        )
        for one in planned
    ]
    measured = math.fsum(_hours(one) for one in planned)
    unmeasured = sum(one.missing for one in planned if math.isnan(one.seconds))
    total = f"{sum(one.missing for one in planned)} runs are missing: {measured:.2f} hours of one core"
    if unmeasured:
        total += f", and {unmeasured} runs of rows that were never timed"
    total += "."
    if any(map(_mark, planned)):
        total += " Times marked ~ are those of the results that come with the package, on another machine."
    return f"{columns((head, *rows))}\n{total}"


def _mark(one: Planned) -> str:
    return "" if one.here or math.isnan(one.seconds) else "~"


def _hours(one: Planned) -> float:
    return 0.0 if math.isnan(one.seconds) else one.missing * one.seconds / 3600
