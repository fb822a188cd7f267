"""Results as tables: Markdown for the appendix of the book and the README, columns for a terminal.

Usage::

    python -m onnlab.experiments.report README.md results

writes the tables between the two marks in ``README.md`` anew, from the lines in ``results``.
"""

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from onnlab.experiments.catalogue import EXPERIMENTS
from onnlab.experiments.lines import Line, read
from onnlab.experiments.papers import REPORTED
from onnlab.experiments.settings import Experiment, Row
from onnlab.experiments.tables import Gain, TableRow, gain, percent, tables_of
from onnlab.networks._text import columns, markdown_table

BEGIN = "<!-- results: written by `make results` -->"
END = "<!-- end of results -->"
HEADLINES = (("sclc", "book"), ("sclc", "full"), ("ntkd", "full"))
GAINS_ALONE = (("when-kd-helps", "book"),)
"""Experiments and scales of the README: with all rows, and with the gains alone."""

ALIKE = ("network", "data", "labels", "augment", "epochs", "batch_size", "student", "process")
"""Settings that a row shares with the one it is compared with."""

END_OF_RANGE = " (end of its range)"
"""What stands behind a chosen value that is the smallest or the largest of three or more."""

Comparison = tuple[Row, Row, Gain]
Layout = Callable[[Sequence[str], Iterable[Sequence[str]], Sequence[int]], str]
"""Makes a table of its head, its lines, and the columns to be aligned to the left."""


def plain_table(head: Sequence[str], lines: Iterable[Sequence[str]], left: Sequence[int] = ()) -> str:
    """Return a table for a terminal; all columns are aligned to the left."""
    return columns([head, *lines])


def part(experiment: Experiment, data: str) -> Experiment:
    """Return the rows of an experiment that are about one data set, as an experiment of their own."""
    rows = tuple(row for row in experiment.rows if row.data == data)
    if not rows:
        known = ", ".join(sorted({row.data for row in experiment.rows}))
        raise ValueError(
            f"data must be one of {known}, for {experiment.name} ({experiment.scale}), got {data!r}"
        )
    return replace(experiment, rows=rows)


def comparisons(experiment: Experiment, found: Mapping[Row, TableRow]) -> list[Comparison]:
    """Return each row with the one it is to be compared with, and the gain over that.

    A row with a teacher is compared with the same network without; a network with more nonlinearities in
    front with its strictly linear form, both without a teacher. A device as it was built is compared with its
    design, and one that has learnt again from labels with the device as it was built. Devices of different
    processes are not compared. An experiment may declare further pairs.
    """
    pairs = []
    for row in experiment.rows:
        for other in experiment.rows:
            alike = all(getattr(row, what) == getattr(other, what) for what in ALIKE)
            taught = row.teacher is not None and row.front == other.front
            bent = row.teacher is None and row.front != other.front == "linear"
            pair = alike and other.teacher is None and (taught or bent)
            declared = (row, other) in experiment.pairs
            if (pair or declared or _built_from(row, other)) and {row, other} <= found.keys():
                pairs.append((row, other, gain(found[row], found[other])))
    return pairs


def _built_from(row: Row, other: Row) -> bool:
    """Whether a row is another one as it was built, or that device after it has learnt again from labels."""
    if row.epochs == 0:
        return row.student == other
    device = (other.student, other.process, other.epochs) == (row.student, row.process, 0)
    return device and row.student is not None and row.teacher is None


def missing(experiment: Experiment, found: Mapping[Row, TableRow], seeds: int) -> list[str]:
    """Return a text for each row that has fewer seeds than it should have, or chose among fewer trials."""
    varying = _varying(experiment.rows)
    texts = []
    for row in experiment.rows:
        count, tried = (found[row].n, found[row].trials) if row in found else (0, 0)
        if count < seeds:
            texts.append(f"{_name(row, varying)} ({count} of {seeds} seeds)")
        elif tried < len(row.trials):
            texts.append(f"{_name(row, varying)} ({tried} of {len(row.trials)} trials)")
    return texts


def results_table(
    experiment: Experiment, found: Mapping[Row, TableRow], layout: Layout = markdown_table
) -> str:
    """Return the test scores as a table, a line for each declared row that has runs."""
    varying = _varying(experiment.rows)
    shown = [(row, found[row]) for row in experiment.rows if row in found]
    devices = {one.device for _, one in shown}
    lines = [
        [
            row.name,
            *(_setting(row, what) for what in varying),
            percent(one),
            str(one.n),
            f"{_chosen(row, one)}, of {one.trials}",
            f"{one.seconds:.0f}{_beside(one.device, devices)}",
        ]
        for row, one in shown
    ]
    head = [
        "Row",
        *_heads(experiment.rows, varying),
        f"Test {score_name(found)} (%)",
        "Seeds",
        "Chosen on validation",
        f"Median seconds a training{_above(devices)}",
    ]
    return layout(head, lines, (0, len(head) - 2))


def _chosen(row: Row, one: TableRow) -> str:
    return one.trial.text(dict.fromkeys(row.ends(one.trial), END_OF_RANGE))


def _above(devices: Collection[str]) -> str:
    """What a head says of the device: its name, if all times are of one."""
    return f" on {next(iter(devices))}" if len(devices) == 1 else ""


def _beside(device: str, devices: Collection[str]) -> str:
    """What a time says of its device: its name, if the head could not."""
    return f" on {device}" if len(devices) > 1 else ""


