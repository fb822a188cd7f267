"""From a number in a table back to the runs that it is made of."""

from collections.abc import Iterable

from onnlab.experiments.lines import Line, score
from onnlab.experiments.settings import Experiment, Row
from onnlab.experiments.tables import group, group_of, percent, tables_of, trial_of
from onnlab.networks._text import columns


def runs_of(experiment: Experiment, row: Row, lines: Iterable[Line]) -> list[Line]:
    """Return the lines of a row, all trials and seeds, the failed ones too."""
    mine = group_of(experiment, row)
    return [line for line in lines if group(line) == mine]


def format_trace(experiment: Experiment, row: Row, lines: Iterable[Line]) -> str:
    """Return mean and spread of a row as text, and a line for each of its runs.

    Those with a star are the ones that mean and spread are over; the others are trials that validation did
    not choose, or failed.

    Parameters
    ----------
    experiment, row
        One of the rows of an experiment.
    lines : iterable of dict
        As :func:`onnlab.experiments.read` returns them.
    """
    mine = runs_of(experiment, row, lines)
    marks = [f"{value} labels" for value in [row.labels] if value is not None]
    marks += [mark for mark in (row.augment, row.process) if mark not in (None, "none")]
    title = f"{experiment.name} ({experiment.scale}), {', '.join([row.data, row.name, *marks])}"
    found = tables_of(experiment, mine).get(row)
    if found is None:
        return f"{title}: no runs yet"
    head = ("", "seed", "trial", "validation (%)", "test (%)", "key", "commit")
    cells = [
        (
            "*" if line["error"] is None and trial_of(line) == found.trial else "",
            str(line["seed"]),
            str(trial_of(line)),
            *(
                ["failed", "failed"]
                if line["error"]
                else [f"{100 * score(line, s):.2f}" for s in ("validation", "test")]
            ),
            line["key"],
            (line["commit"] or "unknown")[:12],
        )
        for line in sorted(mine, key=lambda line: (line["seed"], str(trial_of(line))))
    ]
    return (
        f"{title}: {found.score} {percent(found)} % over {found.n} of {len(mine)} runs\n"
        f"{columns((head, *cells))}"
    )
