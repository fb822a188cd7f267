"""Which runs an experiment has, in which order; what is still to be run, and how long that may take."""

import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import onnlab
from onnlab.experiments.catalogue import EXPERIMENTS
from onnlab.experiments.choice import chosen_trial, trial_runs
from onnlab.experiments.lines import REHEARSALS, Line, is_settled, read, read_rehearsals
from onnlab.experiments.settings import Experiment, Row, Run, Trial, any_run, run_of
from onnlab.experiments.tables import group, group_of
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
        How many of them are not in the folder of results yet.
    seconds : float
        Of one run: the median over those of this row that were made; of a row that was only rehearsed, what
        the rehearsal says; NaN if there is neither.
    here : bool
        Whether the folder of the results tells the seconds. Otherwise those that come with the package do.
    extrapolated : bool
        Whether they are those of a rehearsal, see :func:`onnlab.experiments.rehearse`.
    broken : bool
        Whether the rehearsal failed, and no run was ever made.
    """

    experiment: Experiment
    row: Row
    runs: int
    missing: int
    seconds: float
    here: bool
    extrapolated: bool = False
    broken: bool = False


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
        tried = {row: trial_runs(row, chosen) for row in rows}
        yield [one for runs in tried.values() for one in runs]
        for row, runs in tried.items():
            best = chosen_trial(runs, known)
            if best is not None and all(one.key in known for one in runs):
                chosen[row] = best
        made = [row for row in rows if row in chosen]
        yield [run_of(row, chosen[row], seed, chosen.__getitem__) for seed in range(1, seeds) for row in made]


def made_elsewhere(experiment: Experiment, folder: Path) -> dict[str, Line]:
    """Return, by their keys, the settled runs of the other experiments in a folder of results.

    Experiments share teachers and students: a run with the same settings is the same run.
    """
    others = (folder / f"{name}.jsonl" for name in EXPERIMENTS if name != experiment.name)
    return {line["key"]: line for path in others for line in _settled(path)}


def plan(
    experiment: Experiment, out: str | Path, *, seeds: int, device: str | None = None, shipped: Path = SHIPPED
) -> list[Planned]:
    """Return for each row of an experiment what :func:`run` would do. Nothing is trained.

    What another experiment has made in that folder is not missing: :func:`run` takes it over.

    Parameters
    ----------
    experiment, out, seeds
        As for :func:`run`.
    device : str, optional
        Name of the one whose runs tell the seconds, as lines hold it; left out, those of any do.
    shipped : path
        Folder of other results, for the seconds of rows that ``out`` has no runs of. Where there is no run of
        a row either, its rehearsal in ``out`` counts, and then the one in this folder.

    Raises
    ------
    ValueError
        If ``seeds`` is below 1.
    LineError
        If a file of results holds a broken line.
    """
    folders = list(dict.fromkeys((Path(out), shipped)))  # they may be one
    made = [_settled(folder / f"{experiment.name}.jsonl") for folder in folders]
    rehearsals = [_by_group(_on(device, read_rehearsals(folder / REHEARSALS))) for folder in folders]
    # The first that tells counts: runs before rehearsals, and of each those of this folder before the others.
    told = [*(_seconds(_on(device, lines)) for lines in made), *map(_rehearsed, rehearsals)]
    known = {**made_elsewhere(experiment, folders[0]), **{line["key"]: line for line in made[0]}}
    found = Counter(one.row for runs in walk(experiment, seeds, known) for one in runs if one.key in known)
    planned = []
    for row in experiment.rows:
        runs = len(row.trials) + seeds - 1
        mine = group_of(experiment, row)
        place = next((k for k, seconds in enumerate(told) if mine in seconds), None)
        seconds = math.nan if place is None else told[place][mine]
        broken = place is None and any(mine in lines for lines in rehearsals)
        is_here = place in (0, len(folders))
        rehearsed = place is not None and place >= len(folders)
        planned.append(Planned(experiment, row, runs, runs - found[row], seconds, is_here, rehearsed, broken))
    return planned


def distinct(planned: Sequence[Planned]) -> list[Planned]:
    """Return what is planned, without the rows that an experiment before it shares: they are made once."""
    first: dict[tuple[str, tuple[Trial, ...]], Planned] = {}
    for one in planned:
        first.setdefault((any_run(one.row).key, one.row.trials), one)
    return list(first.values())


def _settled(path: Path) -> list[Line]:
    return [line for line in read(path) if is_settled(line)]


def _on(device: str | None, lines: Iterable[Line]) -> list[Line]:
    return [line for line in lines if device in (None, line["device"])]


def _by_group(lines: Iterable[Line]) -> dict[str, Line]:
    return {line["group"]: line for line in lines}


def _rehearsed(lines: Mapping[str, Line]) -> dict[str, float]:
    return {mine: line["seconds"] for mine, line in lines.items() if line["error"] is None}


def _seconds(lines: Sequence[Line]) -> dict[str, float]:
    """Return the median over the runs of each row."""
    found: defaultdict[str, list[float]] = defaultdict(list)
    for line in lines:
        if line["error"] is None:
            found[group(line)].append(line["seconds"])
    return {mine: statistics.median(seconds) for mine, seconds in found.items()}


def format_plan(planned: Sequence[Planned]) -> str:
    """Return a plan as text: a line for each row, and the time of all.

    ``~`` marks times from elsewhere, ``*`` those that are extrapolated from a rehearsal.
    """
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
            one.row.labels_text,
            str(one.runs),
            str(one.missing),
            ("fails" if one.broken else "?") if math.isnan(one.seconds) else f"{_mark(one)}{one.seconds:.0f}",
            "?" if math.isnan(one.seconds) and one.missing else f"{hours(one):.2f}",
        )
        for one in planned
    ]
    return f"{columns((head, *rows))}\n{total(planned)}"


def total(planned: Sequence[Planned]) -> str:
    """Return in sentences how many runs are missing, how long they take, and where that is known from."""
    every, planned = planned, distinct(planned)
    needed = math.fsum(hours(one) for one in planned)
    guessed = math.fsum(hours(one) for one in planned if one.extrapolated)
    untold = [one for one in planned if math.isnan(one.seconds) and one.missing]
    text = f"{sum(one.missing for one in planned)} runs are missing: {needed:.2f} hours of one core"
    if guessed:
        text += f", {guessed:.2f} of them extrapolated from rehearsals"
    for broken, what in ((False, "that were never timed"), (True, "whose rehearsal failed")):
        runs = sum(one.missing for one in untold if one.broken is broken)
        text += f", and {runs} runs of rows {what}" if runs else ""
    text += "."
    if len(planned) < len(every):
        text += " Rows that several experiments share count once."
    marks = "".join(map(_mark, planned))
    if "*" in marks:
        text += " Times marked * are extrapolated from a few batches, and count the scoring at the end, too."
    if "~" in marks:
        text += " Times marked ~ are those of the results that come with the package, on another machine."
    if any(not one.broken for one in untold):
        text += " `--rehearse` times rows that never ran."
    return text


def _mark(one: Planned) -> str:
    if math.isnan(one.seconds):
        return ""
    return ("" if one.here else "~") + ("*" if one.extrapolated else "")


def hours(one: Planned) -> float:
    """Return the hours of the missing runs of a row; 0 if nothing tells its seconds."""
    return 0.0 if math.isnan(one.seconds) else one.missing * one.seconds / 3600
