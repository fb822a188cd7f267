"""What is still to be run, and how long that may take."""

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from onnlab.experiments.lines import Line, read
from onnlab.experiments.settings import Experiment, Row, Trial, run_of
from onnlab.experiments.tables import chosen_trial, group, group_of
from onnlab.networks._text import columns


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
        Of one run: the mean over those of this row that are there, NaN if there are none.
    """

    experiment: Experiment
    row: Row
    runs: int
    missing: int
    seconds: float


def plan(experiment: Experiment, out: str | Path, *, seeds: int) -> list[Planned]:
    """Return for each row of an experiment what :func:`run` would do. Nothing is trained.

    Parameters
    ----------
    experiment, out, seeds
        As for :func:`run`.

    Raises
    ------
    ValueError
        If ``seeds`` is below 1, or the file of results holds a broken line.
    """
    if seeds < 1:
        raise ValueError(f"seeds must be at least 1, got {seeds}")
    lines = [line for line in read(Path(out) / f"{experiment.name}.jsonl") if line["error"] is None]
    known = {line["key"]: line for line in lines}
    chosen: dict[Row, Trial] = {}
    planned: dict[Row, Planned] = {}
    for row in sorted(experiment.rows, key=lambda row: row.depth):
        found = 0
        if chosen.keys() >= set(row.before):
            tried = [run_of(row, trial, 0, chosen.__getitem__).key for trial in row.trials]
            found = sum(key in known for key in tried)
            best = chosen_trial(known[key] for key in tried if key in known)
            if best is not None and found == len(tried):
                chosen[row] = best
                others = (run_of(row, best, seed, chosen.__getitem__).key for seed in range(1, seeds))
                found += sum(key in known for key in others)
        runs = len(row.trials) + seeds - 1
        planned[row] = Planned(experiment, row, runs, runs - found, _seconds(experiment, row, lines))
    return [planned[row] for row in experiment.rows]


def _seconds(experiment: Experiment, row: Row, lines: Iterable[Line]) -> float:
    mine = group_of(experiment, row)
    return statistics.fmean([line["seconds"] for line in lines if group(line) == mine] or [math.nan])


def format_plan(planned: Sequence[Planned]) -> str:
    """Return a plan as text: a line for each row, and the hours of all."""
    head = ("experiment", "scale", "data", "row", "labels", "runs", "missing", "seconds each", "hours")
    rows = [
        (
            one.experiment.name,
            one.experiment.scale,
            one.row.data,
            one.row.name,
            "all" if one.row.labels is None else str(one.row.labels),
            str(one.runs),
            str(one.missing),
            "?" if math.isnan(one.seconds) else f"{one.seconds:.0f}",
            "?" if math.isnan(one.seconds) and one.missing else f"{_hours(one):.2f}",
        )
        for one in planned
    ]
    measured = math.fsum(_hours(one) for one in planned)
    unmeasured = sum(one.missing for one in planned if math.isnan(one.seconds))
    total = f"{sum(one.missing for one in planned)} runs are missing: {measured:.1f} hours"
    if unmeasured:
        total += f", and {unmeasured} runs of rows that were never timed"
    return f"{columns((head, *rows))}\n{total}."


def _hours(one: Planned) -> float:
    return 0.0 if math.isnan(one.seconds) else one.missing * one.seconds / 3600
