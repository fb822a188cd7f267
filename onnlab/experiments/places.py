"""A row of ours by the names that a reader would give it: what papers and claims point at."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from onnlab.experiments.catalogue import EXPERIMENTS
from onnlab.experiments.lines import read
from onnlab.experiments.settings import Experiment, Row
from onnlab.experiments.tables import TableRow, tables_of


@dataclass(frozen=True)
class Place:
    """A declared row, and the experiment that it belongs to. Made by :func:`place`.

    Parameters
    ----------
    experiment : Experiment
        At one scale.
    row : Row
        One of its rows.
    """

    experiment: Experiment
    row: Row

    def __str__(self) -> str:
        labels = [] if self.row.labels is None else [f"{self.row.labels} labels"]
        marks = [f"teacher: {self.row.teacher_labels}"] if self.row.teacher_labels else []
        marks += [] if self.row.augment == "none" else [self.row.augment]
        return ", ".join([f"{self.row.data} ({self.experiment.scale})", *labels, *marks])


@cache
def _experiment(name: str, scale: str) -> Experiment:
    return EXPERIMENTS[name](scale)


def place(experiment: str, scale: str, data: str, row: str, **settings: Any) -> Place:
    """Find a declared row.

    Parameters
    ----------
    experiment, scale : str
        Keys of :data:`onnlab.experiments.EXPERIMENTS` and one of :data:`onnlab.experiments.SCALES`.
    data, row : str
        The data set and the name of the row.
    **settings
        Other fields of :class:`onnlab.experiments.Row`, such as ``labels=500``, where rows share a name.

    Returns
    -------
    Place

    Raises
    ------
    ValueError
        If there is no such experiment, or no row or more than one that fits.
    """
    if experiment not in EXPERIMENTS:
        raise ValueError(f"experiment must be one of {', '.join(EXPERIMENTS)}, got {experiment!r}")
    whole = _experiment(experiment, scale)
    wanted = {"data": data, "name": row, **settings}
    fitting = [one for one in whole.rows if all(getattr(one, k) == value for k, value in wanted.items())]
    if len(fitting) != 1:
        names = dict.fromkeys(one.name for one in whole.rows if one.data == data)
        raise ValueError(
            f"row must be that of one row of {experiment} ({scale}, {data}), got {row!r} with {settings}, "
            f"which fits {len(fitting)}; rows there: {', '.join(names) or 'none'}; labels=500 may tell"
        )
    return Place(whole, fitting[0])


def scores(places: Iterable[Place], folder: Path) -> dict[Place, TableRow]:
    """Return mean and spread at each place, from the lines in a folder; a place without runs is left out."""
    wanted = tuple(places)
    found = {
        whole: tables_of(whole, read(folder / f"{whole.name}.jsonl"))
        for whole in dict.fromkeys(one.experiment for one in wanted)
    }
    return {one: found[one.experiment][one.row] for one in wanted if one.row in found[one.experiment]}