def gains_table(
    experiment: Experiment, found: Mapping[Row, TableRow], layout: Layout = markdown_table
) -> str:
    """Return the comparisons as a table: gain in points, confidence interval, and what it says."""
    varying = _varying(experiment.rows)
    lines = [
        [row.name, other.name, *(_setting(row, what) for what in varying), *gain_cells(one), str(one.n)]
        for row, other, one in comparisons(experiment, found)
    ]
    head = [
        "Row",
        "Against",
        *_heads(experiment.rows, varying),
        "Gain (points)",
        "95 % interval",
        "Says",
        "Seeds",
    ]
    return layout(head, lines, (0, 1, len(head) - 2))


def plain_tables(experiment: Experiment, lines: Sequence[Line]) -> str:
    """Return for a terminal what the lines of an experiment tell: for each data set its scores and gains."""
    texts = []
    for data in dict.fromkeys(row.data for row in experiment.rows):
        one = part(experiment, data)
        found = tables_of(one, lines)
        if found:
            title = "; ".join([f"{one.name} ({one.scale}), {data}", *data_notes(found)])
            texts.append(f"{title}\n\n{results_table(one, found, plain_table)}")
            if comparisons(one, found):
                texts.append(f"Gains, paired over the seeds:\n\n{gains_table(one, found, plain_table)}")
    return "\n\n".join(texts)


def readme_tables(folder: Path) -> str:
    """Return what the README shows of the lines in a folder."""
    texts = []
    for name, scale in HEADLINES + GAINS_ALONE:
        whole = EXPERIMENTS[name](scale)
        for data in dict.fromkeys(row.data for row in whole.rows):
            experiment = part(whole, data)
            found = tables_of(experiment, read(folder / f"{name}.jsonl"))
            if found:
                title = "; ".join([f"`{name}`, {data}", *data_notes(found)])
                shown = _accuracies if (name, scale) in HEADLINES else gains_table
                texts.append(f"{title}:\n\n{shown(experiment, found)}")
    return "\n\n".join(texts)


def data_notes(found: Mapping[Row, TableRow]) -> list[str]:
    """Return what is unusual about the data of these rows."""
    return sorted({note for one in found.values() for note in one.notes})


def with_tables(text: str, tables: str) -> str:
    """Return a text with what lies between the two marks replaced.

    Raises
    ------
    ValueError
        If the marks are not there, once each and in order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in after or END in after:
        raise ValueError(
            f"text must hold {BEGIN!r} and then {END!r}, once each; put them where the tables go"
        )
    return f"{before}{BEGIN}\n\n{tables}\n\n{END}{after}"


def score_name(found: Mapping[Row, TableRow]) -> str:
    """Return what the numbers of a table are: ``"accuracy"`` or ``"mIoU"``."""
    return next(iter(found.values())).score


def points(value: float) -> str:
    """A difference of two scores in points, with its sign."""
    return f"{100 * value:+.2f}".replace("-", "−")


def gain_cells(one: Gain) -> tuple[str, str, str]:
    """Mean, interval and verdict of a gain, in points."""
    mean, low, high = map(points, (one.mean, one.low, one.high))
    if one.n == 1:
        return mean, "one seed", "nothing yet"
    verdict = ("better" if one.low > 0 else "worse") if one.clear else "no difference seen"
    return mean, f"{low} to {high}", verdict


def _accuracies(experiment: Experiment, found: Mapping[Row, TableRow]) -> str:
    """Accuracy and gain side by side, and what a paper reports of such a row.

    Of several gains of a row the last stands here, over the row that has least in front.
    """
    gains = {}
    for row, other, one in comparisons(experiment, found):
        mean, interval, _ = gain_cells(one)
        gains[row] = f"{mean} ({interval}) over {other.name}"
    papers = {
        spot.row: one
        for one in REPORTED
        for spot in one.beside
        if (spot.experiment.name, spot.experiment.scale) == (experiment.name, experiment.scale)
        and spot.row in found
    }
    head = ["Row", f"Test {score_name(found)} (%)", "Seeds", "Gain (95 % interval), paired"]
    head += [
        f"The article, on {system} (%)" for system in dict.fromkeys(one.system for one in papers.values())
    ]
    lines = [
        [row.name, percent(found[row]), str(found[row].n), gains.get(row, "")]
        + ([str(papers.get(row, ""))] if papers else [])
        for row in experiment.rows
        if row in found
    ]
    return markdown_table(head, lines, left=(0,))


def _varying(rows: Sequence[Row]) -> list[str]:
    """Settings that tell the rows of a table apart. One process does not: only what is built has it."""
    values = {what: {getattr(row, what) for row in rows} for what in ("process", "labels", "augment")}
    values["process"].discard(None)
    return [what for what, different in values.items() if len(different) > 1]


def _heads(rows: Sequence[Row], varying: Sequence[str]) -> list[str]:
    """What stands above the settings: that of labels says so if it tells of teachers, too."""
    teachers = " (teacher)" if any(row.teacher_labels for row in rows) else ""
    return [what.capitalize() + (teachers if what == "labels" else "") for what in varying]


def _setting(row: Row, what: str) -> str:
    if what == "labels":
        return row.labels_text + (f" ({row.teacher_labels})" if row.teacher_labels else "")
    return "none" if (value := getattr(row, what)) is None else str(value)


def _name(row: Row, varying: Sequence[str]) -> str:
    return ", ".join([row.name, *(f"{what} {_setting(row, what)}" for what in varying)])


def main(arguments: list[str]) -> None:
    """Write the tables into the file named first, from the folder named second."""
    if len(arguments) != 2:
        sys.exit("usage: python -m onnlab.experiments.report README.md results")
    readme, folder = map(Path, arguments)
    text = readme.read_text(encoding="utf-8")
    readme.write_text(with_tables(text, readme_tables(folder)), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
