"""What came out, as Markdown for the book: beside the papers, and claim by claim."""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

from onnlab.experiments.catalogue import EXPERIMENTS
from onnlab.experiments.claims import (
    CLAIMS,
    FAILED,
    HELD,
    NONE,
    UNSEEN,
    VERDICTS,
    Claim,
    Pair,
    outcome,
    verdict,
)
from onnlab.experiments.papers import REPORTED, SCLC, TANGENT, Reported
from onnlab.experiments.places import Place, scores
from onnlab.experiments.plan import hours, plan, total
from onnlab.experiments.report import gain_cells
from onnlab.experiments.tables import TableRow, gain, paired, percent
from onnlab.networks._text import markdown_table


def beside_tables(experiment: str, folder: Path) -> str:
    """Return what the papers report beside our rows of an experiment, a table for each system.

    A number of the paper stands in the line of our rows that it is beside, one column for each data set of
    ours. A cell is empty where we have no runs yet; it tells how many labels there are if not all,
    and how many its teacher had if these are others.

    Parameters
    ----------
    experiment : str
        Whose rows.
    folder : path
        Of the results.

    Raises
    ------
    ValueError
        If no number of the papers belongs to the experiment.
    """
    mine = [one for one in REPORTED if one.experiment == experiment or one.places(experiment)]
    if not mine:
        known = dict.fromkeys(one.experiment for one in REPORTED)
        raise ValueError(f"experiment must be one of {', '.join(known)}, got {experiment!r}")
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
        cells = {_where(spot): _ours(spot, found[spot]) for spot in places[one] if spot in found}
        name = places[one][0].row.name if places[one] else ""
        ours = [name, *(cells.get(column, "") for column in columns)] if columns else []
        lines.append([one.row, one.table, _article(one), *ours])
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


def _ours(spot: Place, one: TableRow) -> str:
    labels = [] if spot.row.labels is None else [f"{spot.row.labels} labels"]
    labels += [f"teacher: {spot.row.teacher_labels}"] if spot.row.teacher_labels else []
    return f"{percent(one)} ({', '.join([f'{one.n} seed' + 's' * (one.n > 1), *labels])})"


def claim_scores(folder: Path, claims: Iterable[Claim] = CLAIMS) -> dict[Place, TableRow]:
    """Return mean and spread of every row that claims speak of, from the lines in a folder."""
    spots = (spot for one in claims for pair in one.shown for spot in (pair.better, pair.worse))
    return scores(spots, folder)


def claim_text(one: Claim, found: Mapping[Place, TableRow]) -> str:
    """Return a claim, where it is made, and a table: what the paper reports, what our rows give, verdicts."""
    source = f"{{cite:t}}`{one.source}`" if one.source in (SCLC, TANGENT) else f"{{doc}}`{one.source}`"
    ours = [(pair.better.row.name, pair.worse.row.name) for pair in one.pairs]
    theirs = [(first.row, second.row) for first, second in one.reported]
    experiments = " and ".join(f"`{x}`" for x in _unique(pair.better.experiment.name for pair in one.pairs))
    told = [f"**{one.says}** ({source})"]
    told += [f"In the article, {_against(theirs)}."] if theirs else []
    told.append(f"In our rows of {experiments}, {_against(ours)}.")
    beside = [(pair.better.row.name, pair.worse.row.name) for pair in one.beside]
    told += [f"Beside each of them, {_against(beside)}, to the same bound."] if beside else []
    lines = [_reported_cells(first, second) for first, second in one.reported]
    alike = Counter(map(str, one.shown))
    twice = [pair for pair in one.shown if one.beside or alike[str(pair)] > 1]  # the name tells them apart
    names = {pair: f", *{pair.better.row.name}*" if pair in twice else "" for pair in one.shown}
    lines += [_pair_cells(pair, names[pair], found) for pair in names if outcome(pair, found) is not None]
    waiting = [f"{pair}{name}" for pair, name in names.items() if outcome(pair, found) is None]
    head = ["", "Row (%)", "Against (%)", "Gain in points (95 % interval)", "Seeds", "Verdict"]
    parts = [" ".join(told), *([markdown_table(head, lines, left=(0, 5))] if lines else [])]
    parts += [f"{NONE.capitalize()}: {'; '.join(waiting)}."] if waiting else []
    return "\n\n".join(parts)


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _against(names: list[tuple[str, str]]) -> str:
    """The rows that are compared, by name."""
    first, second = (" or ".join(f"*{name}*" for name in _unique(side)) for side in zip(*names, strict=True))
    return f"{first} against {second}"


