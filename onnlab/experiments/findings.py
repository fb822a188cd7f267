"""What came out, as Markdown for the book: beside the papers, and claim by claim."""

from collections.abc import Mapping
from pathlib import Path

from onnlab.experiments.papers import REPORTED, Reported
from onnlab.experiments.places import Place, scores
from onnlab.experiments.report import percent
from onnlab.experiments.tables import TableRow
from onnlab.networks._text import markdown_table


def beside_tables(experiment: str, folder: Path) -> str:
    """Return what the papers report beside our rows of an experiment, a table for each system.

    A number of the paper stands in the line of our rows that it is beside, one column for each data set of
    ours. A cell is empty where we have no runs yet.

    Parameters
    ----------
    experiment : str
        Whose rows.
    folder : path
        Of the results.
    """
    mine = [one for one in REPORTED if one.experiment == experiment or one.places(experiment)]
    found = scores((spot for one in mine for spot in one.places(experiment)), folder)
    systems = dict.fromkeys(one.system for one in mine)
    parts = ([one for one in mine if one.system == system] for system in systems)
    return "\n\n".join(_beside(experiment, numbers, found) for numbers in parts)


def _beside(experiment: str, numbers: list[Reported], found: Mapping[Place, TableRow]) -> str:
    """One system: a line for each number of the paper, a column for each data set of ours."""
    places = {one: one.places(experiment) for one in numbers}
    columns = list(dict.fromkeys(_where(spot) for spots in places.values() for spot in spots))
    lines = []
    for one in numbers:
        cells = {_where(spot): _ours(found[spot]) for spot in places[one] if spot in found}
        names = list(dict.fromkeys(spot.row.name for spot in places[one]))
        lines.append([one.row, one.table, _article(one), *names[:1], *(cells.get(c, "") for c in columns)])
    head = ["In the article", "Source", "Article (%)", *(["Our row"] if columns else [])]
    head += [f"Ours: {data}, {scale} (%)" for scale, data in columns]
    title = f"{{cite:t}}`{numbers[0].paper}`, {numbers[0].system}; {numbers[0].measure}:"
    if not columns:
        title = f"{title[:-1]}. None of our rows is of its kind:"
    return f"{title}\n\n{markdown_table(head, lines, left=(0, 1, 3) if columns else (0, 1))}"


def _where(spot: Place) -> tuple[str, str]:
    return spot.experiment.scale, spot.row.data


def _article(one: Reported) -> str:
    return str(one) + ("" if one.seeds is None else f" ({one.seeds} seeds)")


def _ours(row: TableRow) -> str:
    return f"{percent(row)} ({row.n} {'seed' if row.n == 1 else 'seeds'})"
