"""From lines to numbers: which trial was chosen, and mean and spread over the seeds."""

import json
import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from onnlab.experiments.lines import Line
from onnlab.experiments.settings import TUNED, Trial


@dataclass(frozen=True)
class TableRow:
    """Test accuracy of one row of an experiment, over its seeds.

    Parameters
    ----------
    experiment, scale, row, data, augment : str
        What was trained.
    labels : int or None
        Number of training images; None for all.
    trial : Trial
        The one that did best on the validation split with seed 0.
    trials : int
        How many there were to choose from.
    n : int
        Number of seeds.
    mean, std : float
        Of the test accuracy, from 0 to 1; ``std`` with ``n - 1`` in the denominator, NaN for one seed.
    accuracies : tuple of (int, float)
        Each seed with its test accuracy.
    """

    experiment: str
    scale: str
    row: str
    data: str
    labels: int | None
    augment: str
    trial: Trial
    trials: int
    n: int
    mean: float
    std: float
    accuracies: tuple[tuple[int, float], ...]


def table(lines: Iterable[Line]) -> list[TableRow]:
    """Return mean, spread and number of seeds for each row, in the order in which rows first appear.

    Lines belong to one row if they agree in all but the seed and what is tuned, their teachers' included. Of
    the trials that seed 0 made, the one with the highest validation accuracy counts; among equals the lowest
    validation loss decides. Runs that failed are left out.
    """
    groups: dict[str, list[Line]] = {}
    for line in lines:
        if line["error"] is None:
            groups.setdefault(_group(line), []).append(line)
    rows = []
    for group in groups.values():
        best = chosen_trial(group)
        if best is None:
            continue
        alike = [line for line in group if _trial(line) == best]
        seeds = sorted((line["seed"], line["test_accuracy"]) for line in alike)
        values = [accuracy for _, accuracy in seeds]
        first = group[0]
        rows.append(
            TableRow(
                experiment=first["experiment"],
                scale=first["scale"],
                row=first["row"],
                data=first["settings"]["data"],
                labels=first["settings"]["labels"],
                augment=first["settings"]["augment"],
                trial=best,
                trials=len({_trial(line) for line in group if line["seed"] == 0}),
                n=len(values),
                mean=statistics.fmean(values),
                std=statistics.stdev(values) if len(values) > 1 else math.nan,
                accuracies=tuple(seeds),
            )
        )
    return rows


def chosen_trial(lines: Iterable[Line]) -> Trial | None:
    """Return the trial that did best on the validation split with seed 0, None if none ran."""
    tried = [line for line in lines if line["seed"] == 0 and line["error"] is None]
    if not tried:
        return None
    return _trial(max(tried, key=lambda line: (line["validation_accuracy"], -line["validation_loss"])))


def gain(better: TableRow, worse: TableRow) -> tuple[float, float]:
    r"""Return how much more accurate one row is, and how many standard deviations that is.

    The deviation is that of a single run in either row, :math:`\sqrt{(s_1^2 + s_2^2)/2}`, which is stricter
    than the error of the means.
    """
    spread = math.sqrt((better.std**2 + worse.std**2) / 2)
    difference = better.mean - worse.mean
    return difference, difference / spread if spread else math.copysign(math.inf, difference)


def format_table(rows: Sequence[TableRow]) -> str:
    """Return the table as text, a line for each row."""
    head = ("scale", "data", "row", "labels", "augment", "chosen", "test accuracy", "seeds")
    cells = [
        (
            row.scale,
            row.data,
            row.row,
            "all" if row.labels is None else str(row.labels),
            row.augment,
            str(row.trial),
            f"{row.mean:.2%}" + (f" ± {100 * row.std:.2f}" if row.n > 1 else ""),
            str(row.n),
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
    lines = ("  ".join(text.ljust(w) for text, w in zip(row, widths, strict=True)) for row in (head, *cells))
    return "\n".join(line.rstrip() for line in lines)


def _trial(line: Line) -> Trial:
    return Trial(**{name: line["settings"].get(name) for name in TUNED})


def _group(line: Line) -> str:
    """Text that two lines share if they belong to the same row."""
    names = {name: line[name] for name in ("experiment", "scale", "row", "version")}
    return json.dumps({**names, **_without_run(line["settings"])}, sort_keys=True)


def _without_run(settings: dict[str, Any]) -> dict[str, Any]:
    teacher = settings["teacher"]
    rest = {name: settings[name] for name in settings if name not in (*TUNED, "seed")}
    return {**rest, "teacher": teacher and _without_run(teacher)}