def _reported_cells(first: Reported, second: Reported) -> list[str]:
    where = f"article, {first.system.split(',')[0]}"
    seeds = str(first.seeds) if first.seeds is not None and first.seeds == second.seeds else ""
    return [where, str(first), str(second), _digits(first.score - second.score), seeds, "reported"]


def _pair_cells(pair: Pair, name: str, found: Mapping[Place, TableRow]) -> list[str]:
    one = gain(found[pair.better], found[pair.worse])
    where = f"[{pair}](#{figure_of(pair.better)}){name}"
    where += f"; claimed: above {_digits(100 * pair.margin)}" if pair.margin else ""
    shares = map(percent, paired(found[pair.better], found[pair.worse]))
    mean, interval, _ = gain_cells(one)
    return [where, *shares, f"{mean} ({interval})", str(one.n), f"**{verdict(one, pair.margin)}**"]


def _digits(difference: float) -> str:
    """A difference of numbers of a paper, with no more digits than these have."""
    return f"{round(difference, 2):+g}".replace("-", "−")


def figure_of(spot: Place) -> str:
    """Return the label of the figure on the page of results that shows a row."""
    return f"fig-results-{spot.experiment.name}-{spot.experiment.scale}-{spot.row.data}"


def verdicts_table(found: Mapping[Place, TableRow]) -> str:
    """Return all claims as a table: how often each verdict was found, with a link to the section."""
    lines = []
    for one in CLAIMS:
        counts = Counter(verdict(outcome(pair, found), pair.margin) for pair in one.pairs)
        lines.append([f"[{one.says}](#claim-{one.name})", *(str(counts[what] or "") for what in VERDICTS)])
    return markdown_table(["Claim", *(what.capitalize() for what in VERDICTS)], lines, left=(0,))


def luck(found: Mapping[Place, TableRow]) -> str:
    """Return how many verdicts chance alone would give, and how many stay if that is guarded against.

    Of comparisons whose true difference is just their bound, one in twenty has a 95 % interval that leaves
    it out. With :math:`m` comparisons at the level :math:`1 - 0.05 / m` (Bonferroni), the chance of even one
    is at most one in twenty. Source: Dunn (1961), DOI 10.1080/01621459.1961.10482090.
    """
    gains = {pair: outcome(pair, found) for one in CLAIMS for pair in one.shown}
    judged = [pair for pair, one in gains.items() if verdict(one, pair.margin) in (HELD, FAILED, UNSEEN)]
    seen = [pair for pair in judged if verdict(gains[pair], pair.margin) != UNSEEN]
    level = 1 - 0.05 / max(1, len(judged))
    strict = [
        pair
        for pair in seen
        if verdict(gain(found[pair.better], found[pair.worse], level), pair.margin) != UNSEEN
    ]
    return (
        f"This page holds {len(CLAIMS)} claims, with {len(judged)} comparisons that have an interval. "
        f"Each asks about a bound: zero, where the table tells no other. "
        f"If every difference were just its bound, {0.05 * len(judged):.1f} of these intervals would still "
        f"be expected to leave it out, by luck: half of them above, as if the claim held, and half below. "
        f"{len(seen)} leave out their bound. "
        f"Now widen all intervals, to {100 * level:.2f} %, until the chance of even one false verdict on the "
        f"page is at most one in twenty. {len(strict)} of the {len(seen)} stay."
    )


def hours_table(scale: str, folder: Path, seeds: int = 5) -> str:
    """Return how many runs of each experiment a folder of results lacks, and the hours that they take.

    Parameters
    ----------
    scale : str
        One of :data:`onnlab.experiments.SCALES`.
    folder : path
        Of the results, and of the rehearsals of rows that were never run.
    seeds : int
        As for :func:`onnlab.experiments.run`.
    """
    made = {name: make(scale) for name, make in EXPERIMENTS.items()}
    plans = {name: plan(one, folder, seeds=seeds, shipped=folder) for name, one in made.items()}
    lines = [
        [f"`{name}`", str(sum(one.missing for one in rows)), f"{sum(map(hours, rows)):.1f}"]
        for name, rows in plans.items()
    ]
    text = total([one for rows in plans.values() for one in rows])
    return f"{markdown_table(['Experiment', 'Runs missing', 'Hours'], lines, left=(0,))}\n\n{text}"
